"""The bytes of an image that one client has read, as disjoint spans. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

_MAX_SPANS = 4096
_MAX_IDLE_SPANS = 64
_MAX_PENDING = 128


class Coverage:
    """The bytes that were read.

    Memory is bounded: past 4096 spans, bytes that touch no span are not counted. Spans are merged
    in groups: most reads follow on the one before, and each merge by itself costs as much as
    finding the image.
    """

    __slots__ = ("_counted", "_covered", "_pending", "_starts", "_stops")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._covered = 0
        self._pending: list[tuple[int, int]] = []
        # What is covered at most: as if no two pending spans had a byte in common.
        self._counted = 0

    def __len__(self) -> int:
        """Return the number of disjoint spans."""
        self._merge()
        return len(self._starts)

    def __bool__(self) -> bool:
        """Return True: a coverage without spans is one too."""
        return True

    @property
    def covered(self) -> int:
        """Number of bytes that were read, each counted once."""
        self._merge()
        return self._covered

    def covers(self, size: int) -> bool:
        """Return whether all of an image of ``size`` bytes was read."""
        return self._counted >= size and self.covered == size

    def add(self, start: int, stop: int) -> None:
        """Count the bytes ``start`` to ``stop`` (exclusive)."""
        self._pending.append((start, stop))
        self._counted += stop - start
        if len(self._pending) == _MAX_PENDING:
            self._merge()

    def trim(self) -> None:
        """Keep the 64 longest spans while no body is open; `covered` may decrease."""
        self._merge()
        if len(self._starts) > _MAX_IDLE_SPANS:
            spans = zip(self._starts, self._stops, strict=True)
            longest = sorted(spans, key=lambda span: span[0] - span[1])[:_MAX_IDLE_SPANS]
            self._starts, self._stops = map(list, zip(*sorted(longest), strict=True))
            self._covered = self._counted = sum(self._stops) - sum(self._starts)

    def _merge(self) -> None:
        """Merge pending spans; those that follow on each other at once."""
        if not self._pending:
            return
        self._pending.sort()
        first, last = self._pending[0]
        for start, stop in self._pending:
            if start <= last:
                last = max(last, stop)
            else:
                self._merge_one(first, last)
                first, last = start, stop
        self._merge_one(first, last)
        self._pending.clear()
        self._counted = self._covered

    def _merge_one(self, start: int, stop: int) -> None:
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop, first)
        if first == last:
            if len(self._starts) < _MAX_SPANS:
                self._starts.insert(first, start)
                self._stops.insert(first, stop)
                self._covered += stop - start
            return
        start = min(start, self._starts[first])
        stop = max(stop, self._stops[last - 1])
        gone = sum(self._stops[first:last]) - sum(self._starts[first:last])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        self._covered += stop - start - gone

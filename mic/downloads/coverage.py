"""The bytes of an image that one client has read, as disjoint spans. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

_MAX_SPANS = 4096
_MAX_IDLE_SPANS = 64


class Coverage:
    """The bytes that were read; ``covered`` counts each byte once.

    Memory is bounded: past 4096 spans, bytes that touch no span are not counted.
    """

    __slots__ = ("_starts", "_stops", "covered")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.covered = 0

    def __len__(self) -> int:
        """Return the number of disjoint spans."""
        return len(self._starts)

    def __bool__(self) -> bool:
        """Return True: a coverage without spans is one too."""
        return True

    def add(self, start: int, stop: int) -> None:
        """Count the bytes ``start`` to ``stop`` (exclusive)."""
        first = bisect_left(self._stops, start)
        last = bisect_right(self._starts, stop, first)
        if first == last:
            if len(self._starts) < _MAX_SPANS:
                self._starts.insert(first, start)
                self._stops.insert(first, stop)
                self.covered += stop - start
            return
        start = min(start, self._starts[first])
        stop = max(stop, self._stops[last - 1])
        gone = sum(self._stops[first:last]) - sum(self._starts[first:last])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]
        self.covered += stop - start - gone

    def trim(self) -> None:
        """Keep the 64 longest spans while no body is open; `covered` may decrease."""
        if len(self._starts) > _MAX_IDLE_SPANS:
            spans = zip(self._starts, self._stops, strict=True)
            longest = sorted(spans, key=lambda span: span[0] - span[1])[:_MAX_IDLE_SPANS]
            self._starts = sorted(start for start, _ in longest)
            self._stops = sorted(stop for _, stop in longest)
            self.covered = sum(self._stops) - sum(self._starts)

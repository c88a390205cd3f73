"""Who downloads what, and how much of it: for people, in two log lines per download.

A BMC reads an image in thousands of small ranges; those belong to one download as long as it
does not go quiet.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable

from twisted.logger import Logger

QUIET = 30.0
"""Seconds without a request after which a download is over."""

_MAX_SPANS = 4096


class Coverage:
    """Which bytes were read, as disjoint spans; ``covered`` counts each byte once.

    Bounded: past 4096 spans, bytes that touch none of them are not counted.
    """

    __slots__ = ("_starts", "_stops", "covered")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.covered = 0

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


class Download:
    """One client's reading of one image."""

    __slots__ = ("bytes", "coverage", "last", "open", "size", "started")

    def __init__(self, size: int, now: float) -> None:
        self.size = size
        self.started = now
        self.last = now
        self.bytes = 0
        self.open = 0
        self.coverage = Coverage()


class Downloads:
    """The downloads under way. ``clock`` gives seconds; call `sweep` every few of them.

    ``limit`` is how many bodies may be open at a time, 0 for any number; keeping to it is the
    business of whoever opens them.
    """

    _log = Logger()

    def __init__(self, clock: Callable[[], float], limit: int = 0) -> None:
        self._clock = clock
        self.limit = limit
        self.open = 0
        self._downloads: dict[tuple[str, str, str], Download] = {}

    @property
    def full(self) -> bool:
        """Whether no further body may be opened."""
        return bool(self.limit) and self.open >= self.limit

    def begin(self, label: str, client: str, etag: str, size: int) -> Download:
        """A response body for ``client`` begins; its bytes are counted by `wrote`."""
        download = self._download(label, client, etag, size)
        download.open += 1
        self.open += 1
        return download

    def wrote(self, download: Download, start: int, stop: int) -> None:
        """The bytes ``start`` to ``stop`` of the image went out."""
        download.bytes += stop - start
        download.last = self._clock()
        download.coverage.add(start, stop)

    def count(
        self, label: str, client: str, etag: str, *, size: int, start: int, stop: int
    ) -> None:
        """A response body that goes out at once: `begin`, `wrote` and `end` in one."""
        download = self._download(label, client, etag, size)
        self.wrote(download, start, stop)
        if download.coverage.covered == size:
            self._end_if_whole(download)

    def end(self, download: Download) -> None:
        """A body is over, whole or not."""
        download.open -= 1
        self.open -= 1
        download.last = self._clock()
        self._end_if_whole(download)

    def _download(self, label: str, client: str, etag: str, size: int) -> Download:
        key = (label, client, etag)
        download = self._downloads.get(key)
        if download is None:
            download = self._downloads[key] = Download(size, self._clock())
            self._log.info(
                "{image}: {client} starts to download ({size} bytes)",
                image=label,
                client=client,
                size=size,
            )
        return download

    def _end_if_whole(self, download: Download) -> None:
        if download.open == 0 and download.coverage.covered == download.size:
            self._close_where(lambda each: each is download)

    def sweep(self) -> None:
        """Close the downloads that went quiet."""
        now = self._clock()
        self._close_where(lambda each: each.open == 0 and now - each.last >= QUIET)

    def close(self) -> None:
        """Close all of them: mic stops."""
        self._close_where(lambda _: True)

    def _close_where(self, over: Callable[[Download], bool]) -> None:
        for key in [key for key, download in self._downloads.items() if over(download)]:
            download = self._downloads.pop(key)
            covered = download.coverage.covered
            self._log.info(
                "{image}: {client} {outcome}: {bytes} bytes in {seconds:.1f} s, "
                "{share:.1f} % of the image",
                image=key[0],
                client=key[1],
                outcome="has it all" if covered == download.size else "went quiet",
                bytes=download.bytes,
                seconds=download.last - download.started,
                share=100 * covered / download.size,
            )

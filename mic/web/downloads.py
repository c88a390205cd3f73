"""Who downloads what, and how much of it: in two log lines per download, and to be asked for.

A BMC reads an image in thousands of small ranges; those belong to one download as long as it
does not go quiet. What a client has read of an image is kept when its download is over: it
answers the question whether a BMC ever fetched it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from twisted.logger import Logger

QUIET = 30.0
"""Seconds without a request after which a download is over."""

STALL = 30.0
"""Seconds without progress after which a body that is open counts as stalled."""

_MAX_SPANS = 4096
_KEPT_SPANS = 64
_KEPT_CLIENTS = 4
_KEPT_GONE = 256


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

    def trim(self) -> None:
        """Keep the 64 longest spans, for the time that nobody reads: `covered` may become less."""
        if len(self._starts) > _KEPT_SPANS:
            spans = zip(self._starts, self._stops, strict=True)
            longest = sorted(spans, key=lambda span: span[0] - span[1])[:_KEPT_SPANS]
            self._starts = sorted(start for start, _ in longest)
            self._stops = sorted(stop for _, stop in longest)
            self.covered = sum(self._stops) - sum(self._starts)


class State(StrEnum):
    """What has become of a download."""

    DOWNLOADING = "downloading"
    STALLED = "stalled"
    """A body is open and makes no progress."""
    COMPLETE = "complete"
    """Every byte was read."""
    BROKEN_OFF = "broken off"
    """Over, and its last body did not come to its end."""
    QUIET = "quiet"
    """Over: nothing more was asked for. So ends what reads the ranges it needs and no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A download came from the state ``before`` (None: it never was) to ``state``.

    ``read`` counts each byte of the image once, ``bytes`` is what was sent since the download
    began, ``seconds`` ago.
    """

    label: str
    client: str
    before: State | None
    state: State
    size: int
    read: int
    bytes: int
    seconds: float

    @property
    def share(self) -> float:
        """Which part of the image was read, in per cent."""
        return share(self.read, self.size)


def share(read: int, size: int) -> float:
    """Per cent with one decimal, rounded down: 100 is the whole image and nothing less."""
    return 1000 * read // size / 10 if size else 100.0


class Download:
    """One client's reading of one version of an image: goes on when the client comes back."""

    __slots__ = (
        "_read",
        "bytes",
        "client",
        "coverage",
        "cut",
        "etag",
        "label",
        "last",
        "open",
        "size",
        "started",
        "state",
        "times",
    )

    def __init__(self, label: str, client: str, etag: str, size: int) -> None:
        self.label = label
        self.client = client
        self.etag = etag
        self.size = size
        self.started = 0.0
        self.last = 0.0
        self.bytes = 0
        self.open = 0
        self.times = 0
        self.cut = False
        self.state = State.DOWNLOADING
        self.coverage = Coverage()
        self._read = 0

    @property
    def read(self) -> int:
        """How many bytes of the image were read, each counted once."""
        return max(self._read, self.coverage.covered)

    def start(self, now: float) -> None:
        """It begins, or begins again; what was read counts on, unless that was everything."""
        if self.state is State.COMPLETE:
            self.coverage = Coverage()
            self._read = 0
        self.state = State.DOWNLOADING
        self.started = self.last = now
        self.bytes = 0
        self.times += 1
        self.cut = False

    def rest(self) -> None:
        """It is over for now: keep what a small record holds."""
        self._read = self.read
        self.coverage.trim()


class Record:
    """What was read of one version of an image, by those who read it last.

    ``readers`` by client, the one that began last at the end; ``times`` counts all downloads.
    """

    __slots__ = ("etag", "readers", "size", "times")

    def __init__(self, etag: str, size: int) -> None:
        self.etag = etag
        self.size = size
        self.times = 0
        self.readers: dict[str, Download] = {}


class Downloads:
    """The downloads under way, and what is known of earlier ones.

    ``clock`` gives seconds; call `sweep` and `keep` every few of them. ``limit`` is how many
    bodies may be open at a time, 0 for any number; keeping to it is the business of whoever opens
    them. ``listeners`` are told whenever a download's state changes; ``ended`` counts those that
    are over by what became of them.

    Memory: for each image the last 4 clients, with 64 spans of bytes each when they are not
    reading; of images that are gone, the last 256.
    """

    _log = Logger()

    def __init__(self, clock: Callable[[], float], limit: int = 0) -> None:
        self._clock = clock
        self.limit = limit
        self.open = 0
        self.ended: Counter[State] = Counter(dict.fromkeys(_OVER, 0))
        self._downloads: dict[tuple[str, str, str], Download] = {}
        self._records: dict[str, Record] = {}
        self.listeners: list[Callable[[Progress], None]] = []

    def __len__(self) -> int:
        return len(self._downloads)

    @property
    def full(self) -> bool:
        """Whether no further body may be opened."""
        return bool(self.limit) and self.open >= self.limit

    @property
    def records(self) -> dict[str, Record]:
        """What was read, by the images' labels; those of images that are gone among them."""
        return dict(self._records)

    @property
    def under_way(self) -> list[Download]:
        """The downloads that are not over."""
        return list(self._downloads.values())

    def begin(self, label: str, client: str, etag: str, size: int) -> Download:
        """A response body for ``client`` begins; its bytes are counted by `wrote`."""
        download = self._download(label, client, etag, size)
        download.open += 1
        download.cut = False
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
            self._close_if_whole(download)

    def end(self, download: Download, *, whole: bool) -> None:
        """A body is over; ``whole`` tells whether it came to its end."""
        download.open -= 1
        download.cut = not whole
        self.open -= 1
        if download.state in _OVER:
            return  # it was closed with this body open
        download.last = self._clock()
        self._close_if_whole(download)

    def _download(self, label: str, client: str, etag: str, size: int) -> Download:
        key = (label, client, etag)
        download = self._downloads.get(key)
        if download is None:
            download = self._downloads[key] = self._start(label, client, etag, size)
        return download

    def _start(self, label: str, client: str, etag: str, size: int) -> Download:
        record = self._records.pop(label, None)
        if record is None or record.etag != etag:
            record = Record(etag, size)
        # Both dictionaries are in the order of what began last.
        self._records[label] = record
        record.times += 1
        download = record.readers.pop(client, None)
        before = None if download is None else download.state
        if download is None:
            download = Download(label, client, etag, size)
        record.readers[client] = download
        download.start(self._clock())
        self._tell(download, before)
        return download

    def _close_if_whole(self, download: Download) -> None:
        if download.open == 0 and download.coverage.covered == download.size:
            self._close(download)

    def sweep(self) -> None:
        """Close the downloads that went quiet, and notice bodies that stand still."""
        now = self._clock()
        for download in list(self._downloads.values()):
            still = now - download.last
            if download.open == 0 and still >= QUIET:
                self._close(download)
            elif download.state is State.DOWNLOADING and still >= STALL:
                self._turn(download, State.STALLED)
            elif download.state is State.STALLED and still < STALL:
                self._turn(download, State.DOWNLOADING)

    def keep(self, published: Collection[str]) -> None:
        """Forget images that are not among the labels ``published``, but for the last of them."""
        gone = [label for label in self._records if label not in published]
        for label in gone[: max(len(gone) - _KEPT_GONE, 0)]:
            del self._records[label]

    def close(self) -> None:
        """Close all of them: mic stops, and cuts the bodies that are open."""
        for download in list(self._downloads.values()):
            self._close(download)

    def _close(self, download: Download) -> None:
        key = (download.label, download.client, download.etag)
        del self._downloads[key]
        if download.coverage.covered == download.size:
            state = State.COMPLETE
        else:
            state = State.BROKEN_OFF if download.cut or download.open else State.QUIET
        self.ended[state] += 1
        self._turn(download, state)
        download.rest()
        record = self._records.get(download.label)
        if record is not None:
            over = [each for each in record.readers.values() if each.state in _OVER]
            for each in over[: max(len(over) - _KEPT_CLIENTS, 0)]:
                del record.readers[each.client]

    def _turn(self, download: Download, state: State) -> None:
        before, download.state = download.state, state
        self._tell(download, before)

    def _tell(self, download: Download, before: State | None) -> None:
        """Tell that ``download`` is in another state than before."""
        state = download.state
        now = self._clock()
        progress = Progress(
            label=download.label,
            client=download.client,
            before=before,
            state=state,
            size=download.size,
            read=download.read,
            bytes=download.bytes,
            seconds=(download.last if state in _OVER else now) - download.started,
        )
        self._write(progress)
        for listener in self.listeners:
            try:
                listener(progress)
            except Exception:
                # Whoever wants to know must not keep those from their images who want these.
                self._log.failure("{image}: cannot tell of its download", image=download.label)

    def _write(self, progress: Progress) -> None:
        if progress.state is State.STALLED:
            self._log.warn(
                "{image}: {client} stalled: it has taken nothing for {limit:.0f} s; "
                "{bytes} bytes in {seconds:.1f} s so far, {share:.1f} % of the image",
                image=progress.label,
                client=progress.client,
                limit=STALL,
                bytes=progress.bytes,
                seconds=progress.seconds,
                share=progress.share,
            )
        elif progress.state in _OVER:
            self._log.info(
                "{image}: {client} {outcome}: {bytes} bytes in {seconds:.1f} s, "
                "{share:.1f} % of the image",
                image=progress.label,
                client=progress.client,
                outcome=_OVER[progress.state],
                bytes=progress.bytes,
                seconds=progress.seconds,
                share=progress.share,
            )
        elif progress.before is State.STALLED:
            self._log.info(
                "{image}: {client} goes on, {share:.1f} % of the image so far",
                image=progress.label,
                client=progress.client,
                share=progress.share,
            )
        elif progress.read:
            self._log.info(
                "{image}: {client} comes back to download, {share:.1f} % of the image so far",
                image=progress.label,
                client=progress.client,
                share=progress.share,
            )
        else:
            self._log.info(
                "{image}: {client} starts to download ({size} bytes)",
                image=progress.label,
                client=progress.client,
                size=progress.size,
            )


_OVER = {
    State.COMPLETE: "has it all",
    State.BROKEN_OFF: "was broken off",
    State.QUIET: "went quiet",
}

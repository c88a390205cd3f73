"""Downloads: which client has read how much of which image, logged in two lines per download.

A BMC reads an image in thousands of small ranges; they belong to one download until the client
stops requesting data. The record of a download outlives it: it shows whether a BMC ever fetched
its image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

from twisted.logger import Logger

from mic.downloads.coverage import Coverage
from mic.downloads.state import STALL, State, share
from mic.images.store import ImageId
from mic.media.base import Kind

QUIET = 30.0
"""Seconds without a request after which a download is over."""

UNLIMITED = frozenset({Kind.ROOTFS})
"""Kinds without a limit: a live system bears five refusals of its root file system, about half a
minute, and then its boot fails (fedora-coreos-config, ``coreos-livepxe-rootfs.sh``)."""

_MAX_IDLE_READERS = 4
_MAX_UNPUBLISHED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A download went from the state ``before`` (None: it is new) to ``state``.

    ``read`` counts each byte of the image once, ``bytes`` is what was sent since the download
    began, ``seconds`` ago.
    """

    image: ImageId
    client: str
    before: State | None
    state: State
    size: int
    read: int
    bytes: int
    seconds: float

    @property
    def share(self) -> float:
        """Share of the image that was read, in per cent."""
        return share(self.read, self.size)


class Download:
    """One client's reading of one version of an image; resumed when the client returns."""

    __slots__ = (
        "_read",
        "bytes",
        "client",
        "coverage",
        "cut",
        "etag",
        "image",
        "last",
        "open",
        "size",
        "started",
        "state",
        "times",
    )

    def __init__(self, image: ImageId, client: str, etag: str, size: int) -> None:
        self.image = image
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
        """Number of bytes of the image that were read, each counted once."""
        return max(self._read, self.coverage.covered)

    def start(self, now: float) -> None:
        """Start, or resume; what was read counts on unless the image was complete."""
        if self.state is State.COMPLETE:
            self.coverage = Coverage()
            self._read = 0
        self.state = State.DOWNLOADING
        self.started = self.last = now
        self.bytes = 0
        self.times += 1
        self.cut = False

    def shrink(self) -> None:
        """Shrink the record when the download is over."""
        self._read = self.read
        self.coverage.trim()


class Record:
    """Reads of one version of an image by its latest clients.

    ``readers`` by client, in the order in which they started; ``times`` counts all downloads.
    """

    __slots__ = ("etag", "readers", "size", "times")

    def __init__(self, etag: str, size: int) -> None:
        self.etag = etag
        self.size = size
        self.times = 0
        self.readers: dict[str, Download] = {}


class Downloads:
    """Downloads in progress, and records of earlier ones.

    ``clock`` returns seconds; call `sweep` and `retain` every few of them. ``limit`` is the number
    of bodies that may be open at a time, 0 for any; the code that opens bodies enforces it. Kinds
    that are `UNLIMITED` do not count.
    ``listeners`` are called whenever a download's state changes; ``ended`` counts finished
    downloads by their last state.

    Memory: for each image the last 4 clients, with 64 spans of bytes each while they do not read;
    the last 256 images that are no longer published.
    """

    _log = Logger()

    def __init__(self, clock: Callable[[], float], limit: int = 0) -> None:
        self._clock = clock
        self.limit = limit
        self.open = 0
        self._limited = 0
        self.ended: Counter[State] = Counter(dict.fromkeys(_OVER, 0))
        self._downloads: dict[tuple[ImageId, str, str], Download] = {}
        self._records: dict[ImageId, Record] = {}
        self.listeners: list[Callable[[Progress], None]] = []

    def __len__(self) -> int:
        return len(self._downloads)

    @property
    def full(self) -> bool:
        """Whether the limit of open bodies is reached."""
        return bool(self.limit) and self._limited >= self.limit

    def refuses(self, image: ImageId) -> bool:
        """Return whether no body of an image may be opened now."""
        return self.full and image.kind not in UNLIMITED

    @property
    def records(self) -> dict[ImageId, Record]:
        """Records by image, including images that are no longer published."""
        return dict(self._records)

    @property
    def in_progress(self) -> list[Download]:
        """Downloads in progress."""
        return list(self._downloads.values())

    def begin(self, image: ImageId, client: str, etag: str, size: int) -> Download:
        """Register a response body for ``client``; count its bytes with `wrote`."""
        return self._open(self._download(image, client, etag, size))

    def begin_unrecorded(self, image: ImageId, client: str, etag: str, size: int) -> Download:
        """Register a body as `begin` does, for the limit only: it is no download."""
        download = Download(image, client, etag, size)
        # Over already: its end changes and reports nothing.
        download.state = State.QUIET
        return self._open(download)

    def _open(self, download: Download) -> Download:
        download.open += 1
        download.cut = False
        self.open += 1
        self._limited += download.image.kind not in UNLIMITED
        return download

    def wrote(self, download: Download, start: int, stop: int) -> None:
        """Count the bytes ``start`` to ``stop`` of the image as sent."""
        download.bytes += stop - start
        download.last = self._clock()
        download.coverage.add(start, stop)

    def count(
        self, image: ImageId, client: str, etag: str, *, size: int, start: int, stop: int
    ) -> None:
        """Count a response body that is sent at once: `begin`, `wrote` and `end` in one."""
        download = self._download(image, client, etag, size)
        download.bytes += stop - start
        download.last = self._clock()
        download.coverage.add(start, stop)
        if download.coverage.covers(size):
            self._close_if_whole(download)

    def end(self, download: Download, *, whole: bool) -> None:
        """Register the end of a body; ``whole``: every byte of it was sent."""
        download.open -= 1
        download.cut = not whole
        self.open -= 1
        self._limited -= download.image.kind not in UNLIMITED
        if download.state in _OVER:
            return  # closed while this body was open
        download.last = self._clock()
        self._close_if_whole(download)

    def _download(self, image: ImageId, client: str, etag: str, size: int) -> Download:
        key = (image, client, etag)
        download = self._downloads.get(key)
        if download is None:
            download = self._downloads[key] = self._start(image, client, etag, size)
        return download

    def _start(self, image: ImageId, client: str, etag: str, size: int) -> Download:
        record = self._records.pop(image, None)
        if record is None or record.etag != etag:
            record = Record(etag, size)
        # Both dictionaries are ordered by the latest start.
        self._records[image] = record
        record.times += 1
        download = record.readers.pop(client, None)
        before = None if download is None else download.state
        if download is None:
            download = Download(image, client, etag, size)
        record.readers[client] = download
        download.start(self._clock())
        self._report(download, before)
        return download

    def _close_if_whole(self, download: Download) -> None:
        if download.open == 0 and download.coverage.covers(download.size):
            self._close(download)

    def sweep(self) -> None:
        """Close downloads whose client stopped requesting data, and detect stalled bodies."""
        now = self._clock()
        for download in list(self._downloads.values()):
            still = now - download.last
            if download.open == 0 and still >= QUIET:
                self._close(download)
            elif download.state is State.DOWNLOADING and still >= STALL:
                self._turn(download, State.STALLED)
            elif download.state is State.STALLED and still < STALL:
                self._turn(download, State.DOWNLOADING)

    def retain(self, published: Collection[ImageId]) -> None:
        """Drop the records of images not in ``published``, except the latest 256."""
        gone = [image for image in self._records if image not in published]
        for image in gone[: max(len(gone) - _MAX_UNPUBLISHED, 0)]:
            del self._records[image]

    def close(self) -> None:
        """Close all downloads: mic stops, which cuts open bodies short."""
        for download in list(self._downloads.values()):
            self._close(download)

    def _close(self, download: Download) -> None:
        key = (download.image, download.client, download.etag)
        del self._downloads[key]
        if download.coverage.covers(download.size):
            state = State.COMPLETE
        else:
            state = State.BROKEN_OFF if download.cut or download.open else State.QUIET
        self.ended[state] += 1
        self._turn(download, state)
        download.shrink()
        record = self._records.get(download.image)
        if record is not None:
            over = [each for each in record.readers.values() if each.state in _OVER]
            for each in over[: max(len(over) - _MAX_IDLE_READERS, 0)]:
                del record.readers[each.client]

    def _turn(self, download: Download, state: State) -> None:
        before, download.state = download.state, state
        self._report(download, before)

    def _report(self, download: Download, before: State | None) -> None:
        """Log that ``download`` changed its state, and call the listeners."""
        state = download.state
        now = self._clock()
        progress = Progress(
            image=download.image,
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
                # A failing listener must not interrupt transfers.
                self._log.failure("{image}: cannot report its download", image=download.image)

    def _write(self, progress: Progress) -> None:
        if progress.state is State.STALLED:
            self._log.warn(
                "{image}: {client} stalled: no data taken for {limit:.0f} s; "
                "{bytes} bytes in {seconds:.1f} s so far, {share:.1f} % of the image",
                image=progress.image,
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
                image=progress.image,
                client=progress.client,
                outcome=_OVER[progress.state],
                bytes=progress.bytes,
                seconds=progress.seconds,
                share=progress.share,
            )
        elif progress.before is State.STALLED:
            self._log.info(
                "{image}: {client} continues after a stall, {share:.1f} % of the image so far",
                image=progress.image,
                client=progress.client,
                share=progress.share,
            )
        elif progress.read:
            self._log.info(
                "{image}: {client} resumed the download, {share:.1f} % of the image so far",
                image=progress.image,
                client=progress.client,
                share=progress.share,
            )
        else:
            self._log.info(
                "{image}: {client} started to download ({size} bytes)",
                image=progress.image,
                client=progress.client,
                size=progress.size,
            )


_OVER = {
    State.COMPLETE: "completed the download",
    State.BROKEN_OFF: "was interrupted",
    State.QUIET: "stopped requesting data",
}

"""The body of a response: an image's pieces, handed to a consumer as fast as it takes them.

A consumer that can send files is given ranges of them; to any other (TLS, Twisted's own client,
a recorder) their bytes are written. What is not in memory is read in a thread, so that one
client's cold range does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from mic.media.basefile import BaseFile
from mic.media.layout import FileRange, Memory, Piece
from mic.media.pagecache import WINDOW
from mic.web.transport import FileTransport

CHUNK = 64 * 1024
"""Bytes read and handed over at a time where bytes are written, and so what a client that stopped
reading costs there. With half as many TLS takes a third more CPU (bench/serve.py)."""

_TURN = 1024 * 1024
"""Bytes after which others get their turn, where a consumer takes everything at once."""

_PIECE = 8 * WINDOW
"""Bytes of a file handed over at a time, where they are in memory."""

SMALL = 64 * 1024
"""Upper bound on a body that is read, checked and sent at once, without a producer, in bytes."""

_END = 2 * 1024
"""Bytes at the end of a body that are read and checked before they are sent. What sendfile sends
is checked only afterwards, and a body of a file that was written to meanwhile must not come to its
end. It is also what a client that does not read costs, next to its connection and request."""


class Fetch(Protocol):
    """Calls in a thread."""

    def __call__(self, call: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Return the result of ``call(*args)``; it fires on the reactor's thread."""


class Verify(Protocol):
    """Checks a base file that is in doubt."""

    def __call__(self, file: BaseFile) -> Deferred[Any]:
        """Fire when the file is unchanged; fail with `BaseChanged` when it is not."""


def read_cached(pieces: Iterable[Piece]) -> bytes | None:
    """Return the bytes of ``pieces``, or None if reading or a check would block.

    Raises as the sources do.
    """
    parts: list[bytes | bytearray | memoryview] = []
    for piece in pieces:
        data = _cached(piece)
        if data is None or _in_doubt(piece):
            return None
        parts.append(data)
    return b"".join(parts)


def takes_views(consumer: object) -> bool:
    """Return whether a consumer takes views of memory; others get a copy as bytes."""
    return isinstance(consumer, FileTransport | TLSMemoryBIOProtocol)


def _in_doubt(piece: Piece) -> bool:
    return (
        isinstance(piece, FileRange)
        and isinstance(piece.source, BaseFile)
        and piece.source.in_doubt()
    )


def _cached(piece: Piece) -> bytes | bytearray | memoryview | None:
    if isinstance(piece, Memory):
        return piece.data
    if not isinstance(piece.source, BaseFile):
        return piece.source.read(piece.start, len(piece))
    data = bytearray(len(piece))
    return data if piece.source.readinto_cached(memoryview(data), piece.start) else None


@implementer(IBodyProducer)
class ImageBody:
    """Streams ``pieces`` of together ``length`` bytes.

    ``schedule`` calls something in a later turn of the reactor, ``fetch`` something in a thread.
    ``wrote`` is called with each number of bytes sent. ``verify`` is called for base files in
    doubt before the last bytes are written: what was sent may be mixed from two files only if the
    body never comes to its end. By default a thread verifies. The consumer registers this as a
    streaming producer before `startProducing`; the Deferred fires when all is handed over, fails
    when a piece cannot be read, and stays silent after `stopProducing`.
    """

    # Each client that stops reading holds one.
    __slots__ = (
        "_consumer",
        "_done",
        "_fetch",
        "_fetched",
        "_fetching",
        "_files",
        "_left",
        "_paused",
        "_piece",
        "_pieces",
        "_position",
        "_producing",
        "_schedule",
        "_scheduled",
        "_verify",
        "_wrote",
        "length",
    )

    def __init__(
        self,
        pieces: Iterator[Piece],
        length: int,
        schedule: Callable[[Callable[[], None]], object],
        fetch: Fetch,
        wrote: Callable[[int], None] = lambda _: None,
        *,
        verify: Verify | None = None,
    ) -> None:
        self.length = length
        self._left = length
        self._pieces = pieces
        self._schedule = schedule
        self._fetch = fetch
        self._wrote = wrote
        self._verify = verify or partial(_verified, fetch)
        self._files: tuple[BaseFile, ...] = ()
        self._piece: Piece | None = None
        self._position = 0
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] = Deferred()
        self._paused = False
        self._producing = False
        self._scheduled = False
        self._fetching = False
        # What to do with what was read in a thread.
        self._fetched: Callable[[], None] | None = None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Start writing to ``consumer`` in a later turn of the reactor."""
        self._consumer = consumer
        self._later()
        return self._done

    def pauseProducing(self) -> None:
        """Stop writing until `resumeProducing`; a transport pauses repeatedly."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Continue writing."""
        self._paused = False
        self._produce()

    def stopProducing(self) -> None:
        """Stop producing; may be called repeatedly."""
        self._consumer = None
        self._pieces = iter(())
        self._piece = None
        self._files = ()
        self._fetched = None

    def _later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._schedule(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._produce()

    def _produce(self) -> None:
        # A consumer may resume us from within write(): the loop below is then already on it.
        if self._producing:
            return
        self._producing = True
        try:
            self._write_some()
        except Exception:
            self._fail(Failure())
        finally:
            self._producing = False

    def _fail(self, why: Failure) -> None:
        if self._consumer is not None:
            self.stopProducing()
            self._done.errback(why)

    def _write_some(self) -> None:
        until = self._left - _TURN
        while self._consumer is not None and not self._paused and not self._fetching:
            if self._fetched is not None:
                go_on, self._fetched = self._fetched, None
                go_on()
            elif not self._left:
                self.stopProducing()
                self._done.callback(None)
            elif self._left <= until:
                self._later()
                return
            else:
                self._write_next(self._consumer)

    def _write_next(self, consumer: IConsumer) -> None:
        if self._piece is None or self._position == len(self._piece):
            self._piece = next(self._pieces)
            self._position = 0
        most = len(self._piece) - self._position
        source = self._piece.source if isinstance(self._piece, FileRange) else None
        if isinstance(source, BaseFile) and source not in self._files:
            self._files = (*self._files, source)
        if (
            isinstance(consumer, FileTransport)
            and isinstance(source, BaseFile)
            and self._left > _END
        ):
            self._send(consumer, source, min(most, self._left - _END, _PIECE))
        else:
            self._write(consumer, self._take(min(most, CHUNK)))

    def _send(self, consumer: FileTransport, source: BaseFile, length: int) -> None:
        assert isinstance(self._piece, FileRange)  # noqa: S101
        start = self._piece.start + self._position
        held = source.cache.held(start, start + length)
        stop = held if held > start else start + min(length, WINDOW)
        self._take(stop - start)
        send = partial(consumer.send_file, source, start, stop, self._wrote, self._cannot_send)
        if held > start:
            send()
        else:
            self._fetch_then(lambda _: send(), source.cache.fill, start, stop)

    def _cannot_send(self, error: Exception) -> None:
        self._fail(Failure(error))

    def _write(self, consumer: IConsumer, part: Piece) -> None:
        def write(data: bytes | bytearray | memoryview) -> None:
            # An image may have ranges of several files.
            doubtful = () if self._left else (file for file in self._files if file.in_doubt())
            for file in doubtful:
                self._then(lambda _: write(data), self._verify(file))
                return
            self._wrote(len(data))
            # Memory is shared by all clients: one that does not read must not have a copy of it.
            consumer.write(data if takes_views(consumer) else bytes(data))  # type: ignore[arg-type]

        data = _cached(part)
        if data is not None:
            write(data)
        elif isinstance(part, FileRange):
            self._fetch_then(write, part.source.read, part.start, len(part))

    def _take(self, length: int) -> Piece:
        assert self._piece is not None  # noqa: S101
        part = self._piece.part(self._position, self._position + length)
        self._position += length
        self._left -= length
        return part

    def _fetch_then(
        self, go_on: Callable[[Any], None], call: Callable[..., Any], *args: Any
    ) -> None:
        """Run ``call`` in a thread; continue with its result when the consumer has room."""
        self._then(go_on, self._fetch(call, *args))

    def _then(self, go_on: Callable[[Any], None], coming: Deferred[Any]) -> None:
        """Continue with the result of ``coming`` when the consumer has room."""

        def fetched(result: Any) -> None:
            self._fetching = False
            if self._consumer is not None:
                self._fetched = partial(go_on, result)
                self._produce()

        def failed(why: Failure) -> None:
            self._fetching = False
            self._fail(why)

        self._fetching = True
        coming.addCallbacks(fetched, failed)


def _verified(fetch: Fetch, file: BaseFile) -> Deferred[Any]:
    return fetch(file.verify).addCallback(lambda _: file.check())

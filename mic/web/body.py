"""The body of a response: an image's pieces, handed to a consumer as fast as it takes them.

A consumer that can send files is given ranges of them; to any other (TLS, Twisted's own client,
a recorder) their bytes are written. What is not in memory is read in a thread, so that one
client's cold range does not hold up the others.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from mic.image.basefile import BaseChanged, BaseFile
from mic.image.layout import FileRange, Memory, Piece
from mic.image.pagecache import WINDOW
from mic.web.transport import FileTransport

CHUNK = 256 * 1024
"""Bytes read and handed over at a time, and so what a client that stopped reading costs, where
bytes are written. With half as many TLS is slower by a quarter (bench/serve.py)."""

_TURN = 1024 * 1024
"""Bytes after which others get their turn, where a consumer takes everything at once."""

_PIECE = 8 * WINDOW
"""Bytes of a file handed over at a time, where they are in memory."""

SMALL = 64 * 1024
"""A body of up to so many bytes is read, checked and sent at once, without a producer. The end
of a longer one is read and checked too: what sendfile sends is checked only afterwards, and a
body of a file that was written to meanwhile must not come to its end."""


class Fetch(Protocol):
    """Calls in a thread."""

    def __call__(self, call: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """The result of ``call(*args)``, on the reactor's thread."""


def read_cached(pieces: Iterable[Piece]) -> bytes | None:
    """The bytes of ``pieces``, or None where a medium must be waited for.

    Raises as the sources do.
    """
    parts: list[bytes | bytearray | memoryview] = []
    for piece in pieces:
        data = _cached(piece)
        if data is None:
            return None
        parts.append(data)
    return b"".join(parts)


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
    ``wrote`` is told how many bytes went out, each time. The consumer registers this as a
    streaming producer before `startProducing`; the Deferred fires when all is handed over, fails
    when a piece cannot be read, and stays silent after `stopProducing`.
    """

    def __init__(
        self,
        pieces: Iterator[Piece],
        length: int,
        schedule: Callable[[Callable[[], None]], object],
        fetch: Fetch,
        wrote: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.length = length
        self._left = length
        self._pieces = pieces
        self._schedule = schedule
        self._fetch = fetch
        self._wrote = wrote
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
        """Begin to write to ``consumer``, in a later turn."""
        self._consumer = consumer
        self._later()
        return self._done

    def pauseProducing(self) -> None:
        """Write nothing until `resumeProducing`; a flag, as a transport pauses many times over."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Go on."""
        self._paused = False
        self._produce()

    def stopProducing(self) -> None:
        """Write no more, ever. May come more than once."""
        self._consumer = None
        self._pieces = iter(())
        self._piece = None
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
        if (
            isinstance(consumer, FileTransport)
            and isinstance(source, BaseFile)
            and self._left > SMALL
        ):
            self._send(consumer, source, min(most, self._left - SMALL, _PIECE))
        else:
            self._write(consumer, self._take(min(most, CHUNK)))

    def _send(self, consumer: FileTransport, source: BaseFile, length: int) -> None:
        assert isinstance(self._piece, FileRange)  # noqa: S101
        start = self._piece.start + self._position
        held = source.cache.held(start, start + length)
        stop = held if held > start else start + min(length, WINDOW)
        self._take(stop - start)
        sent = partial(self._sent, source)
        send = partial(consumer.send_file, source.fd, start, stop, sent, source.intact)
        if held > start:
            send()
        else:
            self._fetch_then(lambda _: send(), source.cache.fill, start, stop)

    def _sent(self, source: BaseFile, count: int) -> None:
        self._wrote(count)
        try:
            source.check()
            if not count:
                raise OSError(errno.EIO, os.strerror(errno.EIO), source.path)
        except (OSError, BaseChanged):
            self._fail(Failure())

    def _write(self, consumer: IConsumer, part: Piece) -> None:
        def write(data: bytes | bytearray | memoryview) -> None:
            self._wrote(len(data))
            consumer.write(bytes(data))

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
        """Go on with what ``call`` gives, when it does and there is room for it."""

        def fetched(result: Any) -> None:
            self._fetching = False
            if self._consumer is not None:
                self._fetched = partial(go_on, result)
                self._produce()

        def failed(why: Failure) -> None:
            self._fetching = False
            self._fail(why)

        self._fetching = True
        self._fetch(call, *args).addCallbacks(fetched, failed)

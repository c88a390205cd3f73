"""The body of a response: an image's pieces, pushed to a consumer as fast as it takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from mic.image.layout import FileRange, Piece

CHUNK = 128 * 1024
"""Bytes read and handed over at a time: what a TCP transport sends at most in one go, and so
what a client that stopped reading costs."""

_TURN = 1024 * 1024
"""Bytes after which others get their turn, where a consumer takes everything at once."""


@implementer(IBodyProducer)
class ImageBody:
    """Streams ``pieces`` of together ``length`` bytes.

    ``schedule`` calls something in a later turn of the reactor. ``wrote`` is told how many bytes
    were handed over, each time. The consumer registers this as a streaming producer before
    `startProducing`; the Deferred fires when all is handed over, fails when a piece cannot be
    read, and stays silent after `stopProducing`.
    """

    def __init__(
        self,
        pieces: Iterator[Piece],
        length: int,
        schedule: Callable[[Callable[[], None]], object],
        wrote: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.length = length
        self._pieces = pieces
        self._schedule = schedule
        self._wrote = wrote
        self._piece: Piece | None = None
        self._position = 0
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] = Deferred()
        self._paused = False
        self._producing = False
        self._scheduled = False

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
            if self._consumer is not None:
                self.stopProducing()
                self._done.errback(Failure())
        finally:
            self._producing = False

    def _write_some(self) -> None:
        written = 0
        while self._consumer is not None and not self._paused:
            if written >= _TURN:
                self._later()
                return
            data = self._next()
            if data is None:
                self.stopProducing()
                self._done.callback(None)
                return
            written += len(data)
            self._wrote(len(data))
            self._consumer.write(data)

    def _next(self) -> bytes | None:
        if self._piece is None or self._position == len(self._piece):
            self._piece = next(self._pieces, None)
            self._position = 0
        if self._piece is None:
            return None
        part = self._piece.part(self._position, min(self._position + CHUNK, len(self._piece)))
        self._position += len(part)
        if isinstance(part, FileRange):
            return part.source.read(part.start, len(part))
        return bytes(part.data)

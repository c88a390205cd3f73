"""A TCP transport that sends ranges of files as well as bytes, without reading them.

Only plain TCP: over TLS the protocol's transport is another object, and a file sent past it
would go out in the clear.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Server

_TURN = 2 * 1024 * 1024
"""Bytes for one client before others get their turn."""

_RECEIVED = 16 * 1024
"""Bytes taken at a time: requests are small."""

_BUFFERS = 64
"""Buffers that go into one system call; the kernel takes up to 1024 (IOV_MAX)."""

Buffer = bytes | memoryview


class FilePiece:
    """The bytes ``start`` to ``stop`` of a descriptor; ``sent`` is told what went out of them,
    ``intact`` says before whether they are still the right ones."""

    __slots__ = ("fd", "intact", "sent", "start", "stop")

    def __init__(
        self,
        fd: int,
        start: int,
        stop: int,
        sent: Callable[[int], None],
        intact: Callable[[], bool],
    ) -> None:
        self.fd = fd
        self.start = start
        self.stop = stop
        self.sent = sent
        self.intact = intact


class FileTransport(Server):
    """The server's end of a TCP connection.

    What a protocol writes while it takes bytes goes out in one call at the end of that, without
    a round through the reactor; what the socket does not take waits in a queue of its own.
    """

    producer: Any
    protocol: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._queue: deque[Buffer | FilePiece] = deque()
        self._buffered = 0
        # Whoever sets it sends what is queued and asks for writability by itself.
        self._busy = False
        super().__init__(*args, **kwargs)

    def write(self, data: Buffer) -> None:
        """Send bytes after what is queued."""
        if self.connected and data:
            self._queue.append(data)
            self._buffered += len(data)
            if self._buffered > self.bufferSize:
                self._pause()
            self.startWriting()

    def writeSequence(self, iovec: Any) -> None:
        """Send bytes after what is queued; a response's head comes in dozens of pieces."""
        self.write(b"".join(iovec))

    def write_now(self, head: bytes, body: memoryview) -> None:
        """Send both after what is queued; ``body`` may change as soon as this returns."""
        count = 0
        if self.connected and not self._queue:
            # Where the socket is full, or broken, the next attempt will show it.
            with suppress(OSError):
                count = self.socket.sendmsg((head, body))
        if count < len(head) + len(body):
            self.write((head + body)[count:])

    def send_file(
        self,
        fd: int,
        start: int,
        stop: int,
        sent: Callable[[int], None],
        intact: Callable[[], bool] = lambda: True,
    ) -> None:
        """Send the bytes ``start`` to ``stop`` of a file after what is queued.

        ``sent`` is told how many went out, each time; 0 means that the file has no more, cannot
        be read or is not ``intact``, and the connection is closed then. ``intact`` is asked
        before each sending: a client may stop for minutes between two. A streaming producer is
        paused until all are gone.
        """
        if self.connected:
            self._queue.append(FilePiece(fd, start, stop, sent, intact))
            self._pause()
            self.startWriting()

    def doRead(self) -> Any:
        """Hand bytes to the protocol, and send what it answers."""
        try:
            data = self.socket.recv(_RECEIVED)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self._busy = True
        try:
            self.protocol.dataReceived(data)
        finally:
            self._busy = False
        try:
            drained = not self._queue or self._drain()
        except OSError:
            drained = False
        if self.connected and (self.disconnecting or not drained):
            # Errors and the end are for doWrite: found while reading they would mean that the
            # client has sent its last.
            self.startWriting()
        return None

    def doWrite(self) -> Any:
        """Send what the socket takes; once all is gone, have more produced or close."""
        try:
            if not self._drain():
                return None
        except OSError:
            return CONNECTION_LOST
        self.stopWriting()
        # A connection that is to be closed waits for what its producer still has to write; one
        # that was not held back has written it. (Behind TLS the channel is a producer throughout.)
        written = self.producer is None or (self.streamingProducer and not self.producerPaused)
        return CONNECTION_DONE if self.disconnecting and written else None

    def startWriting(self) -> None:
        """Ask for writability, unless the queue is being seen to."""
        if not self._busy:
            super().startWriting()

    def abortConnection(self) -> None:
        """Close at once, and forget what is queued."""
        self._queue.clear()
        super().abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """Forget what is queued: it holds memory."""
        self._queue.clear()
        super().connectionLost(reason)

    def _pause(self) -> None:
        if self.producer is not None and self.streamingProducer:
            self.producerPaused = True
            self.producer.pauseProducing()

    def _drain(self) -> bool:
        """Send, and have more produced, until nothing is left (True) or others must have a turn.

        Raises `OSError` when the connection is broken.
        """
        left = _TURN
        self._busy = True
        try:
            while True:
                while self._queue:
                    count = self._send(left) if left > 0 else 0
                    if not count:
                        return False
                    left -= count
                producer = self.producer
                if producer is None or (self.streamingProducer and not self.producerPaused):
                    return True
                self.producerPaused = False
                producer.resumeProducing()
                if not self._queue:
                    return True
        finally:
            self._busy = False

    def _send(self, most: int) -> int:
        """Send from the head of the queue; how many bytes the socket took."""
        piece = self._queue[0]
        if isinstance(piece, FilePiece):
            return self._send_from_file(piece, most)
        if len(self._queue) == 1:
            buffers = [piece]
        else:
            buffers = []
            for each in self._queue:
                if isinstance(each, FilePiece) or len(buffers) == _BUFFERS:
                    break
                buffers.append(each)
        try:
            count = self.socket.sendmsg(buffers)
        except BlockingIOError:
            return 0
        self._buffered -= count
        left = count
        for buffer in buffers:
            if left < len(buffer):
                self._queue[0] = memoryview(buffer)[left:]
                break
            self._queue.popleft()
            left -= len(buffer)
        return count

    def _send_from_file(self, piece: FilePiece, most: int) -> int:
        wanted = min(piece.stop - piece.start, most)
        try:
            count = 0
            if piece.intact():
                count = os.sendfile(self.socket.fileno(), piece.fd, piece.start, wanted)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            count = 0
        if not count:
            self.abortConnection()
        elif count == piece.stop - piece.start:
            self._queue.popleft()
        piece.start += count
        piece.sent(count)
        return count

"""A TCP transport that sends ranges of files as well as bytes, without reading them.

Only plain TCP: over TLS the protocol's transport is another object, and a file sent past it
would go out in the clear.

What the socket does not take waits in a queue. The queue holds as little memory as it can: ranges
of files, views of bytes that are in memory anyway, and small copies. Its owner is paused as soon as
anything waits, so that a client that does not read costs one answer at most.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.media.basefile import BaseChanged, BaseFile
from mic.web.readers import Readers

_TURN = 2 * 1024 * 1024
"""Bytes for one client before others get their turn."""

_RESUMED = 64 * 1024
"""Cost of resuming a producer, in bytes: it may be a pipelined request, whose answer
takes longer to make than to send."""

_RECEIVED = 2 * 1024
"""Upper bound on the bytes read at a time. Requests are small, and what comes behind one that is
being answered is kept until its turn."""

_BUFFERS = 64
"""Buffers that go into one system call; the kernel takes up to 1024 (IOV_MAX)."""

Buffer = bytes | bytearray | memoryview


class FilePiece:
    """The bytes ``start`` to ``stop`` of a file, queued to be sent.

    ``sent`` is called with the number of bytes that went out, each time, ``failed`` once if the
    rest cannot be sent.
    """

    __slots__ = ("failed", "sent", "source", "start", "stop")

    def __init__(
        self,
        source: BaseFile,
        start: int,
        stop: int,
        sent: Callable[[int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.source = source
        self.start = start
        self.stop = stop
        self.sent = sent
        self.failed = failed


class FileTransport(Server):
    """The server's end of a TCP connection.

    What a protocol writes while it takes bytes goes out in one call at the end of that, without
    a round through the reactor; what the socket does not take waits in a queue of its own.
    """

    producer: Any
    protocol: Any
    bufferSize = 0
    """Bytes that may wait before the producer is paused: none."""

    _log = Logger()

    def __init__(  # noqa: PLR0917 - as Twisted calls it
        self,
        sock: socket.socket,
        protocol: Any,
        client: tuple[object, ...],
        server: Port,
        sessionno: int,
        reactor: Any,
    ) -> None:
        assert isinstance(server, FilePort)  # noqa: S101
        self._readers = server.readers
        self._queue: deque[Buffer | FilePiece] = deque()
        # Set by methods that send what is queued and ask for writability themselves.
        self._busy = False
        self._aborted = False
        self._finishing = False
        self.shortcut: Callable[[], bytes | None] | None = None
        """Called in place of `receive`, until it returns bytes; None: it has answered them."""
        super().__init__(sock, protocol, client, server, sessionno, reactor)

    @property
    def has_queued(self) -> bool:
        """Whether anything waits to be sent."""
        return bool(self._queue)

    @property
    def is_clear(self) -> bool:
        """Whether what is sent past this object comes next: nothing is queued, and it is open."""
        return bool(self.connected) and not (self._queue or self._aborted)

    def write(self, data: Buffer) -> None:
        """Send bytes after what is queued; a view must not change until they are sent."""
        if self.connected and data and not self._aborted:
            self._queue.append(data)
            self._pause()
            self.startWriting()

    def writeSequence(self, iovec: Any) -> None:
        """Send bytes after what is queued; a response's head comes in dozens of pieces."""
        self.write(b"".join(iovec))

    def write_now(self, head: bytes, body: memoryview) -> int:
        """Send both after what is queued, and return how many bytes of ``body`` were taken.

        The rest of ``body`` is not queued: the caller sends it from where it keeps it, or closes
        the connection. ``body`` may change as soon as this returns.
        """
        if not self.connected or self._aborted:
            return len(body)
        if self._queue:
            self.write(head)
            return self._write_behind(body)
        try:
            count = self.socket.sendmsg((head, body)) - len(head)
        except OSError:
            # The socket is full, or broken, which the next attempt will show.
            count = -len(head)
        if count < 0:
            self.write(head[count:])
            return 0
        return count

    def _write_behind(self, body: memoryview) -> int:
        self._queue.append(body)
        try:
            self._send(_TURN)
        except OSError:
            self.startWriting()
        # Nothing was queued behind it: what is last now is what was not taken of it.
        left = self._queue.pop() if self._queue else b""
        assert not isinstance(left, FilePiece)  # noqa: S101
        return len(body) - len(left)

    def send_file(
        self,
        source: BaseFile,
        start: int,
        stop: int,
        sent: Callable[[int], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Send the bytes ``start`` to ``stop`` of a file after what is queued.

        ``sent`` is called with the number of bytes that went out, each time. The file is checked
        before and after each sending: a client may stop for minutes between two. When it has
        changed, has no more bytes or cannot be read, the connection is closed at once and
        ``failed`` called with the reason. A streaming producer is paused until all are gone.
        """
        if self.connected and not self._aborted:
            self._queue.append(FilePiece(source, start, stop, sent, failed))
            self._pause()
            self.startWriting()

    def finish_writing(self) -> None:
        """Send what is queued, then let the client know that nothing follows, and go on reading.

        To close instead would reset the connection while the client still sends, and what it had
        not read by then would be lost.
        """
        self._finishing = True
        self.startWriting()

    def receive(self) -> bytes:
        """Return what the client has sent, no bytes at its end. Raises `OSError`."""
        data: bytes = self.socket.recv(_RECEIVED)
        return data

    def doRead(self) -> Any:
        """Hand bytes to the protocol, and send what it answers."""
        shortcut = self.shortcut
        try:
            data = self.receive() if shortcut is None else shortcut()
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if data is None:
            return None
        self.shortcut = None
        if not data:
            return CONNECTION_DONE
        self._busy = True
        try:
            self.protocol.dataReceived(data)
        finally:
            self._busy = False
        try:
            drained = not (self._queue or self.producerPaused) or self._drain()
        except OSError:
            drained = False
        if self.connected and (self.disconnecting or self._finishing or not drained):
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
        written = self.producer is None or not self._is_awaited()
        if self._finishing and written:
            self._finishing = False
            # Where the client is gone already, reading shows it.
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
        return CONNECTION_DONE if self.disconnecting and written else None

    def startReading(self) -> None:
        """Wait for bytes of the client."""
        self._readers.add(self)

    def stopReading(self) -> None:
        """Leave what the client sends in the kernel."""
        self._readers.remove(self)

    def read_ready(self) -> None:
        """Read once, as the reactor would; after the end, or an error, close."""
        try:
            why = self.doRead()
            if why is None:
                return
            self.stopReading()
            if why is CONNECTION_DONE:
                self.readConnectionLost(Failure(ConnectionDone()))
            else:
                self.connectionLost(Failure(ConnectionLost()))
        except Exception:
            # One connection must not end the others, nor be read again and again.
            reason, client = Failure(), self.getPeer().host
            self._log.failure("{client}: its connection is closed", client=client)
            self.stopReading()
            try:
                self.connectionLost(reason)
            except Exception:
                self._log.failure("{client}: its connection could not be closed", client=client)

    def startWriting(self) -> None:
        """Ask for writability, unless the queue is being seen to."""
        if not self._busy:
            super().startWriting()

    def abortConnection(self) -> None:
        """Close at once, and forget what is queued."""
        self._aborted = True
        self._queue.clear()
        super().abortConnection()

    def connectionLost(self, reason: Any) -> None:
        """Forget what is queued: it holds memory."""
        self._queue.clear()
        self.shortcut = None
        super().connectionLost(reason)

    def _is_awaited(self) -> bool:
        """Whether the producer waits to be asked for more."""
        return self.producerPaused or not self.streamingProducer

    def _pause(self) -> None:
        if self.producer is not None and self.streamingProducer and not self.producerPaused:
            self.producerPaused = True
            self.producer.pauseProducing()

    def _drain(self) -> bool:
        """Send, and have more produced, until nothing is left (True) or others must have a turn.

        Raises `OSError` when the connection is broken.
        """
        left = _TURN
        busy, self._busy = self._busy, True
        try:
            while True:
                while self._queue:
                    count = self._send(left) if left > 0 else 0
                    if not count:
                        return False
                    left -= count
                producer = self.producer
                if self._aborted or producer is None or not self._is_awaited():
                    return True
                if left <= 0:
                    return False
                left -= _RESUMED
                self.producerPaused = False
                producer.resumeProducing()
                if not self._queue and not self.producerPaused:
                    return True
        finally:
            self._busy = busy

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
            piece.source.check()
            count = os.sendfile(self.socket.fileno(), piece.source.fd, piece.start, wanted)
            if not count:
                raise OSError(errno.EIO, os.strerror(errno.EIO), piece.source.path)
        except BlockingIOError:
            return 0
        except (OSError, BaseChanged) as error:
            if isinstance(error, OSError) and error.errno != errno.EIO:
                raise
            self._fail(piece, error)
            return 0
        piece.start += count
        if piece.start == piece.stop:
            self._queue.popleft()
        piece.sent(count)
        try:
            piece.source.check()
        except (OSError, BaseChanged) as error:
            self._fail(piece, error)
        return count

    def _fail(self, piece: FilePiece, error: Exception) -> None:
        self.abortConnection()
        piece.failed(error)


class FilePort(Port):
    """A port whose connections send files without reading them."""

    transport = FileTransport

    def __init__(
        self, port: int, factory: Any, backlog: int = 50, interface: str = "", reactor: Any = None
    ) -> None:
        super().__init__(port, factory, backlog, interface, reactor)
        self.readers = Readers(reactor)

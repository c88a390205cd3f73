"""A connection whose client may stop reading: what it costs is bounded, in memory and in time.

One request is answered at a time. While its answer waits for the client, what comes behind it is
neither parsed nor read: one piece of input is kept, the rest stays in the client's own machine. A
client that goes away meanwhile is noticed by its reset, by the next write, or by the time limit.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from mic.web import _twisted  # noqa: F401 - checks the private names used below
from mic.web.transport import FileTransport

_UNREAD = 4 * 1024
"""Bytes read at a time, and bytes that may wait before more are made, where a transport of
Twisted's is used (Unix sockets, endpoints)."""

_NOT_SENT = 256 * 1024
"""Bytes the kernel takes ahead of what it can send. Without the limit it buffers megabytes per
slow client."""

_LOOKS = 6
"""Number of progress checks within `FlowChannel.stall`."""

_ACKED = struct.Struct("=120xQ")
"""``tcpi_bytes_acked`` of ``struct tcp_info`` (linux/tcp.h): what has reached the client."""


class FlowChannel(HTTPChannel):
    """A connection that is closed when its client reads nothing of a response for too long.

    Twisted's own reads on while a client takes no answer, and keeps in memory all that it reads.
    """

    transport: ITCPTransport
    stall: float = 60.0
    """Time limit for a client that reads nothing of what is queued for it, in seconds."""

    # Closing has that time limit, too.
    abortTimeout = None  # type: ignore[assignment]

    _unsent: Request | None = None
    _closing = False
    _has_timer = False
    _check: IDelayedCall | None = None
    _progress = 0
    _still = 0
    _resumed = 0

    def connectionMade(self) -> None:
        """Keep the kernel from buffering much for the connection."""
        super().connectionMade()
        transport = _lowest(self)
        if isinstance(transport, Connection) and not isinstance(transport, FileTransport):
            transport.bufferSize = _UNREAD
        sock = _tcp_socket(self)
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT)

    def stalled(self) -> None:
        """Abort the connection: the client read nothing for `stall` seconds."""
        self.transport.abortConnection()

    def rawDataReceived(self, data: bytes) -> None:
        """Take bytes of a request's body, or keep those behind the request that is answered."""
        if self._handlingRequest:
            self._dataBuffer.append(data)
            self._networkProducer.pauseProducing()
        else:
            super().rawDataReceived(data)

    def requestDone(self, request: Request) -> None:
        """Take the next request when the response is sent."""
        if self._waitingForTransport:
            self._unsent = request
        else:
            super().requestDone(request)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Register the producer of a body, and watch its progress."""
        super().registerProducer(producer, streaming)
        self._watch()

    def pauseProducing(self) -> None:
        """Pause; a part of the response is queued until the client reads it."""
        super().pauseProducing()
        self._watch()

    def resumeProducing(self) -> None:
        """Resume; the client has read what was queued."""
        self._resumed += 1
        super().resumeProducing()
        if self._unsent is not None:
            request, self._unsent = self._unsent, None
            self.requestDone(request)

    def loseConnection(self) -> None:
        """Close when everything is sent, or when the client does not read it in time."""
        super().loseConnection()
        self._closing = True
        self._watch()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Stop the timers of a closed connection."""
        self._check = cancel(self._check)
        super().setTimeout(None)
        super().connectionLost(reason)

    def setTimeout(self, period: float | None) -> float | None:
        """Start or reset the idle timer; it also runs while a request is being answered."""
        # Twisted stops it for each request and makes another, and keeps those that were stopped
        # until the end of the turn: a flood of pipelined requests made tens of megabytes of them.
        if period is None or self._has_timer:
            self.resetTimeout()
            return self.timeOut
        self._has_timer = True
        super().setTimeout(period)
        return period

    def timeoutConnection(self) -> None:
        """Close an idle connection."""
        if self._handlingRequest or self._waitingForTransport:
            super().setTimeout(self.timeOut)
        else:
            super().timeoutConnection()

    def _watch(self) -> None:
        if self._check is None:
            self._progress, self._still = self._taken(), 0
            self._check_later()

    def _check_later(self) -> None:
        self._check = self.callLater(self.stall / _LOOKS, self._check_progress)

    def _check_progress(self) -> None:
        self._check = None
        # The timer runs on between two answers: one for each would cost more.
        if not (self._waitingForTransport or self._requestProducer or self._closing):
            return
        taken = self._taken()
        self._still = self._still + 1 if taken == self._progress else 0
        self._progress = taken
        if self._still < _LOOKS:
            self._check_later()
        else:
            self.stalled()

    def _taken(self) -> int:
        """Return a number that grows as the client reads."""
        sock = _tcp_socket(self)
        if sock is None:
            return self._resumed
        # A slow client's bytes are acknowledged long before there is room for more.
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
        acked: int = _ACKED.unpack(info)[0]
        return acked


def _lowest(channel: HTTPChannel) -> object:
    """Return the channel's transport, below TLS if there is TLS."""
    return getattr(channel.transport, "transport", channel.transport)


def _tcp_socket(channel: HTTPChannel) -> socket.socket | None:
    """Return the channel's open TCP socket, also below TLS; None for other sockets."""
    transport = _lowest(channel)
    if isinstance(transport, Connection) and transport.connected:
        sock: socket.socket = transport.getHandle()
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            return sock
    return None


def cancel(call: IDelayedCall | None) -> IDelayedCall | None:
    """Cancel a pending call, if there is one; return None to assign in its place."""
    if call is not None and call.active():
        call.cancel()
    return None

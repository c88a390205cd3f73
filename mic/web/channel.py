"""A connection: HTTP/1.1 as Twisted speaks it, with limits for clients that do not behave."""

from __future__ import annotations

import socket
import struct
from typing import Any, Protocol

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from zope.interface import implementer

from mic.web.fastlane import FastLane

_NOT_SENT = 256 * 1024
"""Bytes the kernel takes ahead of what it can send. Without the limit it buffers megabytes per
slow client."""

_LOOKS = 6
"""How often a body's progress is looked at within the time it may stand still."""

_ACKED = struct.Struct("=120xQ")
"""``tcpi_bytes_acked`` of ``struct tcp_info`` (linux/tcp.h): what has reached the client."""


class ChannelSet(Protocol):
    """Where connections are counted, and plain requests answered."""

    fast_lane: FastLane
    channels: set[ImageChannel]


@implementer(IHalfCloseableProtocol)
class ImageChannel(HTTPChannel):
    """One client connection; ``client`` is how logs call who is at its other end.

    Closed when a request takes too long to arrive, when it idles between requests, and when a
    body makes no progress; `timeoutConnection` of Twisted stands still while a request is
    answered, so the last is watched here.
    """

    HEADERS = 10.0
    """Seconds a request's head (and unwanted body) may take from its first byte."""

    IDLE = 120.0
    """Seconds a connection may stay without a request."""

    STALL = 300.0
    """Seconds a body may stand still: people change discs, BMCs reset, then go on."""

    # A slow client still has to fetch the end of a body when the idle time is over.
    abortTimeout = STALL  # type: ignore[assignment]

    site: ChannelSet
    transport: ITCPTransport
    _deadline: IDelayedCall | None = None
    _watch: IDelayedCall | None = None
    _passed = 0
    _resumed = 0
    _still = 0
    _refused = False
    _no_more_requests = False
    client = ""

    def connectionMade(self) -> None:
        """Count the connection, and keep the kernel from buffering much for it."""
        super().connectionMade()
        if isinstance(self.transport, Connection):
            sock: socket.socket = self.transport.getHandle()
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT)
        self.client = _name(self.transport.getPeer())
        self.site.channels.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._refused:
            return
        if not self.requests:
            # Without a deadline nothing of a request has come yet.
            if (
                self._deadline is None
                and self.persistent
                and self.site.fast_lane.serve(data, self.client, self.transport)
            ):
                self.resetTimeout()
                return
            self._expect_request()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a request's head."""
        # Pipelined requests come from a buffer, not through dataReceived.
        self._expect_request()
        super().lineReceived(line)

    def allContentReceived(self) -> None:
        """A request is there, whole."""
        self._deadline = _cancel(self._deadline)
        super().allContentReceived()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A body begins."""
        super().registerProducer(producer, streaming)
        self._still = 0
        self._watch = self.callLater(self.STALL / _LOOKS, self._look)

    def unregisterProducer(self) -> None:
        """A body is over."""
        super().unregisterProducer()
        self._watch = _cancel(self._watch)

    def resumeProducing(self) -> None:
        """The client took some."""
        self._resumed += 1
        super().resumeProducing()

    def requestDone(self, request: Request) -> None:
        """A response is complete, and the next request's turn."""
        super().requestDone(request)
        if self._no_more_requests and not self.requests:
            self.loseConnection()

    def readConnectionLost(self) -> None:
        """The client sends no more, but may still read: what it asked for it gets."""
        self._no_more_requests = True
        # A deadline means that a request began and will never be whole.
        if not self.requests or self._deadline is not None:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Never: we close both directions at once."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.site.channels.discard(self)
        self._deadline = _cancel(self._deadline)
        self._watch = _cancel(self._watch)
        super().connectionLost(reason)

    def refuse(self, status: bytes) -> None:
        """Answer a request that is still arriving, and close."""
        if not self._refused:
            self._refused = True
            head = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            self.transport.write(head % status)
            self.loseConnection()

    def abortConnection(self) -> None:
        """Break off at once; what was not sent is lost."""
        self.transport.abortConnection()

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.callLater(self.HEADERS, self._late)

    def _late(self) -> None:
        self._deadline = None
        self.abortConnection()

    def _look(self) -> None:
        """See whether the body made progress since the last look."""
        passed = self._progress()
        self._still = self._still + 1 if passed == self._passed else 0
        self._passed = passed
        if self._still < _LOOKS:
            self._watch = self.callLater(self.STALL / _LOOKS, self._look)
        else:
            self._watch = None
            self.abortConnection()

    def _progress(self) -> int:
        """What grows as the client takes what we send."""
        transport = getattr(self.transport, "transport", self.transport)
        if not isinstance(transport, Connection):
            return self._resumed
        sock: socket.socket = transport.getHandle()
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return self._resumed
        # A very slow client's bytes are acknowledged long before there is room for more.
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
        acked: int = _ACKED.unpack(info)[0]
        return acked


def _cancel(call: IDelayedCall | None) -> IDelayedCall | None:
    """Cancel a call that may have run or never been made; what to remember of it: nothing."""
    if call is not None and call.active():
        call.cancel()
    return None


def _name(peer: IAddress) -> str:
    return str(getattr(peer, "host", None) or getattr(peer, "name", None) or "local socket")

"""A connection: HTTP/1.1 as Twisted speaks it, with limits for clients that do not behave."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request
from zope.interface import implementer

_NOT_SENT = 256 * 1024
"""Bytes the kernel takes ahead of what it can send. Without the limit it buffers megabytes per
slow client, and progress shows only every few minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long clients may take, in seconds."""

    headers: float = 10.0
    """For a request's head (and unwanted body), from its first byte."""

    idle: float = 120.0
    """Between requests."""

    stall: float = 300.0
    """Without taking any of an answer: people change discs, BMCs reset, then go on."""


class ChannelSet(Protocol):
    """Where connections are counted, and what is allowed to them."""

    channels: set[ImageChannel]
    limits: Limits


@implementer(IHalfCloseableProtocol)
class ImageChannel(HTTPChannel):
    """One client connection.

    Closed when a request takes too long to arrive, when it idles between requests, and when a
    body makes no progress; `timeoutConnection` of Twisted stands still while a request is
    answered, so the last is watched here.
    """

    # Closing has a time limit of its own: see `loseConnection`.
    abortTimeout = None  # type: ignore[assignment]

    site: ChannelSet
    transport: ITCPTransport
    fresh = True
    """Whether its first request is still to come: its client connected to ask for something."""

    _deadline: IDelayedCall | None = None
    _stalled: IDelayedCall | None = None
    _refused = False
    _half_closed = False
    _unsent: Request | None = None

    def connectionMade(self) -> None:
        """Count the connection, and keep the kernel from buffering much for it."""
        super().connectionMade()
        if isinstance(self.transport, Connection):
            sock: socket.socket = self.transport.getHandle()
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT)
        self.site.channels.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._refused:
            return
        if not self.requests:
            self._expect_request()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a request's head."""
        # Pipelined requests come from a buffer, not through dataReceived.
        self._expect_request()
        super().lineReceived(line)

    def allContentReceived(self) -> None:
        """A request is there, whole."""
        if self._refused:
            return
        self._deadline = _cancel(self._deadline)
        self.fresh = False
        super().allContentReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether the connection stays open after the answer to ``request``."""
        # Twisted knows "close" only as the first line's only option, or between spaces.
        lines = request.requestHeaders.getRawHeaders(b"Connection", [])
        options = {option.strip().lower() for line in lines for option in line.split(b",")}
        if b"close" in options:
            request.requestHeaders.setRawHeaders(b"Connection", [b"close"])
        persistent: bool = super().checkPersistence(request, version)
        return persistent

    def requestDone(self, request: Request) -> None:
        """A request is answered: take the next one, once there is room for its answer."""
        if self._waitingForTransport:
            # Else a client that sends a thousand requests and reads nothing costs a thousand
            # answers of memory.
            self._unsent = request
            self._watch()
            return
        super().requestDone(request)
        # Else we are inside the loop that takes pipelined requests from the buffer.
        if self._half_closed and not self._busyReceiving:
            self.readConnectionLost()

    def readConnectionLost(self) -> None:
        """The client sends no more (``nc``, some BMCs); what it asked for it still gets."""
        self._half_closed = True
        if not self._handlingRequest:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Never comes: we close both directions at once."""

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A body begins."""
        super().registerProducer(producer, streaming)
        self._watch()

    def unregisterProducer(self) -> None:
        """A body is over."""
        super().unregisterProducer()
        self._stalled = _cancel(self._stalled)

    def resumeProducing(self) -> None:
        """The client took some."""
        if self._stalled is not None:
            self._stalled.reset(self.site.limits.stall)
        super().resumeProducing()
        if self._unsent is not None:
            request, self._unsent = self._unsent, None
            self._stalled = _cancel(self._stalled)
            self.requestDone(request)

    def loseConnection(self) -> None:
        """Close when all is sent, or when the client does not take it."""
        super().loseConnection()
        self._watch()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.site.channels.discard(self)
        self._deadline = _cancel(self._deadline)
        self._stalled = _cancel(self._stalled)
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
            self._deadline = self.callLater(self.site.limits.headers, self._late)

    def _late(self) -> None:
        self._deadline = None
        self.abortConnection()

    def _watch(self) -> None:
        if self._stalled is None:
            self._stalled = self.callLater(self.site.limits.stall, self._stall)

    def _stall(self) -> None:
        self._stalled = None
        self.abortConnection()


def _cancel(call: IDelayedCall | None) -> IDelayedCall | None:
    """Cancel a call that may have run or never been made; what to remember of it: nothing."""
    if call is not None and call.active():
        call.cancel()
    return None

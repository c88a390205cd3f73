"""A connection: HTTP/1.1 as Twisted speaks it, with limits for clients that do not behave."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Any, Protocol

from OpenSSL import SSL
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

from mic.tls import openssl_reason
from mic.web.fastlane import FastLane

_NOT_SENT = 256 * 1024
"""Bytes the kernel takes ahead of what it can send. Without the limit it buffers megabytes per
slow client."""

_TLS_HANDSHAKE = b"\x16"
"""What a TLS client begins with (RFC 8446 section 5.1), and no HTTP client."""

_LOOKS = 6
"""How often progress is looked at within the time an answer may stand still."""

_ACKED = struct.Struct("=120xQ")
"""``tcpi_bytes_acked`` of ``struct tcp_info`` (linux/tcp.h): what has reached the client."""


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
    """Where connections are counted, what is allowed to them, who answers plain requests."""

    fast_lane: FastLane
    channels: set[ImageChannel]
    limits: Limits

    def tls_failed(self, client: str, reason: str) -> None:
        """A client could not agree with us on TLS."""


@implementer(IHalfCloseableProtocol)
class ImageChannel(HTTPChannel):
    """One client connection; ``client`` is how logs call who is at its other end.

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
    _progress = 0
    _still = 0
    _resumed = 0
    client = ""
    _refused = False
    _half_closed = False
    _unsent: Request | None = None

    def connectionMade(self) -> None:
        """Count the connection, and keep the kernel from buffering much for it."""
        super().connectionMade()
        sock = self._tcp_socket()
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT)
        self.client = _name(self.transport.getPeer())
        self.site.channels.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._refused:
            return
        if not self.requests:
            # With a deadline some of a request has come already; without one too, if that came
            # in one go with the request before it, and was not a whole line.
            if self._deadline is None and self.persistent and not self._buffer:
                if self.site.fast_lane.serve(data, self.client, self.transport):
                    self.fresh = False
                    self.resetTimeout()
                    return
            if self.fresh and data.startswith(_TLS_HANDSHAKE):
                # It would wait for an answer until what it sent counts as a slow request.
                self.loseConnection()
                return
            self._expect_request()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a request's head."""
        # Pipelined requests come from a buffer, not through dataReceived.
        self._expect_request()
        super().lineReceived(line)

    def lineLengthExceeded(self, _line: bytes) -> None:
        """A line of a request's head does not end."""
        # Twisted closes the transport, which then waits for us, its producer, for ever.
        self.refuse(b"431 Request Header Fields Too Large")

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
        self._resumed += 1
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
        if self.fresh and reason.check(SSL.Error):
            self.site.tls_failed(self.client, openssl_reason(reason.value))
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
        """Break off when the client takes nothing of an answer for too long."""
        if self._stalled is None:
            self._progress, self._still = self._taken(), 0
            self._look_later()

    def _look_later(self) -> None:
        self._stalled = self.callLater(self.site.limits.stall / _LOOKS, self._look)

    def _look(self) -> None:
        self._stalled = None
        taken = self._taken()
        self._still = self._still + 1 if taken == self._progress else 0
        self._progress = taken
        if self._still < _LOOKS:
            self._look_later()
        else:
            self.abortConnection()

    def _taken(self) -> int:
        """What grows as the client takes what we send."""
        sock = self._tcp_socket()
        if sock is None:
            return self._resumed
        # A slow client's bytes are acknowledged long before there is room for more.
        acked: int = _ACKED.unpack(
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
        )[0]
        return acked

    def _tcp_socket(self) -> socket.socket | None:
        """The socket, if it is TCP's and open; behind TLS there is one, too."""
        transport = getattr(self.transport, "transport", self.transport)
        if isinstance(transport, Connection) and transport.connected:
            sock: socket.socket = transport.getHandle()
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                return sock
        return None


def _cancel(call: IDelayedCall | None) -> IDelayedCall | None:
    """Cancel a call that may have run or never been made; what to remember of it: nothing."""
    if call is not None and call.active():
        call.cancel()
    return None


def _name(peer: IAddress) -> str:
    name = str(getattr(peer, "host", None) or getattr(peer, "name", None) or "local socket")
    # What an IPv4 client is to a socket of both families.
    return name.removeprefix("::ffff:")

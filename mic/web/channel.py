"""A connection: HTTP/1.1 as Twisted speaks it, with limits for clients that do not behave."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import implementer

from mic.images.store import Image, ImageId
from mic.tls.certificate import openssl_reason
from mic.web.body import ImageBody
from mic.web.fastlane import FastLane
from mic.web.flow import FlowChannel, cancel
from mic.web.headers import OWN_AGENT, refusal_answer
from mic.web.request_body import Body, ChunkedBody, FixedBody
from mic.web.request_head import (
    HTTP_1_1,
    MAX_FIELDS,
    MAX_HEAD,
    Refusal,
    RequestLine,
    body_length,
    check_host,
    field,
    request_line,
)
from mic.web.stats import NONE, Served
from mic.web.transport import FileTransport

_TLS_HANDSHAKE = b"\x16"
"""First bytes of a TLS client (RFC 8446 section 5.1), and of no HTTP client."""

_TOO_LONG = (431, f"A request's header may have {MAX_HEAD} bytes.")

_READ = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"range",
        b"transfer-encoding",
    )
)
"""The fields that have a meaning for mic. Others are checked and dropped: 500 of them would cost
50 KiB, and Twisted keeps the names of ten thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Time limits for clients, in seconds."""

    headers: float = 10.0
    """For a request's head (and unwanted body), from its first byte; for a TLS handshake, from
    the connection's begin."""

    idle: float = 120.0
    """Time between requests."""

    stall: float = 300.0
    """Time without reading anything of a response; BMCs are reset and continue."""


class ChannelSet(Protocol):
    """Parts of the site that a connection needs: its limits, its counts and the fast lane."""

    fast_lane: FastLane
    served: Served
    channels: set[ImageChannel]
    peak: int
    limits: Limits

    def tls_failed(self, client: str, reason: str) -> None:
        """A client could not agree with us on TLS."""

    def body(self, image: Image, start: int, stop: int) -> ImageBody:
        """The bytes ``start`` to ``stop`` of an image, to be sent as the client takes them."""

    def cut(self, channel: ImageChannel, label: ImageId, why: Failure) -> None:
        """Break off a body that cannot be read."""


class _Answered:
    """Placeholder of a request of the fast lane until its response is sent."""

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone, and its producer stopped."""


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class ImageChannel(FlowChannel):
    """One client connection; ``client`` is how logs call who is at its other end.

    Closed when a request takes too long to arrive, when it idles between requests, and when a
    body makes no progress.
    """

    # Scripts and some firmware end lines in LF alone. Waiting for a CR would be silence to them.
    delimiter = b"\n"
    MAX_LENGTH = MAX_HEAD
    totalHeadersSize = MAX_HEAD

    site: ChannelSet
    fresh = True
    """Whether the client has not sent its first request yet."""

    _deadline: IDelayedCall | None = None
    client = ""
    _refused = False
    _half_closed = False
    _handshaking = False

    # Of the request that is arriving.
    _line: RequestLine | None = None
    _is_head = False
    _head_length = 0
    _fields = 0
    _body: Body | None = None

    def connectionMade(self) -> None:
        """Count the connection."""
        self.stall = self.site.limits.stall
        super().connectionMade()
        self.client = _name(self.transport.getPeer())
        self.site.channels.add(self)
        self.site.peak = max(self.site.peak, len(self.site.channels))
        if isinstance(self.transport, TLSMemoryBIOProtocol):
            self._handshaking = True
            self._expect_request()

    def handshakeCompleted(self) -> None:
        """TLS is set up: the client may idle now as any other."""
        if self._handshaking:
            self._handshaking = False
            self._deadline = cancel(self._deadline)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of requests."""
        if self._refused:
            return
        if not self.requests:
            # With a deadline some of a request has come already; without one too, if that came
            # in one go with the request before it, and was not a whole line.
            if self._deadline is None and self.persistent and not self._buffer:
                if self.site.fast_lane.serve(data, self.transport, self):
                    return
            if self.fresh and data.startswith(_TLS_HANDSHAKE):
                # It would wait for an answer until what it sent counts as a slow request.
                self.loseConnection()
                return
        super().dataReceived(data)
        if self.line_mode and not self._busyReceiving and b"\r" in self._buffer[:-1]:
            # It never becomes a line that is served: what follows the CR is no LF.
            self.lineReceived(self.clearLineBuffer())
        if self._deadline is None and self._is_receiving():
            self._expect_request()

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a request's head."""
        if self._refused or not self.persistent:
            return
        self._head_length += len(line) + 1
        line = line.removesuffix(b"\r")
        self._note_method(line)
        try:
            if b"\r" in line:
                raise Refusal(400, "A line of the header holds a bare CR.")
            if self._head_length > MAX_HEAD:
                raise Refusal(*_TOO_LONG)
            if self._line is None and line:
                self._line = request_line(line)
                line = b" ".join(self._line)
            super().lineReceived(line)
        except Refusal as refusal:
            self.refuse(refusal)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line of a request's head does not end."""
        self._note_method(line)
        # Twisted closes the transport, which then waits for us, its producer, for ever.
        self.refuse(Refusal(*_TOO_LONG))

    def headerReceived(self, line: bytes) -> bool:
        """Take a field of a request's head; raises `Refusal`."""
        name, value = field(line)
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise Refusal(431, f"A request's header may have {MAX_FIELDS} fields.")
        known = name.lower()
        if known in _READ or (known == b"user-agent" and value.startswith(OWN_AGENT)):
            self.requests[-1].requestHeaders.addRawHeader(name, value)
        return True

    def allHeadersReceived(self) -> None:
        """A request's head is there, whole; raises `Refusal`."""
        headers = self.requests[-1].requestHeaders
        assert self._line is not None  # noqa: S101
        version = self._line.version
        check_host(version, headers.getRawHeaders(b"Host", []))
        self.length = body_length(
            version,
            headers.getRawHeaders(b"Content-Length", []),
            headers.getRawHeaders(b"Transfer-Encoding", []),
        )
        if self.length == 0:
            # There is nothing to continue with.
            headers.removeHeader(b"Expect")
        else:
            self._body = ChunkedBody() if self.length is None else FixedBody(self.length)
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """Take bytes of a request's body, or of requests behind the one that is answered."""
        if self._body is None:
            super().rawDataReceived(data)
            return
        try:
            rest = self._body.feed(data)
        except Refusal as refusal:
            self.refuse(refusal)
        else:
            if rest is not None:
                self._finishRequestBody(rest)

    def allContentReceived(self) -> None:
        """A request is there, whole."""
        if self._refused:
            return
        self._deadline = cancel(self._deadline)
        self.fresh = False
        self._line, self._body = None, None
        self._head_length = self._fields = 0
        self._is_head = False
        super().allContentReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether the connection stays open after the answer to ``request``."""
        # Twisted knows one option in one line, and keeps no connection of HTTP/1.0.
        lines = request.requestHeaders.getRawHeaders(b"Connection", [])
        options = {option.strip(b" \t").lower() for line in lines for option in line.split(b",")}
        if b"close" in options or (version != HTTP_1_1 and b"keep-alive" not in options):
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        if version != HTTP_1_1:
            request.responseHeaders.setRawHeaders(b"Connection", [b"keep-alive"])
        return True

    def answered(self) -> None:
        """Note that the fast lane has answered a request."""
        self.fresh = False
        self.resetTimeout()

    def send_rest(self, image: Image, start: int, stop: int) -> None:
        """Send what the client did not take at once of an answer of the fast lane."""
        request: Any = _Answered()
        self.requests.append(request)
        self._handlingRequest = True
        self.setRawMode()
        body = self.site.body(image, start, stop)
        self.registerProducer(body, True)

        def finish(_result: object) -> None:
            self.unregisterProducer()
            self.requestDone(request)

        assert isinstance(self.transport, FileTransport)  # noqa: S101
        done = body.startProducing(self.transport)
        done.addCallbacks(finish, partial(self.site.cut, self, image.id))

    def requestDone(self, request: Request) -> None:
        """A request is answered: take the next one when the answer is sent."""
        super().requestDone(request)
        # Else we are inside the loop that takes pipelined requests from the buffer.
        if self._half_closed and not (self._handlingRequest or self._busyReceiving):
            self.readConnectionLost()

    def readConnectionLost(self) -> None:
        """Keep answering a client that closed its side (``nc``, some BMCs)."""
        self._half_closed = True
        if not self._handlingRequest:
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Never comes: we close both directions at once."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.site.channels.discard(self)
        if self.fresh and reason.check(SSL.Error):
            self.site.tls_failed(self.client, openssl_reason(reason.value))
        self._deadline = cancel(self._deadline)
        super().connectionLost(reason)

    def refuse(self, refusal: Refusal) -> None:
        """Answer a request that is still arriving, and close when the client has sent all."""
        if self._refused:
            return
        self._refused = True
        self.site.served.answers[NONE].count(refusal.status)
        self.transport.write(refusal_answer(refusal, int(time.time()), body=not self._is_head))
        self._deadline = cancel(self._deadline)
        if self._half_closed or not isinstance(self.transport, FileTransport):
            # TLS has an end of its own, which waits for the client's; the answer may have stopped
            # the reading.
            self.loseConnection()
            self._networkProducer.resumeProducing()
        else:
            self.transport.finish_writing()
            self._deadline = self.callLater(self.site.limits.headers, self._end_refusal)

    def _end_refusal(self) -> None:
        self._deadline = None
        self.loseConnection()

    def abortConnection(self) -> None:
        """Break off at once; what was not sent is lost."""
        self.transport.abortConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        # What Twisted finds by itself, and would answer without a word.
        self.refuse(Refusal(400, "The request is malformed."))

    def _note_method(self, line: bytes) -> None:
        if self._line is None:
            # Whatever is wrong with it: no refusal of a HEAD may have a body.
            self._is_head = line.startswith(b"HEAD ")

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.callLater(self.site.limits.headers, self._late)

    def _is_receiving(self) -> bool:
        """Whether some of a request is there, and not yet all of it."""
        return bool(self._buffer or self.requests) and not (self._handlingRequest or self._refused)

    def _late(self) -> None:
        self._deadline = None
        self.site.served.broken_off["slow_request"] += 1
        if self._handshaking:
            reason = f"the handshake took more than {self.site.limits.headers:g} s"
            self.site.tls_failed(self.client, reason)
        self.abortConnection()

    def stalled(self) -> None:
        """Abort the connection: the client took nothing for too long."""
        self.site.served.broken_off["stalled"] += 1
        super().stalled()


def _name(peer: IAddress) -> str:
    name = str(getattr(peer, "host", None) or getattr(peer, "name", None) or "local socket")
    # What an IPv4 client is to a socket of both families.
    return name.removeprefix("::ffff:")

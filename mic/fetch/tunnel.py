"""A connection through an HTTP proxy with CONNECT (RFC 9110 section 9.3.6): Twisted has none."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mic.fetch.failure import FetchError, Retryable
from mic.fetch.proxies import Proxy
from mic.fetch.verdict import RETRIED

_MAX_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: |\r|\Z)")


@implementer(IStreamClientEndpoint)
class Tunnel:
    """An endpoint that reaches ``host`` and ``port`` by way of a proxy.

    ``endpoint`` leads to the proxy. Connecting fails with `FetchError` when the proxy refuses, and
    with `Retryable` when it may not refuse later.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, proxy: Proxy, host: str, port: int) -> None:
        self._endpoint = endpoint
        self._proxy = proxy
        netloc = f"[{host}]" if ":" in host else host
        lines = [f"CONNECT {netloc}:{port} HTTP/1.1", f"Host: {netloc}:{port}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        self._head = "\r\n".join([*lines, "", ""]).encode()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        """Connect; the Deferred has the protocol that ``protocolFactory`` builds."""
        opening: list[_Opening] = []

        def cancel(_: Deferred[IProtocol]) -> None:
            attempt.cancel()
            for each in opening:
                each.abort()

        connected: Deferred[IProtocol] = Deferred(cancel)

        def build() -> _Opening:
            opening.append(_Opening(self._head, str(self._proxy), protocolFactory, connected))
            return opening[0]

        def failed(failure: Failure) -> None:
            if not connected.called:
                connected.errback(failure)

        attempt = self._endpoint.connect(Factory.forProtocol(build))
        attempt.addErrback(failed)
        return connected


class _Opening(Protocol):
    """Asks the proxy for the connection, then passes everything on to another protocol."""

    def __init__(
        self, head: bytes, proxy: str, factory: IProtocolFactory, connected: Deferred[IProtocol]
    ) -> None:
        self._head = head
        self._proxy = proxy
        self._factory = factory
        self._connected = connected
        self._answer = b""
        self._inner: Any = None

    def abort(self) -> None:
        """Give up."""
        if self.transport is not None:
            # Of TLS connections, when the proxy is reached by HTTPS, too.
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def connectionMade(self) -> None:
        """Ask for the connection."""
        assert self.transport is not None  # noqa: S101
        self.transport.write(self._head)

    def dataReceived(self, data: bytes) -> None:
        """Read the proxy's answer, or pass bytes on."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if len(head) > _MAX_HEAD:
            self._refuse(FetchError(f"the proxy {self._proxy} does not answer like a proxy"))
        elif end:
            self._answered(head, rest)

    def _answered(self, head: bytes, rest: bytes) -> None:
        match = _STATUS.match(head)
        if match is None:
            self._refuse(FetchError(f"the proxy {self._proxy} does not answer like a proxy"))
            return
        status = int(match[1])
        if status // 100 != 2:
            words = f"the proxy {self._proxy} refuses the connection: it answers {status}"
            if status == 407:
                words += " and wants other credentials (http://USER:PASSWORD@PROXY)"
            # 502 and the like: it could not reach the server.
            retried = status >= 500 or status in RETRIED
            self._refuse(Retryable(words) if retried else FetchError(words))
            return
        if self._connected.called:
            self.abort()
            return
        assert self.transport is not None  # noqa: S101
        self._inner = self._factory.buildProtocol(self.transport.getPeer())
        self._inner.makeConnection(self.transport)
        self._connected.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def _refuse(self, error: Exception) -> None:
        self.abort()
        if not self._connected.called:
            self._connected.errback(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass the end on."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self._connected.called:
            closed = ConnectionDone(f"the proxy {self._proxy} closed the connection")
            self._connected.errback(closed)

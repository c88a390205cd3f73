"""An HTTP proxy in front of a real API server that counts, and that fails requests on demand."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as HttpRequest
from twisted.web.http_headers import Headers
from twisted.web.iweb import IPolicyForHTTPS
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer in the place of the API server's."""

    code: int
    reason: str
    headers: Mapping[str, str] | None = None


Decide = Callable[[str, str], Fault | None]
"""(verb in RBAC's words with the resource, path) to a fault, or None to let the request through."""


class FaultProxy:
    """Listens on a plain port of its own and passes on all requests that `fault` does not fail."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = 20
        self.agent = Agent(reactor, contextFactory=_AnyCertificate(), pool=self._pool)
        # The API server ends a watch in good order when its client goes: nothing to keep then.
        self.watching = Agent(
            reactor,
            contextFactory=_AnyCertificate(),
            pool=HTTPConnectionPool(reactor, persistent=False),
        )
        self.fault: Decide = lambda verb, path: None
        self.requests: list[tuple[float, str]] = []
        """(monotonic time, verb and resource) of every request that came."""
        self.watches: set[Request] = set()
        self.channels: set[Any] = set()
        self.under_way: set[Deferred[None]] = set()
        """Requests of which the API server is still to answer a part."""
        self._held: list[Deferred[None]] | None = None
        self._port: Any = None

    def start(self) -> None:
        self._port = reactor.listenTCP(0, _Front(self), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._port.getHost().port}"

    async def stop(self) -> None:
        await self._port.stopListening()
        for channel in self.channels:
            if channel.transport is not None:
                channel.transport.abortConnection()
        await deferLater(reactor, 0)  # connections end in the next turn
        # Else their connections would go back to the pool after it was closed.
        await DeferredList(list(self.under_way))
        await self._pool.closeCachedConnections()

    def cut_watches(self, half_event: bytes = b"") -> None:
        """Cut every watch off, in the middle of an event when one is given."""
        for request in list(self.watches):
            if half_event:
                request.write(half_event)
            if request.transport is not None:
                request.transport.loseConnection()

    def hold_watches(self, held: bool) -> None:
        """Let new watches wait here, or go on to the API server."""
        waiting, self._held = self._held or [], [] if held else None
        for each in waiting:
            each.callback(None)

    async def passed(self) -> None:
        """Wait while watches are held."""
        if self._held is not None:
            waiting: Deferred[None] = Deferred()
            self._held.append(waiting)
            await waiting

    def count(self) -> Counter[str]:
        """Requests by verb and resource since `forget`."""
        return Counter(what for _, what in self.requests)

    def forget(self) -> None:
        """Begin to count anew."""
        self.requests.clear()

    def target(self, path: str) -> bytes:
        return (self._target + path).encode()


class _Front(Site):
    """Knows its connections from their beginning, also those that have yet to ask."""

    protocol = HTTPChannel

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(_Everything(proxy))
        self._proxy = proxy

    def buildProtocol(self, addr: object) -> Any:
        channel = super().buildProtocol(addr)
        self._proxy.channels.add(channel)
        return channel


class _Everything(Resource):
    isLeaf = True

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__()
        self._proxy = proxy

    def render(self, request: Request) -> int:
        path = request.uri.decode()
        verb = _verb(request.method.decode(), path)
        self._proxy.requests.append((time.monotonic(), verb))
        fault = self._proxy.fault(verb, path)
        if fault is not None:
            request.setResponseCode(fault.code)
            request.setHeader("Content-Type", "application/json")
            for name, value in (fault.headers or {}).items():
                request.setHeader(name, value)
            status = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "reason": fault.reason,
                "message": f"{verb}: refused by the test",
                "code": fault.code,
            }
            request.write(json.dumps(status).encode())
            request.finish()
            return NOT_DONE_YET
        watch = verb.startswith("watch")
        forwarded = Deferred.fromCoroutine(self._forward(request, path, watch))
        forwarded.addErrback(lambda _: request.transport and request.transport.loseConnection())
        if not forwarded.called:
            self._proxy.under_way.add(forwarded)
            forwarded.addBoth(lambda _: self._proxy.under_way.discard(forwarded))
        if watch:
            # The API server would go on for minutes, and the connection be left behind then.
            request.notifyFinish().addErrback(lambda _: forwarded.cancel())
        return NOT_DONE_YET

    async def _forward(self, request: Request, path: str, watch: bool) -> None:
        headers = Headers()
        for name, values in request.requestHeaders.getAllRawHeaders():
            if name.lower() not in (b"host", b"content-length", b"connection", b"accept-encoding"):
                headers.setRawHeaders(name, values)
        body = request.content.read()
        ended = request.notifyFinish().addErrback(lambda _: None)
        if watch:
            await self._proxy.passed()
        agent = self._proxy.watching if watch else self._proxy.agent
        response = await agent.request(
            request.method,
            self._proxy.target(path),
            headers,
            FileBodyProducer(io.BytesIO(body)) if body else None,
        )
        request.setResponseCode(response.code)
        for name in (b"Content-Type", b"Retry-After"):
            for value in response.headers.getRawHeaders(name, ()):
                request.responseHeaders.addRawHeader(name, value)
        if watch:
            self._proxy.watches.add(request)
            request.write(b"")
        relay = _Relay(request)
        response.deliverBody(relay)
        try:
            await relay.finished
        finally:
            self._proxy.watches.discard(request)
        if not ended.called:
            request.finish()


class _Relay(Protocol):
    """Hands on what comes; cancelling ``finished`` ends the connection it comes by."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self.finished: Deferred[None] = Deferred(self._cancel)

    def _cancel(self, finished: Deferred[None]) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._request.write(data)

    def connectionLost(self, reason: object = None) -> None:
        if not self.finished.called:
            self.finished.callback(None)


@implementer(IPolicyForHTTPS, IOpenSSLClientConnectionCreator)
class _AnyCertificate:
    """The test's own API server has a certificate of its own making."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> _AnyCertificate:
        return self

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


def _verb(method: str, path: str) -> str:
    where, _, query = path.partition("?")
    parts = where.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    resource, named = parts[0] if parts else "", len(parts) > 1
    if "/".join(parts[2:]):
        resource += "/" + parts[2]
    if method == "GET":
        verb = "watch" if "watch=True" in query or "watch=true" in query else "list"
        verb = "get" if named else verb
    else:
        verb = {"PUT": "update", "POST": "create", "PATCH": "patch"}.get(method, method.lower())
    return f"{verb} {resource}"

"""The proxy that other tests put before the API server leaves nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest_twisted
from kubeproxy import FaultProxy
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

reactor = cast(Any, _reactor)

PATIENCE = 60.0


class Endless(Resource):
    """A watch in which nothing happens."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.begun: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def render(self, request: Request) -> int:
        request.notifyFinish().addErrback(lambda _: self.lost.callback(None))
        request.write(b"")
        self.begun.callback(None)
        return NOT_DONE_YET


@pytest_twisted.async_yield_fixture
async def endless() -> AsyncIterator[tuple[Endless, FaultProxy]]:
    resource = Endless()
    port = reactor.listenTCP(0, Site(resource), interface="127.0.0.1")
    proxy = FaultProxy(f"http://127.0.0.1:{port.getHost().port}")
    proxy.start()
    yield resource, proxy
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_watch_that_its_client_leaves_ends_at_the_api_server(
    endless: tuple[Endless, FaultProxy],
) -> None:
    resource, proxy = endless
    client = await _watch(proxy)
    await resource.begun.addTimeout(PATIENCE, reactor)
    client.transport.abortConnection()
    await resource.lost.addTimeout(PATIENCE, reactor)
    await proxy.stop()


@pytest_twisted.ensureDeferred
async def test_no_watch_outlives_the_proxy(endless: tuple[Endless, FaultProxy]) -> None:
    resource, proxy = endless
    await _watch(proxy)
    await resource.begun.addTimeout(PATIENCE, reactor)
    await proxy.stop()
    await resource.lost.addTimeout(PATIENCE, reactor)


async def _watch(proxy: FaultProxy) -> Any:
    port = int(proxy.url.rpartition(":")[2])
    client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Protocol())
    client.transport.write(b"GET /api/v1/secrets?watch=true HTTP/1.1\r\nHost: api\r\n\r\n")
    return client

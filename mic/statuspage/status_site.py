"""The port of the page: one path, GET and HEAD, only under names of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import INTERNAL_SERVER_ERROR, Request
from twisted.web.server import NOT_DONE_YET, Site

from mic.common.singleflight import SingleFlight
from mic.common.threads import Threads
from mic.observe.resources import Directory, Page, PageRequest, text_answer
from mic.statuspage.html import POLICY, render
from mic.statuspage.names import is_own
from mic.statuspage.overview import Overview, Process, Row
from mic.statuspage.query import Query
from mic.web.flow import FlowChannel, cancel

MAX_CONNECTIONS = 64
"""Upper bound on connections; one more closes the oldest."""

_FRESH_SECONDS = 1.0
"""Time for which all clients get the same state, in seconds."""

_ROWS_PER_TURN = 50
_MISDIRECTED = 421  # RFC 9110, 15.5.20

_FIELDS = (
    (b"Content-Type", b"text/html; charset=utf-8"),
    (b"Content-Security-Policy", POLICY.encode()),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Cache-Control", b"no-store"),
)


class Overviews:
    """Collects what the page shows, a few hosts per turn of the event loop.

    Image clients are served in between. All who ask within a second share one overview, and
    nothing is kept for longer.
    """

    def __init__(
        self, reactor: Any, process: Callable[[], Process], rows: Callable[[], Iterator[Row]]
    ) -> None:
        self._reactor = reactor
        self._process = process
        self._rows = rows
        self._collecting: SingleFlight[str, Overview] = SingleFlight()
        self._latest: Overview | None = None
        self._expiry: IDelayedCall | None = None

    async def current(self) -> Overview:
        """Return the overview, at most a second old when this is called."""
        if self._latest is not None:
            return self._latest
        return await self._collecting.run("", self._collect)

    async def _collect(self) -> Overview:
        found: list[Row] = []
        rows = self._rows()
        while batch := list(islice(rows, _ROWS_PER_TURN)):
            found += batch
            await deferLater(self._reactor, 0)
        self._latest = Overview(process=self._process(), rows=tuple(found))
        self._expiry = self._reactor.callLater(_FRESH_SECONDS, self._expire)
        return self._latest

    def _expire(self) -> None:
        self._latest = None

    def stop(self) -> None:
        """Keep nothing."""
        self._expiry = cancel(self._expiry)
        self._expire()


class _StatusPage(Page):
    """The page. It is rendered in a thread: sorting thousands of hosts takes milliseconds."""

    _log = Logger()

    def __init__(self, overviews: Overviews, threads: Threads) -> None:
        super().__init__(("/",))
        self._overviews = overviews
        self._threads = threads

    def render_GET(self, request: Request) -> int:
        """Answer when the page is rendered, unless the client has left."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        _, _, query = request.uri.partition(b"?")
        answered = Deferred.fromCoroutine(self._answer(request, query.decode("latin-1"), gone))
        answered.addErrback(lambda why: self._fail(request, why, gone))
        return NOT_DONE_YET

    async def _answer(self, request: Request, query: str, gone: list[Failure]) -> None:
        overview = await self._overviews.current()
        page = await self._threads.run(render, overview, Query.parse(query))
        if gone:
            return
        for name, value in _FIELDS:
            request.setHeader(name, value)
        request.setHeader(b"Content-Length", b"%d" % len(page))
        request.write(page)
        request.finish()

    def _fail(self, request: Request, why: Failure, gone: list[Failure]) -> None:
        self._log.failure("cannot render the status page", why)
        if not gone:
            text = "The page cannot be rendered: see mic's log.\n"
            request.write(text_answer(request, INTERNAL_SERVER_ERROR, text))
            request.finish()


class _StatusRequest(PageRequest):
    """A request that is refused unless it names this server."""

    channel: _StatusChannel

    def process(self) -> None:
        """Answer, or refuse."""
        site: StatusSite = self.channel.site
        hosts = [
            value.decode("latin-1") for value in self.requestHeaders.getRawHeaders(b"host", [])
        ]
        if len(hosts) == 1 and is_own(hosts[0], site.names):
            super().process()
            return
        text = (
            "mic answers here to IP addresses, localhost and the name of its machine only. If this "
            "server has another name, give it to mic: -status-hosts NAME\n"
        )
        body = text_answer(self, _MISDIRECTED, text)
        self.setResponseCode(_MISDIRECTED, b"Misdirected Request")
        self.write(body)
        self.finish()


class _StatusChannel(FlowChannel):
    """A connection, one of a limited number."""

    site: StatusSite

    def connectionMade(self) -> None:
        """Make room for it."""
        channels = self.site.channels
        if len(channels) >= MAX_CONNECTIONS:
            oldest = next(iter(channels))
            # At once: it is closed in the next turn of the loop, and this one may accept more.
            del channels[oldest]
            oldest.transport.abortConnection()
        channels[self] = None
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget it."""
        self.site.channels.pop(self, None)
        super().connectionLost(reason)


class StatusSite(Site):
    """The page at ``/``; ``names`` are those it answers to next to addresses and localhost."""

    protocol = _StatusChannel  # type: ignore[assignment]
    displayTracebacks = False
    noisy = False

    def __init__(
        self, reactor: Any, overviews: Overviews, threads: Threads, names: Collection[str]
    ) -> None:
        root = Directory(("/",))
        root.putChild(b"", _StatusPage(overviews, threads))
        super().__init__(root, _StatusRequest, timeout=30, reactor=reactor)
        self.names = names
        self.channels: dict[_StatusChannel, None] = {}

    def log(self, _request: Request) -> None:
        """Write nothing: open pages ask every few seconds."""

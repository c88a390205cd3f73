"""The page's part of the process: its port, and its thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger

from mic.common.threads import Threads
from mic.settings.model import Endpoint, Tcp
from mic.settings.table import STATUS_ADDRESS
from mic.statuspage.names import own_names
from mic.statuspage.overview import Process, Row
from mic.statuspage.status_site import Overviews, StatusSite
from mic.web.ports import Ports


class StatusPort:
    """Serves the page on ``bind``, or nothing without one.

    ``names`` are answered to next to addresses and the machine's own name.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        bind: Tcp | Endpoint | None,
        names: tuple[str, ...],
        *,
        process: Callable[[], Process],
        rows: Callable[[], Iterator[Row]],
    ) -> None:
        self._reactor = reactor
        self._bind = bind
        self._names = names
        self._ports = Ports(reactor)
        # One thread: many pages at a time take no more of the processor than one.
        self._threads = Threads(reactor, size=1, name="mic-page")
        self._overviews = Overviews(reactor, process, rows)
        self._site: StatusSite | None = None

    async def open(self) -> None:
        """Start listening; raise `ConfigError` when that fails."""
        if self._bind is None:
            return
        names = own_names(socket.gethostname(), self._names)
        site = StatusSite(self._reactor, self._overviews, self._threads, names)
        await self._ports.open(site, (), self._bind, STATUS_ADDRESS)
        self._threads.startService()
        self._ports.accept()
        self._site = site
        self._log.info("status page on {address}", address=self._ports.addresses[0])

    @property
    def address(self) -> str:
        """Where it listens, empty if it does not."""
        return next(iter(self._ports.addresses), "")

    async def stop(self) -> None:
        """Stop listening, and drop open connections."""
        await self._ports.close()
        self._overviews.stop()
        if self._site is not None:
            for channel in list(self._site.channels):
                channel.transport.abortConnection()
            await maybeDeferred(self._threads.stopService)

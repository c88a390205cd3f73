"""The ports of one HTTP server: opened at start, but accepting connections only when ready."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger

from mic.settings.model import Endpoint, Tcp
from mic.web.listen import adopt, leads_elsewhere, listen


class Ports:
    """Listens on systemd's sockets if there are any, and on an address otherwise.

    Until `accept`, connections wait in the backlog.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ports: list[IListeningPort] = []

    async def open(
        self,
        factory: IProtocolFactory,
        sockets: tuple[int, ...],
        bind: Tcp | Endpoint,
        flag: str,
    ) -> None:
        """Listen; raise `ConfigError` that names ``flag`` when that fails."""
        if sockets:
            self._ports = [adopt(self._reactor, fd, factory) for fd in sockets]
        else:
            self._ports = [await listen(self._reactor, bind, factory, flag)]
        for port in self._ports:
            port.stopReading()  # type: ignore[attr-defined]

    def accept(self) -> None:
        """Start accepting connections."""
        for port in self._ports:
            port.startReading()  # type: ignore[attr-defined]

    async def close(self) -> None:
        """Stop listening."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)

    @property
    def hosts(self) -> list[Any]:
        """The addresses, as Twisted's objects."""
        return [port.getHost() for port in self._ports]

    @property
    def addresses(self) -> list[str]:
        """The addresses as text; empty before `open`."""
        return [format_address(host) for host in self.hosts]

    def note_loopback(self, url: str, flag: str) -> None:
        """Log a URL that only this machine can use; it is the default, and may be intended."""
        if leads_elsewhere(url, self._ports):
            self._log.info(
                "{flag} is {url}: clients on other machines cannot use that URL, "
                "though {address} is open to them",
                flag=flag,
                url=url,
                address=self.addresses[0],
            )


def format_address(address: Any) -> str:
    """Return a Twisted address as ``HOST:PORT``, or as the path of a unix socket."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        # The path of a unix socket is bytes.
        return os.fsdecode(getattr(address, "name", None) or str(address))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

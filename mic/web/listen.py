"""Listening: on Go-style addresses, on both IP families, on Twisted endpoints.

What connections begin with, TLS or none, is in the factory.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.tcp import Port

from mic.common.errors import ConfigError
from mic.settings.model import Endpoint, Tcp
from mic.settings.table import IMAGES_ADDRESS
from mic.web.transport import FilePort

_BACKLOG = 1024
_RECEIVED = 16 * 1024
"""Bytes that the kernel takes from a client ahead of mic, which is given twice as much memory:
requests are small, and by default it is up to megabytes."""

_ANY_IPV4 = "0.0.0.0"  # noqa: S104 - what ":PORT" means


_HINTS = {
    errno.EADDRINUSE: "another process listens there; stop it, or choose another port",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EACCES: "ports below 1024 need the capability CAP_NET_BIND_SERVICE, or another user",
}


class _DualStackPort(FilePort):
    """A port on ``::`` that accepts IPv4 too, whatever the system's default."""

    def createInternetSocket(self) -> socket.socket:
        sock: socket.socket = super().createInternetSocket()
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        return sock


async def listen(
    reactor: Any, bind: Tcp | Endpoint, factory: IProtocolFactory, flag: str = IMAGES_ADDRESS
) -> IListeningPort:
    """Listen with ``factory``; raises `ConfigError` that names ``flag`` and the reason."""
    try:
        if isinstance(bind, Tcp):
            return _listen_on_tcp(reactor, bind, factory)
        port: IListeningPort = await serverFromString(reactor, bind.description).listen(factory)
        return port
    except CannotListenError as error:
        reason = _reason(error.socketError, bind)
    except OSError as error:
        reason = _reason(error, bind)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # What endpoint plugins raise for descriptions they do not like.
        reason = error
    where = f"{bind.host}:{bind.port}" if isinstance(bind, Tcp) else bind.description
    raise ConfigError([f"{flag}: cannot listen on {where}: {reason}"])


def _reason(error: object, bind: Tcp | Endpoint) -> object:
    """Return why an address cannot be listened on, with what to do where that is known."""
    reason = getattr(error, "strerror", None) or error
    hint = _HINTS.get(getattr(error, "errno", None) or 0) if isinstance(bind, Tcp) else ""
    return f"{reason}: {hint}" if hint else reason


def adopt(reactor: Any, descriptor: int, factory: IProtocolFactory) -> IListeningPort:
    """Accept connections from a socket that another process has bound.

    It stays theirs: when the port stops listening, new connections wait in the socket's backlog.
    """
    os.set_blocking(descriptor, False)
    os.set_inheritable(descriptor, False)
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        family = sock.family
    if family not in (socket.AF_INET, socket.AF_INET6):
        port: IListeningPort = reactor.adoptStreamPort(descriptor, family, factory)
        return port
    # What adoptStreamPort does, but with our own transport: sendfile and the fast lane's shortcut.
    return _started(FilePort._fromListeningDescriptor(reactor, descriptor, family, factory))


def leads_elsewhere(url: str, ports: Iterable[IListeningPort]) -> bool:
    """Return whether ``url`` is a loopback URL although other machines reach ``ports``."""
    if not _is_own(urlsplit(url).hostname or ""):
        return False
    hosts = (getattr(port.getHost(), "host", None) for port in ports)
    return any(host is not None and not _is_loopback(host) for host in hosts)


def _is_own(host: str) -> bool:
    """Return whether a host name means the machine of the client."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return _is_loopback(host) or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _listen_on_tcp(reactor: Any, bind: Tcp, factory: IProtocolFactory) -> IListeningPort:
    if not bind.host:
        if not _has_ipv6():
            return _started(FilePort(bind.port, factory, _BACKLOG, _ANY_IPV4, reactor))
        return _started(_DualStackPort(bind.port, factory, _BACKLOG, "::", reactor))
    found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)
    # As Go does, IPv4 first where a name has both.
    address = sorted(found, key=lambda each: each[0] != socket.AF_INET)[0][4][0]
    return _started(FilePort(bind.port, factory, _BACKLOG, str(address), reactor))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::", 0))
    except OSError:
        return False
    return True


def _started(port: Port) -> IListeningPort:
    port.startListening()
    # Connections inherit it.
    port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED)
    return port

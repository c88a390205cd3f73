"""Listening: on Go-style addresses, on both IP families, on Twisted endpoints.

What connections begin with, TLS or none, is in the factory.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.tcp import Port

from mic.config import IMAGES_ADDRESS, Endpoint, Tcp
from mic.errors import ConfigError
from mic.web.transport import FileTransport

_BACKLOG = 1024
_ANY_IPV4 = "0.0.0.0"  # noqa: S104 - what ":PORT" means


class _Port(Port):
    """A port whose connections send files without reading them."""

    transport = FileTransport


class _DualStackPort(_Port):
    """A port on ``::`` that takes IPv4 too, whatever the system's default is."""

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
        reason = getattr(error.socketError, "strerror", None) or error.socketError
    except OSError as error:
        reason = error.strerror or error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # What endpoint plugins raise for descriptions they do not like.
        reason = error
    where = f"{bind.host}:{bind.port}" if isinstance(bind, Tcp) else bind.description
    raise ConfigError([f"{flag}: cannot listen on {where}: {reason}"])


def adopt(reactor: Any, descriptor: int, factory: IProtocolFactory) -> IListeningPort:
    """Take connections from a socket that somebody else has bound and listens on.

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
    return _started(_Port._fromListeningDescriptor(reactor, descriptor, family, factory))


def _listen_on_tcp(reactor: Any, bind: Tcp, factory: IProtocolFactory) -> IListeningPort:
    if not bind.host:
        if not _has_ipv6():
            return _started(_Port(bind.port, factory, _BACKLOG, _ANY_IPV4, reactor))
        return _started(_DualStackPort(bind.port, factory, _BACKLOG, "::", reactor))
    found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM)
    # As Go does, IPv4 first where a name has both.
    address = sorted(found, key=lambda each: each[0] != socket.AF_INET)[0][4][0]
    return _started(_Port(bind.port, factory, _BACKLOG, str(address), reactor))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::", 0))
    except OSError:
        return False
    return True


def _started(port: Port) -> IListeningPort:
    port.startListening()
    return port

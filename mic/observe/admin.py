"""The admin endpoint: the status of this process, on an abstract Unix socket.

Such a socket needs no file: the root file system may be read-only, without a ``/tmp``. It is
visible within one network namespace. Clients that are root or mic's own user get lines of JSON:
one object about the process, one for each image, and ``null`` at the end. Others get nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IPullProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

PREFIX = "mic-admin/"
"""Prefix of admin socket names. The rest is random: no other process can claim it first, and
containers that share a network namespace do not collide."""

_TIMEOUT = 10.0
_MAX_CONNECTIONS = 8
_LINES_PER_TURN = 20
_CREDENTIALS = struct.Struct("iII")
_ID_MAP = "/proc/self/uid_map"
_OVERFLOW_ID = "/proc/sys/kernel/overflowuid"


class Credentials(NamedTuple):
    """A peer's process and user (``struct ucred``, unix(7)), as seen from this process.

    ``pid`` is 0 for one that cannot be seen from here.
    """

    pid: int
    uid: int


def credentials(sock: socket.socket) -> Credentials:
    """Return the peer of a Unix socket, client or listener, as the kernel attests it."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Credentials(pid, uid)


def is_authorized(uid: int, own: int, overflow: int | None) -> bool:
    """Return whether the user ``uid`` may read the status of a process of the user ``own``.

    ``overflow`` is the number that stands for all users outside of this process's user namespace,
    None when there are none.
    """
    return uid == 0 or (uid == own and uid != overflow)


def overflow_uid(id_map: str = _ID_MAP) -> int | None:
    """Return the number of users that are not mapped into our namespace (user_namespaces(7))."""
    try:
        with open(id_map) as file:
            whole = [line.split() for line in file] == [["0", "0", "4294967295"]]
        with open(_OVERFLOW_ID) as file:
            return None if whole else int(file.read())
    except (OSError, ValueError):
        return 65534


class AdminEndpoint(Factory):
    """The listener; ``describe`` yields the lines of an answer, anew for each client."""

    noisy = False
    _log = Logger()

    def __init__(self, reactor: Any, describe: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self.reactor = reactor
        self.describe = describe
        self.connections: set[_AdminConnection] = set()
        self._port: IListeningPort | None = None
        self._own = os.geteuid()
        self._overflow: int | None = None
        self._refused: set[int] = set()

    def start(self) -> None:
        """Start listening; on failure log a warning and continue."""
        self._overflow = overflow_uid()
        name = f"\0{PREFIX}{secrets.token_hex(8)}"
        try:
            self._port = self.reactor.listenUNIX(name, self, backlog=_MAX_CONNECTIONS)
        except Exception as error:
            self._log.warn("mic status is not available for this process: {error}", error=error)

    @property
    def name(self) -> str:
        """The abstract name that it listens on; empty when it does not listen."""
        address: Any = None if self._port is None else self._port.getHost()
        return "" if address is None else address.name.decode().removeprefix("\0")

    async def stop(self) -> None:
        """Stop listening, and drop open connections."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        for each in list(self.connections):
            await each.abort()

    def buildProtocol(self, _address: object) -> _AdminConnection | None:
        """Accept a client, up to a limit."""
        return _AdminConnection(self) if len(self.connections) < _MAX_CONNECTIONS else None

    def authorize(self, uid: int) -> bool:
        """Return whether a user may read the status; log each refused user once."""
        if is_authorized(uid, self._own, self._overflow):
            return True
        if uid not in self._refused and len(self._refused) < _MAX_CONNECTIONS:
            self._refused.add(uid)
            self._log.warn(
                "refused mic status to user {uid}: only root and mic's own user may read it",
                uid=uid,
            )
        return False


@implementer(IPullProducer)
class _AdminConnection(Protocol, TimeoutMixin):
    """A client of the admin endpoint.

    It gets a few lines at a time, as fast as it reads them: image clients are served in between.
    """

    _log = Logger()
    transport: Any

    def __init__(self, endpoint: AdminEndpoint) -> None:
        self._endpoint = endpoint
        self._gone: Deferred[None] = Deferred()

    def callLater(self, period: float, call: Callable[[], None]) -> Any:
        """Schedule the timeout on the endpoint's reactor."""
        return self._endpoint.reactor.callLater(period, call)

    def connectionMade(self) -> None:
        """Start to answer, or drop the connection."""
        self._endpoint.connections.add(self)
        if not self._endpoint.authorize(credentials(self.transport.getHandle()).uid):
            self.transport.abortConnection()
            return
        self.setTimeout(_TIMEOUT)
        self._lines = self._endpoint.describe()
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Write the next lines."""
        self.resetTimeout()
        try:
            batch: list[dict[str, Any] | None] = list(islice(self._lines, _LINES_PER_TURN))
        except Exception:
            self._log.failure("cannot report mic's status")
            self.transport.abortConnection()
            return
        lines = [json.dumps(line) for line in batch or [None]]
        self.transport.write("".join(f"{line}\n" for line in lines).encode())
        if not batch:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        """Do nothing: `connectionLost` cleans up."""

    def timeoutConnection(self) -> None:
        """Drop a client that does not read."""
        self.transport.abortConnection()

    def connectionLost(self, _reason: Failure = connectionDone) -> None:
        """Clean up."""
        self.setTimeout(None)
        self._endpoint.connections.discard(self)
        self._gone.callback(None)

    def abort(self) -> Deferred[None]:
        """Drop the connection; fires when it is closed."""
        self.transport.abortConnection()
        return self._gone

"""The admin endpoint: tells those who may know what mic does, on an abstract Unix socket.

Such a socket needs no file: the root file system may be read-only and there may be no ``/tmp``.
It is seen within one network namespace. Who connects, as root or as the user that mic runs as, gets
lines of JSON: one object that tells of the process, one for each image, and ``null`` at the end.
Others get nothing.
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
"""How the names of admin sockets begin. What follows is random: nobody can take it beforehand, and
containers that share a network namespace do not get into each other's way."""

_PATIENCE = 10.0
_AT_ONCE = 8
_LINES = 20
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
    """Who connected to a Unix socket, or who listens on it; the kernel vouches for that."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Credentials(pid, uid)


def may_ask(uid: int, own: int, nobody: int | None) -> bool:
    """Whether the user ``uid`` may be told what a process of the user ``own`` does.

    ``nobody`` is the number that stands for all users which this process cannot tell apart, None
    when there are none such.
    """
    return uid == 0 or (uid == own and uid != nobody)


def _nobody() -> int | None:
    """The number of users that are not mapped into our user namespace (user_namespaces(7))."""
    try:
        with open(_ID_MAP) as file:
            everyone = [line.split() for line in file] == [["0", "0", "4294967295"]]
        with open(_OVERFLOW_ID) as file:
            return None if everyone else int(file.read())
    except (OSError, ValueError):
        return 65534


class AdminEndpoint(Factory):
    """Listens; ``describe`` gives what is told, line by line, anew for each who asks."""

    noisy = False
    _log = Logger()

    def __init__(self, reactor: Any, describe: Callable[[], Iterator[dict[str, Any]]]) -> None:
        self.reactor = reactor
        self.describe = describe
        self.asking: set[_Asking] = set()
        self._port: IListeningPort | None = None
        self._own = os.geteuid()
        self._nobody: int | None = None
        self._refused: set[int] = set()

    def start(self) -> None:
        """Listen. Where that cannot be it is logged, and mic goes on without."""
        self._nobody = _nobody()
        name = f"\0{PREFIX}{secrets.token_hex(8)}"
        try:
            self._port = self.reactor.listenUNIX(name, self, backlog=_AT_ONCE)
        except Exception as error:
            self._log.warn("mic status cannot ask this process: {error}", error=error)

    async def stop(self) -> None:
        """Listen no more, and drop who is asking."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        for each in list(self.asking):
            await each.abort()

    def buildProtocol(self, _address: object) -> _Asking | None:
        """Somebody connects."""
        return _Asking(self) if len(self.asking) < _AT_ONCE else None

    def admits(self, uid: int) -> bool:
        """Whether a user may ask; logs each one that may not, once."""
        if may_ask(uid, self._own, self._nobody):
            return True
        if uid not in self._refused and len(self._refused) < _AT_ONCE:
            self._refused.add(uid)
            self._log.warn("user {uid} asked for mic's status and was refused", uid=uid)
        return False


@implementer(IPullProducer)
class _Asking(Protocol, TimeoutMixin):
    """Somebody who asks.

    Gets a few lines at a time, as fast as they are taken: clients of images come in between.
    """

    _log = Logger()
    transport: Any

    def __init__(self, endpoint: AdminEndpoint) -> None:
        self._endpoint = endpoint
        self._gone: Deferred[None] = Deferred()

    def callLater(self, period: float, call: Callable[[], None]) -> Any:
        """What the time limit runs on."""
        return self._endpoint.reactor.callLater(period, call)

    def connectionMade(self) -> None:
        """Tell, or do not."""
        self._endpoint.asking.add(self)
        if not self._endpoint.admits(credentials(self.transport.getHandle()).uid):
            self.transport.abortConnection()
            return
        self.setTimeout(_PATIENCE)
        self._lines = self._endpoint.describe()
        self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Tell some more."""
        self.resetTimeout()
        try:
            told: list[dict[str, Any] | None] = list(islice(self._lines, _LINES))
        except Exception:
            self._log.failure("cannot tell mic's status")
            self.transport.abortConnection()
            return
        lines = [json.dumps(line) for line in told or [None]]
        self.transport.write("".join(f"{line}\n" for line in lines).encode())
        if not told:
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def stopProducing(self) -> None:
        """Nobody listens any more."""

    def timeoutConnection(self) -> None:
        """It takes nothing."""
        self.transport.abortConnection()

    def connectionLost(self, _reason: Failure = connectionDone) -> None:
        """It is gone."""
        self.setTimeout(None)
        self._endpoint.asking.discard(self)
        self._gone.callback(None)

    def abort(self) -> Deferred[None]:
        """Break off; fires when it is gone."""
        self.transport.abortConnection()
        return self._gone

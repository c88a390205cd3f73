"""Connections that wait for requests: read in turn, in one event of the reactor.

A reactor calls a descriptor within a logging context of its own, for each event. That costs as much
as a quarter of a small range. So the connections of a port have an epoll descriptor of their own,
which the reactor watches as any other descriptor (epoll(7): an epoll descriptor is readable when
events are available). Writability, timers and everything else are the reactor's as before.
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

_BATCH = 64
"""Connections that are read before the reactor gets its turn: timers, writers, threads' results."""


class Readable(Protocol):
    """A connection that reads by itself once there is something to read."""

    def fileno(self) -> int:
        """Return the descriptor to watch."""

    def read_ready(self) -> None:
        """Read once; after the end, or an error, the connection is closed."""

    def connectionLost(self, reason: Any) -> None:
        """The reactor has stopped."""


@implementer(IReadDescriptor)
class Readers:
    """The connections of one port that wait to be read, as one descriptor of ``reactor``."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._connections: dict[int, Readable] = {}

    def __len__(self) -> int:
        """Return the number of connections that are watched."""
        return len(self._connections)

    def add(self, connection: Readable) -> None:
        """Watch a connection; once more changes nothing."""
        descriptor = connection.fileno()
        if descriptor in self._connections:
            return
        self._epoll.register(descriptor, select.EPOLLIN)
        if not self._connections:
            self._reactor.addReader(self)
        self._connections[descriptor] = connection

    def remove(self, connection: Readable) -> None:
        """Stop watching a connection, if it is watched."""
        descriptor = connection.fileno()
        if self._connections.get(descriptor) is not connection:
            return
        del self._connections[descriptor]
        self._epoll.unregister(descriptor)
        if not self._connections:
            self._reactor.removeReader(self)

    def fileno(self) -> int:
        """Return the epoll descriptor."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """Return what Twisted's log calls it."""
        return "mic"

    def doRead(self) -> None:
        """Read from each connection that has something to read."""
        connections = self._connections
        for descriptor, _ in self._epoll.poll(0, _BATCH):
            # One that was read before it may have closed it.
            connection = connections.get(descriptor)
            if connection is not None:
                connection.read_ready()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped: the connections are lost with it."""
        for connection in list(self._connections.values()):
            try:
                connection.connectionLost(reason)
            except Exception:
                self._log.failure("a connection could not be closed")

"""The connections of a port that wait to be read, as one descriptor.

Scope: mic.web.readers with real descriptors and a reactor that only keeps what it watches. That a
real reactor reads them is shown by all tests over TCP.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.logger import LogEvent
from twisted.python.failure import Failure

from mic.web.readers import Readers


class Watched:
    """A reactor's set of readers."""

    def __init__(self) -> None:
        self.readers: list[object] = []

    def addReader(self, reader: object) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.remove(reader)


class Connection:
    """One end of a socket pair; takes a byte each time it is read."""

    def __init__(self, number: int, read: list[int]) -> None:
        self.near, self.far = socket.socketpair()
        self.number = number
        self.then: Callable[[], None] = lambda: None
        self.lost: list[Any] = []
        self._read = read

    def fileno(self) -> int:
        return self.near.fileno()

    def say(self, data: bytes = b"?") -> None:
        self.far.send(data)

    def read_ready(self) -> None:
        self.near.recv(1)
        self._read.append(self.number)
        self.then()

    def connectionLost(self, reason: Any) -> None:
        self.lost.append(reason)
        self.then()

    def close(self) -> None:
        self.near.close()
        self.far.close()


class Port:
    """Readers, their reactor, and three connections that they watch."""

    def __init__(self) -> None:
        self.reactor = Watched()
        self.readers = Readers(self.reactor)
        self.read: list[int] = []
        self.connections = [Connection(number, self.read) for number in range(3)]
        for connection in self.connections:
            self.readers.add(connection)

    @property
    def is_readable(self) -> bool:
        """Whether a reactor would find the descriptor readable."""
        return bool(select.select([self.readers], [], [], 0)[0])


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    for connection in port.connections:
        connection.close()


def test_connections_with_something_to_read_are_read_once(port: Port) -> None:
    assert not port.is_readable
    first, _, third = port.connections
    first.say()
    third.say(b"??")
    assert port.is_readable
    port.readers.doRead()
    assert sorted(port.read) == [0, 2]
    # What is left of the third makes the descriptor readable again.
    assert port.is_readable
    port.readers.doRead()
    assert sorted(port.read) == [0, 2, 2]
    assert not port.is_readable


def test_the_reactor_watches_as_long_as_there_are_connections(port: Port) -> None:
    assert port.reactor.readers == [port.readers]
    first, *others = port.connections
    for connection in others:
        port.readers.remove(connection)
    assert port.reactor.readers == [port.readers]
    port.readers.remove(first)
    assert port.reactor.readers == []
    port.readers.add(first)
    assert port.reactor.readers == [port.readers]


def test_a_connection_is_added_and_removed_once(port: Port) -> None:
    first = port.connections[0]
    port.readers.add(first)
    port.readers.remove(first)
    port.readers.remove(first)
    assert len(port.readers) == 2
    first.say()
    assert not port.is_readable


def test_a_connection_that_another_one_removed_is_not_read(port: Port) -> None:
    first, second, _ = port.connections
    first.then = lambda: port.readers.remove(second)
    second.then = lambda: port.readers.remove(first)
    first.say()
    second.say()
    port.readers.doRead()
    assert len(port.read) == 1


def test_a_closed_connection_leaves_its_number_to_the_next(port: Port) -> None:
    first = port.connections[0]
    number = first.fileno()
    port.readers.remove(first)
    first.close()
    later = Connection(9, port.read)
    # The kernel gives the lowest number that is free.
    assert later.fileno() == number
    port.connections.append(later)
    port.readers.add(later)
    # The closed one has no descriptor any more: it must not take the other's away.
    port.readers.remove(first)
    later.say()
    port.readers.doRead()
    assert port.read == [9]


def test_a_flood_leaves_the_reactor_its_turn(port: Port) -> None:
    more = [Connection(number, port.read) for number in range(3, 100)]
    port.connections += more
    for connection in more:
        port.readers.add(connection)
    for connection in port.connections:
        connection.say()
    port.readers.doRead()
    assert len(port.read) == 64
    port.readers.doRead()
    # Those that were not read come first.
    assert sorted(port.read) == list(range(100))


def test_the_end_of_the_reactor_is_the_end_of_each_connection(
    port: Port, logged_failures: list[LogEvent]
) -> None:
    def fail() -> None:
        raise RuntimeError("no")

    port.connections[0].then = fail
    reason = Failure(ConnectionLost())
    port.readers.connectionLost(reason)
    assert [connection.lost for connection in port.connections] == [[reason]] * 3
    assert [str(event["log_failure"].value) for event in logged_failures] == ["no"]
    logged_failures.clear()

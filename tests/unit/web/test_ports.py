"""Ports that listen before they accept, and addresses as text."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from mic.settings.model import Tcp
from mic.web.ports import Ports, format_address


class Greeter(Protocol):
    """Says hello, disconnects, and lets the test know."""

    ended: Deferred[None]

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")
        self.transport.loseConnection()

    def connectionLost(self, reason: object = None) -> None:
        self.ended.callback(None)


@pytest_twisted.ensureDeferred
async def test_connections_wait_until_they_are_accepted() -> None:
    greeter = Greeter()
    greeter.ended = Deferred()
    factory = Factory.forProtocol(lambda: greeter)
    ports = Ports(reactor)
    assert ports.addresses == []
    await ports.open(factory, (), Tcp(host="127.0.0.1", port=0), "-flag")
    (host,) = ports.hosts
    assert ports.addresses == [f"127.0.0.1:{host.port}"]
    with socket.create_connection(("127.0.0.1", host.port), timeout=10) as client:
        for _ in range(3):
            await deferLater(reactor, 0)  # a turn of the reactor, which would accept
        assert not greeter.connected
        ports.accept()
        await greeter.ended
        assert client.recv(5) == b"hello"
    await ports.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", host.port), timeout=10)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (IPv4Address("TCP", "192.0.2.1", 8084), "192.0.2.1:8084"),
        (IPv6Address("TCP", "::", 8084), "[::]:8084"),
        (UNIXAddress(b"/run/mic.sock"), "/run/mic.sock"),
    ],
)
def test_formats_addresses(address: object, text: str) -> None:
    assert format_address(address) == text

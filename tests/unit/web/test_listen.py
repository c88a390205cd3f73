"""URLs that lead clients to themselves; listening is in tests/functional/test_listening.py."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from mic.web.listen import leads_elsewhere

ANY = IPv6Address("TCP", "::", 8084)


class Port:
    """A port that listens on an address."""

    def __init__(self, address: Any) -> None:
        self.address = address

    def getHost(self) -> Any:
        return self.address


def found(url: str, *addresses: Any) -> bool:
    ports: list[Any] = list(map(Port, addresses))
    return leads_elsewhere(url, ports)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.9.9.9:80", "localhost", "LocalHost:1", "a.localhost", "[::1]:8084"),
        *("[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "[::1%25lo]"),
    ],
)
def test_a_loopback_url_leads_elsewhere(host: str) -> None:
    assert found(f"http://{host}/images", ANY)
    assert found(f"https://{host}", IPv4Address("TCP", "127.0.0.1", 1), ANY)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "mic.example", "localhost.example", "[2001:db8::1]:8084", "128.0.0.1"]
)
def test_another_url_does_not(host: str) -> None:
    assert not found(f"http://{host}/images", ANY)


@pytest.mark.parametrize(
    "address",
    [
        IPv4Address("TCP", "127.0.0.1", 8084),
        IPv6Address("TCP", "::1", 8084),
        UNIXAddress("/run/mic.sock"),
    ],
)
def test_on_loopback_a_loopback_url_is_right(address: Any) -> None:
    assert not found("http://127.0.0.1:8084", address)
    assert not found("", ANY)

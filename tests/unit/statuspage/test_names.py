"""Which Host fields the status page answers to."""

from __future__ import annotations

import pytest

from mic.statuspage.names import is_own, own_names

NAMES = own_names("Node-1.example.com.", ("mic.lab",))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8086",
        "192.0.2.1",
        "[::1]:8086",
        "[2001:db8::1]",
        "localhost",
        "LOCALHOST:99",
        "localhost.",
        "mic.localhost",
        "node-1",
        "node-1.example.com:8086",
        "Node-1.Example.com.",
        "mic.lab",
    ],
)
def test_answers_to_addresses_and_own_names(host: str) -> None:
    assert is_own(host, NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "evil.example",
        "node-1.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io:8086",
        "localhost.evil.example",
        "evil-localhost",
        "mic.lab.evil.example",
        "xmic.lab",
        "[::1",
        "[evil.example]",
        "::1",
        "2130706433",
        "127.1",
        "0x7f.1",
        "127.0.0.1@evil.example",
        "evil.example#localhost",
        "localhost:port",
        "localhost\n",
        "a" * 100_000,
    ],
)
def test_answers_to_no_other_name(host: str) -> None:
    assert not is_own(host, NAMES)


def test_a_machine_without_a_name_has_none() -> None:
    assert own_names("", ()) == frozenset()
    assert not is_own(".", own_names("", ()))

"""Name servers, search domains and resolver options, and whose profile holds them."""

from __future__ import annotations

import pytest
from nmstate_support import STATIC, interface, refusal, sections


def _dns(config: str, members: str = STATIC) -> str:
    return interface(members) + f"dns-resolver:\n  config: {{{config}}}\n"


def _kept(document: str, name: str = "eth0") -> dict[str, dict[str, str]]:
    found = sections(document, name)
    return {
        version: {key: value for key, value in found[version].items() if key.startswith("dns")}
        for version in ("ipv4", "ipv6")
    }


def test_the_first_servers_family_has_searches_and_comes_first() -> None:
    config = (
        "server: ['2001:DB8::53', 192.0.2.53], search: [a.test, b.test],"
        " options: [rotate, 'ndots:2']"
    )
    assert _kept(_dns(config)) == {
        "ipv6": {
            "dns": "2001:db8::53",
            "dns-priority": "40",
            "dns-search": "a.test;b.test",
            "dns-options": "rotate;ndots:2",
        },
        "ipv4": {"dns": "192.0.2.53", "dns-priority": "50"},
    }


def test_searches_without_servers_go_where_addresses_come_from_dhcp() -> None:
    document = """\
interfaces:
- {name: eth0, type: ethernet, ipv4: {enabled: true, address: [{ip: 192.0.2.1, prefix-length: 24}]}}
- {name: eth1, type: ethernet, ipv4: {enabled: true, dhcp: true}}
dns-resolver: {config: {search: [a.test]}}
"""
    assert _kept(document, "eth1")["ipv4"] == {"dns-priority": "40", "dns-search": "a.test"}
    assert _kept(document)["ipv4"] == {}


def test_static_interfaces_and_those_that_leave_dns_alone_are_preferred() -> None:
    document = """\
interfaces:
- {name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}
- {name: eth1, type: ethernet, ipv4: {enabled: true, dhcp: true, auto-dns: false}}
dns-resolver: {config: {server: [192.0.2.53]}}
"""
    assert _kept(document)["ipv4"] == {}
    assert _kept(document, "eth1")["ipv4"] == {"dns": "192.0.2.53", "dns-priority": "40"}


def test_link_local_servers_say_where() -> None:
    document = _dns("server: ['fe80::53%eth0']")
    assert _kept(document)["ipv6"] == {"dns": "fe80::53", "dns-priority": "40"}
    assert "there is no interface eth5" in refusal(document.replace("%eth0", "%eth5"))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("server: [192.0.2.53, '2001:db8::53', 192.0.2.54]", "in turns"),
        ("server: [ns.example.net]", "dns-resolver.config.server[0]"),
        ("options: [speed]", "dns-resolver.config.options[0]"),
        ("options: ['rotate:1']", "options[0]"),
        ("options: [ndots]", "options[0]"),
        ("servers: [192.0.2.53]", "unknown member 'servers'"),
    ],
)
def test_what_is_refused(config: str, told: str) -> None:
    assert told in refusal(_dns(config))


@pytest.mark.parametrize("config", ["server: [192.0.2.53]", "search: [a.test]"])
def test_somebody_must_have_ip(config: str) -> None:
    assert "no interface has IP" in refusal(_dns(config, members=""))


def test_running_state_is_read_for_nothing() -> None:
    document = interface(STATIC) + "dns-resolver: {running: {server: [192.0.2.53]}}\n"
    assert _kept(document)["ipv4"] == {}

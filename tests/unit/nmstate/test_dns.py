"""Name servers, search domains and resolver options, and the profiles that hold them."""

from __future__ import annotations

import pytest
from nmstate_support import STATIC, interface, refusal, sections


def _dns(config: str, members: str = STATIC) -> str:
    return interface(members) + f"dns-resolver:\n  config: {{{config}}}\n"


def _dns_keys(document: str, name: str = "eth0") -> dict[str, dict[str, str]]:
    found = sections(document, name)
    return {
        version: {key: value for key, value in found[version].items() if key.startswith("dns")}
        for version in ("ipv4", "ipv6")
    }


def test_assigns_searches_to_the_family_of_the_first_server() -> None:
    config = (
        "server: ['2001:DB8::53', 192.0.2.53], search: [a.test, b.test],"
        " options: [rotate, 'ndots:2']"
    )
    assert _dns_keys(_dns(config)) == {
        "ipv6": {
            "dns": "2001:db8::53",
            "dns-priority": "40",
            "dns-search": "a.test;b.test",
            "dns-options": "rotate;ndots:2",
        },
        "ipv4": {"dns": "192.0.2.53", "dns-priority": "50"},
    }


def test_assigns_a_link_local_server_to_its_zone() -> None:
    document = _dns("server: ['fe80::53%eth0']")
    assert _dns_keys(document)["ipv6"] == {"dns": "fe80::53", "dns-priority": "40"}
    assert "there is no interface eth5" in refusal(document.replace("%eth0", "%eth5"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("server: [192.0.2.53, '2001:db8::53', 192.0.2.54]", "alternate"),
        ("server: [ns.example.net]", "dns-resolver.config.server[0]"),
        ("options: [speed]", "dns-resolver.config.options[0]"),
        ("options: ['rotate:1']", "options[0]"),
        ("options: [ndots]", "options[0]"),
        ("servers: [192.0.2.53]", "unknown member 'servers'"),
    ],
)
def test_rejects_invalid_members(config: str, message: str) -> None:
    assert message in refusal(_dns(config))


@pytest.mark.parametrize("config", ["server: [192.0.2.53]", "search: [a.test]"])
def test_rejects_dns_without_an_interface_with_ip(config: str) -> None:
    assert "no interface has IP" in refusal(_dns(config, members=""))


@pytest.mark.parametrize("zone", ["", "eth5"])
def test_rejects_an_unknown_zone_of_a_link_local_server(zone: str) -> None:
    assert "there is no interface" in refusal(_dns(f"server: ['fe80::53%{zone}']"))


@pytest.mark.parametrize("text", ["''", "' '", "192.0.2.53x", "'192.0.2.53 '"])
def test_rejects_malformed_servers(text: str) -> None:
    assert "server[0]" in refusal(_dns(f"server: [{text}]"))

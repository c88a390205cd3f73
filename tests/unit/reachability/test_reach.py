"""Warnings about what a host cannot reach: tables, and a property against a plain model."""

from __future__ import annotations

import ipaddress
from itertools import starmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.common.addresses import Subnet
from mic.common.addresses import parsed as parsed_address
from mic.common.endpoint import Endpoint, endpoint
from mic.common.generated import HostNetwork, StaticRoute
from mic.nmstate import generate
from mic.reachability import Need, unreachable, warnings

IPV4 = """\
interfaces:
- name: eth0
  type: ethernet
  state: up
  ipv4:
    enabled: true
    address: [{ip: 192.0.2.10, prefix-length: 24}]
"""
IPV4_DEFAULT = f"""\
{IPV4}routes:
  config: [{{destination: 0.0.0.0/0, next-hop-address: 192.0.2.1, next-hop-interface: eth0}}]
"""
DNS = "dns-resolver: {config: {server: [192.0.2.53]}}\n"
FAR_DNS = "dns-resolver: {config: {server: [198.51.100.53]}}\n"
IPV6 = """\
interfaces:
- name: eth0
  type: ethernet
  ipv6:
    enabled: true
    address: [{ip: "fd00::10", prefix-length: 64}]
"""
DUAL = f"""\
{IPV4}  ipv6:
    enabled: true
    address: [{{ip: "fd00::10", prefix-length: 64}}]
"""
NEAR, FAR = "http://192.0.2.2:6385", "http://198.51.100.2:6385"
NEAR6, FAR6 = "http://[fd00::1]:6385", "http://[2001:db8::1]:6385"
NAME = "http://ironic.example.com:6385"

NO_ROUTE = "has no route to it: its addresses are 192.0.2.10/24, without a default route"  # of IPV4


def route(destination: str, **members: object) -> str:
    given = {"destination": destination, "next-hop-interface": "eth0", **members}
    text = ", ".join(f"{key}: '{value}'" for key, value in given.items() if value != "")
    return f"{IPV4}routes: {{config: [{{{text}}}]}}\n"


def found(document: str, *urls: str) -> list[str]:
    """The warnings about a document whose host needs one of these URLs of Ironic."""
    ends = tuple(end for url in urls if (end := endpoint(url)) is not None)
    need = Need(setting="IRONIC_BASE_URL", what="Ironic", endpoints=ends)
    return [each.text for each in warnings([need], generate(document).host_network)]


REACHED = {
    "on-link": (IPV4, NEAR),
    "default route": (IPV4_DEFAULT, FAR),
    "covering route": (route("198.51.100.0/24", **{"next-hop-address": "192.0.2.1"}), FAR),
    "route without gateway": (route("198.51.100.0/24"), FAR),
    "halves of the default route": (
        route("128.0.0.0/1", **{"next-hop-address": "192.0.2.1"}),
        FAR,
    ),
    "table 254 is main": (route("198.51.100.0/24", **{"table-id": 254}), FAR),
    "IPv6 on-link": (IPV6, NEAR6),
    "second family": (DUAL, NEAR6),
    "IPv4 DHCP": (
        "interfaces: [{name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}]",
        FAR,
    ),
    "IPv6 autoconf": (
        "interfaces: [{name: eth0, type: ethernet,"
        " ipv6: {enabled: true, dhcp: true, autoconf: true}}]",
        FAR6,
    ),
    "DHCP on another interface": (
        f"{IPV4}- {{name: eth1, type: ethernet, ipv4: {{enabled: true, dhcp: true}}}}\n",
        FAR,
    ),
    "routing rules": (
        f"{route('198.51.100.0/24', **{'table-id': 100})}"
        "route-rules: {config: [{ip-to: 198.51.100.0/24, route-table: 100}]}\n",
        FAR,
    ),
    "ignored interface": (f"{IPV4}- {{name: eth1, type: ethernet, state: ignore}}\n", FAR6),
    "no interface": ("interfaces: []", FAR),
    "nothing": ("", FAR),
    "absent only": ("interfaces: [{name: eth0, type: ethernet, state: absent}]", FAR),
    "down only": ("interfaces: [{name: eth0, type: ethernet, state: down}]", FAR),
    "dummy only": (
        "interfaces: [{name: d0, type: dummy, ipv4: {enabled: true,"
        " address: [{ip: 10.0.0.1, prefix-length: 32}]}}]",
        FAR,
    ),
    "name": (IPV4_DEFAULT + DNS, NAME),
    "name, server on-link": (IPV4 + DNS, NAME),
    "name, server by a route": (IPV4_DEFAULT + FAR_DNS, NAME),
    "name, DHCP": (
        "interfaces: [{name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}]",
        NAME,
    ),
    "name, one of two servers": (
        IPV4 + "dns-resolver: {config: {server: [198.51.100.53, 192.0.2.53]}}\n",
        NAME,
    ),
    "name, link-local server": (
        f"{DUAL}dns-resolver: {{config: {{server: ['fe80::1%eth0']}}}}\n",
        NAME,
    ),
    "link-local": (IPV6, "http://[fe80::1%25eth0]:6385"),
    "the host itself": (IPV4, "http://127.0.0.1:6385"),
    "the host's name for itself": (IPV4, "http://localhost:6385"),
}

UNREACHED = {
    "IPv4 only": (
        IPV4_DEFAULT,
        NEAR6,
        "Ironic is at [fd00::1]:6385 and the host has IPv4 addresses only",
    ),
    "IPv6 only": (IPV6, NEAR, "Ironic is at 192.0.2.2:6385 and the host has IPv6 addresses only"),
    "IPv4 by DHCP only": (
        "interfaces: [{name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}]",
        NEAR6,
        "Ironic is at [fd00::1]:6385 and the host has IPv4 addresses only",
    ),
    "no route": (IPV4, FAR, f"Ironic is at 198.51.100.2:6385 and the host {NO_ROUTE}"),
    "family off": (
        f"{IPV4}  ipv6: {{enabled: false, address: [{{ip: 'fd00::10', prefix-length: 64}}]}}\n",
        NEAR6,
        "Ironic is at [fd00::1]:6385 and the host has IPv4 addresses only",
    ),
    "no address": (
        "interfaces: [{name: eth0, type: ethernet}]",
        NEAR,
        "Ironic is at 192.0.2.2:6385 and the host has no IP address",
    ),
    "link-local only": (
        "interfaces: [{name: eth0, type: ethernet, ipv6: {enabled: true}}]",
        NEAR6,
        "Ironic is at [fd00::1]:6385 and the host has link-local IPv6 addresses only",
    ),
    "link-local without IPv6": (
        IPV4,
        "http://[fe80::1]:6385",
        "Ironic is at [fe80::1]:6385 and the host has IPv4 addresses only",
    ),
    "route elsewhere": (
        route("203.0.113.0/24", **{"next-hop-address": "192.0.2.1"}),
        FAR,
        f"Ironic is at 198.51.100.2:6385 and the host {NO_ROUTE}",
    ),
    "route of another table": (
        route("198.51.100.0/24", **{"table-id": 100}),
        FAR,
        f"Ironic is at 198.51.100.2:6385 and the host {NO_ROUTE}",
    ),
    "default route of the other family": (
        f"{DUAL}routes: {{config: [{{destination: '::/0', next-hop-address: 'fd00::1',"
        " next-hop-interface: eth0}]}\n",
        FAR,
        f"Ironic is at 198.51.100.2:6385 and the host {NO_ROUTE}",
    ),
    "blackhole in a covering route": (
        f"{IPV4_DEFAULT}  - {{destination: 198.51.100.0/24, route-type: blackhole}}\n".replace(
            "config: [", "config:\n  - "
        ).replace("eth0}]", "eth0}"),
        FAR,
        "Ironic is at 198.51.100.2:6385 and the host has a route of type blackhole to it",
    ),
    "in a VRF": (
        f"{IPV4}- {{name: v, type: vrf, vrf: {{port: [eth0], route-table-id: 100}}}}\n",
        NEAR,
        "Ironic is at 192.0.2.2:6385 and the host has no IP address outside of VRFs",
    ),
    "loopback addresses are no addresses": (
        f"{IPV6}- {{name: lo, type: loopback, ipv4: {{enabled: true,"
        " address: [{ip: 127.0.0.1, prefix-length: 8}]}}\n"
        "routes: {config: [{destination: 203.0.113.0/24, route-type: blackhole}]}\n",
        NEAR,
        "Ironic is at 192.0.2.2:6385 and the host has IPv6 addresses only",
    ),
    "rules of the other family": (
        f"{IPV4}route-rules: {{config: [{{ip-to: '2001:db8::/32', route-table: 254}}]}}\n",
        FAR,
        f"Ironic is at 198.51.100.2:6385 and the host {NO_ROUTE}",
    ),
    "a bond's VLAN": (
        "interfaces:\n"
        "- {name: b, type: bond, link-aggregation: {mode: active-backup, port: [eth0, eth1]}}\n"
        "- {name: b.5, type: vlan, vlan: {base-iface: b, id: 5}, ipv4: {enabled: true,"
        " address: [{ip: 192.0.2.10, prefix-length: 24}]}}\n",
        FAR,
        f"Ironic is at 198.51.100.2:6385 and the host {NO_ROUTE}",
    ),
    "an interface of Open vSwitch": (
        "interfaces:\n"
        "- {name: br, type: ovs-bridge, bridge: {port: [{name: eth0}, {name: o}]}}\n"
        "- {name: o, type: ovs-interface, ipv4: {enabled: true,"
        " address: [{ip: 192.0.2.10, prefix-length: 24}]}}\n",
        FAR,
        f"Ironic is at 198.51.100.2:6385 and the host {NO_ROUTE}",
    ),
    "interface down": (
        f"{IPV6}- {{name: eth1, type: ethernet, state: down, ipv4: {{enabled: true,"
        " address: [{ip: 192.0.2.10, prefix-length: 24}]}}\n",
        NEAR,
        "Ironic is at 192.0.2.2:6385 and the host has IPv6 addresses only",
    ),
    "name without server": (
        IPV4_DEFAULT,
        NAME,
        "Ironic is at ironic.example.com:6385 and the host has no name server to look it up",
    ),
    "name, server without route": (
        IPV4 + FAR_DNS,
        NAME,
        "Ironic is at ironic.example.com:6385 and the host does not reach its name servers"
        " (198.51.100.53), which would look it up",
    ),
    "name without address": (
        "interfaces: [{name: eth0, type: ethernet}]",
        NAME,
        "Ironic is at ironic.example.com:6385 and the host has no IP address",
    ),
    "name, DHCP without DNS": (
        "interfaces: [{name: eth0, type: ethernet,"
        " ipv4: {enabled: true, dhcp: true, auto-dns: false}}]",
        NAME,
        "Ironic is at ironic.example.com:6385 and the host has no name server to look it up",
    ),
}


@pytest.mark.parametrize(("document", "url"), REACHED.values(), ids=REACHED)
def test_silent(document: str, url: str) -> None:
    assert found(document, url) == []


@pytest.mark.parametrize(("document", "url", "text"), UNREACHED.values(), ids=UNREACHED)
def test_warns(document: str, url: str, text: str) -> None:
    assert found(document, url) == [text]


def test_one_of_several_is_enough() -> None:
    assert found(IPV4, FAR, NEAR) == []
    assert found(IPV4, NEAR6, NEAR) == []


def test_several_without_any_are_one_warning() -> None:
    assert found(IPV4, FAR, NEAR6) == [
        "Ironic is at 198.51.100.2:6385 or [fd00::1]:6385 and the host "
        f"{NO_ROUTE} and has IPv4 addresses only"
    ]
    assert found(IPV4_DEFAULT, NEAR6, FAR6) == [
        "Ironic is at [fd00::1]:6385 or [2001:db8::1]:6385 and the host has IPv4 addresses only"
    ]


def test_a_host_without_address_has_one_warning() -> None:
    needs = [
        Need(setting=name, what=name, endpoints=(Endpoint("http", "192.0.2.2", 80),))
        for name in ("IRONIC_BASE_URL", "IRONIC_INSPECTOR_BASE_URL")
    ]
    host = generate("interfaces: [{name: eth0, type: ethernet}]").host_network
    assert [each.place for each in warnings(needs, host)] == ["IRONIC_BASE_URL"]
    assert len(warnings(needs, generate(IPV6).host_network)) == 2


def test_names_a_few_of_many() -> None:
    (text,) = found(IPV4_DEFAULT, *(f"http://[fd00::{n}]:6385" for n in range(1, 10)))
    assert text.startswith("Ironic is at [fd00::1]:6385, [fd00::2]:6385, [fd00::3]:6385 or 6 more")


def test_text_without_content_has_no_address_of_the_host() -> None:
    for document, urls in ((IPV4, [FAR]), (IPV4 + FAR_DNS, [NAME])):
        need = Need(
            setting="IRONIC_BASE_URL",
            what="Ironic",
            endpoints=tuple(end for url in urls if (end := endpoint(url)) is not None),
        )
        (warning,) = warnings([need], generate(document).host_network)
        assert warning.place == "IRONIC_BASE_URL"
        assert warning.without_content.startswith("IRONIC_BASE_URL: Ironic is at ")
        assert "192.0.2" not in warning.without_content
        assert "198.51.100.53" not in warning.without_content


def test_no_network_data_is_silent() -> None:
    end = endpoint(NEAR6)
    assert end is not None
    assert warnings([Need(setting="", what="", endpoints=(end,))], None) == ()


# Networks of few bits, so that addresses meet.
_addresses = st.tuples(st.sampled_from((4, 6)), st.integers(0, 7)).map(
    lambda pair: (
        ipaddress.ip_address(0xC0000200 + (pair[1] << 5))
        if pair[0] == 4
        else ipaddress.ip_address((0xFD00 << 112) + (pair[1] << 61))
    )
)


def _interface(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> str:
    prefix = {4: 24, 6: 61}[address.version] + bits
    return str(ipaddress.ip_interface(f"{address}/{prefix}"))


_interfaces = st.builds(_interface, _addresses, st.integers(0, 3))
_routes = st.tuples(
    st.one_of(_interfaces, st.sampled_from(("0.0.0.0/0", "::/0"))),
    st.sampled_from(("", "", "blackhole")),
)


def _subnet(text: str) -> Subnet:
    host, _, prefix = text.partition("/")
    address = parsed_address(host)
    assert address is not None
    return Subnet(address, int(prefix))


@given(st.lists(_interfaces, max_size=4), st.lists(_routes, max_size=4), _addresses)
def test_agrees_with_a_plain_model(
    own: list[str],
    routes: list[tuple[str, str]],
    target: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """The model has the longest prefix by the standard library's networks."""
    table = [(ipaddress.ip_interface(each).network, "") for each in own]
    table += [(ipaddress.ip_interface(each).network, kind) for each, kind in routes]
    matches = [(network.prefixlen, kind) for network, kind in table if target in network]
    longest = max((length for length, _ in matches), default=0)
    has_family = any(ipaddress.ip_interface(each).version == target.version for each in own)
    expected = has_family and (longest, "") in matches

    host = HostNetwork(
        addresses=tuple(map(_subnet, own)),
        routes=tuple(
            starmap(lambda each, kind: StaticRoute(destination=_subnet(each), refusal=kind), routes)
        ),
    )
    end = Endpoint("http", str(target), 6385)
    assert (unreachable(end, host) is None) == expected
    dynamic = HostNetwork(addresses=host.addresses, unknown=frozenset([target.version]))
    assert unreachable(end, dynamic) is None

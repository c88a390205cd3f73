"""Networks and services become addresses, routes and name servers."""

from __future__ import annotations

import pytest
from network_data_support import Json, card, default, document, profiles, refusal, static, warnings

from mic.networkdata import generate

A, B = card("a", 1), card("b", 2)
DHCP_4 = {"method": "auto", "dhcp-timeout": "2147483647", "dhcp-client-id": "mac"}
AUTO_6 = {
    "method": "auto",
    "addr-gen-mode": "0",
    "dhcp-timeout": "2147483647",
    "ra-timeout": "2147483647",
    "dhcp-duid": "ll",
    "dhcp-iaid": "mac",
}


def one(*networks: Json, services: list[Json] | None = None) -> dict[str, dict[str, str]]:
    """The profile of one card with these networks."""
    found = profiles(document(A, networks=networks, services=services or []))
    return found["a"]


def dns(*addresses: str) -> list[Json]:
    return [{"type": "dns", "address": each} for each in addresses]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ipv4_dhcp", {"ipv4": DHCP_4}),
        ("dhcp", {"ipv4": DHCP_4}),
        ("dhcp4", {"ipv4": DHCP_4}),
        ("ipv6_dhcp", {"ipv6": AUTO_6}),
        ("dhcp6", {"ipv6": AUTO_6}),
        ("ipv6_slaac", {"ipv6": AUTO_6}),
        ("ipv6_dhcpv6-stateful", {"ipv6": AUTO_6}),
        ("ipv6_dhcpv6-stateless", {"ipv6": AUTO_6}),
    ],
)
def test_types_without_an_address(kind: str, expected: dict[str, Json]) -> None:
    found = one({"id": "n", "link": "a", "type": kind})
    off = {"method": "disabled"}
    assert {"ipv4": found["ipv4"], "ipv6": found["ipv6"]} == {"ipv4": off, "ipv6": off} | expected


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"ip_address": "192.0.2.10", "netmask": "255.255.255.0"}, "192.0.2.10/24"),
        ({"ip_address": "192.0.2.10", "netmask": "24"}, "192.0.2.10/24"),
        ({"ip_address": "192.0.2.10", "netmask": 24}, "192.0.2.10/24"),
        ({"ip_address": "192.0.2.10/24"}, "192.0.2.10/24"),
        ({"ip_address": "192.0.2.10/255.255.255.0", "netmask": None}, "192.0.2.10/24"),
        ({"ip_address": " 192.0.2.10 ", "netmask": "255.255.255.255"}, "192.0.2.10/32"),
        ({"type": "static", "ip_address": "192.0.2.10/31"}, "192.0.2.10/31"),
    ],
)
def test_ipv4_addresses(members: Json, expected: str) -> None:
    found = one({"id": "n", "link": "a", "type": "ipv4"} | members)
    assert found["ipv4"] == {"method": "manual", "address0": expected}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"ip_address": "2001:DB8::10", "netmask": "ffff:ffff:ffff:ffff::"}, "2001:db8::10/64"),
        ({"ip_address": "2001:db8::10", "netmask": "FFFF:FFFF:FFFF:0:0:0:0:0"}, "2001:db8::10/48"),
        ({"ip_address": "2001:db8::10", "netmask": "64"}, "2001:db8::10/64"),
        ({"ip_address": "2001:db8::10/64"}, "2001:db8::10/64"),
        ({"ip_address": "2001:db8::10/64", "netmask": ""}, "2001:db8::10/64"),
        ({"type": "static6", "ip_address": "fe80::1/64"}, "fe80::1/64"),
        ({"type": "static", "ip_address": "2001:db8::10/128"}, "2001:db8::10/128"),
    ],
)
def test_ipv6_addresses(members: Json, expected: str) -> None:
    found = one({"id": "n", "link": "a", "type": "ipv6"} | members)
    assert found["ipv6"] == {"method": "manual", "address0": expected, "addr-gen-mode": "0"}
    assert found["ipv4"] == {"method": "disabled"}


def test_networks_of_one_link_add_up() -> None:
    found = one(
        static(), static("a", "198.51.100.10"), static("a", "2001:db8::10"), static(),
        {"id": "n", "link": "a", "type": "ipv4_dhcp"},
    )  # fmt: skip
    four = {"address0": "192.0.2.10/24", "address1": "198.51.100.10/24"}
    assert found["ipv4"] == DHCP_4 | four
    assert found["ipv6"]["address0"] == "2001:db8::10/64"


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (default("192.0.2.1"), "0.0.0.0/0,192.0.2.1"),
        ({"network": "0.0.0.0", "gateway": "192.0.2.1"}, "0.0.0.0/0,192.0.2.1"),
        ({"network": "0.0.0.0/0", "gateway": "192.0.2.1"}, "0.0.0.0/0,192.0.2.1"),
        ({"network": "198.51.100.0", "netmask": "255.255.255.0", "gateway": "192.0.2.2"},
         "198.51.100.0/24,192.0.2.2"),
        ({"network": "198.51.100.0/24", "gateway": "192.0.2.2", "metric": 50},
         "198.51.100.0/24,192.0.2.2,50"),
        ({"network": "198.51.100.0/24", "gateway": ""}, "198.51.100.0/24"),
        ({"network": "198.51.100.0/24", "gateway": None, "metric": 0}, "198.51.100.0/24,,0"),
        ({"network": "198.51.100.0/24", "gateway": "0.0.0.0"}, "198.51.100.0/24"),
    ],
)  # fmt: skip
def test_routes(route: Json, expected: str) -> None:
    text = document(A, networks=[static(routes=[route])])
    assert profiles(text)["a"]["ipv4"]["route0"] == expected
    assert not warnings(text)


def test_ipv6_routes() -> None:
    network = static("a", "2001:db8::10", routes=[
        default("fe80::1%eno1"),
        {"network": "2001:db8:9::", "netmask": "ffff:ffff:ffff::", "gateway": "2001:db8::2"},
    ])  # fmt: skip
    text = document(A, networks=[network])
    found = profiles(text)["a"]["ipv6"]
    assert found["route0"] == "::/0,fe80::1"
    assert found["route1"] == "2001:db8:9::/48,2001:db8::2"
    assert not warnings(text)


def test_routes_next_to_dhcp() -> None:
    network = {"id": "n", "link": "a", "type": "ipv4_dhcp", "routes": [default("192.0.2.1")]}
    assert one(network)["ipv4"] == DHCP_4 | {"route0": "0.0.0.0/0,192.0.2.1"}


def test_the_summary_has_two_addresses_of_each_family() -> None:
    networks = [static(address=f"192.0.2.{n}") for n in range(10, 99)]
    networks.append(static("a", "2001:db8::10"))
    found = generate(document(A, networks=networks)).network
    assert found == "a 192.0.2.10/24 192.0.2.11/24 2001:db8::10/64"


def test_a_gateway_of_a_network_is_its_default_route() -> None:
    assert one(static(gateway="192.0.2.1"))["ipv4"]["route0"] == "0.0.0.0/0,192.0.2.1"
    assert "route0" not in one(static(gateway=""))["ipv4"]


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ([static("a"), static("b", "198.51.100.10", routes=[default("198.51.100.1")])],
         {"b": "192.0.2.53"}),
        ([static("a"), static("b", "198.51.100.10")], {"a": "192.0.2.53", "b": "192.0.2.53"}),
        ([static("a"), {"id": "n", "link": "b", "type": "ipv4_dhcp"}], {"a": "192.0.2.53"}),
        ([{"id": "n", "link": "b", "type": "ipv4_dhcp"}], {"b": "192.0.2.53"}),
        ([static("a", "2001:db8::10"), static("b")], {"b": "192.0.2.53"}),
    ],
)  # fmt: skip
def test_the_documents_name_servers(networks: list[Json], expected: dict[str, str]) -> None:
    found = profiles(document(A, B, networks=networks, services=dns("192.0.2.53")))
    given = {name: each["ipv4"]["dns"] for name, each in found.items() if "dns" in each["ipv4"]}
    assert given == expected


def test_name_servers_of_networks_and_routes() -> None:
    network = static(
        services=dns("192.0.2.51", "2001:db8::51"),
        dns_nameservers=["192.0.2.52", "192.0.2.51"],
        dns_search="example.net example.org",
        routes=[default("192.0.2.1", services=dns("192.0.2.53"))],
    )
    found = one(network, static("a", "2001:db8::10"), services=dns("192.0.2.54"))
    assert found["ipv4"]["dns"] == "192.0.2.51;192.0.2.52;192.0.2.53;192.0.2.54"
    assert found["ipv4"]["dns-search"] == "example.net;example.org"
    assert found["ipv6"]["dns"] == "2001:db8::51", "it comes after the network that names it"


def test_name_servers_that_stand_for_none_and_on_the_host_itself() -> None:
    text = document(A, networks=[static()], services=dns("0.0.0.0", "::", "127.0.0.1"))
    assert profiles(text)["a"]["ipv4"]["dns"] == "127.0.0.1"
    assert warnings(text) == []


def test_more_name_servers_than_a_host_can_use_are_left_out() -> None:
    text = document(A, networks=[static()], services=dns(*(f"10.0.0.{n}" for n in range(1, 60))))
    assert len(profiles(text)["a"]["ipv4"]["dns"].split(";")) == 20
    assert warnings(text) == ["services: has more than 20 name servers: the others are not used"]


@pytest.mark.parametrize(
    ("networks", "services", "expected"),
    [
        ([], [], ["networks: no link has a network: the host gets no address"]),
        ([static()], [{"type": "ntp", "address": "x"}],
         ["services[0].type: 'ntp' is not used: mic knows dns only"]),
        ([static()], dns("2001:db8::53"),
         ["services: the name server 2001:db8::53 is not used: there is no IPv6 to reach it by"]),
        ([static(routes=[default("198.51.100.1")])], [],
         ["networks[0].routes[0].gateway: 198.51.100.1 is outside of every subnet of a: the host "
          "may not reach it"]),
        ([static(gateway="192.0.2.1",
                 routes=[default("192.0.2.2"), default("192.0.2.3", metric=9)])], [],
         ["networks[0].routes[0].gateway: the route to 0.0.0.0/0 by 192.0.2.1 is given too: the "
          "host may use either"]),
        ([static(gateway="192.0.2.1", routes=[default("192.0.2.1")])], [], []),
        ([static(gateway="192.0.2.10")], [],
         ["networks[0].gateway: 192.0.2.10 is the address of a itself"]),
        ([static(routes=[{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": ""}])], [],
         ["networks[0].routes[0]: a default route has no gateway: the host looks for every address "
          "on the link itself"]),
        ([static(routes=[{"network": "198.51.100.7/24", "gateway": "192.0.2.1"}])], [],
         ["networks[0].routes[0].network: 198.51.100.7 is no network of the length 24: "
          "198.51.100.0/24 is used"]),
        ([static(), static("b")], [],
         ["networks[1].ip_address: 192.0.2.10 is an address of a too"]),
        ([static("a", "192.0.2.255")], [],
         ["networks[0].ip_address: 192.0.2.255/24 is the first or last address of its subnet, "
          "which no host should have"]),
        ([static(ip_address="192.0.2.10/25")], [],
         ["networks[0].netmask: 255.255.255.0 is not used: ip_address has the prefix length 25"]),
        ([static(type="ipv4_dhcp")], [],
         ["networks[0].ip_address: is not used: the type of the network is DHCP"]),
        ([static(id="n"), static("b", "198.51.100.1", id="n")], [],
         ["networks[1].id: 'n' is the id of networks[0] too: this host gets both, glean takes the "
          "last only"]),
    ],
)  # fmt: skip
def test_doubtful_networks(networks: list[Json], services: list[Json], expected: list[str]) -> None:
    assert warnings(document(A, B, networks=networks, services=services)) == expected


def test_an_mtu_too_small_for_ipv6_has_a_warning() -> None:
    text = document(card(mtu=1000), networks=[static("a", "2001:db8::10")])
    assert warnings(text) == ["links[0].mtu: is below 1280: the kernel turns IPv6 off"]


HOST = "expected the address of a host"


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (static("c"), "link: found 'c', expected the id of a link"),
        (static(link=None), "link: found null, expected a string"),
        (static(type="ipv5"),
         "type: found 'ipv5' (did you mean ipv4?), expected one of ipv4, ipv4_dhcp, ipv6, "
         "ipv6_dhcp, ipv6_slaac, ipv6_dhcpv6-stateful, ipv6_dhcpv6-stateless"),
        (static(ip_address=None), "'ip_address' is missing"),
        (static(netmask=None), "'netmask' is missing"),
        (static(ip_address="192.0.2.300"),
         "ip_address: found '192.0.2.300', expected an IPv4 or IPv6 address"),
        (static(ip_address="::1%eth0"),
         "ip_address: found '::1%eth0', expected an IPv4 or IPv6 address"),
        (static(ip_address=7), "ip_address: found '7', expected an IPv4 or IPv6 address"),
        (static(ip_address={}), "ip_address: found a mapping, expected an IPv4 or IPv6 address"),
        (static(netmask="255.0.255.0"),
         "netmask: found '255.0.255.0', expected an IPv4 mask such as 255.255.255.0 or 24"),
        (static(netmask="ffff::"),
         "netmask: found 'ffff::', expected an IPv4 mask such as 255.255.255.0 or 24"),
        (static(netmask="33"),
         "netmask: found '33', expected an IPv4 mask such as 255.255.255.0 or 24"),
        (static("a", "2001:db8::1", netmask="ffff:0:ffff::"),
         "netmask: found 'ffff:0:ffff::', expected an IPv6 mask such as "
         "ffff:ffff:ffff:ffff:: or 64"),
        (static("a", "2001:db8::1", type="ipv4"),
         "ip_address: found 2001:db8::1, expected an IPv4 address"),
        (static(gateway="2001:db8::1"), "gateway: found 2001:db8::1, expected an IPv4 address"),
        (static("a", "127.0.0.1"), f"ip_address: found 127.0.0.1/24, a loopback address, {HOST}"),
        (static("a", "0.0.0.0"), f"ip_address: found 0.0.0.0/24, no address, {HOST}"),
        (static("a", "224.0.0.1"), f"ip_address: found 224.0.0.1/24, a multicast address, {HOST}"),
        (static("a", "ff02::1"), f"ip_address: found ff02::1/64, a multicast address, {HOST}"),
        (static("a", "255.255.255.255", netmask="32"),
         f"ip_address: found 255.255.255.255/32, the broadcast address, {HOST}"),
        *((static(type="ipv4_dhcp", gateway=gateway),
           f"gateway: found {gateway}, {kind}, {HOST}")
          for gateway, kind in (("224.0.0.1", "a multicast address"),
                                ("127.0.0.1", "a loopback address"),
                                ("255.255.255.255", "the broadcast address"))),
        (static(routes=[default("224.0.0.1")]),
         f"routes[0].gateway: found 224.0.0.1, a multicast address, {HOST}"),
        (static(services=dns("224.0.0.1")),
         f"services[0].address: found 224.0.0.1, a multicast address, {HOST}"),
        (static(dns_nameservers=["255.255.255.255"]),
         f"dns_nameservers[0]: found 255.255.255.255, the broadcast address, {HOST}"),
        (static(netmask="0.0.0.0"),
         f"ip_address: found 192.0.2.10/0, in a subnet of all addresses, {HOST}"),
        (static(routes=[{"network": "10.0.0.0", "gateway": "192.0.2.1"}]),
         "routes[0]: 'netmask' is missing"),
        (static(routes=[{"gateway": "192.0.2.1"}]), "routes[0]: 'network' is missing"),
        (static(routes=[default("fe80::1")]),
         "routes[0].network: found ::, expected an IPv4 address"),
        (static(routes=[default("192.0.2.1") | {"gateway": "fe80::1"}]),
         "routes[0].gateway: found fe80::1, expected an IPv4 address"),
        (static(routes="none"), "routes: found a string, expected a list"),
        (static(services=[{"type": "dns"}]),
         "services[0].address: found null, expected an IPv4 or IPv6 address"),
        (static(dns_nameservers=["x"]),
         "dns_nameservers[0]: found 'x', expected an IPv4 or IPv6 address"),
        (static(dns_search=["a b\nc"]), "dns_search[0]: found 'a b?c', expected a domain name"),
    ],
)  # fmt: skip
def test_networks_that_are_refused(network: Json, problem: str) -> None:
    dotted = "" if problem.startswith("'") else "."
    expected = f"networks[0]{dotted or ': '}{problem}"
    assert refusal(document(A, networks=[network])) == (expected,)


def test_a_port_of_a_bond_has_no_network() -> None:
    bond = {"id": "bond0", "type": "bond", "bond_links": ["a"], "bond_mode": "802.3ad"}
    assert refusal(document(A, bond, networks=[static()])) == (
        "networks[0].link: found 'a', a port, expected its bond 'bond0': a port has no addresses",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("links: 1\n", "links: found a string, expected a list"),
        ("links: {}\n", "links: found a mapping, expected a list"),
        ("networks: [1]\n", "networks[0]: found a string, expected a mapping"),
        ("services: [1]\n", "services[0]: found a string, expected a mapping"),
        ("links: []\nlinks: []\n", "links: given twice"),
        ("links: [{id: a, id: b}]\n", "links[0].id: given twice"),
        (
            "links: [{id: b, type: bond, bond_links: [], bond_mode: '1', bond_mode: '4'}]\n",
            "links[0].bond_mode: given twice",
        ),
    ],
)
def test_wrong_types(text: str, problem: str) -> None:
    assert refusal(text) == (problem,)


def test_no_value_of_the_document_is_in_what_others_may_read() -> None:
    networks = [static(gateway="198.51.100.77"), static("b", id="hunter2"), static(id="hunter2")]
    text = document(A, B, networks=networks, services=dns("2001:db8::53"), linkz=["hunter2"])
    found = generate(text)
    assert len(found.warnings) > 3
    for warning in found.warnings:
        assert not {"198", "2001", "hunter2", "linkz"} & set(
            warning.without_content.replace(".", " ").replace(":", " ").split()
        )

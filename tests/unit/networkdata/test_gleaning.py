"""Network data that glean cannot use has a warning."""

from __future__ import annotations

import json

import pytest
from network_data_support import Json, card, document, static

from mic.networkdata import generate, gleaning_doubts

A, B = card("a", 1), card("b", 2)
ROUTE = {"network": "10.0.0.0", "netmask": "255.0.0.0", "gateway": "192.0.2.1"}
BOND: Json = {"id": "bond0", "type": "bond", "bond_links": ["a"], "bond_mode": "802.3ad"}
VLAN: Json = {"id": "v", "type": "vlan", "vlan_id": 7, "vlan_link": "a"}
FAILS = "glean fails, and a ramdisk without NetworkManager has no network"


def without(members: Json, name: str) -> Json:
    return {key: value for key, value in members.items() if key != name}


def doubts(text: str, *, only_glean: bool = True) -> list[str]:
    generate(text)
    return [str(each) for each in gleaning_doubts(text.encode(), only_glean=only_glean)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (document(without(A, "type")), "links[0].type: is missing"),
        (document(without(A, "ethernet_mac_address") | {"name": "eno1"}),
         "links[0].ethernet_mac_address: is missing"),
        (document(A, BOND), "links[1].ethernet_mac_address: of a bond is missing"),
        (document(A, VLAN | {"vlan_mac_address": None}), "links[1].vlan_mac_address: is null"),
        (document(A, VLAN, VLAN | {"id": "w", "vlan_link": "v"}, networks=[static("w")]),
         "links[2].vlan_link: is a VLAN"),
        (document(A, networks=[without(static(), "id")]), "networks[0].id: is missing"),
        (document(A, networks=[without(static(ip_address="192.0.2.10/24"), "netmask")]),
         "networks[0].netmask: is missing"),
        (document(A, networks=[static("a", "2001:db8::1", netmask=64)]),
         "networks[0].netmask: is a number"),
        (document(A, networks=[static(routes=None)]), "networks[0].routes: is null"),
        (document(A, networks=[static(routes=[ROUTE, without(ROUTE, "gateway")])]),
         "networks[0].routes[1].gateway: is missing"),
        (json.dumps({"links": [A], "networks": [], "services": None}), "services: is null"),
        (document(A, networks=[static()], services=[{"address": "192.0.2.53"}]),
         "services[0].type: is missing"),
    ],
)  # fmt: skip
def test_what_stops_glean(text: str, expected: str) -> None:
    assert doubts(text) == [f"{expected}: {FAILS}"]
    assert doubts(text, only_glean=False) == doubts(text)


@pytest.mark.parametrize("kind", ["ipv6_dhcp", "ipv6_dhcpv6-stateful", "dhcp"])
def test_types_that_glean_ignores(kind: str) -> None:
    text = document(A, networks=[{"id": "n", "link": "a", "type": kind}])
    what = "networks[0].type: is not a type that each glean knows: the network is ignored"
    assert doubts(text) == [what]
    assert doubts(text, only_glean=False) == [], "NetworkManager is likely there"


def test_a_vlan_on_a_vlan_without_a_network_does_not_stop_glean() -> None:
    assert doubts(document(A, VLAN, VLAN | {"id": "w", "vlan_link": "v"})) == []


@pytest.mark.parametrize("kind", ["ipv4_dhcp", "ipv6_slaac"])
def test_what_glean_can_use_is_quiet(kind: str) -> None:
    bond = BOND | {"ethernet_mac_address": "52:54:00:00:00:01", "bond_links": ["a", "b"]}
    vlan = VLAN | {"vlan_link": "bond0", "vlan_mac_address": "52:54:00:00:00:01"}
    networks = [{"id": "n", "link": "bond0", "type": kind}, static("v", routes=[ROUTE])]
    services = [{"type": "dns", "address": "192.0.2.53"}]
    assert doubts(document(A, B, bond, vlan, networks=networks, services=services)) == []

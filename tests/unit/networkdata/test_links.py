"""Links become profiles: network cards, bonds, VLANs."""

from __future__ import annotations

import pytest
from network_data_support import Json, card, document, profiles, refusal, static, warnings

from mic.networkdata import generate
from mic.networkdata.members import PHYSICAL

MODES = (
    "expected one of balance-rr, active-backup, balance-xor, broadcast, 802.3ad, balance-tlb, "
    "balance-alb"
)
UNICAST = "expected the address of a network card: not zero, not multicast"
A, B, C = card("a", 1), card("b", 2), card("c", 3)


def bond(*links: str, ident: str = "bond0", **more: object) -> Json:
    return {
        "id": ident, "type": "bond", "bond_links": list(links), "bond_mode": "active-backup"
    } | more  # fmt: skip


def vlan(link: str, number: int = 7, ident: str = "v", **more: object) -> Json:
    return {"id": ident, "type": "vlan", "vlan_link": link, "vlan_id": number} | more


@pytest.mark.parametrize("kind", [*PHYSICAL, None])
def test_types_of_network_cards(kind: str | None) -> None:
    text = document(card(type=kind), networks=[static()])
    assert not warnings(text)
    (found,) = profiles(text).values()
    assert found["connection"]["type"] == "802-3-ethernet"
    assert found["ethernet"] == {"mac-address": "52:54:00:00:00:01"}
    assert "interface-name" not in found["connection"]


def test_boot_loaders_know_cards_by_their_mac_addresses() -> None:
    text = document(A, B, bond("a", "b", ethernet_mac_address="52:54:00:AA:00:01"), networks=[])
    assert generate(text).mac_addresses == ("52:54:00:00:00:01", "52:54:00:00:00:02")


def test_an_unknown_type_is_a_network_card_with_a_warning() -> None:
    text = document(card(type="phys"), networks=[static()])
    assert profiles(text)["a"]["connection"]["type"] == "802-3-ethernet"
    assert warnings(text) == [
        "links[0].type: 'phys' is not a type of link, and is taken for a network card; "
        "did you mean phy?"
    ]


def test_a_card_without_mac_address_is_found_by_its_name() -> None:
    text = document({"id": "a", "type": "phy", "name": "eno1"}, networks=[static()])
    found = profiles(text)["a"]
    assert found["connection"]["interface-name"] == "eno1"
    assert "ethernet" not in found


def test_the_mac_address_counts_more_than_the_name() -> None:
    found = profiles(document(card(name="eno1"), networks=[static()]))["a"]
    assert "interface-name" not in found["connection"]


@pytest.mark.parametrize(
    ("mtu", "expected"), [(1500, "1500"), ("9000", "9000"), (1500.0, "1500"), (None, None)]
)
def test_mtu(mtu: object, expected: str | None) -> None:
    found = profiles(document(card(mtu=mtu), networks=[static()]))["a"]
    assert found["ethernet"].get("mtu") == expected


def test_a_link_without_network_has_no_addresses() -> None:
    found = profiles(document(A, B, networks=[static("a")]))["b"]
    assert (found["ipv4"], found["ipv6"]) == ({"method": "disabled"}, {"method": "disabled"})


@pytest.mark.parametrize(
    "ident", ["Ethernet1/1", "a b", "-x", ".x", "ü", "x" * 200, "a\nmac-address=1", "[ipv4]"]
)
def test_ids_that_are_no_file_names_get_another(ident: str) -> None:
    found = profiles(document(card(ident), card("link-0", 2), networks=[static(ident)]))
    assert set(found) == {"link-1", "link-0"}
    assert found["link-1"]["connection"]["id"] == "link-1"
    assert found["link-1"]["ipv4"]["address0"] == "192.0.2.10/24"


def test_a_bond_and_its_ports() -> None:
    found = profiles(
        document(
            bond("a", "b", ethernet_mac_address="52:54:00:00:00:01", mtu=9000, bond_miimon=100),
            A,
            B,
            networks=[static("bond0")],
        )
    )
    assert found["bond0"]["connection"]["interface-name"] == "bond0"
    assert found["bond0"]["bond"] == {"mode": "active-backup", "miimon": "100"}
    assert found["bond0"]["ethernet"] == {"cloned-mac-address": "52:54:00:00:00:01", "mtu": "9000"}
    for port in ("a", "b"):
        connection = found[port]["connection"]
        assert connection["master"] == found["bond0"]["connection"]["uuid"]
        assert connection["slave-type"] == "bond"
        assert "ipv4" not in found[port]


@pytest.mark.parametrize(
    ("ident", "more", "expected"),
    [
        ("trunk", {}, "trunk"),
        ("trunk", {"name": "bond7"}, "bond7"),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301", {}, "bond0"),
        ("bond a/b", {}, "bond0"),
    ],
)
def test_names_of_bonds(ident: str, more: Json, expected: str) -> None:
    found = profiles(document(bond("a", ident=ident, **more), A, networks=[static(ident)]))
    names = {each["connection"].get("interface-name") for each in found.values()}
    assert names == {expected, None}


def test_names_that_are_taken_are_not_given_again() -> None:
    links = [bond("a", ident="x" * 16), bond("b", ident="bond0"), A, B]
    links += [vlan("bond0", 5, "v1"), vlan("bond0", 6, "v2", name="bond0.5")]
    found = profiles(document(*links, card("d", 4), vlan("d", 7, "w1"), vlan("c", 7, "w2"), C))
    names = [each["connection"].get("interface-name") for each in found.values()]
    given = [name for name in names if name]
    assert len(given) == len(set(given)) == 6


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("802.3ad", "802.3ad"),
        ("802.1ad", "802.3ad"),
        ("balance-rr", "balance-rr"),
        (4, "802.3ad"),
        ("1", "active-backup"),
    ],
)
def test_modes_of_bonds(mode: object, expected: str) -> None:
    found = profiles(document(bond("a", bond_mode=mode), A, networks=[static("bond0")]))
    assert found["bond0"]["bond"]["mode"] == expected


@pytest.mark.parametrize(
    ("mode", "given", "expected"),
    [
        ("802.3ad", {"lacp_rate": "fast", "xmit_hash_policy": "layer3+4"}, None),
        ("802.3ad", {"lacp_rate": 1}, {"lacp_rate": "fast"}),
        ("802.3ad", {"xmit_hash_policy": ""}, {}),
        ("802.3ad", {"ad_actor_system": "02:00:00:00:00:AA"}, None),
        ("balance-rr", {"use_carrier": True}, {"use_carrier": "1"}),
        ("balance-rr", {"arp_interval": 100, "arp_ip_target": ["192.0.2.1", "192.0.2.2"]},
         {"arp_interval": "100", "arp_ip_target": "192.0.2.1,192.0.2.2"}),
        ("active-backup", {"updelay": 200}, {"updelay": "200", "miimon": "100"}),
        ("active-backup", {"num_unsol_na": 3}, {"num_grat_arp": "3"}),
        ("active-backup", {"primary": "b"}, {"primary": "eno2"}),
        ("active-backup", {"primary": "eno9"}, None),
    ],
)  # fmt: skip
def test_options_of_bonds(mode: str, given: Json, expected: Json | None) -> None:
    members = {f"bond_{key}": value for key, value in given.items()}
    text = document(
        bond("a", "b", **{"bond_mode": mode} | members), A, B | {"name": "eno2"},
        networks=[static("bond0")],
    )  # fmt: skip
    assert not warnings(text)
    wanted = {"mode": mode} | (given if expected is None else expected)
    assert profiles(text)["bond0"]["bond"] == wanted


@pytest.mark.parametrize(
    ("mode", "given", "what"),
    [
        ("802.3ad", {"bond_color": "red"},
         "bond_color: is not an option of bonds, and is not used"),
        ("balance-rr", {"bond_lacp_rate": "fast"},
         "bond_lacp_rate: is not used: a bond of mode balance-rr has no such option"),
        ("802.3ad", {"bond_primary": "a"},
         "bond_primary: is not used: the port is found by its MAC address, without a name"),
        ("broadcast", {"bond_arp_interval": 10},
         "bond_arp_interval: is not used: bond_arp_ip_target is missing"),
        ("broadcast", {"bond_arp_interval": 9, "bond_arp_ip_target": "192.0.2.1", "bond_miimon": 1},
         "bond_arp_interval: is not used: bond_miimon monitors the ports"),
    ],
)  # fmt: skip
def test_options_that_a_bond_cannot_have_are_left_out(mode: str, given: Json, what: str) -> None:
    text = document(bond("a", bond_mode=mode, **given), A, networks=[static("bond0")])
    assert warnings(text) == [f"links[0].{what}"]
    assert not {key.removeprefix("bond_") for key in given} - {"miimon"} & set(
        profiles(text)["bond0"]["bond"]
    )


def test_a_vlan_names_its_parents_profile() -> None:
    found = profiles(
        document(A, vlan("a", 100, vlan_mac_address="52:54:00:00:00:01"), networks=[static("v")])
    )
    assert found["v"]["connection"]["interface-name"] == "vlan100"
    assert found["v"]["vlan"] == {
        "flags": "1", "id": "100", "parent": found["a"]["connection"]["uuid"]
    }  # fmt: skip
    assert "ethernet" not in found["v"], "it has the card's MAC address anyway"
    assert found["a"]["ipv4"] == {"method": "disabled"}


@pytest.mark.parametrize(
    ("parent", "expected"),
    [("bond0", "bond0.100"), ("x123456789012", "vlan100")],
)
def test_a_vlan_is_named_after_a_bond(parent: str, expected: str) -> None:
    links = (bond("a", ident=parent), A, vlan(parent, 100))
    found = profiles(document(*links, networks=[static("v")]))["v"]
    assert found["connection"]["interface-name"] == expected


def test_a_vlans_own_mac_address_is_set() -> None:
    text = document(A, vlan("a", vlan_mac_address="52-54-00-00-00-99"), networks=[static("v")])
    assert profiles(text)["v"]["ethernet"] == {"cloned-mac-address": "52:54:00:00:00:99"}


def test_a_vlans_mac_address_may_be_called_as_a_cards() -> None:
    text = document(A, vlan("a", ethernet_mac_address="52:54:00:00:00:99"), networks=[static("v")])
    assert profiles(text)["v"]["ethernet"] == {"cloned-mac-address": "52:54:00:00:00:99"}


def test_a_vlan_on_a_vlan_that_comes_later() -> None:
    text = document(vlan("w", 2, "v"), vlan("bond0", 1, "w"), bond("a"), A, networks=[static("v")])
    assert profiles(text)["v"]["connection"]["interface-name"] == "bond0.1.2"


def test_uuids_stay_the_same() -> None:
    assert (
        profiles(document(A))["a"]["connection"]["uuid"] == "55fc497e-c0a6-56db-ace1-940e63242c24"
    )


@pytest.mark.parametrize(
    ("links", "problem"),
    [
        ([{"id": "a", "type": "phy"}],
         "links[0]: 'ethernet_mac_address' is missing, and 'name' too: nothing says which network "
         "card of the host it is"),
        ([{"type": "phy"}], "links[0]: 'id' is missing"),
        ([card(None)], "links[0].id: found null, expected a string"),
        ([card("")], "links[0].id: found an empty string, expected a string"),
        ([card({})], "links[0].id: found a mapping, expected a string"),
        (["a"], "links[0]: found a string, expected a mapping"),
        ([[]], "links[0]: found a list, expected a mapping"),
        ([A, A | {"ethernet_mac_address": "52:54:00:00:00:02"}],
         "links[1].id: found 'a' again, expected another id for each link"),
        ([A, card("b", 1)],
         "links[1].ethernet_mac_address: found 52:54:00:00:00:01 again, expected another one than "
         "that of links[0]: a network card is one link, and may have several networks"),
        ([card(ethernet_mac_address="52:54:00:00:00")],
         "links[0].ethernet_mac_address: found '52:54:00:00:00', expected a MAC address such as "
         "52:54:00:12:34:56"),
        ([card(ethernet_mac_address="01:00:5e:00:00:01")],
         "links[0].ethernet_mac_address: found 01:00:5E:00:00:01, " + UNICAST),
        ([card(ethernet_mac_address="00:00:00:00:00:00")],
         "links[0].ethernet_mac_address: found 00:00:00:00:00:00, " + UNICAST),
        ([card(ethernet_mac_address=[1])],
         "links[0].ethernet_mac_address: found a list, expected a MAC address such as "
         "52:54:00:12:34:56"),
        ([card(mtu=0)], "links[0].mtu: found 0, expected an integer from 1 to 65535"),
        ([card(mtu="big")], "links[0].mtu: found a string, expected an integer from 1 to 65535"),
        ([card(mtu=True)], "links[0].mtu: found a boolean, expected an integer from 1 to 65535"),
        ([card(name="a/b")],
         "links[0].name: found 'a/b', expected the name of a network interface: 1 to 15 letters, "
         "digits, '.', '_' or '-'"),
        ([card(name="x"), card("b", 2, name="x")],
         "links[1].name: found 'x' again, expected another name for each link"),
        ([card(type="vlans", vlan_link="a")],
         "links[0].type: found 'vlans' with vlan_link, expected vlan"),
        ([card(type=None, bond_links=["a"])],
         "links[0].type: found no type with bond_links, expected bond"),
        ([{"id": "bond0", "type": "bond", "bond_mode": "802.3ad"}],
         "links[0]: 'bond_links' is missing"),
        ([{"id": "bond0", "type": "bond", "bond_links": ["a"]}, A],
         "links[0]: 'bond_mode' is missing, " + MODES),
        ([bond("a", bond_mode="lacp"), A],
         "links[0].bond_mode: found 'lacp', " + MODES),
        ([bond("a", "d"), A, B], "links[0].bond_links[1]: found 'd', expected the id of a link: "
         "bond0, a, b"),
        ([bond("v"), A, vlan("a")],
         "links[0].bond_links[0]: found the vlan 'v', expected a network card"),
        ([bond("bond0")],
         "links[0].bond_links[0]: found the bond 'bond0', expected a network card"),
        ([bond("a"), bond("a", ident="bond1"), A],
         "links[1].bond_links[0]: found 'a', a port of another bond too, expected a free link"),
        ([bond("a", **{"bond-mode": "802.3ad"}), A],
         "links[0].bond_mode: given twice, under two of its names"),
        ([bond("a", bond_miimon=-1), A],
         "links[0].bond_miimon: found -1, expected an integer from 0 to 2147483647"),
        ([bond("a", bond_arp_ip_target="nowhere"), A],
         "links[0].bond_arp_ip_target: found 'nowhere', expected IPv4 addresses"),
        ([bond("a", bond_primary=["a"]), A],
         "links[0].bond_primary: found a list, expected the name of a network interface: 1 to 15 "
         "letters, digits, '.', '_' or '-'"),
        ([bond("a", bond_primary={"a": "a"}), A],
         "links[0].bond_primary: found a mapping, expected the name of a network interface: 1 to "
         "15 letters, digits, '.', '_' or '-'"),
        ([bond("a", bond_lacp_rate="00001"), A],
         "links[0].bond_lacp_rate: found '00001', expected one of slow, fast"),
        ([A, vlan("b")], "links[1].vlan_link: found 'b', expected the id of a link: a, v"),
        ([A, {"id": "v", "type": "vlan", "vlan_link": "a"}], "links[1]: 'vlan_id' is missing"),
        ([A, {"id": "v", "type": "vlan", "vlan_id": 1}], "links[1]: 'vlan_link' is missing"),
        ([A, vlan("a", 4095)], "links[1].vlan_id: found 4095, expected an integer from 1 to 4094"),
        ([vlan("v")], "links[0].vlan_link: expected a link below: this VLAN is on itself"),
        ([vlan("w", 1, "v"), vlan("v", 2, "w")],
         "links[0].vlan_link: expected a link below: this VLAN is on itself"),
        ([A, vlan("a", 7, "v"), vlan("a", 7, "w")],
         "links[2].vlan_id: found 7 again, expected another id than that of links[1]"),
        ([bond("a"), A, vlan("a")],
         "links[2].vlan_link: found 'a', a port, expected its bond 'bond0'"),
    ],
)  # fmt: skip
def test_links_that_are_refused(links: list[Json], problem: str) -> None:
    assert refusal(document(*links)) == (problem,)


def test_all_problems_are_reported() -> None:
    links = [card(mtu="x"), card("b", 2, ethernet_mac_address="y")]
    assert len(refusal(document(*links, networks=[{"id": "n"}]))) == 4


def test_a_bond_without_ports_has_a_warning() -> None:
    text = document(bond(), networks=[static("bond0")])
    assert warnings(text) == ["links[0].bond_links: has no ports: the bond never has a carrier"]


def test_an_mtu_above_that_of_the_link_below_has_a_warning() -> None:
    text = document(card(mtu=1500), vlan("a", mtu=9000), networks=[static("v")])
    assert warnings(text) == [
        "links[1].mtu: 9000 is above the 1500 of a: the kernel refuses it",
    ]


def test_members_that_look_misspelled_have_a_warning() -> None:
    link = card() | {"ethernet_mac_adress": "52:54:00:00:00:01", "color": "red", "vif_id": "x"}
    text = document(link, networks=[static(routs=[])])
    assert warnings(text) == [
        "links[0]: has a member 'ethernet_mac_adress', which is not used; did you mean "
        "ethernet_mac_address?",
        "networks[0]: has a member 'routs', which is not used; did you mean routes?",
    ]

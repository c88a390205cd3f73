"""NetworkManager and libnm take what becomes of OpenStack network data."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import network_data_documents as documents
import pytest
from e2e import nm, nm_guest
from e2e.libnm import complaints
from e2e.network_data_consumers import of_cloud_init, of_glean, of_mic
from network_data_support import card, document, static

from mic.networkdata import generate

LINKS = [f"{name},{mac}" for name, mac in documents.CARDS.items()]


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_libnm_reads_the_keyfiles(name: str) -> None:
    made = generate(documents.DOCUMENTS[name]).keyfiles
    told = dict(zip((each.name for each in made), complaints(made), strict=True))
    assert {name: each for name, each in told.items() if each} == {}


OPTIONS = {
    "miimon": 100,
    "updelay": 200,
    "arp_interval": 100,
    "arp_ip_target": "192.0.2.1",
    "arp_validate": "all",
    "primary": "eth9",
    "primary_reselect": "better",
    "fail_over_mac": "active",
    "xmit_hash_policy": "layer3+4",
    "lacp_rate": "fast",
    "ad_select": "bandwidth",
    "ad_actor_system": "02:00:00:00:00:01",
    "num_grat_arp": 3,
    "num_unsol_na": 4,
    "use_carrier": True,
    "all_slaves_active": 1,
    "packets_per_slave": 2,
    "lp_interval": 5,
    "tlb_dynamic_lb": 0,
    "min_links": 1,
    "resend_igmp": 2,
}
MODES = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.1ad"),
    *("balance-tlb", "balance-alb"),
)


def test_libnm_takes_bonds_of_any_options() -> None:
    """Those that NetworkManager would refuse have been left out."""
    given = [
        {"bond_mode": mode} | {f"bond_{option}": OPTIONS[option] for option in pair}
        for mode in MODES
        for pair in combinations(OPTIONS, 2)
    ]
    made = []
    for options in given:
        bond = {"id": "bond0", "type": "bond", "bond_links": ["a"]} | options
        made.append(generate(document(bond, card(), networks=[static("bond0")])).keyfiles[0])
    told = [
        f"{options}: {each}"
        for options, all_told in zip(given, complaints(made), strict=True)
        for each in all_told
    ]
    assert told == []


def test_the_profile_goes_to_the_card_with_the_mac_address(tmp_path: Path) -> None:
    text = documents.DUAL_STACK.replace(documents.CARDS["eth0"], documents.CARDS["eth1"])
    found = nm.activate(generate(text).keyfiles, tmp_path, LINKS)
    log = found.sections["log"]
    assert found.active >= {"a"}, log
    assert found.addresses("eth0") == set()
    assert found.addresses("eth1") == {"192.0.2.10/24", "2001:db8:1::10/64"}, log
    routes = {
        (route["dst"], route.get("gateway"), route["dev"])
        for route in found.json("routes4") + found.json("routes6")
    }
    assert ("default", "192.0.2.1", "eth1") in routes
    assert ("default", "2001:db8:1::1", "eth1") in routes
    assert {"nameserver 192.0.2.53", "nameserver 2001:db8:1::53"} <= set(
        found.sections["resolver"].splitlines()
    )


def test_dhcp(tmp_path: Path) -> None:
    found = nm.activate(generate(documents.DHCP).keyfiles, tmp_path, LINKS, "dhcp")
    log = found.sections["log"]
    assert found.addresses("eth0") == {"192.0.2.100/24"}, log
    assert "nameserver 192.0.2.53" in found.sections["resolver"].splitlines()


def test_bonds_and_vlans(tmp_path: Path) -> None:
    third = documents.CARDS["eth2"]
    more = f"""
- {{id: nic3, type: phy, ethernet_mac_address: {third}}}
- {{id: tenant, type: vlan, vlan_id: 7, vlan_link: nic3, vlan_mac_address: 52:54:00:bb:00:07}}
networks:
- {{id: n, link: tenant, type: ipv4, ip_address: 203.0.113.30, netmask: 255.255.255.0}}
"""
    text = documents.TEMPLATE.replace("\nnetworks:\n", more)
    made = generate(text).keyfiles
    found = nm_guest.activate(made, tmp_path, LINKS)
    log = found.sections["log"]
    assert found.active >= {each.name.removesuffix(".nmconnection") for each in made}, log
    bond = found.link("bond0")
    assert bond["linkinfo"]["info_data"]["mode"] == "802.3ad"
    assert bond["linkinfo"]["info_data"]["miimon"] == 100
    assert bond["linkinfo"]["info_data"]["xmit_hash_policy"] == "layer3+4"
    assert bond["address"] == documents.CARDS["eth0"]
    assert {found.link(name)["master"] for name in ("eth0", "eth1")} == {"bond0"}
    assert found.link("bond0.100")["linkinfo"]["info_data"]["id"] == 100
    assert found.addresses("bond0.100") == {"192.0.2.20/26"}, log
    assert found.addresses("bond0.200") == {"198.51.100.20/24"}, log
    # On a card that is known by its MAC address alone.
    tenant = found.link("vlan7")
    assert (tenant["link"], tenant["address"]) == ("eth2", "52:54:00:bb:00:07")
    assert found.addresses("vlan7") == {"203.0.113.30/24"}, log


# Where others make something else of a document, with what they lack and what they add:
# docs/network-data.md has the reasons.
CLOUD_INITS = {
    "name servers": ({"dns 192.0.2.52", "dns 192.0.2.53"}, set()),
}
GLEANS = {
    "same ids": ({"52:54:00:aa:00:01 address 192.0.2.10/24"}, set()),
    "by name": (None, set()),
    "name servers": ({"dns 192.0.2.51", "dns 192.0.2.52", "dns 192.0.2.53"}, set()),
    "Nova's SLAAC": (
        {"52:54:00:aa:00:01 auto ipv6"},
        {"52:54:00:aa:00:01 address 2001:db8:1:0:5054:ff:feaa:1/64"},
    ),
}


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_cloud_init_makes_the_same_of_it(name: str) -> None:
    ours, theirs = (make(documents.DOCUMENTS[name]) for make in (of_mic, of_cloud_init))
    assert (ours - theirs, theirs - ours) == CLOUD_INITS.get(name, (set(), set()))


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_glean_makes_the_same_of_it(name: str) -> None:
    ours, theirs = (make(documents.DOCUMENTS[name]) for make in (of_mic, of_glean))
    lacks, adds = GLEANS.get(name, (set(), set()))
    assert (ours - theirs, theirs - ours) == (ours if lacks is None else lacks, adds)

"""NetworkManager brings up what documents say."""

from __future__ import annotations

from pathlib import Path

import nmstate_documents
from e2e import nm, nm_guest

from mic.nmstate import keyfiles


def test_static_addresses_routes_rules_and_name_servers(tmp_path: Path) -> None:
    found = nm.activate(keyfiles(nmstate_documents.STATIC), tmp_path, ["eth0"])
    log = found.sections["log"]
    assert found.active >= {"eth0"}, log
    assert found.addresses("eth0") == {"192.0.2.10/24", "2001:db8:1::10/64"}, log
    routes = {
        (route["dst"], route.get("gateway"), route.get("table"), route.get("metric"))
        for route in found.json("routes4") + found.json("routes6")
        if route.get("gateway")
    }
    assert ("default", "192.0.2.1", None, 120) in routes
    assert ("198.51.100.0/24", "192.0.2.2", "200", None) in routes
    assert ("default", "2001:db8:1::1", None, 1024) in routes
    rules = {
        (rule["priority"], rule.get("src"), rule.get("dst"), rule["table"])
        for rule in found.json("rules4") + found.json("rules6")
    }
    assert (1000, "192.0.2.0", None, "200") in rules
    assert (1001, "all", "2001:db8:9::", "main") in rules
    assert [line for line in found.sections["resolver"].splitlines() if line[:1] != "#"] == [
        "search example.net example.org",
        "nameserver 2001:db8:1::53",
        "nameserver 192.0.2.53",
        "options rotate",
    ]


def test_dhcp(tmp_path: Path) -> None:
    found = nm.activate(keyfiles(nmstate_documents.DHCP), tmp_path, ["eth0"], "dhcp")
    log = found.sections["log"]
    assert found.active >= {"eth0"}, log
    assert found.addresses("eth0") == {"192.0.2.100/24"}, log
    assert any(
        (route["dst"], route.get("gateway")) == ("default", "192.0.2.1")
        for route in found.json("routes4")
    )
    assert "nameserver 192.0.2.53" in found.sections["resolver"].splitlines()


def test_bond_vlan_bridge_and_vrf(tmp_path: Path) -> None:
    made = [
        keyfile
        for document in (nmstate_documents.BOND_VLAN, nmstate_documents.BRIDGE_VRF)
        for keyfile in keyfiles(document)
    ]
    found = nm_guest.activate(made, tmp_path, ["eth0", "eth1", "eth2", "eth3"])
    log = found.sections["log"]
    assert found.active >= {keyfile.name.removesuffix(".nmconnection") for keyfile in made}, log

    bond = found.link("bond0")
    assert bond["linkinfo"]["info_data"]["mode"] == "active-backup"
    assert bond["linkinfo"]["info_data"]["miimon"] == 100
    assert bond["address"] == "02:00:00:00:00:99"
    assert {found.link(name)["master"] for name in ("eth0", "eth1")} == {"bond0"}
    assert found.link("bond0.30")["linkinfo"]["info_data"]["id"] == 30
    assert found.addresses("bond0.30") == {"192.0.2.30/24"}

    bridge = found.link("br0")["linkinfo"]["info_data"]
    assert bridge["vlan_filtering"] == 1
    assert bridge["forward_delay"] == 400
    # For some seconds after a port joined, Linux ages by the forward delay instead
    # (__br_set_topology_change, net/bridge/br_stp.c).
    assert bridge["ageing_time"] == (2 * 400 if bridge["topology_change"] else 10000)
    assert bridge["priority"] == 4096
    port = found.link("eth2")
    assert port["master"] == "br0"
    assert port["linkinfo"]["info_slave_data"]["cost"] == 77
    vlans = {item["ifname"]: item["vlans"] for item in found.json("vlans")}
    assert {"vlan": 7, "flags": ["PVID", "Egress Untagged"]} in vlans["eth2"]
    assert found.addresses("br0") == {"198.51.100.1/24"}

    assert found.link("vrf0")["linkinfo"]["info_data"]["table"] == 300
    assert found.link("eth3")["master"] == "vrf0"
    assert found.addresses("eth3") == {"203.0.113.1/24"}
    assert any(
        (route["dst"], route.get("table")) == ("203.0.113.0/24", "300")
        for route in found.json("routes4")
    )

"""Open vSwitch: bridges, ports, interfaces, and their database columns."""

from __future__ import annotations

import pytest
from nmstate_support import interface, made, refusal, sections

BRIDGE = """\
interfaces:
- name: br0
  type: ovs-bridge
  ovs-db: {external_ids: {a: 1, b: true, gone: null}, other_config: {}}
  bridge:
    options: {stp: {enabled: true}, rstp: false, mcast-snooping-enable: true, fail-mode: secure,
              datapath: netdev}
    port:
    - {name: eth1, vlan: {mode: trunk, trunk-tags: [{id: 5}, {id-range: {min: 7, max: 9}}]}}
    - name: bond1
      link-aggregation:
        mode: balance-tcp
        bond-updelay: 100
        port: [{name: eth2}, {name: eth3}]
    - {name: ovs0, vlan: {mode: access, tag: 3}}
- name: ovs0
  type: ovs-interface
  ipv4: {enabled: true, address: [{ip: 192.0.2.1, prefix-length: 24}]}
- {name: eth1, type: ethernet}
"""


def test_writes_profiles_of_bridges_ports_and_interfaces() -> None:
    assert set(made(BRIDGE)) == {
        *("br0-br", "eth1", "eth1-port", "bond1-port", "eth2", "eth3", "ovs0-port", "ovs0-if"),
    }


def test_writes_the_bridge() -> None:
    found = sections(BRIDGE, "br0-br")
    assert found["ovs-bridge"] == {
        "stp-enable": "true",
        "rstp-enable": "false",
        "mcast-snooping-enable": "true",
        "fail-mode": "secure",
        "datapath-type": "netdev",
    }
    assert found["ovs-external-ids"] == {"data.a": "1", "data.b": "true"}
    assert "ovs-other-config" not in found
    assert found["connection"]["interface-name"] == "br0"


def test_writes_the_ports() -> None:
    trunk, bond = sections(BRIDGE, "eth1-port"), sections(BRIDGE, "bond1-port")
    assert trunk["ovs-port"] == {"vlan-mode": "trunk", "trunks": "5,7-9"}
    assert trunk["connection"]["master"] == "br0"
    assert trunk["connection"]["slave-type"] == "ovs-bridge"
    assert bond["ovs-port"] == {
        "bond-mode": "balance-tcp",
        "lacp": "active",
        "bond-updelay": "100",
    }
    assert sections(BRIDGE, "ovs0-port")["ovs-port"] == {"vlan-mode": "access", "tag": "3"}


def test_writes_the_interfaces() -> None:
    internal, system = sections(BRIDGE, "ovs0-if"), sections(BRIDGE, "eth3")
    assert internal["ovs-interface"] == {"type": "internal"}
    assert internal["ipv4"]["method"] == "manual"
    assert internal["connection"]["master"] == "ovs0"
    assert system["connection"]["master"] == "bond1"
    assert system["connection"]["slave-type"] == "ovs-port"


def test_writes_patches_and_dpdk() -> None:
    document = """\
interfaces:
- {name: br0, type: ovs-bridge, bridge: {port: [{name: p0}, {name: d0}]}}
- {name: p0, type: ovs-interface, patch: {peer: p1}}
- {name: d0, type: ovs-interface, dpdk: {devargs: "0000:af:00.1", rx-queue: 2, n_rxq_desc: 1024}}
"""
    patch, dpdk = sections(document, "p0-if"), sections(document, "d0-if")
    assert patch["ovs-interface"] == {"type": "patch"}
    assert patch["ovs-patch"] == {"peer": "p1"}
    assert dpdk["ovs-interface"] == {"type": "dpdk"}
    assert dpdk["ovs-dpdk"] == {"devargs": "0000:af:00.1", "n-rxq": "2", "n-rxq-desc": "1024"}
    assert "n_rxq_desc" in refusal(document.replace("1024", "1000"))
    assert "mtu" in refusal(document.replace("{peer: p1}", "{peer: p1}, mtu: 1500"))


def test_rejects_invalid_members() -> None:
    assert "mac-address" in refusal(
        interface("mac-address: 02:00:00:00:00:01\nbridge: {}", kind="ovs-bridge")
    )
    assert "ovn-bridge-mappings" in refusal("ovs-db: {external_ids: {ovn-bridge-mappings: a:b}}")
    assert "given twice" in refusal(
        "ovn: {bridge-mappings: [{localnet: a, bridge: b}, {localnet: a, bridge: c}]}"
    )
    assert "'bridge' is missing" in refusal("ovn: {bridge-mappings: [{localnet: a}]}")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("1e30", "1" + "0" * 30),
        ("1e-7", "0.0000001"),
        ("1.5", "1.5"),
        ("1.0", "1"),
        ("-0", "0"),
        ("1e16", "1" + "0" * 16),
        ("true", "true"),
        ("'x y'", "x y"),
    ],
)
def test_formats_columns_of_interfaces_like_rust(value: str, written: str) -> None:
    members = f"ovs-db: {{external_ids: {{a: {value}}}}}\nbridge: {{}}"
    found = sections(interface(members, name="br9", kind="ovs-bridge"), "br9-br")
    assert found["ovs-external-ids"] == {"data.a": written}


@pytest.mark.parametrize("columns", ["external_ids", "other_config"])
def test_checks_columns_of_the_host(columns: str) -> None:
    for value in ("1.5", "-0", "true", "~", "''", "x"):
        assert made(f"ovs-db: {{{columns}: {{a: {value}}}}}") == {}
    for value in ("[1]", "{}", "{b: c}"):
        assert f"ovs-db.{columns}.a" in refusal(f"ovs-db: {{{columns}: {{a: {value}}}}}")
    assert f"ovs-db.{columns}" in refusal(f"ovs-db: {{{columns}: [a]}}")

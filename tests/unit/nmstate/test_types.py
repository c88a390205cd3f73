"""The sections of each type of interface."""

from __future__ import annotations

import pytest
from nmstate_support import interface, made, refusal, sections


@pytest.mark.parametrize(
    ("kind", "nm_type"),
    [
        ("ethernet", "802-3-ethernet"),
        ("veth", "802-3-ethernet"),
        ("dummy", "dummy"),
        ("macsec", "macsec"),
        ("ipvlan", "ipvlan"),
        ("hsr", "hsr"),
        ("wlan-of-tomorrow", "802-3-ethernet"),
    ],
)
def test_writes_types_of_profiles(kind: str, nm_type: str) -> None:
    assert sections(interface("", kind=kind))["connection"]["type"] == nm_type


def test_writes_common_members() -> None:
    found = sections(
        interface("""\
mac-address: 02:00:00:aa:bb:cc
mtu: 1400
accept-all-mac-addresses: true
description: uplink
profile-name: first
lldp: {enabled: true}
mptcp: {address-flags: [signal, backup]}
wait-ip: ipv4+ipv6
"""),
        "first",
    )
    assert found["ethernet"] == {
        "cloned-mac-address": "02:00:00:AA:BB:CC",
        "mtu": "1400",
        "accept-all-mac-addresses": "1",
    }
    assert found["user"] == {"nmstate.interface.description": "uplink"}
    assert found["connection"]["id"] == "first"
    assert found["connection"]["interface-name"] == "eth0"
    assert found["connection"]["lldp"] == "1"
    assert found["connection"]["mptcp-flags"] == str(0x8 | 0x10 | 0x40)
    assert found["ipv4"]["may-fail"] == found["ipv6"]["may-fail"] == "false"


def test_copies_a_mac_address() -> None:
    document = """\
interfaces:
- {name: eth7, type: ethernet, mac-address: 02:00:00:00:00:07}
- name: br0
  type: linux-bridge
  copy-mac-from: eth7
  bridge: {port: [{name: eth7}]}
"""
    assert sections(document, "br0")["ethernet"]["cloned-mac-address"] == "02:00:00:00:00:07"
    assert "eth8" in refusal(document.replace("from: eth7", "from: eth8"))


def test_writes_ethernet_links() -> None:
    fixed = interface("ethernet: {auto-negotiation: false, speed: 1000, duplex: full}")
    assert sections(fixed)["ethernet"] == {
        "auto-negotiate": "false",
        "speed": "1000",
        "duplex": "full",
    }
    free = interface("ethernet: {auto-negotiation: true, speed: 1000, duplex: full}")
    assert sections(free)["ethernet"] == {"auto-negotiate": "true"}


def test_writes_virtual_functions() -> None:
    found = sections(
        interface("""\
ethernet:
  sr-iov:
    total-vfs: 2
    drivers-autoprobe: false
    vfs:
    - {id: 0, mac-address: "02:00:00:00:00:0a", trust: true, spoof-check: false}
    - {id: 1, vlan-id: 100, qos: 5, vlan-proto: 802.1ad, max-tx-rate: 10}
""")
    )
    assert found["sriov"] == {
        "total-vfs": "2",
        "autoprobe-drivers": "0",
        "vf.0": "mac=02:00:00:00:00:0A spoof-check=false trust=true",
        "vf.1": "max-tx-rate=10 vlans=100.5.ad",
    }
    assert "sriov" not in sections(interface("ethernet: {sr-iov: {total-vfs: 0}}"))
    bad = interface("ethernet: {sr-iov: {total-vfs: 1, vfs: [{id: 0, vlan-proto: 802.1ad}]}}")
    assert "interfaces[0].ethernet.sr-iov.vfs[0].vlan-proto" in refusal(bad)


def test_writes_bond_options_and_ports() -> None:
    document = """\
interfaces:
- name: bond0
  type: bond
  link-aggregation:
    mode: "1"
    options:
      all_slaves_active: 1
      arp_all_targets: all
      use_carrier: false
      tlb_dynamic_lb: "yes"
      ad_actor_system: 00:00:5e:aa:bb:cc
      arp_missed_max: 2
      num_grat_arp: 3
      primary: eth1
    ports-config:
    - {name: eth1, priority: -5, queue-id: 2}
    - {name: eth2, priority: 0, queue-id: 0}
"""
    assert sections(document, "bond0")["bond"] == {
        "mode": "active-backup",
        "all_slaves_active": "1",
        "arp_all_targets": "all",
        "use_carrier": "0",
        "tlb_dynamic_lb": "1",
        "ad_actor_system": "00:00:5E:AA:BB:CC",
        "num_grat_arp": "3",
        "primary": "eth1",
    }
    assert sections(document, "eth1")["bond-port"] == {"prio": "-5", "queue-id": "2"}
    assert "bond-port" not in sections(document, "eth2")


@pytest.mark.parametrize(
    ("aggregation", "path"),
    [
        ("{port: []}", "link-aggregation: 'mode'"),
        ("{mode: fast, port: []}", "link-aggregation.mode"),
        ("{mode: 0, port: [a, a]}", "port twice"),
        ("{mode: 0, options: {miimon: 1, arp_interval: 1}}", "link-aggregation.options"),
        ("{mode: 0, options: {ad_actor_system: '01:00:5e:00:00:01'}}", "ad_actor_system"),
        ("{mode: 0, options: {balance-slb: true}}", "balance-slb"),
        ("{mode: 0, port: [a], ports-config: [{name: b}]}", "ports-config"),
        (
            "{mode: 0, ports-config: [{name: a, queue-id: 1}, {name: b, queue-id: 1}]}",
            "share queue 1",
        ),
    ],
)
def test_rejects_invalid_bonds(aggregation: str, path: str) -> None:
    assert path in refusal(interface(f"link-aggregation: {aggregation}", kind="bond"))


def test_rejects_a_mac_address_with_fail_over_mac_active() -> None:
    document = interface(
        "mac-address: 02:00:00:00:00:01\n"
        "link-aggregation: {mode: active-backup, options: {fail_over_mac: active}}",
        kind="bond",
    )
    assert "mac-address" in refusal(document)


def test_writes_bridge_options() -> None:
    found = sections(
        interface(
            """\
bridge:
  options:
    group-addr: 01:80:C2:00:00:0b
    group-forward-mask: 8
    mac-ageing-time: 200
    hash-max: 512
    multicast-snooping: false
    multicast-router: 2
    vlan-protocol: 802.1ad
    stp: {enabled: true, forward-delay: 5, hello-time: 2, max-age: 10, priority: 4096}
  port: []
""",
            kind="linux-bridge",
        )
    )
    assert found["bridge"] == {
        "ageing-time": "200",
        "forward-delay": "5",
        "group-address": "1;128;194;0;0;11",
        "group-forward-mask": "8",
        "hello-time": "2",
        "max-age": "10",
        "multicast-hash-max": "512",
        "multicast-router": "enabled",
        "multicast-snooping": "false",
        "priority": "4096",
        "stp": "true",
        "vlan-filtering": "false",
        "vlan-protocol": "802.1ad",
    }


@pytest.mark.parametrize(
    ("bridge", "path"),
    [
        ("{options: {stp: {hello-time: 11}}}", "bridge.options.stp.hello-time"),
        ("{options: {stp: {max-age: 5}}}", "bridge.options.stp.max-age"),
        ("{options: {group-fwd-mask: 1, group-forward-mask: 2}}", "differ"),
        ("{options: {vlan-default-pvid: 7}, port: [{name: a}]}", "vlan-default-pvid"),
        ("{port: [{name: a, vlan: {mode: trunk}}]}", "trunk-tags"),
        ("{port: [{name: a, vlan: {mode: trunk, tag: 4, trunk-tags: []}}]}", "tag"),
        ("{port: [{name: a, vlan: {mode: access, trunk-tags: [{id: 1}]}}]}", "trunk-tags"),
        ("{port: [{name: a, vlan: {mode: access, enable-native: true}}]}", "enable-native"),
        (
            "{port: [{name: a, vlan: {mode: trunk, trunk-tags:"
            " [{id: 7}, {id-range: {min: 5, max: 9}}]}}]}",
            "overlap",
        ),
        ("{port: [{name: a, vlan: {mode: trunk, trunk-tags: [{}]}}]}", "trunk-tags[0]"),
    ],
)
def test_rejects_invalid_bridges(bridge: str, path: str) -> None:
    assert path in refusal(interface(f"bridge: {bridge}", kind="linux-bridge"))


def test_rejects_a_vlan_without_a_base_interface() -> None:
    assert "base-iface" in refusal(interface("vlan: {id: 3}", kind="vlan"))


@pytest.mark.parametrize(("kind", "tap"), [("mac-vlan", "false"), ("mac-vtap", "true")])
def test_writes_mac_vlans(kind: str, tap: str) -> None:
    config = "{base-iface: eth9, mode: passthru, promiscuous: false}"
    found = sections(interface(f"{kind}: {config}", kind=kind))
    assert found["macvlan"] == {"mode": "4", "parent": "eth9", "promiscuous": "false", "tap": tap}
    assert "promiscuous" in refusal(
        interface(f"{kind}: {config.replace('passthru', 'bridge')}", kind=kind)
    )


def test_rejects_infiniband_ports_of_other_bonds_than_active_backup() -> None:
    document = """\
interfaces:
- {name: ib0, type: infiniband, infiniband: {mode: datagram, pkey: 65535}}
- {name: bond0, type: bond, link-aggregation: {mode: 1, port: [ib0]}}
"""
    assert "bond0" in made(document)
    assert "InfiniBand" in refusal(document.replace("mode: 1", "mode: 0"))


def test_writes_ipsec() -> None:
    document = interface(
        "libreswan: {right: 192.0.2.250, left: '%defaultroute', psk: sesame, ikev2: insist,"
        " dpddelay: 5, ipsec-interface: '9', leftmodecfgclient: true}\n"
        "ipv4: {enabled: true, dhcp: true}",
        kind="ipsec",
    )
    found = sections(document)
    assert found["vpn"] == {
        "service-type": "org.freedesktop.NetworkManager.libreswan",
        "right": "192.0.2.250",
        "left": "%defaultroute",
        "ikev2": "insist",
        "dpddelay": "5",
        "ipsec-interface": "9",
        "leftmodecfgclient": "yes",
    }
    assert found["vpn-secrets"] == {"pskvalue": "sesame"}
    assert found["connection"]["type"] == "vpn"
    assert "interface-name" not in found["connection"]


def test_checks_macsec_keys() -> None:
    config = "macsec: {encrypt: true, base-iface: eth9, port: 0, validation: strict, send-sci: true"
    key = "0123456789abcdef" * 2
    good = f"{config}, mka-cak: '{key}', mka-ckn: '0011'}}"
    assert "macsec" not in sections(interface(good, kind="macsec"))
    for bad in (
        f"{config}, mka-cak: '{key}'}}",
        good.replace("'0011'", "'001'"),
        good.replace("0123", "012"),
    ):
        assert key[5:] not in refusal(interface(bad, kind="macsec"))


def test_rejects_other_invalid_members() -> None:
    assert "mutually exclusive" in refusal(
        interface("ipvlan: {private: true, vepa: true}", kind="ipvlan")
    )
    assert "hsr" in refusal(interface("hsr: {port1: a}", kind="hsr"))
    assert "xfrm" in refusal(interface("", kind="xfrm"))
    assert "dispatch" in refusal(interface("dispatch: {post-activation: id}"))
    assert "mutually exclusive" in refusal(interface("mptcp: {address-flags: [signal, fullmesh]}"))


def test_completes_the_loopback_interface() -> None:
    bare = sections("interfaces: [{name: lo, type: loopback, mtu: 65536}]", "lo")
    assert bare["ipv4"]["address0"] == "127.0.0.1/8"
    assert bare["ipv6"]["address0"] == "::1/128"
    assert "ethernet" not in bare
    more = sections(
        "interfaces: [{name: lo, type: loopback,"
        " ipv4: {address: [{ip: 192.0.2.9, prefix-length: 32}]}}]",
        "lo",
    )
    assert more["ipv4"]["address0"] == "192.0.2.9/32"
    assert more["ipv4"]["method"] == "manual"
    assert "ipv4" in refusal("interfaces: [{name: lo, type: loopback, ipv4: {enabled: false}}]")
    assert "automatic" in refusal(
        "interfaces: [{name: lo, type: loopback, ipv4: {enabled: true, dhcp: true}}]"
    )


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("01:80:C2:00:00:0e", "1;128;194;0;0;14"),
        ("1:2:3", "1;2;3"),
        ("1:2:3:4:5:6:7", "1;2;3;4;5;6;7"),
        ("01-80-c2-00-00-0b", None),
        ("01:80:zz:00:00:0e", None),
        ("", None),
    ],
)
def test_writes_a_group_address_as_bytes_or_omits_it(address: str, written: str | None) -> None:
    options = f"bridge: {{options: {{group-addr: '{address}'}}}}"
    found = sections(interface(options, kind="linux-bridge"))["bridge"]
    assert found.get("group-address") == written


def test_orders_bond_ports_by_name() -> None:
    ports = "ports-config: [{name: z, priority: 1}, {name: a, queue-id: 1}]"
    for named in ("", "port: [z, a], ", "port: [a, z], "):
        document = interface(f"link-aggregation: {{mode: 1, {named}{ports}}}", kind="bond")
        assert list(made(document)) == ["a", "eth0", "z"]
        assert sections(document, "a")["bond-port"] == {"queue-id": "1"}
        assert sections(document, "z")["bond-port"] == {"prio": "1"}


@pytest.mark.parametrize(
    "member", ["dispatch: {post-activation: id, more: 1}", "dispatch: {post-activation: ''}"]
)
def test_rejects_dispatch_scripts(member: str) -> None:
    assert "dispatch" in refusal(interface(member))

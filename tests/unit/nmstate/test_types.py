"""What each type of interface adds to its profile."""

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
def test_types_of_profiles(kind: str, nm_type: str) -> None:
    assert sections(interface("", kind=kind))["connection"]["type"] == nm_type


def test_common_members() -> None:
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


def test_a_mac_address_can_name_the_interface() -> None:
    found = sections(interface("identifier: mac-address\nmac-address: 02:00:00:00:00:01"))
    assert found["ethernet"] == {"mac-address": "02:00:00:00:00:01"}
    assert "interface-name" not in found["connection"]


def test_a_mac_address_can_be_copied() -> None:
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


def test_ethernet_links() -> None:
    fixed = interface("ethernet: {auto-negotiation: false, speed: 1000, duplex: full}")
    assert sections(fixed)["ethernet"] == {
        "auto-negotiate": "false",
        "speed": "1000",
        "duplex": "full",
    }
    free = interface("ethernet: {auto-negotiation: true, speed: 1000, duplex: full}")
    assert sections(free)["ethernet"] == {"auto-negotiate": "true"}


def test_virtual_functions() -> None:
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


def test_veth_pairs() -> None:
    files = made(interface("veth: {peer: veth9}", kind="veth"))
    assert list(files) == ["eth0", "veth9"]
    assert "[veth]\npeer=eth0\n" in files["veth9"]
    assert "[veth]\npeer=veth9\n" in files["eth0"]


def test_bond_options_and_ports() -> None:
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
def test_bonds_that_cannot_be(aggregation: str, path: str) -> None:
    assert path in refusal(interface(f"link-aggregation: {aggregation}", kind="bond"))


def test_a_bond_that_leaves_the_mac_address_to_its_ports() -> None:
    document = interface(
        "mac-address: 02:00:00:00:00:01\n"
        "link-aggregation: {mode: active-backup, options: {fail_over_mac: active}}",
        kind="bond",
    )
    assert "mac-address" in refusal(document)


def test_bridge_options() -> None:
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


def test_bridge_ports_and_vlans() -> None:
    document = """\
interfaces:
- name: br0
  type: linux-bridge
  bridge:
    options: {vlan-default-pvid: 5}
    port:
    - name: eth1
      stp-hairpin-mode: false
      stp-path-cost: 100
      stp-priority: 32
    - name: eth2
      vlan:
        mode: trunk
        tag: 10
        enable-native: true
        trunk-tags: [{id: 101}, {id-range: {min: 5, max: 8}}]
    - name: eth3
      vlan: {mode: access, tag: 7}
"""
    assert sections(document, "br0")["bridge"] == {
        "vlan-filtering": "true",
        "vlan-default-pvid": "5",
    }
    assert sections(document, "eth1")["bridge-port"] == {
        "hairpin-mode": "false",
        "path-cost": "100",
        "priority": "32",
    }
    assert sections(document, "eth2")["bridge-port"] == {"vlans": "5-8,10 pvid untagged,101"}
    assert sections(document, "eth3")["bridge-port"] == {"vlans": "7 pvid untagged"}


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
def test_bridges_that_cannot_be(bridge: str, path: str) -> None:
    assert path in refusal(interface(f"bridge: {bridge}", kind="linux-bridge"))


def test_vlans() -> None:
    found = sections(
        interface(
            "vlan: {base-iface: eth9, id: 4001, protocol: 802.1ad, registration-protocol: mvrp,"
            " reorder-headers: false, loose-binding: true}",
            kind="vlan",
        )
    )
    assert found["vlan"] == {"id": "4001", "parent": "eth9", "flags": "12", "protocol": "802.1ad"}
    assert "base-iface" in refusal(interface("vlan: {id: 3}", kind="vlan"))


def test_vxlans() -> None:
    found = sections(
        interface(
            'vxlan: {base-iface: eth9, id: 16777215, remote: "2001:DB8::1", local: 192.0.2.1,'
            " destination-port: 4790, learning: no}",
            kind="vxlan",
        )
    )
    assert found["vxlan"] == {
        "id": "16777215",
        "parent": "eth9",
        "remote": "2001:db8::1",
        "local": "192.0.2.1",
        "destination-port": "4790",
        "learning": "false",
    }


def test_vrfs_and_their_ports() -> None:
    document = """\
interfaces:
- {name: vrf0, type: vrf, mac-address: "02:00:00:00:00:01",
   vrf: {port: [eth1], route-table-id: 100}}
- name: eth1
  type: ethernet
  ipv4: {enabled: true, address: [{ip: 192.0.2.1, prefix-length: 24}]}
"""
    vrf, port = sections(document, "vrf0"), sections(document, "eth1")
    assert vrf["vrf"] == {"table": "100"}
    assert "ethernet" not in vrf
    assert port["connection"]["slave-type"] == "vrf"
    assert port["ipv4"]["address0"] == "192.0.2.1/24"
    assert "route-table-id" in refusal(interface("vrf: {port: []}", kind="vrf"))


@pytest.mark.parametrize(("kind", "tap"), [("mac-vlan", "false"), ("mac-vtap", "true")])
def test_mac_vlans(kind: str, tap: str) -> None:
    config = "{base-iface: eth9, mode: passthru, promiscuous: false}"
    found = sections(interface(f"{kind}: {config}", kind=kind))
    assert found["macvlan"] == {"mode": "4", "parent": "eth9", "promiscuous": "false", "tap": tap}
    assert "promiscuous" in refusal(
        interface(f"{kind}: {config.replace('passthru', 'bridge')}", kind=kind)
    )


def test_infiniband() -> None:
    found = sections(
        interface(
            "mtu: 2044\ninfiniband: {mode: connected, base-iface: ib0, pkey: '0x8001'}",
            kind="infiniband",
        )
    )
    assert found["infiniband"] == {
        "mtu": "2044",
        "parent": "ib0",
        "p-key": "32769",
        "transport-mode": "connected",
    }
    bare = sections(interface("infiniband: {mode: datagram, pkey: '0xffff'}", kind="infiniband"))
    assert bare["infiniband"] == {"transport-mode": "datagram"}


def test_infiniband_is_a_port_of_active_backup_bonds_only() -> None:
    document = """\
interfaces:
- {name: ib0, type: infiniband, infiniband: {mode: datagram, pkey: 65535}}
- {name: bond0, type: bond, link-aggregation: {mode: 1, port: [ib0]}}
"""
    assert "bond0" in made(document)
    assert "InfiniBand" in refusal(document.replace("mode: 1", "mode: 0"))


def test_ipsec() -> None:
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


def test_macsec_keys() -> None:
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


def test_what_else_is_checked() -> None:
    assert "exclude" in refusal(interface("ipvlan: {private: true, vepa: true}", kind="ipvlan"))
    assert "hsr" in refusal(interface("hsr: {port1: a}", kind="hsr"))
    assert "xfrm" in refusal(interface("", kind="xfrm"))
    assert "dispatch" in refusal(interface("dispatch: {post-activation: id}"))
    assert "exclude" in refusal(interface("mptcp: {address-flags: [signal, fullmesh]}"))


def test_loopback_has_its_addresses_and_keeps_them() -> None:
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

"""Documents that cover the sections of keyfiles, by name; the unit tests have more."""

from __future__ import annotations

STATIC = """\
interfaces:
- name: eth0
  type: ethernet
  state: up
  mtu: 1500
  wait-ip: ipv4+ipv6
  ipv4:
    enabled: true
    address: [{ip: 192.0.2.10, prefix-length: 24}]
  ipv6:
    enabled: true
    address: [{ip: "2001:db8:1::10", prefix-length: 64}]
dns-resolver:
  config:
    server: ["2001:db8:1::53", 192.0.2.53]
    search: [example.net, example.org]
    options: [rotate]
routes:
  config:
  - {destination: 0.0.0.0/0, next-hop-address: 192.0.2.1, next-hop-interface: eth0, metric: 120}
  - {destination: "::/0", next-hop-address: "2001:db8:1::1", next-hop-interface: eth0}
  - {destination: 198.51.100.0/24, next-hop-address: 192.0.2.2, next-hop-interface: eth0,
     table-id: 200}
route-rules:
  config:
  - {ip-from: 192.0.2.0/24, route-table: 200, priority: 1000}
  - {ip-to: "2001:db8:9::/48", priority: 1001}
"""

DHCP = """\
interfaces:
- name: eth0
  type: ethernet
  state: up
  ipv4: {enabled: true, dhcp: true}
  ipv6: {enabled: true, dhcp: true, autoconf: true}
"""

BOND_VLAN = """\
interfaces:
- name: bond0
  type: bond
  state: up
  mac-address: 02:00:00:00:00:99
  link-aggregation:
    mode: active-backup
    options: {miimon: 100, primary: eth1}
    port: [eth0, eth1]
- name: bond0.30
  type: vlan
  state: up
  vlan: {base-iface: bond0, id: 30}
  ipv4:
    enabled: true
    address: [{ip: 192.0.2.30, prefix-length: 24}]
routes:
  config: [{destination: 0.0.0.0/0, next-hop-address: 192.0.2.1, next-hop-interface: bond0.30}]
"""

BRIDGE_VRF = """\
interfaces:
- name: br0
  type: linux-bridge
  state: up
  bridge:
    options: {mac-ageing-time: 100, stp: {enabled: true, forward-delay: 4, priority: 4096}}
    port:
    - {name: eth2, stp-path-cost: 77, vlan: {mode: access, tag: 7}}
  ipv4:
    enabled: true
    address: [{ip: 198.51.100.1, prefix-length: 24}]
- name: vrf0
  type: vrf
  state: up
  vrf: {port: [eth3], route-table-id: 300}
- name: eth3
  type: ethernet
  state: up
  ipv4:
    enabled: true
    address: [{ip: 203.0.113.1, prefix-length: 24}]
"""

OTHER_TYPES = """\
interfaces:
- {name: dummy0, type: dummy, state: up, lldp: {enabled: true}, accept-all-mac-addresses: true,
   description: nothing, mptcp: {address-flags: [subflow]}}
- {name: veth0, type: veth, state: up, veth: {peer: veth1}}
- {name: vxlan0, type: vxlan, state: up,
   vxlan: {base-iface: dummy0, id: 42, remote: 192.0.2.7, destination-port: 4789, learning: true}}
- {name: macvlan0, type: mac-vlan, state: up,
   mac-vlan: {base-iface: dummy0, mode: bridge, promiscuous: true}}
- {name: macvtap0, type: mac-vtap, state: up,
   mac-vtap: {base-iface: dummy0, mode: passthru, promiscuous: false}}
- {name: ib0, type: infiniband, state: up, mtu: 2044, infiniband: {mode: datagram, pkey: 65535}}
- {name: ib0.8001, type: infiniband, state: up,
   infiniband: {mode: connected, base-iface: ib0, pkey: "0x8001"}}
- {name: lo, type: loopback, state: up, mtu: 65536}
- {name: tunnel, type: ipsec, state: up, ipv4: {enabled: true, dhcp: true},
   libreswan: {right: 192.0.2.250, left: 192.0.2.10, psk: sesame, ikev2: insist}}
- name: ens1
  type: ethernet
  state: up
  ethernet:
    auto-negotiation: false
    speed: 1000
    duplex: full
    sr-iov: {total-vfs: 2, vfs: [{id: 0, trust: true, vlan-id: 5, qos: 3}]}
  ethtool:
    pause: {autoneg: false, rx: true, tx: false}
    feature: {rx-gro: true, tx-generic-segmentation: false}
    coalesce: {adaptive-rx: true, rx-usecs: 10}
    ring: {rx: 1024}
  802.1x: {identity: host, eap-methods: [ttls], phase2-auth: pap, password: sesame,
           ca-cert: /etc/pki/ca.pem}
"""

OVS = """\
interfaces:
- name: br1
  type: ovs-bridge
  state: up
  ovs-db: {external_ids: {owner: us}}
  bridge:
    options: {stp: {enabled: true}, fail-mode: secure}
    port:
    - {name: eth1, vlan: {mode: trunk, trunk-tags: [{id: 5}, {id-range: {min: 7, max: 9}}]}}
    - name: bond1
      link-aggregation: {mode: balance-slb, port: [{name: eth2}, {name: eth3}]}
    - {name: ovs1, vlan: {mode: access, tag: 3}}
    - {name: patch1}
- name: ovs1
  type: ovs-interface
  state: up
  ipv6: {enabled: true, dhcp: true, autoconf: true}
- {name: patch1, type: ovs-interface, state: up, patch: {peer: patch2}}
"""

DOCUMENTS = {
    "static": STATIC,
    "dhcp": DHCP,
    "bond and VLAN": BOND_VLAN,
    "bridge and VRF": BRIDGE_VRF,
    "other types": OTHER_TYPES,
    "Open vSwitch": OVS,
}

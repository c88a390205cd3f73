"""OpenStack network data as its users write it, by name."""

from __future__ import annotations

CARDS = {
    "eth0": "52:54:00:aa:00:01",
    "eth1": "52:54:00:aa:00:02",
    "eth2": "52:54:00:aa:00:03",
}
"""The network cards of the host that the documents describe."""

# As an operator writes it by hand for one host of Metal3.
STATIC = """\
links:
- id: enp1s0
  type: phy
  ethernet_mac_address: 52:54:00:aa:00:01
  mtu: 1500
networks:
- id: provisioning
  type: ipv4
  link: enp1s0
  ip_address: 192.0.2.10
  netmask: 255.255.255.0
  routes:
  - {network: 0.0.0.0, netmask: 0.0.0.0, gateway: 192.0.2.1}
  - {network: 198.51.100.0, netmask: 255.255.255.128, gateway: 192.0.2.2}
services:
- {type: dns, address: 192.0.2.53}
- {type: dns, address: 192.0.2.54}
"""

STATIC_6 = """\
{
  "links": [
    {"id": "eth0", "type": "phy", "ethernet_mac_address": "52:54:00:AA:00:01", "mtu": 9000}
  ],
  "networks": [
    {
      "id": "n6", "network_id": "", "link": "eth0", "type": "ipv6",
      "ip_address": "2001:db8:1::10", "netmask": "ffff:ffff:ffff:ffff::",
      "routes": [
        {"network": "::", "netmask": "::", "gateway": "2001:db8:1::1"},
        {"network": "2001:db8:9::", "netmask": "ffff:ffff:ffff::", "gateway": "2001:db8:1::2"}
      ]
    }
  ],
  "services": [{"type": "dns", "address": "2001:db8:1::53"}]
}
"""

# As Nova writes it for a port of Neutron.
DHCP = """\
{
  "links": [
    {
      "id": "tap77a0c4f2-01", "vif_id": "77a0c4f2-0147-4d4f-9b53-1b1d1f4ecb8e", "type": "ovs",
      "mtu": null, "ethernet_mac_address": "52:54:00:aa:00:01"
    }
  ],
  "networks": [
    {
      "id": "network0", "type": "ipv4_dhcp", "link": "tap77a0c4f2-01",
      "network_id": "5d3b1f4e-8f3c-4b44-8b1e-2f1d27d0e6a5"
    }
  ],
  "services": []
}
"""

# As cluster-api-provider-metal3 renders a Metal3DataTemplate: YAML, bonds before their ports.
TEMPLATE = """\
links:
- bond_links:
  - eno1
  - eno2
  bond_miimon: 100
  bond_mode: 802.3ad
  bond_xmit_hash_policy: layer3+4
  ethernet_mac_address: 52:54:00:aa:00:01
  id: bond0
  mtu: 1500
  type: bond
- ethernet_mac_address: 52:54:00:aa:00:01
  id: eno1
  mtu: 1500
  type: phy
- ethernet_mac_address: 52:54:00:aa:00:02
  id: eno2
  mtu: 1500
  type: phy
- id: vlan100
  mtu: 1500
  type: vlan
  vlan_id: 100
  vlan_link: bond0
  vlan_mac_address: 52:54:00:aa:00:01
- id: vlan200
  mtu: 1500
  type: vlan
  vlan_id: 200
  vlan_link: bond0
  vlan_mac_address: 52:54:00:aa:00:01
networks:
- id: baremetal
  ip_address: 192.0.2.20
  link: vlan100
  netmask: 255.255.255.192
  routes:
  - gateway: 192.0.2.1
    netmask: 0.0.0.0
    network: 0.0.0.0
    services: []
  type: ipv4
- id: storage
  ip_address: 198.51.100.20
  link: vlan200
  netmask: 255.255.255.0
  routes: []
  type: ipv4
services:
- address: 192.0.2.53
  type: dns
"""

VLAN_ON_CARD = """\
{
  "links": [
    {"id": "nic0", "type": "phy", "ethernet_mac_address": "52:54:00:aa:00:01"},
    {"id": "nic1", "type": "phy", "ethernet_mac_address": "52:54:00:aa:00:02"},
    {
      "id": "tenant", "type": "vlan", "vlan_id": 7, "vlan_link": "nic1",
      "vlan_mac_address": "52:54:00:bb:00:07"
    }
  ],
  "networks": [
    {
      "id": "n0", "link": "nic0", "type": "ipv4", "ip_address": "192.0.2.30",
      "netmask": "255.255.255.0"
    },
    {
      "id": "n1", "link": "tenant", "type": "ipv4", "ip_address": "203.0.113.30",
      "netmask": "255.255.255.0",
      "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "203.0.113.1"}]
    }
  ],
  "services": []
}
"""

SLAAC = """\
{
  "links": [{"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:aa:00:01"}],
  "networks": [{"id": "n", "link": "a", "type": "ipv6_slaac"}],
  "services": [{"type": "dns", "address": "2001:db8::53"}]
}
"""

DUAL_STACK = """\
{
  "links": [{"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:aa:00:01"}],
  "networks": [
    {
      "id": "four", "link": "a", "type": "ipv4", "ip_address": "192.0.2.10",
      "netmask": "255.255.255.0",
      "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]
    },
    {
      "id": "six", "link": "a", "type": "ipv6", "ip_address": "2001:db8:1::10",
      "netmask": "ffff:ffff:ffff:ffff::",
      "routes": [{"network": "::", "netmask": "::", "gateway": "2001:db8:1::1"}]
    }
  ],
  "services": [
    {"type": "dns", "address": "192.0.2.53"}, {"type": "dns", "address": "2001:db8:1::53"}
  ]
}
"""

# Several networks of one card; ids that are used twice, as in Ironic's own sample.
SAME_IDS = """\
{
  "links": [{"id": "port0", "type": "vif", "ethernet_mac_address": "52:54:00:aa:00:01"}],
  "networks": [
    {
      "id": "private", "link": "port0", "type": "ipv4", "ip_address": "192.0.2.10",
      "netmask": "255.255.255.0",
      "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]
    },
    {
      "id": "private", "link": "port0", "type": "ipv4", "ip_address": "198.51.100.10",
      "netmask": "255.255.255.0"
    }
  ],
  "services": []
}
"""

# Links by the names of cards, without MAC addresses; the mask after a slash.
BY_NAME = """\
links:
- {id: nic0, name: eth0, type: phy, mtu: 9100}
- {id: nic1, name: eth1, type: phy, mtu: 9100}
- id: trunk
  name: bond0
  type: bond
  bond_links: [nic0, nic1]
  bond_mode: active-backup
  bond_miimon: 100
  mtu: 9100
- {id: managed, type: vlan, vlan_link: trunk, vlan_id: 41, vlan_mac_address: null, mtu: 9100}
networks:
- id: managed
  link: managed
  type: ipv4
  ip_address: 192.0.2.41/24
  routes:
  - {network: 0.0.0.0/0, gateway: 192.0.2.1}
- id: managed6
  link: managed
  type: ipv6
  ip_address: 2001:db8:41::10/64
services: []
"""

# Name servers wherever a consumer looks for them.
NAME_SERVERS = """\
{
  "links": [
    {"id": "a", "type": "phy", "ethernet_mac_address": "52:54:00:aa:00:01"},
    {"id": "b", "type": "phy", "ethernet_mac_address": "52:54:00:aa:00:02"}
  ],
  "networks": [
    {
      "id": "na", "link": "a", "type": "ipv4", "ip_address": "192.0.2.10",
      "netmask": "255.255.255.0", "dns_nameservers": ["192.0.2.51"], "dns_search": ["example.net"],
      "services": [{"type": "dns", "address": "192.0.2.52"}],
      "routes": [
        {
          "network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1",
          "services": [{"type": "dns", "address": "192.0.2.53"}]
        }
      ]
    },
    {
      "id": "nb", "link": "b", "type": "ipv4", "ip_address": "198.51.100.10",
      "netmask": "255.255.255.0"
    }
  ],
  "services": [{"type": "dns", "address": "192.0.2.54"}]
}
"""

# Nova tells the address that autoconfiguration will give, and routes of it.
NOVA_SLAAC = """\
{
  "links": [
    {"id": "tap3", "type": "hw_veb", "ethernet_mac_address": "52:54:00:aa:00:01", "mtu": 1450},
    {"id": "tap4", "type": "vif", "ethernet_mac_address": "52:54:00:aa:00:02"}
  ],
  "networks": [
    {
      "id": "network0", "link": "tap3", "type": "ipv6_slaac",
      "ip_address": "2001:db8:1:0:5054:ff:feaa:1", "netmask": "ffff:ffff:ffff:ffff::",
      "routes": [{"network": "::", "netmask": "::", "gateway": "2001:db8:1::1"}]
    },
    {"id": "network1", "link": "tap4", "type": "ipv6_dhcpv6-stateful"},
    {"id": "network2", "link": "tap4", "type": "ipv4_dhcp"}
  ],
  "services": []
}
"""

DOCUMENTS = {
    "static": STATIC,
    "static IPv6": STATIC_6,
    "DHCP": DHCP,
    "template": TEMPLATE,
    "VLAN on a card": VLAN_ON_CARD,
    "SLAAC": SLAAC,
    "dual stack": DUAL_STACK,
    "same ids": SAME_IDS,
    "by name": BY_NAME,
    "name servers": NAME_SERVERS,
    "Nova's SLAAC": NOVA_SLAAC,
}

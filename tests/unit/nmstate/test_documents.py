"""Whole documents: names, order and text of the files."""

from __future__ import annotations

import uuid

from nmstate_support import made

from mic.nmstate import keyfiles

BOND_VLAN_STATIC = """\
interfaces:
- name: bond7.30
  type: vlan
  state: up
  vlan: {base-iface: bond7, id: 30}
  ipv4:
    enabled: true
    dhcp: false
    address: [{ip: 198.51.100.20, prefix-length: 25}]
- name: bond7
  type: bond
  state: up
  mtu: 9000
  link-aggregation:
    mode: 802.3ad
    options: {miimon: 100, lacp_rate: fast}
    port: [ens9, ens8]
dns-resolver:
  config:
    server: [198.51.100.1, 198.51.100.2]
    search: [example.net]
routes:
  config:
  - {destination: 0.0.0.0/0, next-hop-address: 198.51.100.1, next-hop-interface: bond7.30}
"""

VLAN = """\
[connection]
autoconnect=true
autoconnect-slaves=-1
id=bond7.30
interface-name=bond7.30
type=vlan
uuid={uuid}

[ipv4]
address0=198.51.100.20/25
dhcp-timeout=2147483647
dns=198.51.100.1;198.51.100.2
dns-priority=40
dns-search=example.net
method=manual
route0=0.0.0.0/0,198.51.100.1,0
route0_options=table=254

[ipv6]
dhcp-timeout=2147483647
method=disabled

[vlan]
flags=1
id=30
parent=bond7
"""

BOND = """\
[connection]
autoconnect=true
autoconnect-slaves=1
id=bond7
interface-name=bond7
type=bond
uuid={uuid}

[bond]
lacp_rate=fast
miimon=100
mode=802.3ad

[ipv4]
dhcp-timeout=2147483647
method=disabled

[ipv6]
dhcp-timeout=2147483647
method=disabled

[ethernet]
mtu=9000
"""

PORT = """\
[connection]
autoconnect=true
autoconnect-slaves=-1
id=ens8
interface-name=ens8
master=bond7
slave-type=bond
type=802-3-ethernet
uuid={uuid}
"""


def _uuid(url: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, url))


def test_converts_bond_vlan_and_static_addresses() -> None:
    files = made(BOND_VLAN_STATIC)
    assert list(files) == ["bond7", "ens8", "ens9", "bond7.30"]
    assert files["bond7.30"] == VLAN.format(uuid=_uuid("vlan://bond7.30"))
    assert files["bond7"] == BOND.format(uuid=_uuid("bond://bond7"))
    assert files["ens8"] == PORT.format(uuid=_uuid("ethernet://ens8"))


def test_converts_empty_documents_to_no_keyfiles() -> None:
    documents = [
        "",
        " \n",
        "# nothing\n",
        "!!map",
        "{}",
        "---\n...\n",
        "interfaces: []",
        b"\xef\xbb\xbf",
    ]
    for document in documents:
        assert keyfiles(document) == ()


def test_reads_json() -> None:
    assert list(made('{"interfaces": [{"name": "d0", "type": "dummy", "state": "up"}]}')) == ["d0"]


def test_keeps_contents_out_of_reprs() -> None:
    document = """\
interfaces:
- {name: eth0, type: ethernet, 802.1x: {identity: me, password: sesame, eap-methods: [ttls]}}
"""
    (keyfile,) = keyfiles(document)
    assert "password=sesame\n" in keyfile.content
    assert "sesame" not in repr(keyfile)


def test_converts_interfaces_by_state() -> None:
    document = """\
interfaces:
- {name: a, type: dummy, state: up}
- {name: b, type: dummy, state: down}
- {name: c, type: dummy, state: absent, nobody: {reads: this}}
- {name: d, type: dummy, state: ignore}
- {name: e, type: dummy, state: unknown}
- {name: f, type: dummy}
"""
    files = made(document)
    assert list(files) == ["a", "b", "e", "f"]
    assert "autoconnect=false\n" in files["b"]
    assert "autoconnect=true\n" in files["f"]


def test_keeps_the_last_of_two_interfaces_of_a_name() -> None:
    document = "interfaces: [{name: a, type: dummy, mtu: 1400}, {name: a, type: dummy, mtu: 1500}]"
    assert "mtu=1500\n" in made(document)["a"]

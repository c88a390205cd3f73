"""The hosts whose configs the tests try on real parts: the least there can be, and everything."""

from __future__ import annotations

from mic.common.keyfile import Keyfile
from mic.ignition import Agent, Host, VlanInterfaces
from mic.nmstate import keyfiles

PULL_SECRET = b'{"auths": {"quay.io": {"auth": "dXNlcjpwYXNz"}}}'

PEM = b"""\
-----BEGIN CERTIFICATE-----
MIIBKjCB3aADAgECAhQ+notarealcertificate%20but$text"with'everything\\
-----END CERTIFICATE-----
"""

AWKWARD = """http://us%40er:pa%24s$HOME${HOME}"q'uo\\te;`id`@proxy.example:3128"""
"""A proxy URL with what means something to systemd, to shells, to INI files and to URLs."""

NMSTATE = b"""\
interfaces:
- name: eth0
  type: ethernet
  state: up
  ipv4:
    enabled: true
    dhcp: false
    address:
    - ip: 192.0.2.10
      prefix-length: 24
routes:
  config:
  - destination: 0.0.0.0/0
    next-hop-address: 192.0.2.1
    next-hop-interface: eth0
"""
"""A document that becomes one keyfile."""

(ETHERNET,) = keyfiles(NMSTATE)

ODD_KEYFILE = Keyfile(
    name="odd name, 100%.nmconnection",
    content="""\
[connection]
id=odd name, 100%
uuid=5ef1e2ba-1d1c-5b5c-9b1c-7f6a7c9f1a02
type=dummy
interface-name=odd0

[ipv4]
method=disabled

[ipv6]
method=disabled
""",
)

PLAIN_AGENT = Agent(
    image="quay.io/metal3-io/ironic-python-agent", ironic_urls=("http://192.0.2.2",)
)

FULL_AGENT = Agent(
    image="registry.example:5000/ipa/agent@sha256:" + "0123456789abcdef" * 4,
    ironic_urls=("https://[2001:db8::2]:6385", "https://ir$onic.example"),
    inspector_urls=("https://[2001:db8::2]", "https://ironic.example/v1/continue"),
    pull_secret=PULL_SECRET,
    vlan_interfaces=VlanInterfaces.ALWAYS,
    ssh_keys=("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA one@example", "ssh-rsa AAAAB3Nza two words"),
    registries_conf=b'unqualified-search-registries = ["a.example"]\n# 100% \xc3\xa9\n',
    ip_options="ip=dhcp6 rd.net.timeout.carrier=30",
    http_proxy=AWKWARD,
    https_proxy="https://proxy.example:3129/%h",
    no_proxy="localhost,.example,10.0.0.0/8",
    ntp_servers=("ntp1.example", "2001:db8::123"),
    ca_bundle=PEM,
    ironic_ca_bundle=PEM + PEM,
)

PLAIN_HOST = Host()
NAMED_HOST = Host(name="worker-0")
ODD_HOST = Host(
    name="odd 'name' of 100% \"$HOME\" \\n",
    keyfiles=(ETHERNET, ODD_KEYFILE),
    network_data=True,
)
UNCONFIGURED_HOST = Host(name="worker-1.example.com", network_data=True)

CONFIGS = {
    "plain": (PLAIN_AGENT, PLAIN_HOST),
    "named": (PLAIN_AGENT, NAMED_HOST),
    "everything": (FULL_AGENT, ODD_HOST),
    "everything but keyfiles": (FULL_AGENT, UNCONFIGURED_HOST),
}

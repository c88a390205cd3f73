"""What mic, cloud-init and glean make of OpenStack network data, in words that can be compared.

A set of lines such as ``52:54:00:aa:00:01 address 192.0.2.10/24``. A bond is called by the MAC
addresses of its ports, and a VLAN after what it is on: names differ from consumer to consumer.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Iterator
from typing import Any

from e2e import parts, venv
from network_data_documents import CARDS
from network_data_support import profiles

from mic.networkdata import as_json

GLEAN = "glean==1.25.1"
_MINUTE = 60.0

_CLOUD_INIT = """\
import json, sys
from cloudinit.net.network_state import parse_net_config_data
from cloudinit.sources.helpers.openstack import convert_net_json
document, cards = json.load(sys.stdin)
config = convert_net_json(document, known_macs={mac: name for name, mac in cards.items()})
state = parse_net_config_data(config)
print(json.dumps([list(state.iter_interfaces()), state.dns_nameservers]))
"""

_OF_GLEAN = """\
import json, sys
from glean import cmd
document = json.loads(sys.argv[1])
servers = cmd.get_dns_from_config_drive(document)
print(json.dumps([list(cmd.get_config_drive_interfaces(document).values()), servers]))
"""


def of_mic(document: str) -> set[str]:
    """What the keyfiles say."""
    found = profiles(document)
    by_uuid = {each["connection"]["uuid"]: each for each in found.values()}

    def name(profile: dict[str, dict[str, str]]) -> str:
        connection = profile["connection"]
        if connection["type"] == "vlan":
            return f"{name(by_uuid[profile['vlan']['parent']])}.{profile['vlan']['id']}"
        if connection["type"] == "bond":
            uuid = connection["uuid"]
            ports = [p for p in found.values() if p["connection"].get("master") == uuid]
            return "+".join(sorted(map(name, ports)))
        mac = profile.get("ethernet", {}).get("mac-address")
        return mac.lower() if mac else CARDS[connection["interface-name"]]

    def lines() -> Iterator[str]:
        for profile in found.values():
            for section in ("ipv4", "ipv6"):
                settings = profile.get(section, {})
                if settings.get("method") == "auto":
                    yield f"{name(profile)} auto {section}"
                for key, value in settings.items():
                    if key.startswith("address"):
                        yield f"{name(profile)} address {value}"
                    elif key.startswith("route"):
                        yield f"{name(profile)} route {value.replace(',', ' ')}"
                    elif key == "dns":
                        yield from (f"dns {server}" for server in value.split(";"))

    return set(lines())


def of_cloud_init(document: str) -> set[str]:
    """What cloud-init's network state says."""
    python = parts.file("/usr/bin/python3", "python3")
    parts.file("/usr/lib/python3/dist-packages/cloudinit/__init__.py", "cloud-init")
    given = as_json(document.encode())
    assert given is not None
    done = subprocess.run(
        [python, "-W", "ignore", "-c", _CLOUD_INIT],
        input=json.dumps([json.loads(given), CARDS]),
        capture_output=True,
        text=True,
        timeout=_MINUTE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    interfaces, servers = json.loads(done.stdout)
    by_name = {each["name"]: each for each in interfaces}

    def name(interface: dict[str, Any]) -> str:
        if interface["type"] == "vlan":
            return f"{name(by_name[interface['vlan-raw-device']])}.{interface['vlan_id']}"
        if interface["type"] == "bond":
            ports = [i for i in interfaces if i.get("bond-master") == interface["name"]]
            return "+".join(sorted(map(name, ports)))
        return CARDS[interface["name"]]

    def lines() -> Iterator[str]:
        yield from (f"dns {server}" for server in servers)
        for interface in interfaces:
            for subnet in interface["subnets"]:
                yield from (f"dns {server}" for server in subnet.get("dns_nameservers", []))
                if "address" in subnet:
                    yield f"{name(interface)} address {subnet['address']}/{subnet['prefix']}"
                else:
                    family = "ipv4" if subnet["type"] == "dhcp4" else "ipv6"
                    yield f"{name(interface)} auto {family}"
                for route in subnet["routes"]:
                    target = f"{route['network']}/{route['prefix']}"
                    yield f"{name(interface)} route {target} {route['gateway']}"

    return set(lines())


def of_glean(document: str) -> set[str]:
    """What glean takes from it; empty if it ends with an error."""
    given = as_json(document.encode())
    assert given is not None
    python = venv.python_with(GLEAN)
    done = subprocess.run(
        [python, "-I", "-W", "ignore", "-c", _OF_GLEAN, given.decode()],
        capture_output=True,
        text=True,
        timeout=_MINUTE,
        check=False,
    )
    if done.returncode != 0:
        assert "KeyError" in done.stderr, done.stderr
        return set()
    interfaces, servers = json.loads(done.stdout)

    def lines() -> Iterator[str]:
        yield from (f"dns {server}" for server in servers)
        for interface in interfaces:
            kind = interface["type"]
            if kind == "manual":
                continue
            name = "+".join(sorted(interface.get("raw_macs") or [interface["mac_address"]]))
            name += f".{interface['vlan_id']}" if "vlan_id" in interface else ""
            # Its writer of keyfiles: autoconfiguration only without an address.
            if kind in ("ipv4", "ipv6") or (kind == "ipv6_slaac" and interface.get("ip_address")):
                prefix = _prefix(interface["netmask"])
                yield f"{name} address {interface['ip_address']}/{prefix}"
            else:
                yield f"{name} auto {kind[:4]}"
            for route in interface.get("routes", []):
                target = f"{route['network']}/{_prefix(route['netmask'])}"
                yield f"{name} route {target} {route['gateway']}"

    return set(lines())


def _prefix(mask: str) -> int:
    return int(ipaddress.ip_address(mask)).bit_count()

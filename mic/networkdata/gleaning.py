"""What glean cannot use of network data that mic accepts.

glean is the program of ramdisks without NetworkManager. It stops at the first member that it misses
(glean 1.25, ``cmd.py``), and then the host has no network at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mic.common.problems import Path
from mic.common.warning import HostWarning, capped, warning_at
from mic.networkdata.members import BOND, VLAN

_STATIC: Final = ("ipv4", "ipv6")
_KNOWN: Final = (*_STATIC, "ipv4_dhcp", "ipv6_slaac")
"""Types of networks that glean knows on every distribution."""
_OF_ROUTES: Final = ("network", "netmask", "gateway")
_FAILS: Final = "glean fails, and a ramdisk without NetworkManager has no network"


def gleaning_doubts(document: bytes, *, only_glean: bool) -> tuple[HostWarning, ...]:
    """Return warnings about network data in JSON that `mic.networkdata.generate` accepts.

    ``only_glean``: nothing else configures the network. Then types of networks that glean ignores
    have a warning too; they are usual where NetworkManager is.
    """
    content = json.loads(document)
    found = [warning_at(path, f"{what}: {_FAILS}") for path, what in _faults(content)]
    if only_glean:
        found += _ignored(content)
    return capped(found)


def _ignored(content: Mapping[str, Any]) -> Iterator[HostWarning]:
    for index, network in enumerate(content.get("networks") or ()):
        if network.get("type") not in _KNOWN:
            path = Path() / "networks" / index / "type"
            yield warning_at(path, "is not a type that each glean knows: the network is ignored")


def _faults(content: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    root = Path()
    for name in ("links", "networks", "services"):
        if name in content and content[name] is None:
            yield root / name, "is null"
    vlans = {str(link.get("id")) for link in content.get("links") or () if link.get("type") == VLAN}
    used = {str(network.get("link")) for network in content.get("networks") or ()}
    for index, link in enumerate(content.get("links") or ()):
        yield from _link_faults(link, root / "links" / index)
        # glean passes over such a VLAN, and stops at its network.
        if str(link.get("id")) in used and str(link.get("vlan_link")) in vlans:
            yield root / "links" / index / "vlan_link", "is a VLAN"
    for index, network in enumerate(content.get("networks") or ()):
        yield from _network_faults(network, root / "networks" / index)
    for index, service in enumerate(content.get("services") or ()):
        yield from _missing(service, ("type",), root / "services" / index)


def _link_faults(link: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    yield from _missing(link, ("type",), path)
    if link.get("type") != VLAN:
        if not link.get("ethernet_mac_address"):
            what = "of a bond is missing" if link.get("type") == BOND else "is missing"
            yield path / "ethernet_mac_address", what
        return
    if "vlan_mac_address" in link and link["vlan_mac_address"] is None:
        yield path / "vlan_mac_address", "is null"


def _network_faults(network: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    yield from _missing(network, ("id",), path)
    if network.get("type") not in _STATIC:
        return
    yield from _missing(network, ("netmask",), path)
    if network["type"] == "ipv6" and str(network.get("netmask")).isdecimal():
        yield path / "netmask", "is a number"
    if "routes" in network and network["routes"] is None:
        yield path / "routes", "is null"
    for index, route in enumerate(network.get("routes") or ()):
        yield from _missing(route, _OF_ROUTES, path / "routes" / index)


def _missing(
    members: Mapping[str, Any], needed: tuple[str, ...], path: Path
) -> Iterator[tuple[Path, str]]:
    for name in needed:
        if name not in members:
            yield path / name, "is missing"

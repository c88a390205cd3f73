"""Write devices as profiles of NetworkManager."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mic.common.keyfile import Profile
from mic.common.problems import Collector
from mic.networkdata.bonding import options
from mic.networkdata.devices import Device, Family
from mic.networkdata.members import BOND, VLAN
from mic.networkdata.notes import Notes

_FOR_EVER: Final = 2**31 - 1  # seconds: wait for DHCP and router advertisements forever
_REORDER_HEADERS: Final = 1
_FAMILIES: Final = (4, 6)
_TYPES: Final = {BOND: "bond", VLAN: "vlan", "": "802-3-ethernet"}


def profiles(devices: Iterable[Device], notes: Notes) -> list[Profile]:
    """Return a profile for each device, in the order of the document.

    Raises `DocumentInvalid` with all problems of the options of bonds.
    """
    found: list[Profile] = []
    problems = Collector()
    for device in devices:
        with problems:
            found.append(_profile(device, notes))
    problems.check()
    return found


def _profile(device: Device, notes: Notes) -> Profile:
    profile = Profile(ident=device.ident)
    link = device.link
    bond = device.controller
    profile.sections["connection"] = {
        "id": device.ident,
        "uuid": device.uuid,
        "type": _TYPES[link.kind],
        "interface-name": device.name or None,
        "autoconnect": True,
        "autoconnect-slaves": 1 if link.kind == BOND else -1,
        "master": None if bond is None else bond.uuid,
        "slave-type": None if bond is None else "bond",
    }
    ethernet = {key: value for key, value in _ethernet(device) if value is not None}
    if ethernet:
        profile.sections["ethernet"] = ethernet
    if link.kind == BOND:
        names = {port.link.members.ident: port.link.members.name or "" for port in device.ports}
        profile.sections["bond"] = options(link.bond, names, link.place, notes)
    if link.kind == VLAN:
        profile.sections["vlan"] = {
            "id": link.members.vlan_id,
            "flags": _REORDER_HEADERS,
            "parent": None if device.parent is None else device.parent.uuid,
        }
    if bond is None:
        for version in _FAMILIES:
            profile.sections[f"ipv{version}"] = _family(device.families.get(version))
    return profile


def _ethernet(device: Device) -> Iterator[tuple[str, object]]:
    if device.mac is not None:
        if not device.link.kind:
            yield "mac-address", device.mac
        # A VLAN has the address of what it is on by itself, also after that one has changed.
        elif device.parent is None or device.parent.mac != device.mac:
            yield "cloned-mac-address", device.mac
    yield "mtu", device.link.members.mtu


def _family(family: Family | None) -> dict[str, object]:
    if family is None:
        return {"method": "disabled"}
    settings: dict[str, object] = {"method": "auto" if family.is_auto else "manual"}
    for number, subnet in enumerate(family.subnets):
        settings[f"address{number}"] = str(subnet)
    for number, (destination, gateway, metric) in enumerate(family.routes):
        parts = [str(destination), str(gateway or ""), "" if metric is None else str(metric)]
        settings[f"route{number}"] = ",".join(parts).rstrip(",")
    settings["dns"] = tuple(map(str, family.servers))
    settings["dns-search"] = tuple(family.search)
    if family.version == 6:
        # Neutron expects the address that a host derives from its MAC address.
        settings["addr-gen-mode"] = 0
    if family.is_auto:
        settings["dhcp-timeout"] = _FOR_EVER
        if family.version == 4:
            settings["dhcp-client-id"] = "mac"
        else:
            settings |= {"dhcp-duid": "ll", "dhcp-iaid": "mac", "ra-timeout": _FOR_EVER}
    return settings

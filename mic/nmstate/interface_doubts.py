"""Doubts about the interfaces of a document: a table of checks for each, and checks of them all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from mic.common import addresses
from mic.common.problems import Path, shown
from mic.common.spelling import nearest
from mic.common.warning import HostWarning, warning_at
from mic.nmstate.interface import BY_MAC, AnyInterface
from mic.nmstate.ip import Ip
from mic.nmstate.network import Network
from mic.nmstate.types import BY_NAME
from mic.nmstate.types.bond import Bond
from mic.nmstate.types.vlan import Vlan

_NAME_LENGTH: Final = 15
"""Longest name of an interface in bytes (``IFNAMSIZ`` - 1, linux/if.h)."""

_NOT_IN_NAMES: Final = re.compile(r"[/:\s]")
_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?:(?:[:-][0-9A-Fa-f]{2}){14})?")
_MAC_LENGTH: Final = len("00:00:00:00:00:00")  # InfiniBand's are longer
_LIKE_A_VLAN: Final = re.compile(r".+\.([0-9]{1,4})")
_LIKE_A_CONTROLLER: Final = re.compile(r"(bond|br|team|vrf)[0-9]{1,3}", re.ASCII)
_VLAN_IDS: Final = range(1, 4095)
_FAMILIES: Final = (4, 6)

_Found = Iterator[HostWarning]


def of_all(interfaces: Sequence[AnyInterface]) -> _Found:
    """Yield the warnings that need all interfaces of a document."""
    yield from _without_ports(interfaces)
    yield from _absent_ports(interfaces)
    yield from _impossible_ports(interfaces)
    yield from _same_mac(interfaces)
    yield from _same_address(interfaces)


def _without_ports(interfaces: Sequence[AnyInterface]) -> _Found:
    """Warn of bonds that neither name a port nor are named by one."""
    controllers = {each.common.controller for each in interfaces if each.is_up}
    for interface in interfaces:
        if not isinstance(interface.type, Bond) or not interface.is_up or interface.ports:
            continue
        if interface.name not in controllers:
            yield warning_at(
                interface.place / "link-aggregation", "has no ports: the bond never has a carrier"
            )


def _absent_ports(interfaces: Sequence[AnyInterface]) -> _Found:
    """Warn of ports that get no profile, because the document says that they are absent."""
    absent = {each.name for each in interfaces if each.is_absent}
    for interface in interfaces:
        for name in (interface.ports or ()) if interface.is_up else ():
            if name in absent:
                yield warning_at(
                    interface.place,
                    "has a port that is absent: it gets no profile, and does not join",
                    f"{shown(name)}, a port of {shown(interface.name)}, is absent: it gets no "
                    "profile, and does not join",
                )


def _impossible_ports(interfaces: Sequence[AnyInterface]) -> _Found:
    """Warn of ports that only their controller names, by what cannot be a device's name."""
    described = {each.name for each in interfaces}
    for interface in interfaces:
        if not interface.is_up or interface.type.is_userspace:
            continue
        for name in interface.ports or ():
            reason = "" if name in described else _name_problem(name)
            if reason:
                yield warning_at(
                    interface.place,
                    f"has a port whose name {reason}: NetworkManager refuses its profile",
                    f"the name of its port {shown(name)!r} {reason}: NetworkManager refuses its "
                    "profile",
                )


def _same_mac(interfaces: Sequence[AnyInterface]) -> _Found:
    """Warn of profiles that match one network card; only one of them can be active on it."""
    owners: dict[str, AnyInterface] = {}
    for interface in interfaces:
        common = interface.common
        if not interface.is_up or common.identifier != BY_MAC or not common.mac:
            continue
        owner = owners.setdefault(common.mac.upper().replace("-", ":"), interface)
        if owner.name != interface.name:
            yield warning_at(
                interface.place / "mac-address",
                "is the MAC address of another interface too: one network card can be only one",
                f"{shown(common.mac)} is the MAC address of {shown(owner.name)} too: one network "
                "card can be only one of them",
            )


def _same_address(interfaces: Sequence[AnyInterface]) -> _Found:
    # The same address in two VRFs is fine.
    owners: dict[addresses.Address, AnyInterface] = {}
    ports = {name for each in interfaces if each.type.name == "vrf" for name in each.ports or ()}
    for interface in interfaces:
        if not interface.is_up or interface.name in ports or interface.common.controller:
            continue
        for version in _FAMILIES:
            family = interface.family(version)
            given = family.addresses or () if family is not None and family.enabled else ()
            for each in given:
                owner = owners.setdefault(each.ip, interface)
                if owner.name != interface.name and not each.ip.is_link_local:
                    yield warning_at(
                        interface.place / f"ipv{version}" / "address",
                        "has an address that another interface has too",
                        f"{each.ip} is an address of {shown(owner.name)} too",
                    )


def _kind(interface: AnyInterface, _: Network) -> _Found:
    kind = interface.common.kind
    if interface.is_typed or kind is None or kind == "unknown":
        return
    near = nearest(kind, BY_NAME, 2)
    hint = f"; did you mean {near}?" if near else ""
    yield warning_at(
        interface.place / "type",
        "is not a type of NMState: the interface is taken for an ethernet one",
        f"{shown(kind)!r} is not a type of NMState, and is taken for ethernet{hint}",
    )


def _state(interface: AnyInterface, _: Network) -> _Found:
    if interface.state == "down":
        yield warning_at(interface.place / "state", "down: the host does not bring it up")


def _families(interface: AnyInterface, _: Network) -> _Found:
    for version in _FAMILIES:
        family = interface.family(version)
        if family is not None:
            yield from _family(interface, family, interface.place / f"ipv{version}")


def _family(interface: AnyInterface, family: Ip, place: Path) -> _Found:
    wants = [
        name
        for name, given in (
            ("an address", bool(family.addresses)),
            ("dhcp: true", family.dhcp is True),
            ("autoconf: true", family.autoconf is True),
        )
        if given
    ]
    if wants and not family.given_enabled:
        yield warning_at(
            place,
            f"found {wants[0]} without enabled: true: IPv{family.version} stays off on the host",
        )
    elif family.given_enabled and not wants and interface.is_up and interface.can_have_ip:
        if not interface.has_controller and family.version == 4:
            yield warning_at(
                place, "is enabled with neither an address nor dhcp: the host gets no IPv4 address"
            )
        elif not interface.has_controller and not _has_ipv4(interface):
            yield warning_at(
                place,
                "is enabled with neither an address nor dhcp nor autoconf: the host gets a "
                "link-local address only",
            )


def _host_part(interface: AnyInterface, _: Network) -> _Found:
    family = interface.family(4)
    given = family.addresses or () if family is not None and family.given_enabled else ()
    for index, each in enumerate(given):
        host_bits = addresses.WIDTH[4] - each.prefix
        host = each.ip.value & ((1 << host_bits) - 1)
        # Networks of one or two addresses have neither (RFC 3021).
        if host_bits < 2 or host not in (0, (1 << host_bits) - 1):
            continue
        what = "broadcast address" if host else "address"
        yield warning_at(
            interface.place / "ipv4" / "address" / index,
            f"is the {what} of the network, not of a host in it",
            f"{each.ip} is the {what} of the network {each.ip.masked(each.prefix)}/{each.prefix}, "
            "not of a host in it",
        )


def _has_ipv4(interface: AnyInterface) -> bool:
    family = interface.family(4)
    return family is not None and bool(family.given_enabled)


def _mac(interface: AnyInterface, _: Network) -> _Found:
    common = interface.common
    if common.identifier == BY_MAC and not common.mac:
        yield warning_at(
            interface.place / "identifier",
            "mac-address without a mac-address: the profile matches any network card",
        )
    if common.mac and not _MAC.fullmatch(common.mac):
        yield warning_at(
            interface.place / "mac-address",
            "is not a MAC address: NetworkManager refuses the profile",
            f"{shown(common.mac)!r} is not a MAC address: NetworkManager refuses the profile",
        )
    elif common.mac and len(common.mac) == _MAC_LENGTH and not _is_unicast(common.mac):
        yield warning_at(
            interface.place / "mac-address",
            "is not the address of one network card: the kernel refuses it",
            f"{shown(common.mac)} is not the address of one network card: the kernel refuses it",
        )


def _is_unicast(mac: str) -> bool:
    """Return whether the kernel takes a MAC address (``is_valid_ether_addr``)."""
    octets = bytes.fromhex(mac.replace(":", "").replace("-", ""))
    return not octets[0] & 1 and any(octets)


def _name(interface: AnyInterface, _: Network) -> _Found:
    name = interface.name
    by_name = interface.common.identifier != BY_MAC and interface.type.has_interface_name
    if not by_name or interface.type.is_userspace:
        return
    reason = _name_problem(name)
    if reason:
        yield warning_at(
            interface.place / "name",
            f"{reason}: NetworkManager refuses the profile",
            f"{shown(name)!r} {reason}: NetworkManager refuses the profile",
        )


def _name_problem(name: str) -> str:
    """Return why no device can have that name; empty if one can."""
    if name.startswith("sriov:"):
        return "refers to a virtual function, which only nmstate on the host can resolve"
    if len(name.encode()) > _NAME_LENGTH:
        return f"has more than {_NAME_LENGTH} bytes"
    if name in (".", "..") or _NOT_IN_NAMES.search(name):
        return "has a character that Linux does not allow"
    return ""


def _vlan(interface: AnyInterface, _: Network) -> _Found:
    if not isinstance(interface.type, Vlan):
        return
    vlan = interface.config.vlan
    if vlan is None:
        yield warning_at(
            interface.place, "is a VLAN without a member vlan: the host cannot create it"
        )
    elif vlan.ident not in _VLAN_IDS:
        yield warning_at(
            interface.place / "vlan" / "id",
            "is no VLAN id: those are 1 to 4094",
            f"{vlan.ident} is no VLAN id: those are 1 to 4094",
        )


def _pattern(interface: AnyInterface, _: Network) -> _Found:
    by_name = interface.common.identifier != BY_MAC and interface.type.name == "ethernet"
    if by_name and any(char in "*?" for char in interface.name):
        yield warning_at(
            interface.place / "name",
            "is not a pattern: NetworkManager looks for a card of exactly this name",
            f"{shown(interface.name)!r} is not a pattern: NetworkManager looks for a card of "
            "exactly this name",
        )


def _like_a_controller(interface: AnyInterface, _: Network) -> _Found:
    found = _LIKE_A_CONTROLLER.fullmatch(interface.name)
    if interface.type.name == "ethernet" and interface.common.identifier != BY_MAC and found:
        yield warning_at(
            interface.place / "name",
            "is the usual name of another type, and its type is ethernet: the host has no such "
            "card",
            f"{interface.name} is the usual name of another type, but its type is ethernet: the "
            "host has no such card",
        )


def _like_a_vlan(interface: AnyInterface, _: Network) -> _Found:
    found = _LIKE_A_VLAN.fullmatch(interface.name)
    if interface.type.name != "ethernet" or interface.common.identifier == BY_MAC or not found:
        return
    if int(found[1]) in _VLAN_IDS:
        yield warning_at(
            interface.place / "name",
            "looks like a VLAN, and its type is ethernet: the host has no such card",
            f"{shown(interface.name)} looks like a VLAN, but its type is ethernet: write vlan",
        )


def _parent(interface: AnyInterface, network: Network) -> _Found:
    parent = interface.type.parent(interface)
    entry = None if not parent else network.kernel.get(parent)
    given = entry.given if entry is not None else None
    if given is None:
        if parent and _LIKE_A_CONTROLLER.fullmatch(parent):
            yield warning_at(
                interface.place,
                "is on an interface that is not in the document: the host has no such device",
                f"{shown(interface.name)} is on {parent}, which is not in the document: the host "
                "has no such device",
            )
        return
    if given.name == interface.name:
        yield warning_at(
            interface.place,
            "is on itself: the host cannot create it",
            f"{shown(interface.name)} is on itself: the host cannot create it",
        )
        return
    if given.common.identifier == BY_MAC:
        yield warning_at(
            interface.place,
            "is on an interface that is identified by its MAC address: its name is that of a "
            "profile, and the host has no device of that name",
            f"{shown(interface.name)} is on {shown(given.name)}, which is identified by its MAC "
            "address: that is the name of a profile, and the host has no such device",
        )
    mtu, parents = interface.common.mtu, given.common.mtu
    if mtu is not None and parents is not None and mtu > parents:
        yield warning_at(
            interface.place / "mtu",
            "is above the MTU of the interface below: the kernel refuses it",
            f"{mtu} is above the {parents} of {shown(given.name)}: the kernel refuses it",
        )


CHECKS: Final[tuple[Callable[[AnyInterface, Network], _Found], ...]] = (
    _kind,
    _state,
    _name,
    _mac,
    _vlan,
    _like_a_vlan,
    _like_a_controller,
    _pattern,
    _parent,
    _families,
    _host_part,
)
"""The checks of one interface, in the order in which their warnings appear."""

"""The network devices of a host: which links refer to each other, and the name of each device."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from mic.common.addresses import Address, Subnet
from mic.common.keyfile import stable_uuid
from mic.common.problems import Collector, DocumentInvalid, Path, problem, shown
from mic.networkdata.members import BOND, VLAN, Link
from mic.networkdata.notes import Notes
from mic.networkdata.readers import is_device_name

# Plain enough for a file name, a shell and a keyfile's value.
_IDENT: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:+=@-]{0,99})")
_SHOWN_IDS: Final = 5


@dataclass(slots=True, kw_only=True)
class Family:
    """IPv4 or IPv6 of a device; subnets and routes with their places in the document."""

    version: int
    is_auto: bool = False
    """DHCP, or with IPv6 router advertisements and what these ask for."""
    subnets: dict[Subnet, Path] = field(default_factory=dict)
    routes: dict[tuple[Subnet, Address | None, int | None], Path] = field(default_factory=dict)
    servers: dict[Address, None] = field(default_factory=dict)
    """An ordered set, as ``search`` is."""
    search: dict[str, None] = field(default_factory=dict)

    @property
    def has_default(self) -> bool:
        """Whether there is a static default route."""
        return any(subnet.prefix == 0 for subnet, _, _ in self.routes)


@dataclass(slots=True, kw_only=True, eq=False)
class Device:
    """A link as a device of the host.

    ``ident`` names its profile, ``name`` the interface: empty for a network card that is found by
    its MAC address. ``controller`` is the bond that it is a port of, ``parent`` what a VLAN is on.
    ``families`` has those IP versions that the device uses.
    """

    link: Link
    ident: str
    name: str = ""
    controller: Device | None = None
    parent: Device | None = None
    ports: tuple[Device, ...] = ()
    families: dict[int, Family] = field(default_factory=dict)

    @property
    def uuid(self) -> str:
        """The UUID of its profile: the same on every run."""
        return stable_uuid("networkdata", self.link.members.ident)

    @property
    def mac(self) -> str | None:
        """The MAC address that the document gives the device."""
        members = self.link.members
        return (members.vlan_mac or members.mac) if self.link.kind == VLAN else members.mac

    @property
    def shown(self) -> str:
        """Name for messages: the interface's, or the link's id."""
        return shown(self.name or self.link.members.ident)


def connect(links: Iterable[Link], notes: Notes) -> dict[str, Device]:
    """Return the devices by the ids of their links, with bonds, ports and VLANs connected.

    Raises `DocumentInvalid` with all links that cannot be connected.
    """
    problems = Collector()
    devices: dict[str, Device] = {}
    for device in _devices(links):
        ident = device.link.members.ident
        if ident in devices:
            what = f"found {shown(ident)!r} again, expected another id for each link"
            problems.add(problem(device.link.place / "id", what))
        devices.setdefault(ident, device)
    problems.check()
    ids = _list_of(devices)
    for device in devices.values():
        with problems:
            if device.link.kind == BOND:
                _connect_ports(device, devices, ids, notes)
            elif device.link.kind == VLAN:
                _connect_vlan(device, devices, ids)
            else:
                _check_card(device)
    problems.check()
    for each in (_same_cards, _loops, _vlans_on_ports, _same_vlans, _same_names):
        for error in each(devices.values()):
            problems.add(error)
    problems.check()
    _name(devices.values())
    return devices


def _list_of(ids: Iterable[str]) -> str:
    names = [shown(each) for each in ids]
    more = f" and {len(names) - _SHOWN_IDS} more" if len(names) > _SHOWN_IDS else ""
    return f"{', '.join(names[:_SHOWN_IDS])}{more}" if names else "there is none"


def _devices(links: Iterable[Link]) -> Iterator[Device]:
    """Yield a device for each link, with a profile name of its own."""
    given = list(links)
    taken = {link.members.ident for link in given}
    number = 0
    for link in given:
        ident = link.members.ident
        while not _IDENT.fullmatch(ident) or (ident in taken and ident != link.members.ident):
            ident = f"link-{number}"
            number += 1
        yield Device(link=link, ident=ident)


def _check_card(device: Device) -> None:
    members = device.link.members
    if members.mac is not None:
        return
    if members.name is None:
        what = (
            "'ethernet_mac_address' is missing, and 'name' too: nothing says which network card "
            "of the host it is"
        )
        raise problem(device.link.place, what)
    device.name = members.name


def _connect_ports(bond: Device, devices: dict[str, Device], ids: str, notes: Notes) -> None:
    given = bond.link.members.bond_links
    if given is None:
        raise problem(bond.link.place, "'bond_links' is missing")
    place = bond.link.place / "bond_links"
    if not given:
        notes.add(place, "has no ports: the bond never has a carrier")
    problems = Collector()
    ports: dict[str, Device] = {}
    for index, ident in enumerate(given):
        port = devices.get(ident)
        if port is None:
            what = f"found {shown(ident)!r}, expected the id of a link: {ids}"
            problems.add(problem(place / index, what))
        elif port.link.kind:
            what = f"found the {port.link.kind} {shown(ident)!r}, expected a network card"
            problems.add(problem(place / index, what))
        elif port.controller not in (None, bond):
            what = f"found {shown(ident)!r}, a port of another bond too, expected a free link"
            problems.add(problem(place / index, what))
        else:
            port.controller = bond
            ports[ident] = port
    problems.check()
    bond.ports = tuple(ports.values())


def _connect_vlan(vlan: Device, devices: dict[str, Device], ids: str) -> None:
    members, place = vlan.link.members, vlan.link.place
    if members.vlan_id is None:
        raise problem(place, "'vlan_id' is missing")
    if members.vlan_link is None:
        raise problem(place, "'vlan_link' is missing")
    vlan.parent = devices.get(members.vlan_link)
    if vlan.parent is None:
        what = f"found {shown(members.vlan_link)!r}, expected the id of a link: {ids}"
        raise problem(place / "vlan_link", what)


def _same_cards(devices: Iterable[Device]) -> Iterator[DocumentInvalid]:
    """Yield an error for each network card that is described twice: one profile would be lost."""
    owners: dict[str, Device] = {}
    for device in devices:
        mac = device.mac
        if device.link.kind or mac is None:
            continue
        owner = owners.setdefault(mac, device)
        if owner is not device:
            what = (
                f"found {mac} again, expected another one than that of {owner.link.place}: a "
                "network card is one link, and may have several networks"
            )
            yield problem(device.link.place / "ethernet_mac_address", what)


def _loops(devices: Iterable[Device]) -> Iterator[DocumentInvalid]:
    """Yield an error for each circle of VLANs."""
    known: set[Device] = set()
    for device in devices:
        path: dict[Device, None] = {}
        step: Device | None = device
        while step is not None and step not in known and step not in path:
            path[step] = None
            step = step.parent
        if step is not None and step in path:
            what = "expected a link below: this VLAN is on itself"
            yield problem(step.link.place / "vlan_link", what)
        known.update(path)


def _vlans_on_ports(devices: Iterable[Device]) -> Iterator[DocumentInvalid]:
    for device in devices:
        parent = device.parent
        if parent is not None and parent.controller is not None:
            bond = parent.controller.link.members.ident
            what = (
                f"found {shown(parent.link.members.ident)!r}, a port, expected its bond "
                f"{shown(bond)!r}"
            )
            yield problem(device.link.place / "vlan_link", what)


def _same_vlans(devices: Iterable[Device]) -> Iterator[DocumentInvalid]:
    owners: dict[tuple[Device | None, int | None], Device] = {}
    for device in devices:
        if device.link.kind != VLAN:
            continue
        number = device.link.members.vlan_id
        owner = owners.setdefault((device.parent, number), device)
        if owner is not device:
            what = f"found {number} again, expected another id than that of {owner.link.place}"
            yield problem(device.link.place / "vlan_id", what)


def _same_names(devices: Iterable[Device]) -> Iterator[DocumentInvalid]:
    owners: dict[str, Device] = {}
    for device in devices:
        name = device.link.members.name
        if name is not None and owners.setdefault(name, device) is not device:
            what = f"found {name!r} again, expected another name for each link"
            yield problem(device.link.place / "name", what)


def _name(devices: Iterable[Device]) -> None:
    """Give bonds and VLANs the names of their interfaces; parents first."""
    taken = {name for each in devices if (name := each.link.members.name) is not None}
    bonds = 0
    for device in devices:
        if device.link.kind != BOND:
            continue
        members = device.link.members
        if members.name is not None:
            device.name = members.name
            continue
        name = members.ident
        while name in taken or not is_device_name(name):
            name = f"bond{bonds}"
            bonds += 1
        taken.add(name)
        device.name = name
    numbers: Counter[int] = Counter()
    for device in devices:
        for vlan in reversed(list(_unnamed(device))):
            vlan.name = _vlan_name(vlan, taken, numbers)
            taken.add(vlan.name)


def _unnamed(device: Device | None) -> Iterator[Device]:
    """Yield a VLAN and those that it is on, as far as they have no name yet."""
    while device is not None and device.link.kind == VLAN and not device.name:
        yield device
        device = device.parent


def _vlan_name(vlan: Device, taken: set[str], numbers: Counter[int]) -> str:
    members = vlan.link.members
    if members.name is not None:
        return members.name
    ident = members.vlan_id or 0
    below = vlan.parent.name if vlan.parent is not None else ""
    name = f"{below}.{ident}" if below else f"vlan{ident}"
    # Several network cards without a name may have a VLAN of that number.
    while name in taken or not is_device_name(name):
        name = f"vlan{ident}-{numbers[ident]}" if numbers[ident] else f"vlan{ident}"
        numbers[ident] += 1
    return name

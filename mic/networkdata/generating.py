"""OpenStack network data to keyfiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

from mic.common import tree
from mic.common.addresses import Address, Subnet
from mic.common.generated import Generated, HostNetwork, StaticRoute, one_line, rendered
from mic.common.networkmanager import refusals
from mic.common.problems import Path
from mic.common.warning import HostWarning, capped
from mic.networkdata import members, subnets
from mic.networkdata.connections import profiles
from mic.networkdata.devices import Device, Family, connect
from mic.networkdata.notes import Notes
from mic.networkdata.subnets import MIN_IPV6_MTU, gateways_outside

_FAMILIES: Final = (4, 6)
_SHOWN: Final = 2  # addresses of each family in the summary, as of NMState
_AUTO: Final = {4: "DHCP", 6: "IPv6 auto"}


def generate(text: bytes | str) -> Generated:
    """Return the keyfiles of network data, YAML or JSON, and warnings about it.

    Pure: no I/O, no clock, no randomness; equal documents give equal results. Raises
    `mic.common.problems.DocumentInvalid` with one sentence for each problem.
    """
    return generate_from(tree.read(text))


def generate_from(content: Any) -> Generated:
    """Return what the tree of a document gives; see `generate` and `mic.common.tree.read`."""
    notes = Notes()
    document = members.read(content, notes)
    by_link = connect(document.links, notes)
    subnets.place(document, by_link, notes)
    devices = list(by_link.values())
    made = profiles(devices, notes)
    _note_doubts(devices, notes)
    places = {device.name or device.ident: device.link.place for device in devices}
    return Generated(
        keyfiles=tuple(rendered(made)),
        warnings=capped(_warnings(notes, refusals(made, places))),
        network=one_line(_summary(devices)),
        host_network=_host_network(devices),
        mac_addresses=tuple(_mac_addresses(devices)),
    )


def _mac_addresses(devices: Iterable[Device]) -> Iterator[str]:
    """Yield the MAC addresses of network cards."""
    for device in devices:
        if not device.link.kind and device.link.members.mac:
            yield device.link.members.mac.lower()


def _warnings(notes: Notes, refused: Iterable[HostWarning]) -> Iterator[HostWarning]:
    yield from notes.warnings
    yield from refused


def _note_doubts(devices: Sequence[Device], notes: Notes) -> None:
    """Warn of what the host will probably not do as its author expects."""
    if not any(device.families for device in devices):
        notes.add(Path() / "networks", "no link has a network: the host gets no address")
    owners: dict[Address, Device] = {}
    for device in devices:
        place, mtu = device.link.place, device.link.members.mtu
        parent = device.parent
        if mtu is not None and parent is not None and mtu > (parent.link.members.mtu or mtu):
            notes.add(
                place / "mtu",
                "is above the MTU of the link below: the kernel refuses it",
                f"{mtu} is above the {parent.link.members.mtu} of {parent.shown}: the kernel "
                "refuses it",
            )
        if mtu is not None and mtu < MIN_IPV6_MTU and 6 in device.families:
            notes.add(place / "mtu", f"is below {MIN_IPV6_MTU}: the kernel turns IPv6 off")
        for family in device.families.values():
            own = {subnet.address for subnet in family.subnets}
            for subnet, where in family.subnets.items():
                address = subnet.address
                owner = owners.setdefault(address, device)
                if owner is not device and not address.is_link_local:
                    notes.add(
                        where / "ip_address",
                        "has an address that another link has too",
                        f"{address} is an address of {owner.shown} too",
                    )
            first: dict[tuple[Subnet, int | None], Address | None] = {}
            for (destination, gateway, metric), where in family.routes.items():
                other = first.setdefault((destination, metric), gateway)
                if other is not None and gateway is not None and other != gateway:
                    notes.add(
                        where / "gateway",
                        "another gateway is given for the route too: the host may use either",
                        f"the route to {destination} by {other} is given too: the host may use "
                        "either",
                    )
                if gateway in own:
                    notes.add(
                        where / "gateway",
                        "is the address of the host itself",
                        f"{gateway} is the address of {device.shown} itself",
                    )
            for gateway, where in gateways_outside(family):
                notes.add(
                    where / "gateway",
                    "is outside of every subnet of its link: the host may not reach it",
                    f"{gateway} is outside of every subnet of {device.shown}: the host may not "
                    "reach it",
                )


def _summary(devices: Sequence[Device]) -> list[str]:
    found = []
    for device in devices:
        families = _of(device)
        words = [str(each) for family in families for each in islice(family.subnets, _SHOWN)]
        words += [_AUTO[family.version] for family in families if family.is_auto]
        if words:
            found.append(" ".join([device.shown, *words]))
    return found or [device.shown for device in devices if device.controller is None]


def _of(device: Device) -> list[Family]:
    return [device.families[version] for version in _FAMILIES if version in device.families]


def _host_network(devices: Sequence[Device]) -> HostNetwork | None:
    """Return what the host reaches; None without links, whose cards NetworkManager gives DHCP."""
    if not devices:
        return None
    families = [family for device in devices for family in _of(device)]
    return HostNetwork(
        addresses=tuple(
            subnet
            for family in families
            for subnet in family.subnets
            if not subnet.address.is_link_local
        ),
        routes=tuple(
            StaticRoute(destination=destination)
            for family in families
            for destination, _, _ in family.routes
        ),
        name_servers=tuple(server for family in families for server in family.servers),
        unknown=frozenset(family.version for family in families if family.is_auto),
        unknown_name_servers=any(family.is_auto for family in families),
        link_local=any(family.version == 6 for family in families),
    )

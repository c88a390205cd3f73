"""A host's network in one line, for people."""

from __future__ import annotations

from collections.abc import Iterator

from mic.common.generated import one_line
from mic.common.problems import shown
from mic.nmstate.interface import AnyInterface
from mic.nmstate.network import Network


def summary(network: Network) -> str:
    """Return the interfaces that get an address: ``bond0.100 192.0.2.20/24, eth1 DHCP``.

    At most about 80 characters; the rest is counted. Without addresses, the names of the interfaces
    that are up.
    """
    active = [
        entry.applied
        for entry in network.entries()
        if entry.applied is not None and entry.up_by_document
    ]
    parts = [part for part in map(_part, active) if part]
    parts = parts or [shown(interface.name) for interface in active]
    return one_line(parts)


def _part(interface: AnyInterface) -> str:
    found = list(_addresses(interface)) if interface.can_have_ip else []
    return " ".join([shown(interface.name), *found]) if found else ""


def _addresses(interface: AnyInterface) -> Iterator[str]:
    for version in (4, 6):
        family = interface.family(version)
        if family is None or not family.enabled:
            continue
        if family.is_auto:
            yield {4: "DHCP", 6: "DHCPv6" if family.dhcp else "autoconf"}[version]
        yield from (str(each) for each in (family.addresses or ())[:2])

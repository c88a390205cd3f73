"""Build the network from the interfaces of a document.

The host is assumed to have a loopback interface with its two addresses and nothing else: a
document must be complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mic.common.problems import Collector, problem, shown
from mic.nmstate import controllers, interface
from mic.nmstate import ip as ipfamily
from mic.nmstate.changed import changed
from mic.nmstate.interface import AnyInterface, AnyType, placeholder
from mic.nmstate.network import HOST_LOOPBACK, Entry, Network
from mic.nmstate.routes import LOOPBACK as LOOPBACK_NAME
from mic.nmstate.types.ethernet import ETHERNET, Ethernet, unified
from mic.nmstate.types.ovs import OVS_BRIDGE

_FAMILIES: Final = (4, 6)
_WAIT_IP: Final = {"ipv4": (4,), "ipv6": (6,), "ipv4+ipv6": (4, 6)}


def build_network(interfaces: Iterable[AnyInterface]) -> Network:
    """Return the network of the interfaces; raises `DocumentInvalid` if it is inconsistent."""
    network = Network()
    kernel: dict[str, AnyInterface] = {}
    user: dict[tuple[str, AnyType], AnyInterface] = {}
    for given in interfaces:
        network.order.append((given.name, given.type if given.is_typed else None))
        if given.type.is_userspace:
            user[given.name, given.type] = given
        else:
            kernel[given.name] = given
    _add_missing_ports(kernel, user)
    _remove_ignored(network, kernel, user)
    problems = Collector()
    for given in (*user.values(), *kernel.values()):
        with problems:
            entry = _entry(changed(given, type=unified(given.type)), network)
            if given.type.is_userspace:
                network.user[given.name, given.type] = entry
                network.user_by_name.setdefault(given.name, entry)
            else:
                network.kernel[given.name] = entry
    problems.check()
    if LOOPBACK_NAME not in network.kernel and LOOPBACK_NAME not in network.ignored:
        network.kernel[LOOPBACK_NAME] = Entry(
            given=None, host=HOST_LOOPBACK, merged=HOST_LOOPBACK, applied=None
        )
    _copy_macs(network)
    controllers.attach_ports(network)
    for entry in network.entries():
        if entry.applied is not None:
            with problems:
                entry.applied = _checked(entry, entry.applied)
    problems.check()
    return network


def _add_missing_ports(
    kernel: dict[str, AnyInterface], user: dict[tuple[str, AnyType], AnyInterface]
) -> None:
    for controller in (*kernel.values(), *user.values()):
        for port in controller.ports or ():
            if port not in kernel:
                kernel[port] = placeholder(port, ETHERNET)


def _remove_ignored(
    network: Network,
    kernel: dict[str, AnyInterface],
    user: dict[tuple[str, AnyType], AnyInterface],
) -> None:
    for key in [key for key, given in user.items() if given.state == "ignore"]:
        del user[key]
    for name in [name for name, given in kernel.items() if given.state == "ignore"]:
        network.ignored.add(name)
        if isinstance(kernel.pop(name).type, Ethernet):
            network.ignored_ethernets.add(name)
    for given in (*kernel.values(), *user.values()):
        ignored = network.ignored.intersection(given.ports or ())
        if not ignored:
            continue
        left = given.type.without_ports(given, ignored)
        if left.type.is_userspace:
            user[left.name, left.type] = left
        else:
            kernel[left.name] = left


def _entry(given: AnyInterface, network: Network) -> Entry:
    """Return the entry of an interface of the document."""
    host = None
    if given.name == LOOPBACK_NAME and not given.type.is_userspace:
        host = None if LOOPBACK_NAME in network.ignored else HOST_LOOPBACK
    merged = given if host is None else _completed(given, host)
    if merged.is_up and given.type is OVS_BRIDGE:
        given = merged = OVS_BRIDGE.with_internal_port(given)
    return Entry(given=given, host=host, merged=merged, applied=given)


def _completed(given: AnyInterface, host: AnyInterface) -> AnyInterface:
    """Return the interface completed with the host's addresses.

    The reference merges both as JSON and parses the result, where an absent interface has no
    settings. It normalises only the settings that the document gives to an interface that is up.
    """
    given.type.check_rereading(given)
    if given.is_absent:
        return given
    completed = given
    for version in _FAMILIES:
        family, default = given.family(version), host.family(version)
        if default is None:
            continue
        if family is None:
            completed = completed.with_family(version, default)
            continue
        if family.given_enabled is None:
            family = changed(family, given_enabled=True, enabled=True)
        if family.addresses is None:
            family = changed(family, addresses=default.addresses)
        if given.is_up:
            family = ipfamily.with_defaults(family)
        completed = completed.with_family(version, family)
    return completed


def _copy_macs(network: Network) -> None:
    for copier in network.kernel.values():
        name = copier.merged.common.copy_mac_from
        if name is None or not copier.merged.type.copies_mac or copier.applied is None:
            continue
        source = network.kernel.get(name)
        common = source.merged.common if source is not None else None
        mac = common.permanent_mac or common.mac if common is not None else None
        if not mac:
            place = copier.merged.place / "copy-mac-from"
            raise problem(place, f"{shown(name)} has no MAC address in this document")
        copier.applied = copier.applied.with_common(mac=mac)


def _checked(entry: Entry, applied: AnyInterface) -> AnyInterface:
    """Return the interface of the entry's profile, checked and normalised."""
    if entry.host is not None and entry.given is not None:
        applied = _with_host_defaults(applied)
    if entry.up_by_document and not applied.can_have_ip:
        for version in _FAMILIES:
            family = applied.family(version)
            if family is not None and family.enabled:
                place = applied.place / f"ipv{version}"
                raise problem(place, "a port cannot have addresses; its controller can")
    return applied.type.normalised(interface.normalised(applied))


def _with_host_defaults(applied: AnyInterface) -> AnyInterface:
    """Return the loopback interface with IP enabled, as on the host, unless it is disabled."""
    for version in _FAMILIES:
        family = applied.family(version)
        if family is not None and family.given_enabled is None:
            family = changed(family, enabled=True)
            applied = applied.with_family(version, family)
    for version in _WAIT_IP.get(applied.common.wait_ip or "", ()):
        family = applied.family(version)
        if family is None or not family.enabled:
            raise problem(applied.place / "wait-ip", f"IPv{version} is not enabled")
    return applied

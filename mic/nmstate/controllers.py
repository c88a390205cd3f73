"""Attach ports to their controllers, and order both.

Controllers list their ports, and ports may name their controller. Both must agree. The rules are
those of the reference.
"""

from __future__ import annotations

from typing import Final

from mic.common.problems import DocumentInvalid, problem, shown
from mic.nmstate.changed import changed
from mic.nmstate.interface import AnyInterface, placeholder
from mic.nmstate.network import Entry, Network
from mic.nmstate.types import INFINIBAND
from mic.nmstate.types.bond import is_active_backup
from mic.nmstate.types.ethernet import ETHERNET
from mic.nmstate.types.ovs import OVS_BRIDGE, OVS_INTERFACE

# The reference gives up after so many rounds of propagating priorities from controllers to ports.
_ROUNDS: Final = 4


def attach_ports(network: Network) -> None:
    """Attach ports to their controllers, and order them.

    Raises `DocumentInvalid` for relations that contradict each other.
    """
    _check_claims(network)
    _attach_listed(network)
    _attach_claiming(network)
    _prioritise(network)
    _check_ports(network)
    _check_parents(network)


def _check_claims(network: Network) -> None:
    """Compare the ``controller`` of each port with the lists of ports of controllers."""
    listed = {
        port: controller.merged.name
        for controller in network.entries()
        if controller.up_by_document
        for port in controller.merged.ports or ()
    }
    ports_of: dict[str, frozenset[str] | None] = {}
    for port in network.kernel.values():
        if port.given is None or not port.merged.is_up:
            continue
        name, place = port.given.common.controller, port.given.place / "controller"
        if name is None:
            continue
        if name:
            controller = network.controller_named(name)
            if controller is None:
                raise problem(place, f"there is no interface {shown(name)}")
            if name not in ports_of:
                given = None if controller.given is None else controller.given.ports
                ports_of[name] = None if given is None else frozenset(given)
            ports = ports_of[name]
            if ports is not None and port.given.name not in ports:
                raise problem(place, f"{shown(name)} does not list it as a port")
        if listed.get(port.given.name, name) != name:
            raise problem(place, f"it is a port of {shown(listed[port.given.name])}")


def _attach_listed(network: Network) -> None:
    """Attach the ports that controllers list; add missing interfaces of OVS bridges."""
    changes: dict[str, Entry] = {}
    for controller in network.entries():
        if controller.given is not None:
            changes |= dict.fromkeys(controller.given.ports or (), controller)
    for name, controller in changes.items():
        port = network.kernel.get(name)
        if port is not None:
            if port.applied is None:
                network.order.append((name, port.merged.type))
            _attach(port, controller)
        elif controller.merged.type is OVS_BRIDGE:
            network.kernel[name] = _internal(name, controller)
            network.order.append((name, OVS_INTERFACE))
        elif controller.merged.name:
            place = controller.merged.place
            raise problem(place, f"its port {shown(name)} is ignored")


def _internal(name: str, bridge: Entry) -> Entry:
    port = placeholder(name, OVS_INTERFACE)
    port = changed(port, controller=(bridge.merged.name, OVS_BRIDGE))
    return Entry(given=port, host=None, merged=port, applied=port)


def _attach_claiming(network: Network) -> None:
    """Attach the interfaces that name their controller."""
    for port in network.kernel.values():
        if port.given is None or not port.merged.is_up or not port.given.common.controller:
            continue
        controller = network.controller_named(port.given.common.controller)
        if controller is not None:
            _attach(port, controller)


def _attach(port: Entry, controller: Entry) -> None:
    name, type_ = controller.merged.name, controller.merged.type
    applied = port.touch()
    if port.merged.type is OVS_INTERFACE and not name:
        port.merged = port.merged.with_common(state="absent")
        port.applied = applied.with_common(state="absent")
        return
    is_same = applied is port.merged
    port.applied = changed(applied, controller=(name, type_))
    port.merged = port.applied if is_same else changed(port.merged, controller=(name, type_))
    if not port.merged.can_have_ip:
        port.merged = port.merged.with_common(ipv4=None, ipv6=None)


def _prioritise(network: Network) -> None:
    """Give ports a higher priority than their controllers, and children than their parents.

    Profiles are ordered by it. The reference needs several rounds when ports come before their
    controllers, and gives up after some: such documents are refused here too.
    """
    for _ in range(_ROUNDS):
        if _propagate(network):
            return
    raise DocumentInvalid(("interfaces: nested too deeply; list controllers before their ports",))


def _propagate(network: Network) -> bool:
    pending: dict[str, int] = {}
    complete = True
    up = [
        (entry, entry.applied)
        for name, type_ in network.order
        if (entry := network.find(name, type_)) is not None
        and entry.applied is not None
        and entry.applied.is_up
    ]
    for entry, port in up:
        if _is_ordered(entry, port) or not port.controller_name:
            continue
        name = port.controller_name
        controller = network.find(name, port.controller[1] if port.controller else None)
        if controller is None or controller.applied is None:
            continue
        if name in pending:
            pending[port.name] = pending[name] + 1
        elif _is_ordered(controller, controller.applied):
            pending[port.name] = controller.priority + 1
        else:
            complete = False
    if complete:
        for _, child in up:
            parent = child.type.parent(child)
            if parent is None:
                continue
            entry_of_parent = network.kernel.get(parent)
            if parent in pending:
                pending[child.name] = pending[parent] + 1
            elif (
                entry_of_parent is not None
                and entry_of_parent.applied is not None
                and _is_ordered(entry_of_parent, entry_of_parent.applied)
            ):
                pending[child.name] = entry_of_parent.priority + 1
    for name, priority in pending.items():
        if name in network.kernel:
            network.kernel[name].priority = priority
    return complete


def _is_ordered(entry: Entry, applied: AnyInterface) -> bool:
    return not applied.has_controller or entry.priority != 0


def _check_ports(network: Network) -> None:
    owners: dict[str, Entry] = {}
    for entry in network.entries():
        controller = entry.merged
        if entry.given is None:
            continue
        if not controller.type.is_userspace and not is_active_backup(controller):
            for port in controller.ports or ():
                if port in network.kernel and network.kernel[port].merged.type is INFINIBAND:
                    raise problem(
                        controller.place,
                        f"{shown(port)} is InfiniBand, which only active-backup bonds support",
                    )
        if not controller.is_up:
            continue
        for port in controller.ports or ():
            owner = owners.setdefault(port, entry)
            if owner is not entry:
                both = f"{shown(owner.merged.name)} and {shown(controller.name)}"
                raise problem(controller.place, f"{shown(port)} is a port of {both}")
        if len(set(controller.ports or ())) < len(controller.ports or ()):
            raise problem(controller.place, "lists a port twice")


def _check_parents(network: Network) -> None:
    for child in network.kernel.values():
        name = child.merged.type.parent(child.merged)
        parent = network.kernel.get(name) if name is not None else None
        if (
            parent is not None
            and parent.applied is not None
            and parent.merged.is_absent
            and parent.merged.type is not ETHERNET
            and child.up_by_document
            and child.merged.type is not OVS_INTERFACE
        ):
            what = f"its parent {shown(parent.merged.name)} is absent"
            raise problem(child.merged.place, what)

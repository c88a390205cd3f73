"""The interfaces of a document together: who is whose port, and in which order they come up.

`related` takes the interfaces as read and returns them related, checked and in shape. The
host's own state plays no part: a document is complete, or lacks what it needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from mic.nmstate import interface
from mic.nmstate import ip as ipfamily
from mic.nmstate.addresses import Address
from mic.nmstate.interface import Base, Interface
from mic.nmstate.keyfile import Profile, stable_uuid
from mic.nmstate.problems import Collector, NMStateInvalid, Path, problem, shown
from mic.nmstate.routes import LOOPBACK as LOOPBACK_NAME
from mic.nmstate.types import INFINIBAND, LOOPBACK
from mic.nmstate.types.base import InterfaceType
from mic.nmstate.types.bond import is_active_backup
from mic.nmstate.types.ethernet import ETHERNET, unified
from mic.nmstate.types.ovs import OVS_BRIDGE, OVS_INTERFACE

_LOOPBACK_IP: Final = {
    4: ipfamily.static(Address(4, 0x7F000001), 8),
    6: ipfamily.static(Address(6, 1), 128),
}
_WAITED: Final = {"ipv4": (4,), "ipv6": (6,), "ipv4+ipv6": (4, 6)}

# How often priorities are handed on from controllers to ports before the reference gives up.
_ROUNDS = 4


@dataclass(slots=True, kw_only=True)
class Network:
    """Interfaces by name. Kernel and user space have name spaces of their own.

    ``given`` has the interfaces as the document has them, but related; the other two have them
    checked and in shape. ``order`` is the document's, with interfaces that ports imply behind.
    """

    given: dict[str, Interface] = field(default_factory=dict)
    kernel: dict[str, Interface] = field(default_factory=dict)
    user: dict[tuple[str, InterfaceType], Interface] = field(default_factory=dict)
    order: list[tuple[str, InterfaceType]] = field(default_factory=list)
    priority: dict[str, int] = field(default_factory=dict)
    ignored: set[str] = field(default_factory=set)
    ignored_ethernets: set[str] = field(default_factory=set)

    def found(self, name: str, type_: InterfaceType | None) -> Interface | None:
        """Return the interface of that name in the name space of the type."""
        if type_ is not None and type_.is_userspace:
            return self.user.get((name, type_))
        return self.kernel.get(name)

    def controller_named(self, name: str) -> Interface | None:
        """Return the interface that a ``controller`` member means."""
        return self.user.get((name, OVS_BRIDGE)) or self.kernel.get(name)

    def everything(self) -> list[Interface]:
        """Return all interfaces, those of user space first."""
        return [*self.user.values(), *self.kernel.values()]

    def replace(self, changed: Interface) -> None:
        """Put another version of an interface in its place."""
        if changed.type.is_userspace:
            self.user[changed.name, changed.type] = changed
        else:
            self.kernel[changed.name] = changed

    def update(self, change: Callable[[Interface], Interface]) -> None:
        """Put ``change`` of every interface in its place; all refusals are told."""
        problems = Collector()
        for old in self.everything():
            try:
                self.replace(change(old))
            except NMStateInvalid as refusal:
                problems.add(refusal)
        problems.check()

    def loopback(self) -> Interface:
        """Return the loopback interface as the document has it, or as every host has it."""
        return self.kernel.get(LOOPBACK_NAME) or _with_loopback_ip(
            Interface(base=Base(name=LOOPBACK_NAME), type=LOOPBACK, place=Path() / "interface lo")
        )

    @staticmethod
    def blank_profile(name: str, type_: InterfaceType, nm_type: str) -> Profile:
        """Return a profile of an interface of which nothing but name and type is known."""
        ident = f"{name}{type_.suffix}"
        profile = Profile(ident=ident)
        profile.sections["connection"] = {
            "id": ident,
            "uuid": stable_uuid(type_.name, name),
            "type": nm_type,
            "interface-name": name if type_.has_interface_name else None,
            "autoconnect": True,
            "autoconnect-slaves": 1 if type_.is_controller else -1,
        }
        return profile


def implied(name: str, type_: InterfaceType) -> Interface:
    """Return an interface that the document names without describing it."""
    return Interface(base=Base(name=name), type=type_, place=Path() / f"interface {shown(name)}")


def related(interfaces: Iterable[Interface]) -> Network:
    """Return the network of the interfaces; raises `NMStateInvalid` for what cannot be."""
    network = Network()
    for given in interfaces:
        network.order.append((given.name, given.type))
        network.replace(given)
    _add_missing_ports(network)
    _leave_ignored_out(network)
    network.update(lambda given: dataclasses.replace(given, type=unified(given.type)))
    for key, bridge in network.user.items():
        if bridge.type is OVS_BRIDGE:
            network.user[key] = OVS_BRIDGE.with_internal_port(bridge)
    _copy_macs(network)
    _check_controllers(network)
    _attach_ports(network)
    _prioritise(network)
    _check_ports(network)
    _check_parents(network)
    network.given = {name: _as_port(given) for name, given in network.kernel.items()}
    if LOOPBACK_NAME not in network.ignored:
        network.given[LOOPBACK_NAME] = _with_loopback_ip(
            network.given.get(LOOPBACK_NAME) or network.loopback()
        )
    network.update(_checked)
    return network


def _add_missing_ports(network: Network) -> None:
    for controller in network.everything():
        for port in controller.ports or ():
            if port not in network.kernel:
                network.kernel[port] = implied(port, ETHERNET)


def _leave_ignored_out(network: Network) -> None:
    for ignored in network.everything():
        if ignored.state != "ignore":
            continue
        if ignored.type.is_userspace:
            del network.user[ignored.name, ignored.type]
            continue
        del network.kernel[ignored.name]
        network.ignored.add(ignored.name)
        if isinstance(ignored.type, type(ETHERNET)):
            network.ignored_ethernets.add(ignored.name)
    for controller in network.everything():
        left = controller
        for port in sorted(network.ignored.intersection(controller.ports or ())):
            left = left.type.without_port(left, port)
        network.replace(left)


def _copy_macs(network: Network) -> None:
    copied: list[Interface] = []
    for copier in network.kernel.values():
        name = copier.base.copy_mac_from
        if name is None or not copier.type.copies_mac:
            continue
        source = network.kernel.get(name)
        mac = source.base.permanent_mac or source.base.mac if source is not None else None
        if not mac:
            place = copier.place / "copy-mac-from"
            raise problem(place, f"{shown(name)} has no MAC address in this document")
        copied.append(copier.with_base(mac=mac))
    for copier in copied:
        network.kernel[copier.name] = copier


def _check_controllers(network: Network) -> None:
    """Compare the ``controller`` of ports with the lists of ports of controllers."""
    listed = {
        port: controller.name
        for controller in network.everything()
        if controller.is_up
        for port in controller.ports or ()
    }
    for port in network.kernel.values():
        name, place = port.base.controller, port.place / "controller"
        if name is None or not port.is_up:
            continue
        if name:
            controller = network.controller_named(name)
            if controller is None:
                raise problem(place, f"there is no interface {shown(name)}")
            if controller.ports is not None and port.name not in controller.ports:
                raise problem(place, f"{shown(name)} does not have it among its ports")
        if listed.get(port.name, name) != name:
            raise problem(place, f"it is a port of {shown(listed[port.name])}")


def _attach_ports(network: Network) -> None:
    """Tell every port its controller; a bridge of OVS makes the interfaces that it lacks."""
    for controller in network.everything():
        if controller.is_absent:
            continue
        for name in controller.ports or ():
            port = network.kernel.get(name)
            if port is None:
                if controller.type is not OVS_BRIDGE:
                    place = controller.place
                    raise problem(place, f"{shown(name)} is a port of it, but to be ignored")
                port = implied(name, OVS_INTERFACE)
                network.order.append((name, OVS_INTERFACE))
            network.kernel[name] = dataclasses.replace(
                port, controller=(controller.name, controller.type)
            )
    for port in network.kernel.values():
        if port.is_up and port.base.controller:
            owner = network.controller_named(port.base.controller)
            if owner is not None:
                network.kernel[port.name] = dataclasses.replace(
                    port, controller=(owner.name, owner.type)
                )


def _prioritise(network: Network) -> None:
    """Give ports a higher number than their controllers, and children than their parents.

    Profiles are put out by that number. The reference needs several rounds where ports come
    before their controllers, and gives up after some: such documents are refused here too.
    """
    network.priority = dict.fromkeys(network.kernel, 0)
    for _ in range(_ROUNDS):
        if _hand_on(network):
            return
    raise NMStateInvalid(
        ("interfaces: nested too deep to be ordered; put controllers before their ports",)
    )


def _hand_on(network: Network) -> bool:
    pending: dict[str, int] = {}
    complete = True
    up = [
        found
        for name, type_ in network.order
        if (found := network.found(name, type_)) is not None and found.is_up
    ]
    for port in up:
        if _has_priority(network, port):
            continue
        name = port.controller[0] if port.controller else port.base.controller or ""
        controller = network.found(name, port.controller[1] if port.controller else None)
        if controller is None:
            continue
        if name in pending:
            pending[port.name] = pending[name] + 1
        elif _has_priority(network, controller):
            pending[port.name] = _priority(network, controller) + 1
        else:
            complete = False
    if complete:
        for child in up:
            parent = child.type.parent(child)
            if parent is None:
                continue
            if parent in pending:
                pending[child.name] = pending[parent] + 1
            elif parent in network.kernel and _has_priority(network, network.kernel[parent]):
                pending[child.name] = network.priority[parent] + 1
    network.priority |= {name: number for name, number in pending.items() if name in network.kernel}
    return complete


def _priority(network: Network, of: Interface) -> int:
    return 0 if of.type.is_userspace else network.priority[of.name]


def _has_priority(network: Network, of: Interface) -> bool:
    return not of.has_controller or _priority(network, of) != 0


def _check_ports(network: Network) -> None:
    owners: dict[str, Interface] = {}
    for controller in network.everything():
        infiniband = [
            port
            for port in controller.ports or ()
            if not controller.type.is_userspace and network.kernel[port].type is INFINIBAND
        ]
        if infiniband and not is_active_backup(controller):
            raise problem(
                controller.place,
                f"{shown(infiniband[0])} is InfiniBand, and a port of active-backup bonds only",
            )
        if not controller.is_up:
            continue
        for port in controller.ports or ():
            owner = owners.setdefault(port, controller)
            if owner is not controller:
                both = f"{shown(owner.name)} and {shown(controller.name)}"
                raise problem(controller.place, f"{shown(port)} is a port of {both}")
        if len(set(controller.ports or ())) < len(controller.ports or ()):
            raise problem(controller.place, "has a port twice")


def _check_parents(network: Network) -> None:
    for child in network.kernel.values():
        parent = network.kernel.get(child.type.parent(child) or "")
        if (
            parent is not None
            and parent.is_absent
            and parent.type is not ETHERNET
            and child.is_up
            and child.type is not OVS_INTERFACE
        ):
            raise problem(child.place, f"it is on top of {shown(parent.name)}, which is absent")


def _as_port(given: Interface) -> Interface:
    """Return the interface without addresses when it can have none."""
    return given if given.can_have_ip else given.with_base(ipv4=None, ipv6=None)


def _checked(given: Interface) -> Interface:
    if given.name == LOOPBACK_NAME and not given.type.is_userspace:
        return _checked_loopback(given)
    return _checked_other(given)


def _checked_loopback(given: Interface) -> Interface:
    complete = _with_loopback_ip(given)
    for version in _WAITED.get(given.base.wait_ip or "", ()):
        family = complete.family(version)
        if family is None or not family.enabled:
            raise problem(given.place / "wait-ip", f"IPv{version} is not enabled")
    for version in (4, 6):
        family = given.family(version)
        if family is not None and family.given_enabled is None and not given.is_absent:
            given = given.with_family(version, dataclasses.replace(family, enabled=True))
    checked = _checked_other(given)
    for version in (4, 6):
        family = complete.family(version)
        if given.family(version) is None and family is not None:
            checked = checked.with_family(version, family)
    return checked


def _checked_other(given: Interface) -> Interface:
    if given.is_up and not given.can_have_ip:
        for version in (4, 6):
            family = given.family(version)
            if family is not None and family.enabled:
                place = given.place / f"ipv{version}"
                raise problem(place, "a port has no addresses; its controller can have them")
    return _as_port(given.type.sanitised(interface.sanitised(given)))


def _with_loopback_ip(given: Interface) -> Interface:
    """Return the loopback interface with the addresses that it has unless the document says
    otherwise. They are part of every host, which is otherwise taken to have nothing.
    """
    if given.is_absent or not given.can_have_ip:
        return given
    for version in (4, 6):
        default = _LOOPBACK_IP[version]
        family = given.family(version)
        if family is None:
            family = default
        elif family.given_enabled is None:
            family = dataclasses.replace(family, enabled=True)
        if family.addresses is None:
            family = dataclasses.replace(family, addresses=default.addresses)
        given = given.with_family(version, family)
    return given

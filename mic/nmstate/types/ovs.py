"""Open vSwitch: bridges with their ports, and interfaces on them.

NetworkManager needs a profile for the bridge, one for each of its ports, and one for each
interface of a port. Documents describe ports as members of the bridge, not as interfaces.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema
from mic.common.keyfile import Profile
from mic.common.problems import Path, problem, shown
from mic.common.schema import Struct, member, optional, required, sequence
from mic.nmstate import bridge_vlan, ovsdb
from mic.nmstate.bridge_vlan import PortVlan
from mic.nmstate.interface import NO_MEMBERS, Interface, InterfaceType, NoMembers
from mic.nmstate.ovsdb import OvsDb
from mic.nmstate.types.linux_bridge import Stp

_U32: Final = schema.unsigned(32)
_PLAIN_U32: Final = optional(schema.integer(32))
_MAX_DESCRIPTORS: Final = 4096
_STP: Final = Struct(Stp)


def _stp(value: Any, path: Path) -> bool | None:
    """Read a boolean, or a mapping with ``enabled``."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        schema.truth(value, path)
        return True  # the reference reads even a quoted "no" as true
    if isinstance(value, dict):
        return _STP(value, path).enabled
    raise problem(path, f"found {schema.kind_of(value)}, expected a boolean or a mapping")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The bridge's ``options``."""

    stp: bool | None = member("stp", _stp)
    rstp: bool | None = member("rstp", schema.truth)
    mcast_snooping: bool | None = member("mcast-snooping-enable", schema.truth)
    fail_mode: str | None = member("fail-mode", optional(schema.text))
    datapath: str | None = member("datapath", optional(schema.text))

    def section(self) -> dict[str, object]:
        """Return the ``ovs-bridge`` section."""
        return {
            "stp-enable": self.stp,
            "rstp-enable": self.rstp,
            "mcast-snooping-enable": self.mcast_snooping,
            "fail-mode": self.fail_mode,
            "datapath-type": self.datapath,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BondPort:
    """An item of a bond's ``port``."""

    name: str = required("name", schema.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bond:
    """A port's ``link-aggregation``."""

    mode: str | None = member(
        "mode",
        optional(schema.choice("active-backup", "balance-slb", "balance-tcp", "lacp")),
    )
    ports: tuple[BondPort, ...] | None = member(
        "port", optional(sequence(Struct(BondPort, open_ended=True))), "ports"
    )
    downdelay: int | None = member("bond-downdelay", _U32)
    updelay: int | None = member("bond-updelay", _U32)
    ovsdb: OvsDb | None = member("ovs-db", optional(ovsdb.read))

    def settings(self) -> dict[str, object]:
        """Return the bond's keys of the ``ovs-port`` section."""
        settings: dict[str, object] = {
            "bond-downdelay": self.downdelay,
            "bond-updelay": self.updelay,
        }
        if self.mode is not None:
            settings["lacp"] = "active" if self.mode in ("lacp", "balance-tcp") else "off"
            settings["bond-mode"] = None if self.mode == "lacp" else self.mode
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An item of the bridge's ``port``: an interface, or a bond of several."""

    name: str = required("name", schema.text)
    bond: Bond | None = member("link-aggregation", optional(Struct(Bond)))
    vlan: PortVlan | None = member("vlan", optional(bridge_vlan.read))

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The names of the port's interfaces."""
        if self.bond is None:
            return (self.name,)
        return tuple(port.name for port in self.bond.ports or ())

    def sections(self) -> dict[str, dict[str, object]]:
        """Return the ``ovs-port`` section and those of the database columns."""
        settings: dict[str, object] = {}
        sections = {"ovs-port": settings}
        if self.bond is not None:
            settings |= self.bond.settings()
            if self.bond.ovsdb is not None:
                sections |= self.bond.ovsdb.sections()
        if self.vlan is not None:
            settings |= {"tag": self.vlan.tag, "vlan-mode": self.vlan.mode}
            if self.vlan.trunk_tags is not None:
                settings["trunks"] = ",".join(map(str, self.vlan.trunk_tags))
        return sections

    def write(self, profile: Profile) -> None:
        """Attach the interface to the port, which has a profile of its own."""
        profile.sections["connection"] = {
            **profile.sections["connection"],
            "master": self.name,
            "slave-type": "ovs-port",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The ``bridge`` member."""

    allow_extra: bool | None = member("allow-extra-patch-ports", optional(schema.boolean))
    options: Options | None = member("options", optional(Struct(Options)))
    ports: tuple[Port, ...] | None = member("port", optional(sequence(Struct(Port))), "ports")


_NO_BRIDGE: Final = Bridge()


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsBridgeMembers:
    """The members that only Open vSwitch bridges have."""

    given: Bridge | None = member("bridge", optional(Struct(Bridge)))

    @property
    def bridge(self) -> Bridge:
        """The ``bridge`` member; empty when the document omits it."""
        return self.given or _NO_BRIDGE


def _with_ports(
    interface: Interface[OvsBridgeMembers], ports: tuple[Port, ...]
) -> Interface[OvsBridgeMembers]:
    changed = dataclasses.replace(interface.config.bridge, ports=ports)
    return interface.with_config(OvsBridgeMembers(given=changed))


class OvsBridge(InterfaceType[OvsBridgeMembers]):
    """A bridge. It has no link and no addresses: an interface of the same name may have them."""

    name = "ovs-bridge"
    nm_type = "ovs-bridge"
    members = Struct(OvsBridgeMembers)
    is_controller = True
    is_userspace = True
    binds_ports_by_name = False
    suffix = "-br"

    def ports(self, interface: Interface[OvsBridgeMembers]) -> tuple[str, ...] | None:
        """Return the names of the ports' interfaces."""
        ports = interface.config.bridge.ports
        return None if ports is None else tuple(name for port in ports for name in port.interfaces)

    def without_ports(
        self, interface: Interface[OvsBridgeMembers], ports: Set[str]
    ) -> Interface[OvsBridgeMembers]:
        """Remove the ports of those names; keep the interfaces of bonds."""
        kept = (port for port in interface.config.bridge.ports or () if port.name not in ports)
        return _with_ports(interface, tuple(kept))

    def with_internal_port(
        self, interface: Interface[OvsBridgeMembers]
    ) -> Interface[OvsBridgeMembers]:
        """Return the bridge with a port of its own name if it has no port: it needs one."""
        if interface.is_up and not interface.ports:
            return _with_ports(interface, (Port(name=interface.name),))
        return interface

    def normalised(self, interface: Interface[OvsBridgeMembers]) -> Interface[OvsBridgeMembers]:
        """Check MAC address and VLANs; sort the ports."""
        if interface.common.mac:
            raise problem(
                interface.place / "mac-address",
                "an OVS bridge cannot have one; an ovs-interface on it can",
            )
        bridge = interface.config.bridge
        for port in bridge.ports or ():
            if port.vlan is not None:
                port.vlan.check(interface.place / "bridge" / f"port {shown(port.name)}" / "vlan")
        interface = interface.with_common(mtu=None, ipv4=None, ipv6=None)
        if bridge.ports is None:
            return interface
        return _with_ports(
            interface, tuple(sorted(bridge.ports, key=lambda port: port.name.encode()))
        )

    def write(self, interface: Interface[OvsBridgeMembers], profile: Profile) -> None:
        """Write the ``ovs-bridge`` section."""
        options = interface.config.bridge.options
        profile.sections["ovs-bridge"] = {} if options is None else options.section()

    def port_configs(self, interface: Interface[OvsBridgeMembers]) -> Mapping[str, Port]:
        """Return the items of ``port`` by the names of their interfaces."""
        return {
            name: port
            for port in reversed(interface.config.bridge.ports or ())
            for name in port.interfaces
        }

    def extra_profiles(
        self,
        interface: Interface[OvsBridgeMembers],
        lacks_profile: Callable[[str], bool],  # noqa: ARG002
    ) -> list[Profile]:
        """Return the profiles of the ports."""
        profiles = []
        for port in interface.config.bridge.ports or ():
            profile = OVS_PORT.blank_profile(port.name)
            if interface.name:
                profile.sections["connection"] = {
                    **profile.sections["connection"],
                    "master": interface.name,
                    "slave-type": "ovs-bridge",
                }
            profile.sections |= port.sections()
            profiles.append(profile)
        return profiles


class OvsPort(InterfaceType[NoMembers]):
    """A port of a bridge. No interface of a document has this type."""

    name = "ovs-port"
    nm_type = "ovs-port"
    members = NO_MEMBERS
    suffix = "-port"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The ``patch`` member."""

    peer: str = required("peer", schema.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dpdk:
    """The ``dpdk`` member."""

    devargs: str = required("devargs", schema.text)
    rx_queue: int | None = member("rx-queue", _PLAIN_U32, "n_rxq")
    rx_descriptors: int | None = member("n_rxq_desc", _PLAIN_U32)
    tx_descriptors: int | None = member("n_txq_desc", _PLAIN_U32)

    def check(self, path: Path) -> None:
        """Raise `DocumentInvalid` if a number of descriptors is not a power of two."""
        numbers = {"n_rxq_desc": self.rx_descriptors, "n_txq_desc": self.tx_descriptors}
        for key, number in numbers.items():
            if number and (number & (number - 1) or number > _MAX_DESCRIPTORS):
                raise problem(path / key, f"found {number}, expected 0 or a power of 2 to 4096")


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsInterfaceMembers:
    """The members that only Open vSwitch interfaces have."""

    patch: Patch | None = member("patch", optional(Struct(Patch)))
    dpdk: Dpdk | None = member("dpdk", optional(Struct(Dpdk)))


class OvsInterface(InterfaceType[OvsInterfaceMembers]):
    """An internal interface, a patch to another bridge, or a DPDK device."""

    name = "ovs-interface"
    nm_type = "ovs-interface"
    members = Struct(OvsInterfaceMembers)
    keeps_ip_as_port = True
    copies_mac = True
    suffix = "-if"

    def parent(self, interface: Interface[OvsInterfaceMembers]) -> str | None:
        """Return the bridge, if either of the two names the other."""
        return interface.controller[0] if interface.controller else interface.common.controller

    def normalised(
        self, interface: Interface[OvsInterfaceMembers]
    ) -> Interface[OvsInterfaceMembers]:
        """Refuse MTU and addresses of a patch; check the numbers of descriptors."""
        place = interface.place
        dpdk = interface.config.dpdk
        if interface.config.patch is not None:
            if interface.common.mtu is not None:
                raise problem(place / "mtu", "a patch cannot have one")
            for version in (4, 6):
                family = interface.family(version)
                if family is not None and family.enabled:
                    raise problem(place / f"ipv{version}", "a patch cannot have addresses")
        if dpdk is not None:
            dpdk.check(place / "dpdk")
        return interface

    def write(self, interface: Interface[OvsInterfaceMembers], profile: Profile) -> None:
        """Write the ``ovs-interface`` section and that of its kind."""
        patch, dpdk = interface.config.patch, interface.config.dpdk
        kind = "internal"
        if patch is not None:
            kind = "patch"
            profile.sections["ovs-patch"] = {"peer": patch.peer}
        elif dpdk is not None and dpdk.devargs:
            kind = "dpdk"
            profile.sections["ovs-dpdk"] = {
                "devargs": dpdk.devargs,
                "n-rxq": dpdk.rx_queue,
                "n-rxq-desc": dpdk.rx_descriptors,
                "n-txq-desc": dpdk.tx_descriptors,
            }
        controller = interface.controller
        if controller is not None and controller[0] and controller[1] is OVS_BRIDGE:
            profile.sections["ovs-interface"] = {"type": kind}


OVS_BRIDGE: Final = OvsBridge()
OVS_PORT: Final = OvsPort()
OVS_INTERFACE: Final = OvsInterface()

"""Open vSwitch: bridges with their ports, and interfaces on them.

NetworkManager has a profile for the bridge, one for each of its ports, and one for each
interface of a port. The document has ports without profiles of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mic.nmstate import bridgevlan, ovsdb, schema
from mic.nmstate.bridgevlan import PortVlan
from mic.nmstate.keyfile import Profile
from mic.nmstate.ovsdb import OvsDb
from mic.nmstate.problems import Path, problem, shown
from mic.nmstate.schema import Struct, member, optional, required, sequence
from mic.nmstate.types.base import InterfaceType
from mic.nmstate.types.linuxbridge import Stp

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface
    from mic.nmstate.network import Network

_U32: Final = schema.unsigned(32)
_PLAIN_U32: Final = optional(schema.integer(32))
_MAX_DESCRIPTORS: Final = 4096
_STP: Final = Struct(Stp)


def _stp(value: Any, path: Path) -> bool | None:
    """Read a boolean, or a mapping with ``enabled`` in it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        schema.truth(value, path)
        return True  # the reference takes "no" in quotes for true as well
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
    vlan: PortVlan | None = member("vlan", optional(bridgevlan.read))

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The names of the port's interfaces."""
        if self.bond is None:
            return (self.name,)
        return tuple(port.name for port in self.bond.ports or ())

    def sections(self) -> dict[str, dict[str, object]]:
        """Return the ``ovs-port`` section and those of the database's columns."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The ``bridge`` member."""

    allow_extra: bool | None = member("allow-extra-patch-ports", optional(schema.boolean))
    options: Options | None = member("options", optional(Struct(Options)))
    ports: tuple[Port, ...] | None = member("port", optional(sequence(Struct(Port))), "ports")


_NOTHING: Final = Bridge()


def _bridge(interface: Interface) -> Bridge:
    found: Bridge | None = interface.own.get("bridge")
    return found or _NOTHING


def _with_ports(interface: Interface, ports: tuple[Port, ...]) -> Interface:
    changed = dataclasses.replace(_bridge(interface), ports=ports)
    return dataclasses.replace(interface, own={**interface.own, "bridge": changed})


class OvsBridge(InterfaceType):
    """A bridge. It has no link and no addresses: an interface of the same name may have them."""

    name = "ovs-bridge"
    nm_type = "ovs-bridge"
    members: ClassVar[Mapping[str, Any]] = {"bridge": optional(Struct(Bridge))}
    is_controller = True
    is_userspace = True
    suffix = "-br"

    def ports(self, interface: Interface) -> tuple[str, ...] | None:
        """Return the names of the ports' interfaces."""
        ports = _bridge(interface).ports
        return None if ports is None else tuple(name for port in ports for name in port.interfaces)

    def without_port(self, interface: Interface, port: str) -> Interface:
        """Take the ports of that name away; an interface of a bond stays."""
        ports = _bridge(interface).ports or ()
        return _with_ports(interface, tuple(config for config in ports if config.name != port))

    def with_internal_port(self, interface: Interface) -> Interface:
        """Return the bridge with a port of its own name when it has none: it needs one."""
        if interface.is_up and not interface.ports:
            return _with_ports(interface, (Port(name=interface.name),))
        return interface

    def sanitised(self, interface: Interface) -> Interface:
        """Check MAC address and VLANs; sort the ports."""
        if interface.base.mac:
            raise problem(
                interface.place / "mac-address",
                "an OVS bridge has none; an ovs-interface on it can have one",
            )
        bridge = _bridge(interface)
        for port in bridge.ports or ():
            if port.vlan is not None:
                port.vlan.check(interface.place / "bridge" / f"port {shown(port.name)}" / "vlan")
        interface = interface.with_base(mtu=None, ipv4=None, ipv6=None)
        if bridge.ports is None:
            return interface
        return _with_ports(
            interface, tuple(sorted(bridge.ports, key=lambda port: port.name.encode()))
        )

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write the ``ovs-bridge`` section."""
        options = _bridge(interface).options
        profile.sections["ovs-bridge"] = {} if options is None else options.section()

    def port_configs(self, interface: Interface) -> Mapping[str, Port]:
        """Return the items of ``port`` by the names of their interfaces."""
        return {
            name: port
            for port in reversed(_bridge(interface).ports or ())
            for name in port.interfaces
        }

    def write_port(self, config: Port, profile: Profile) -> None:
        """Bind the interface to its port, which has a profile of its own."""
        profile.sections["connection"] = {**profile.sections["connection"], "master": config.name}

    def further_profiles(self, interface: Interface, network: Network) -> list[Profile]:
        """Return the profiles of the ports."""
        profiles = []
        for port in _bridge(interface).ports or ():
            profile = network.blank_profile(port.name, OVS_PORT, "ovs-port")
            profile.sections["connection"] = {
                **profile.sections["connection"],
                "master": interface.name,
                "slave-type": "ovs-bridge",
            }
            profile.sections |= port.sections()
            profiles.append(profile)
        return profiles


class OvsPort(InterfaceType):
    """A bridge's port, which documents have no interface for."""

    name = "ovs-port"
    nm_type = "ovs-port"
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
        """Raise `NMStateInvalid` for a number of descriptors that is no power of two."""
        numbers = {"n_rxq_desc": self.rx_descriptors, "n_txq_desc": self.tx_descriptors}
        for key, number in numbers.items():
            if number and (number & (number - 1) or number > _MAX_DESCRIPTORS):
                raise problem(path / key, f"found {number}, expected 0 or a power of 2 to 4096")


class OvsInterface(InterfaceType):
    """An internal interface, a patch to another bridge, or a DPDK device."""

    name = "ovs-interface"
    nm_type = "ovs-interface"
    members: ClassVar[Mapping[str, Any]] = {
        "patch": optional(Struct(Patch)),
        "dpdk": optional(Struct(Dpdk)),
    }
    keeps_ip_as_port = True
    copies_mac = True
    suffix = "-if"

    def parent(self, interface: Interface) -> str | None:
        """Return the bridge."""
        return interface.controller[0] if interface.controller else interface.base.controller

    def sanitised(self, interface: Interface) -> Interface:
        """Check what a patch cannot have, and the numbers of descriptors."""
        place = interface.place
        dpdk: Dpdk | None = interface.own.get("dpdk")
        if interface.own.get("patch") is not None:
            if interface.base.mtu is not None:
                raise problem(place / "mtu", "a patch has none")
            for version in (4, 6):
                family = interface.family(version)
                if family is not None and family.enabled:
                    raise problem(place / f"ipv{version}", "a patch has no addresses")
        if dpdk is not None:
            dpdk.check(place / "dpdk")
        return interface

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write the ``ovs-interface`` section and that of its kind."""
        patch: Patch | None = interface.own.get("patch")
        dpdk: Dpdk | None = interface.own.get("dpdk")
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
        if interface.controller is not None and interface.controller[1] is OVS_BRIDGE:
            profile.sections["ovs-interface"] = {"type": kind}


OVS_BRIDGE: Final = OvsBridge()
OVS_PORT: Final = OvsPort()
OVS_INTERFACE: Final = OvsInterface()

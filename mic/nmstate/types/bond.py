"""Bonds: several links as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mic.nmstate import schema
from mic.nmstate.keyfile import Profile
from mic.nmstate.problems import Path, problem
from mic.nmstate.schema import Struct, member, optional, required, sequence
from mic.nmstate.sriov import upper
from mic.nmstate.types.base import InterfaceType

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface

_U8: Final = schema.unsigned(8)
_U16: Final = schema.unsigned(16)
_U32: Final = schema.unsigned(32)

# The kernel's names, in the order of its numbers: Documentation/networking/bonding.rst
_MODES: Final = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"),
    *("balance-tlb", "balance-alb"),
)
_ARP_MISSED_MAX: Final = 2  # what the kernel has; older NetworkManagers refuse the option
_MULTICAST: Final = "01:00:5E"  # of the IANA
_MODE: Final = schema.numbered(*_MODES, also={"unknown": "unknown"})


def _enum(*words: str) -> Any:
    return optional(schema.numbered(*words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The ``options`` member. Field names are the kernel's, and the keyfile's."""

    ad_actor_sys_prio: int | None = member("ad_actor_sys_prio", _U16)
    ad_actor_system: str | None = member("ad_actor_system", optional(schema.text))
    ad_select: str | None = member("ad_select", _enum("stable", "bandwidth", "count"))
    ad_user_port_key: int | None = member("ad_user_port_key", _U16)
    all_slaves_active: str | None = member("all_slaves_active", _enum("dropped", "delivered"))
    arp_all_targets: str | None = member("arp_all_targets", _enum("any", "all"))
    arp_interval: int | None = member("arp_interval", _U32)
    arp_ip_target: str | None = member("arp_ip_target", optional(schema.text))
    arp_validate: str | None = member(
        "arp_validate",
        _enum("none", "active", "backup", "all", "filter", "filter_active", "filter_backup"),
    )
    downdelay: int | None = member("downdelay", _U32)
    fail_over_mac: str | None = member("fail_over_mac", _enum("none", "active", "follow"))
    lacp_rate: str | None = member("lacp_rate", _enum("slow", "fast"))
    lp_interval: int | None = member("lp_interval", _U32)
    miimon: int | None = member("miimon", _U32)
    min_links: int | None = member("min_links", _U32)
    num_grat_arp: int | None = member("num_grat_arp", _U8)
    num_unsol_na: int | None = member("num_unsol_na", _U8)
    packets_per_slave: int | None = member("packets_per_slave", _U32)
    primary: str | None = member("primary", optional(schema.text))
    primary_reselect: str | None = member("primary_reselect", _enum("always", "better", "failure"))
    resend_igmp: int | None = member("resend_igmp", _U32)
    tlb_dynamic_lb: bool | None = member("tlb_dynamic_lb", schema.truth)
    updelay: int | None = member("updelay", _U32)
    use_carrier: bool | None = member("use_carrier", schema.truth)
    xmit_hash_policy: str | None = member(
        "xmit_hash_policy",
        _enum("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"),
    )
    balance_slb: bool | None = member("balance_slb", schema.truth, "balance-slb")
    arp_missed_max: int | None = member("arp_missed_max", _U8)

    def check(self, mode: str | None, path: Path) -> None:
        """Raise `NMStateInvalid` for options that exclude each other."""
        system = self.ad_actor_system
        if system is not None and upper(system).startswith(_MULTICAST):
            raise problem(path / "ad_actor_system", "a multicast address is no actor system")
        if self.miimon and self.arp_interval:
            raise problem(path, "miimon and arp_interval exclude each other")
        if (
            mode is not None
            and self.balance_slb
            and (mode, self.xmit_hash_policy) != ("balance-xor", "vlan+srcmac")
        ):
            needed = "mode balance-xor and xmit_hash_policy vlan+srcmac"
            raise problem(path / "balance-slb", f"needs {needed}")

    def settings(self) -> dict[str, object]:
        """Return the keys of the ``bond`` section; booleans are numbers there."""
        settings: dict[str, object] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and field.name not in _NOT_WRITTEN:
                settings[field.name] = int(value) if isinstance(value, bool) else value
        if self.ad_actor_system is not None:
            settings["ad_actor_system"] = upper(self.ad_actor_system)
        if self.all_slaves_active is not None:
            settings["all_slaves_active"] = int(self.all_slaves_active == "delivered")
        if self.arp_missed_max == _ARP_MISSED_MAX:
            del settings["arp_missed_max"]
        if self.balance_slb is not None:
            settings["balance-slb"] = int(self.balance_slb)
        return settings


_NOT_WRITTEN: Final = ("balance_slb",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An item of ``ports-config``."""

    name: str = required("name", schema.text)
    priority: int | None = member("priority", schema.signed(32))
    queue: int | None = member("queue-id", _U16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """The ``link-aggregation`` member."""

    mode: str | None = member("mode", optional(_MODE))
    options: Options | None = member("options", optional(Struct(Options)))
    ports: tuple[str, ...] | None = member("port", optional(sequence(schema.text)), "ports")
    ports_config: tuple[Port, ...] | None = member(
        "ports-config", optional(sequence(Struct(Port, open_ended=True)))
    )

    def check_ports(self, path: Path) -> None:
        """Raise `NMStateInvalid` when the lists of ports differ or two share a queue."""
        if self.ports_config is None:
            return
        configured = {port.name for port in self.ports_config}
        if self.ports is not None and configured != set(self.ports):
            raise problem(path / "ports-config", "names other ports than 'port' does")
        queues: dict[int, str] = {}
        for port in sorted(self.ports_config, key=lambda port: port.name):
            if port.queue:
                other = queues.setdefault(port.queue, port.name)
                if other is not port.name:
                    raise problem(
                        path / "ports-config", f"{other} and {port.name} share queue {port.queue}"
                    )


class Bond(InterfaceType):
    """A bond."""

    name = "bond"
    nm_type = "bond"
    members: ClassVar[Mapping[str, Any]] = {"link-aggregation": optional(Struct(Aggregation))}
    is_controller = True
    copies_mac = True

    def ports(self, interface: Interface) -> tuple[str, ...] | None:
        """Return ``port``, or the names in ``ports-config``."""
        aggregation = _aggregation(interface)
        if aggregation.ports is None and aggregation.ports_config is not None:
            return tuple(port.name for port in aggregation.ports_config)
        return aggregation.ports

    def without_port(self, interface: Interface, port: str) -> Interface:
        """Take the port from ``port``; ``ports-config`` stays."""
        aggregation = _aggregation(interface)
        if port not in (aggregation.ports or ()):
            return interface
        ports = list(aggregation.ports or ())
        ports.remove(port)
        left = dataclasses.replace(aggregation, ports=tuple(ports))
        return dataclasses.replace(interface, own={"link-aggregation": left})

    def sanitised(self, interface: Interface) -> Interface:
        """Check mode, MAC address, options and ports."""
        if interface.is_absent:
            return interface
        aggregation, place = _aggregation(interface), interface.place / "link-aggregation"
        if aggregation.mode is None and interface.is_up:
            raise problem(place, "'mode' is missing")
        options = aggregation.options
        if (
            interface.base.mac is not None
            and aggregation.mode == "active-backup"
            and options is not None
            and options.fail_over_mac == "active"
        ):
            raise problem(
                interface.place / "mac-address", "fail_over_mac active leaves it to the ports"
            )
        if options is not None:
            options.check(aggregation.mode, place / "options")
        aggregation.check_ports(place)
        return interface

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write the ``bond`` section."""
        aggregation = _aggregation(interface)
        section: dict[str, object] = {"mode": aggregation.mode}
        if aggregation.options is not None:
            section |= aggregation.options.settings()
        profile.sections["bond"] = section

    def port_configs(self, interface: Interface) -> Mapping[str, Port]:
        """Return the items of ``ports-config``; of two for a port the first counts."""
        configs = _aggregation(interface).ports_config or ()
        return {config.name: config for config in reversed(configs)}

    def write_port(self, config: Port, profile: Profile) -> None:
        """Write the ``bond-port`` section, if it says more than the kernel's defaults."""
        if config.priority or config.queue:
            profile.sections["bond-port"] = {
                "prio": config.priority or None,
                "queue-id": config.queue,
            }


_NOTHING: Final = Aggregation()


def _aggregation(interface: Interface) -> Aggregation:
    found: Aggregation | None = interface.own.get("link-aggregation")
    return found or _NOTHING


def is_active_backup(interface: Interface) -> bool:
    """Whether this is a bond with one link in use at a time."""
    return interface.type.name == Bond.name and _aggregation(interface).mode == "active-backup"

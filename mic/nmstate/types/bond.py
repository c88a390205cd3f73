"""Bonds: several links combined into one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema
from mic.common.keyfile import Profile
from mic.common.problems import Path, problem
from mic.common.schema import Struct, member, optional, required, sequence
from mic.nmstate.interface import AnyInterface, Interface, InterfaceType, without_first
from mic.nmstate.routes import LOOPBACK
from mic.nmstate.sriov import upper

_U8: Final = schema.unsigned(8)
_U16: Final = schema.unsigned(16)
_U32: Final = schema.unsigned(32)

# The kernel's names, in the order of its numbers: Documentation/networking/bonding.rst
_MODES: Final = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"),
    *("balance-tlb", "balance-alb"),
)
_ARP_MISSED_MAX: Final = 2  # the kernel's default; older NetworkManagers refuse the option
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
        """Raise `DocumentInvalid` for options that are mutually exclusive."""
        system = self.ad_actor_system
        if system is not None and upper(system).startswith(_MULTICAST):
            raise problem(path / "ad_actor_system", "a multicast address cannot be an actor system")
        if self.miimon and self.arp_interval:
            raise problem(path, "miimon and arp_interval are mutually exclusive")
        if (
            mode is not None
            and self.balance_slb
            and (mode, self.xmit_hash_policy) != ("balance-xor", "vlan+srcmac")
        ):
            needed = "mode balance-xor and xmit_hash_policy vlan+srcmac"
            raise problem(path / "balance-slb", f"needs {needed}")

    def settings(self) -> dict[str, object]:
        """Return the keys of the ``bond`` section, where booleans are numbers."""
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

    def write(self, profile: Profile) -> None:
        """Write the ``bond-port`` section unless all values are the kernel's defaults."""
        if self.priority or self.queue:
            profile.sections["bond-port"] = {
                "prio": self.priority or None,
                "queue-id": self.queue,
            }


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
        """Raise `DocumentInvalid` if the lists of ports differ or two ports share a queue."""
        if self.ports_config is None:
            return
        configured = sorted(port.name for port in self.ports_config)
        if self.ports is not None and configured != sorted(self.ports):
            raise problem(path / "ports-config", "lists other ports than 'port'")
        queues: dict[int, str] = {}
        for port in sorted(self.ports_config, key=lambda port: port.name):
            if port.queue:
                other = queues.setdefault(port.queue, port.name)
                if other is not port.name:
                    raise problem(
                        path / "ports-config", f"{other} and {port.name} share queue {port.queue}"
                    )


_NO_AGGREGATION: Final = Aggregation()


@dataclass(frozen=True, slots=True, kw_only=True)
class BondMembers:
    """The members that only bonds have."""

    given: Aggregation | None = member("link-aggregation", optional(Struct(Aggregation)))

    @property
    def aggregation(self) -> Aggregation:
        """The ``link-aggregation`` member; empty when the document omits it."""
        return self.given or _NO_AGGREGATION


class Bond(InterfaceType[BondMembers]):
    """A bond."""

    name = "bond"
    nm_type = "bond"
    members = Struct(BondMembers)
    is_controller = True
    copies_mac = True

    def ports(self, interface: Interface[BondMembers]) -> tuple[str, ...] | None:
        """Return ``port``, or the names in ``ports-config``."""
        aggregation = interface.config.aggregation
        if aggregation.ports is None and aggregation.ports_config is not None:
            return tuple(port.name for port in aggregation.ports_config)
        return aggregation.ports

    def without_ports(
        self, interface: Interface[BondMembers], ports: Set[str]
    ) -> Interface[BondMembers]:
        """Remove each of the ports once from ``port``; keep ``ports-config``."""
        aggregation = interface.config.aggregation
        if aggregation.ports is None:
            return interface
        left = dataclasses.replace(aggregation, ports=without_first(aggregation.ports, ports))
        return interface.with_config(BondMembers(given=left))

    def normalised(self, interface: Interface[BondMembers]) -> Interface[BondMembers]:
        """Check mode, MAC address, options and ports."""
        if interface.is_absent:
            return interface
        aggregation, place = interface.config.aggregation, interface.place / "link-aggregation"
        is_new = interface.name != LOOPBACK  # every host has one
        if aggregation.mode is None and interface.is_up and is_new:
            raise problem(place, "'mode' is missing")
        options = aggregation.options
        if (
            interface.common.mac is not None
            and aggregation.mode == "active-backup"
            and options is not None
            and options.fail_over_mac == "active"
        ):
            raise problem(
                interface.place / "mac-address",
                "not allowed with fail_over_mac active, which uses the MAC addresses of the ports",
            )
        if options is not None:
            options.check(aggregation.mode, place / "options")
        aggregation.check_ports(place)
        return interface

    def write(self, interface: Interface[BondMembers], profile: Profile) -> None:
        """Write the ``bond`` section."""
        aggregation = interface.config.aggregation
        section: dict[str, object] = {"mode": aggregation.mode}
        if aggregation.options is not None:
            section |= aggregation.options.settings()
        profile.sections["bond"] = section

    def port_configs(self, interface: Interface[BondMembers]) -> Mapping[str, Port]:
        """Return the items of ``ports-config``; the first one wins if a port has two."""
        configs = interface.config.aggregation.ports_config or ()
        return {config.name: config for config in reversed(configs)}


def is_active_backup(interface: AnyInterface) -> bool:
    """Return whether this is a bond that uses one link at a time."""
    config = interface.config
    return isinstance(config, BondMembers) and config.aggregation.mode == "active-backup"

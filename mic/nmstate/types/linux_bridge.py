"""Bridges of the Linux kernel."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema
from mic.common.keyfile import Profile
from mic.common.problems import Path, problem, shown
from mic.common.schema import Struct, member, optional, required, sequence
from mic.nmstate import bridge_vlan
from mic.nmstate.bridge_vlan import PortVlan
from mic.nmstate.interface import Interface, InterfaceType, without_first

_U8: Final = schema.unsigned(8)
_U16: Final = schema.unsigned(16)
_U32: Final = schema.unsigned(32)
_U64: Final = schema.unsigned(64)
_OCTET: Final = re.compile(r"\+?[0-9a-fA-F]{1,32}", re.ASCII)
_ROUTER: Final = ("disabled", "auto", "enabled")
# Seconds; the kernel's limits (net/bridge/br_private.h), which are those of IEEE 802.1D.
_LIMITS: Final = {"hello-time": (1, 10), "max-age": (6, 40), "forward-delay": (2, 30)}
_PROTOCOLS: Final = {"802.1q": "802.1Q", "802.1ad": "802.1ad"}


def _multicast_router(value: Any, path: Path) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(_ROUTER):
        return _ROUTER[value]
    if isinstance(value, str) and value.lower() in _ROUTER:
        return value.lower()
    raise problem(path, "expected auto, disabled, enabled or 0 to 2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stp:
    """The spanning tree protocol's parameters."""

    enabled: bool | None = member("enabled", schema.truth)
    forward_delay: int | None = member("forward-delay", _U8)
    hello_time: int | None = member("hello-time", _U8)
    max_age: int | None = member("max-age", _U8)
    priority: int | None = member("priority", _U16)

    def check(self, path: Path) -> None:
        """Raise `DocumentInvalid` for a time outside of the kernel's limits."""
        times = {
            "hello-time": self.hello_time,
            "max-age": self.max_age,
            "forward-delay": self.forward_delay,
        }
        for key, time in times.items():
            low, high = _LIMITS[key]
            if time is not None and not low <= time <= high:
                raise problem(path / key, f"found {time}, expected {low} to {high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The bridge's ``options``. The timers are status values of the kernel and are not used."""

    gc_timer: int | None = member("gc-timer", optional(schema.integer(64)))
    group_addr: str | None = member("group-addr", optional(schema.text))
    group_forward_mask: int | None = member("group-forward-mask", _U16)
    group_fwd_mask: int | None = member("group-fwd-mask", _U16)
    hash_max: int | None = member("hash-max", _U32)
    hello_timer: int | None = member("hello-timer", optional(schema.integer(64)))
    mac_ageing_time: int | None = member("mac-ageing-time", _U32)
    multicast_last_member_count: int | None = member("multicast-last-member-count", _U32)
    multicast_last_member_interval: int | None = member("multicast-last-member-interval", _U64)
    multicast_membership_interval: int | None = member("multicast-membership-interval", _U64)
    multicast_querier: bool | None = member("multicast-querier", schema.truth)
    multicast_querier_interval: int | None = member("multicast-querier-interval", _U64)
    multicast_query_interval: int | None = member("multicast-query-interval", _U64)
    multicast_query_response_interval: int | None = member(
        "multicast-query-response-interval", _U64
    )
    multicast_query_use_ifaddr: bool | None = member("multicast-query-use-ifaddr", schema.truth)
    multicast_router: str | None = member("multicast-router", _multicast_router)
    multicast_snooping: bool | None = member("multicast-snooping", schema.truth)
    multicast_startup_query_count: int | None = member("multicast-startup-query-count", _U32)
    multicast_startup_query_interval: int | None = member("multicast-startup-query-interval", _U64)
    stp: Stp | None = member("stp", optional(Struct(Stp)))
    vlan_protocol: str | None = member("vlan-protocol", optional(schema.choice(*_PROTOCOLS)))
    vlan_default_pvid: int | None = member("vlan-default-pvid", optional(schema.integer(16)))

    def settings(self) -> dict[str, object]:
        """Return the keys of the ``bridge`` section."""
        settings: dict[str, object] = {
            field.name.replace("_", "-"): getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name.startswith("multicast")
        }
        mask = self.group_fwd_mask if self.group_fwd_mask is not None else self.group_forward_mask
        settings |= {
            "ageing-time": self.mac_ageing_time,
            "group-address": _bytes(self.group_addr),
            "group-forward-mask": mask,
            "multicast-hash-max": self.hash_max,
            "vlan-default-pvid": self.vlan_default_pvid,
            "vlan-protocol": _PROTOCOLS.get(self.vlan_protocol or ""),
        }
        if self.stp is not None:
            settings |= {
                "stp": self.stp.enabled,
                "forward-delay": self.stp.forward_delay,
                "hello-time": self.stp.hello_time,
                "max-age": self.stp.max_age,
                "priority": self.stp.priority,
            }
        return settings


def _bytes(mac: str | None) -> tuple[int, ...] | None:
    """Return the octets of a MAC address, or None if it is malformed."""
    octets = [] if mac is None else mac.split(":")
    if not all(map(_OCTET.fullmatch, octets)):
        return None
    numbers = tuple(int(octet, 16) for octet in octets)
    return numbers if all(number < 256 for number in numbers) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An item of the bridge's ``port``."""

    name: str = required("name", schema.text)
    hairpin: bool | None = member("stp-hairpin-mode", schema.truth)
    path_cost: int | None = member("stp-path-cost", _U32)
    priority: int | None = member("stp-priority", _U16)
    vlan: PortVlan | None = member("vlan", optional(bridge_vlan.read))

    def write(self, profile: Profile) -> None:
        """Write the ``bridge-port`` section."""
        section: dict[str, object] = {
            "hairpin-mode": self.hairpin,
            "path-cost": self.path_cost,
            "priority": self.priority,
        }
        if self.vlan is not None:
            section["vlans"] = _vlans(self.vlan)
        profile.sections["bridge-port"] = section


def _vlans(vlan: PortVlan) -> str:
    tagged = [(tag.low, str(tag)) for tag in vlan.trunk_tags or ()] if vlan.mode == "trunk" else []
    if vlan.tag is not None and vlan.mode is not None:
        tagged.append((vlan.tag, f"{vlan.tag} pvid untagged"))
    return ",".join(text for _, text in sorted(tagged, key=lambda item: item[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """The ``bridge`` member."""

    options: Options | None = member("options", optional(Struct(Options)))
    ports: tuple[Port, ...] | None = member("port", optional(sequence(Struct(Port))), "ports")

    @property
    def filters(self) -> bool:
        """Whether a port has VLAN settings."""
        return any(port.vlan is not None and not port.vlan.is_empty for port in self.ports or ())


_NO_BRIDGE: Final = Bridge()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxBridgeMembers:
    """The members that only Linux bridges have."""

    given: Bridge | None = member("bridge", optional(Struct(Bridge)))

    @property
    def bridge(self) -> Bridge:
        """The ``bridge`` member; empty when the document omits it."""
        return self.given or _NO_BRIDGE


class LinuxBridge(InterfaceType[LinuxBridgeMembers]):
    """A bridge of the Linux kernel."""

    name = "linux-bridge"
    nm_type = "bridge"
    members = Struct(LinuxBridgeMembers)
    is_controller = True
    copies_mac = True

    def ports(self, interface: Interface[LinuxBridgeMembers]) -> tuple[str, ...] | None:
        """Return the names in ``port``."""
        ports = interface.config.bridge.ports
        return None if ports is None else tuple(port.name for port in ports)

    def without_ports(
        self, interface: Interface[LinuxBridgeMembers], ports: Set[str]
    ) -> Interface[LinuxBridgeMembers]:
        """Remove the first port of each name from ``port``."""
        bridge = interface.config.bridge
        kept = without_first(bridge.ports or (), ports, lambda port: port.name)
        left = dataclasses.replace(bridge, ports=kept)
        return interface.with_config(LinuxBridgeMembers(given=left))

    def normalised(self, interface: Interface[LinuxBridgeMembers]) -> Interface[LinuxBridgeMembers]:
        """Check options and VLANs."""
        bridge, place = interface.config.bridge, interface.place / "bridge"
        options = bridge.options
        if options is not None:
            pvid = options.vlan_default_pvid
            if pvid not in (None, 1) and not bridge.filters:
                raise problem(
                    place / "options" / "vlan-default-pvid",
                    f"found {pvid}, but no port has VLANs",
                )
            masks = {options.group_forward_mask, options.group_fwd_mask} - {None}
            if len(masks) > 1:
                raise problem(place / "options", "group-forward-mask and group-fwd-mask differ")
            if options.stp is not None:
                options.stp.check(place / "options" / "stp")
        for port in bridge.ports or ():
            if port.vlan is not None:
                port.vlan.check(place / f"port {shown(port.name)}" / "vlan")
        return interface

    def write(self, interface: Interface[LinuxBridgeMembers], profile: Profile) -> None:
        """Write the ``bridge`` section."""
        bridge = interface.config.bridge
        section: dict[str, object] = {}
        if bridge.options is not None:
            section |= bridge.options.settings()
        if bridge.ports is not None:
            section["vlan-filtering"] = bridge.filters
        profile.sections["bridge"] = section

    def port_configs(self, interface: Interface[LinuxBridgeMembers]) -> Mapping[str, Port]:
        """Return the items of ``port``; the first one wins if a port has two."""
        return {port.name: port for port in reversed(interface.config.bridge.ports or ())}

"""Types whose profiles have no section of their own: their members are only checked."""

from __future__ import annotations

from dataclasses import dataclass

from mic.common import schema
from mic.common.problems import problem
from mic.common.schema import Struct, member, optional, required
from mic.nmstate.interface import NO_MEMBERS, Interface, InterfaceType, NoMembers


class Xfrm(InterfaceType[NoMembers]):
    """The device of an IPsec tunnel, which only libreswan can create."""

    name = "xfrm"
    nm_type = "xfrm"
    members = NO_MEMBERS

    def normalised(self, interface: Interface[NoMembers]) -> Interface[NoMembers]:
        """Refuse the interface unless it is to be removed."""
        if not interface.is_absent:
            raise problem(interface.place / "type", "NetworkManager has no profiles for xfrm")
        return interface


class Dummy(InterfaceType[NoMembers]):
    """An interface without a link."""

    name = "dummy"
    nm_type = "dummy"
    members = NO_MEMBERS


class Loopback(InterfaceType[NoMembers]):
    """The loopback interface, which may have additional addresses."""

    name = "loopback"
    nm_type = "loopback"
    members = NO_MEMBERS
    has_link_settings = False

    def normalised(self, interface: Interface[NoMembers]) -> Interface[NoMembers]:
        """Check that IP is neither disabled nor automatic."""
        for version in (4, 6):
            family, place = interface.family(version), interface.place / f"ipv{version}"
            if family is not None and not family.enabled:
                raise problem(place / "enabled", "the loopback interface needs it")
            if family is not None and family.is_auto:
                raise problem(place, "the loopback interface has no automatic addresses")
        return interface


@dataclass(frozen=True, slots=True, kw_only=True)
class HsrConfig:
    """The ``hsr`` member."""

    port1: str = required("port1", schema.text)
    port2: str = required("port2", schema.text)
    supervision: str | None = member("supervision-address", optional(schema.text))
    multicast_spec: int = required("multicast-spec", schema.integer(8))
    protocol: str = required("protocol", schema.choice("hsr", "prp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HsrMembers:
    """The members that only HSR interfaces have."""

    hsr: HsrConfig | None = member("hsr", optional(Struct(HsrConfig, open_ended=True)))


class Hsr(InterfaceType[HsrMembers]):
    """A redundant ring."""

    name = "hsr"
    nm_type = "hsr"
    members = Struct(HsrMembers)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MacSecConfig:
    """The ``macsec`` member. It has no repr: it contains the key of the network."""

    encrypt: bool = required("encrypt", schema.boolean)
    base_iface: str = required("base-iface", schema.text)
    key: str | None = member("mka-cak", optional(schema.text))
    key_name: str | None = member("mka-ckn", optional(schema.text))
    port: int = required("port", schema.integer(32))
    validation: str = required("validation", schema.choice("disabled", "check", "strict"))
    send_sci: bool = required("send-sci", schema.boolean)
    offload: str | None = member("offload", optional(schema.choice("off", "phy", "mac")))


@dataclass(frozen=True, slots=True, kw_only=True)
class MacSecMembers:
    """The members that only MACsec interfaces have."""

    macsec: MacSecConfig | None = member("macsec", optional(Struct(MacSecConfig, open_ended=True)))


class MacSec(InterfaceType[MacSecMembers]):
    """An encrypted link."""

    name = "macsec"
    nm_type = "macsec"
    members = Struct(MacSecMembers)

    def parent(self, interface: Interface[MacSecMembers]) -> str | None:
        """Return ``base-iface``."""
        config = interface.config.macsec
        return None if config is None else config.base_iface

    def normalised(self, interface: Interface[MacSecMembers]) -> Interface[MacSecMembers]:
        """Check the lengths of the key and of its name."""
        config = interface.config.macsec
        if config is None:
            return interface
        place = interface.place / "macsec"
        if (config.key is None) != (config.key_name is None):
            raise problem(place, "mka-cak and mka-ckn need each other")
        if config.key is not None and len(config.key.encode()) != 32:
            raise problem(place / "mka-cak", "expected 32 hexadecimal digits")
        if config.key_name is not None:
            length = len(config.key_name.encode())
            if length % 2 or not 2 <= length <= 64:
                raise problem(place / "mka-ckn", "expected 2 to 64 hexadecimal digits, in pairs")
        return interface


@dataclass(frozen=True, slots=True, kw_only=True)
class IpVlanConfig:
    """The ``ipvlan`` member."""

    base_iface: str | None = member("base-iface", optional(schema.text))
    mode: str | None = member("mode", optional(schema.choice("l2", "l3", "l3s")))
    private: bool | None = member("private", schema.truth)
    vepa: bool | None = member("vepa", schema.truth)


@dataclass(frozen=True, slots=True, kw_only=True)
class IpVlanMembers:
    """The members that only IPVLANs have."""

    ipvlan: IpVlanConfig | None = member("ipvlan", optional(Struct(IpVlanConfig)))


class IpVlan(InterfaceType[IpVlanMembers]):
    """An interface that shares the MAC address of another one."""

    name = "ipvlan"
    nm_type = "ipvlan"
    members = Struct(IpVlanMembers)

    def normalised(self, interface: Interface[IpVlanMembers]) -> Interface[IpVlanMembers]:
        """Check that at most one flag is set."""
        config = interface.config.ipvlan
        if config is not None and config.private and config.vepa:
            raise problem(interface.place / "ipvlan", "private and vepa are mutually exclusive")
        return interface

"""Types whose profiles have no section of their own: what they say is checked, not written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mic.nmstate import schema
from mic.nmstate.problems import problem
from mic.nmstate.schema import Struct, member, optional, required
from mic.nmstate.types.base import InterfaceType

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface


class Xfrm(InterfaceType):
    """The device of an IPsec tunnel, which libreswan makes and no profile can."""

    name = "xfrm"
    nm_type = "xfrm"

    def sanitised(self, interface: Interface) -> Interface:
        """Refuse the interface unless it is to go."""
        if not interface.is_absent:
            raise problem(interface.place / "type", "NetworkManager has no profiles for xfrm")
        return interface


class Dummy(InterfaceType):
    """An interface to nowhere."""

    name = "dummy"
    nm_type = "dummy"


class Loopback(InterfaceType):
    """The host itself, which is always reached, at addresses of the document's own."""

    name = "loopback"
    nm_type = "loopback"
    has_link_settings = False

    def sanitised(self, interface: Interface) -> Interface:
        """Check that IP is neither off nor automatic."""
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


class Hsr(InterfaceType):
    """A redundant ring."""

    name = "hsr"
    nm_type = "hsr"
    members: ClassVar[Mapping[str, Any]] = {"hsr": optional(Struct(HsrConfig, open_ended=True))}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MacSecConfig:
    """The ``macsec`` member, with the key of the network; out of every repr."""

    encrypt: bool = required("encrypt", schema.boolean)
    base_iface: str = required("base-iface", schema.text)
    key: str | None = member("mka-cak", optional(schema.text))
    key_name: str | None = member("mka-ckn", optional(schema.text))
    port: int = required("port", schema.integer(32))
    validation: str = required("validation", schema.choice("disabled", "check", "strict"))
    send_sci: bool = required("send-sci", schema.boolean)
    offload: str | None = member("offload", optional(schema.choice("off", "phy", "mac")))


class MacSec(InterfaceType):
    """An encrypted link."""

    name = "macsec"
    nm_type = "macsec"
    members: ClassVar[Mapping[str, Any]] = {"macsec": optional(Struct(MacSecConfig))}

    def parent(self, interface: Interface) -> str | None:
        """Return ``base-iface``."""
        config: MacSecConfig | None = interface.own.get("macsec")
        return None if config is None else config.base_iface

    def sanitised(self, interface: Interface) -> Interface:
        """Check the lengths of key and key's name."""
        config: MacSecConfig | None = interface.own.get("macsec")
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


class IpVlan(InterfaceType):
    """More addresses behind one MAC address."""

    name = "ipvlan"
    nm_type = "ipvlan"
    members: ClassVar[Mapping[str, Any]] = {"ipvlan": optional(Struct(IpVlanConfig))}

    def sanitised(self, interface: Interface) -> Interface:
        """Check that one flag is set at most."""
        config: IpVlanConfig | None = interface.own.get("ipvlan")
        if config is not None and config.private and config.vepa:
            raise problem(interface.place / "ipvlan", "private and vepa exclude each other")
        return interface

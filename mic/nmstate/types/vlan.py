"""VLANs: tagged networks on another interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mic.nmstate import schema
from mic.nmstate.keyfile import Profile
from mic.nmstate.problems import problem
from mic.nmstate.schema import Struct, member, optional, required
from mic.nmstate.types.base import InterfaceType

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The ``vlan`` member."""

    base_iface: str | None = member("base-iface", optional(schema.text))
    ident: int = required("id", schema.unsigned(16))
    protocol: str | None = member("protocol", optional(schema.choice("802.1q", "802.1ad")))
    registration: str | None = member(
        "registration-protocol", optional(schema.choice("gvrp", "mvrp", "none"))
    )
    reorder_headers: bool | None = member("reorder-headers", optional(schema.boolean))
    loose_binding: bool | None = member("loose-binding", optional(schema.boolean))

    @property
    def flags(self) -> int:
        """NetworkManager's flags (NMVlanFlags); headers are reordered unless told otherwise."""
        flags = 0 if self.reorder_headers is False else 1
        flags |= {"gvrp": 2, "mvrp": 8}.get(self.registration or "", 0)
        return flags | (4 if self.loose_binding else 0)


class Vlan(InterfaceType):
    """A VLAN."""

    name = "vlan"
    nm_type = "vlan"
    members: ClassVar[Mapping[str, Any]] = {"vlan": optional(Struct(Config))}

    def parent(self, interface: Interface) -> str | None:
        """Return ``base-iface``."""
        config: Config | None = interface.own.get("vlan")
        return None if config is None else config.base_iface

    def sanitised(self, interface: Interface) -> Interface:
        """Check that there is an interface to be on."""
        config: Config | None = interface.own.get("vlan")
        if config is not None and config.base_iface is None:
            raise problem(interface.place / "vlan", "'base-iface' is missing")
        return interface

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write the ``vlan`` section; 802.1q is what NetworkManager takes for granted."""
        config: Config | None = interface.own.get("vlan")
        if config is not None:
            profile.sections["vlan"] = {
                "id": config.ident,
                "parent": config.base_iface,
                "flags": config.flags,
                "protocol": config.protocol if config.protocol == "802.1ad" else None,
            }

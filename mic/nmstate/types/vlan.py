"""VLANs: tagged networks on another interface."""

from __future__ import annotations

from dataclasses import dataclass

from mic.common import schema
from mic.common.keyfile import Profile
from mic.common.problems import problem
from mic.common.schema import Struct, member, optional, required
from mic.nmstate.interface import Interface, InterfaceType


@dataclass(frozen=True, slots=True, kw_only=True)
class VlanConfig:
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
        """NetworkManager's flags (NMVlanFlags); headers are reordered by default."""
        flags = 0 if self.reorder_headers is False else 1
        flags |= {"gvrp": 2, "mvrp": 8}.get(self.registration or "", 0)
        return flags | (4 if self.loose_binding else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlanMembers:
    """The members that only VLANs have."""

    vlan: VlanConfig | None = member("vlan", optional(Struct(VlanConfig)))


class Vlan(InterfaceType[VlanMembers]):
    """A VLAN."""

    name = "vlan"
    nm_type = "vlan"
    members = Struct(VlanMembers)

    def parent(self, interface: Interface[VlanMembers]) -> str | None:
        """Return ``base-iface``."""
        vlan = interface.config.vlan
        return None if vlan is None else vlan.base_iface

    def normalised(self, interface: Interface[VlanMembers]) -> Interface[VlanMembers]:
        """Check that ``base-iface`` is given."""
        vlan = interface.config.vlan
        if vlan is not None and vlan.base_iface is None:
            raise problem(interface.place / "vlan", "'base-iface' is missing")
        return interface

    def write(self, interface: Interface[VlanMembers], profile: Profile) -> None:
        """Write the ``vlan`` section; 802.1q is NetworkManager's default."""
        vlan = interface.config.vlan
        if vlan is not None:
            profile.sections["vlan"] = {
                "id": vlan.ident,
                "parent": vlan.base_iface,
                "flags": vlan.flags,
                "protocol": vlan.protocol if vlan.protocol == "802.1ad" else None,
            }

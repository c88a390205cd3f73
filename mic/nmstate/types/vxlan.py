"""VXLANs: layer 2 over UDP."""

from __future__ import annotations

from dataclasses import dataclass

from mic.common import schema
from mic.common.addresses import Address
from mic.common.keyfile import Profile
from mic.common.problems import problem
from mic.common.schema import Struct, member, optional, required
from mic.nmstate.interface import Interface, InterfaceType


@dataclass(frozen=True, slots=True, kw_only=True)
class VxlanConfig:
    """The ``vxlan`` member."""

    base_iface: str | None = member("base-iface", schema.text)
    ident: int = required("id", schema.unsigned(32))
    learning: bool | None = member("learning", optional(schema.boolean))
    local: Address | None = member("local", optional(schema.address))
    remote: Address | None = member("remote", optional(schema.address))
    port: int | None = member("destination-port", schema.unsigned(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class VxlanMembers:
    """The members that only VXLANs have."""

    vxlan: VxlanConfig | None = member("vxlan", optional(Struct(VxlanConfig)))


class Vxlan(InterfaceType[VxlanMembers]):
    """A VXLAN."""

    name = "vxlan"
    nm_type = "vxlan"
    members = Struct(VxlanMembers)

    def parent(self, interface: Interface[VxlanMembers]) -> str | None:
        """Return ``base-iface``; empty when the document omits it."""
        vxlan = interface.config.vxlan
        return None if vxlan is None else vxlan.base_iface or ""

    def check_rereading(self, interface: Interface[VxlanMembers]) -> None:
        """Refuse a configuration without a port: the reference writes null and cannot parse it."""
        vxlan = interface.config.vxlan
        if vxlan is not None and vxlan.port is None:
            place = interface.place / "vxlan"
            raise problem(place, f"'destination-port' is missing for an interface {interface.name}")

    def write(self, interface: Interface[VxlanMembers], profile: Profile) -> None:
        """Write the ``vxlan`` section."""
        vxlan = interface.config.vxlan
        if vxlan is not None:
            profile.sections["vxlan"] = {
                "id": vxlan.ident,
                "parent": vxlan.base_iface,
                "learning": vxlan.learning,
                "local": vxlan.local,
                "remote": vxlan.remote,
                "destination-port": vxlan.port,
            }

"""VRFs: a separate routing table for their ports."""

from __future__ import annotations

from dataclasses import dataclass

from mic.common import schema
from mic.common.keyfile import Profile
from mic.common.problems import problem
from mic.common.schema import Struct, member, optional, sequence
from mic.nmstate.interface import Interface, InterfaceType


@dataclass(frozen=True, slots=True, kw_only=True)
class VrfConfig:
    """The ``vrf`` member."""

    ports: tuple[str, ...] | None = member("port", optional(sequence(schema.text)), "ports")
    table: int | None = member("route-table-id", schema.unsigned(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class VrfMembers:
    """The members that only VRFs have."""

    vrf: VrfConfig | None = member("vrf", optional(Struct(VrfConfig)))


class Vrf(InterfaceType[VrfMembers]):
    """A VRF: a layer 3 interface, whose MAC address cannot be chosen."""

    name = "vrf"
    nm_type = "vrf"
    members = Struct(VrfMembers)
    is_controller = True
    ports_keep_ip = True

    def ports(self, interface: Interface[VrfMembers]) -> tuple[str, ...] | None:
        """Return ``port``."""
        vrf = interface.config.vrf
        return None if vrf is None else vrf.ports

    def normalised(self, interface: Interface[VrfMembers]) -> Interface[VrfMembers]:
        """Check the table; remove the link settings."""
        vrf = interface.config.vrf
        if not interface.is_absent and (vrf is None or not vrf.table):
            raise problem(interface.place / "vrf", "'route-table-id' is missing, or 0")
        return interface.with_common(mac=None, accept_all=interface.common.accept_all or None)

    def write(self, interface: Interface[VrfMembers], profile: Profile) -> None:
        """Write the ``vrf`` section."""
        vrf = interface.config.vrf
        if vrf is not None:
            profile.sections["vrf"] = {"table": vrf.table}

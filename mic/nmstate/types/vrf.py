"""VRFs: routing tables of their own for their ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mic.nmstate import schema
from mic.nmstate.keyfile import Profile
from mic.nmstate.problems import problem
from mic.nmstate.schema import Struct, member, optional, sequence
from mic.nmstate.types.base import InterfaceType

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The ``vrf`` member."""

    ports: tuple[str, ...] | None = member("port", optional(sequence(schema.text)), "ports")
    table: int | None = member("route-table-id", schema.unsigned(32))


class Vrf(InterfaceType):
    """A VRF: a layer 3 interface, with a MAC address of nobody's choosing."""

    name = "vrf"
    nm_type = "vrf"
    members: ClassVar[Mapping[str, Any]] = {"vrf": optional(Struct(Config))}
    is_controller = True
    ports_keep_ip = True

    def ports(self, interface: Interface) -> tuple[str, ...] | None:
        """Return ``port``."""
        config: Config | None = interface.own.get("vrf")
        return None if config is None else config.ports

    def sanitised(self, interface: Interface) -> Interface:
        """Check the table; take the link's settings away."""
        config: Config | None = interface.own.get("vrf")
        if config is not None and not config.table:
            raise problem(interface.place / "vrf", "'route-table-id' is missing, or 0")
        return interface.with_base(mac=None, accept_all=interface.base.accept_all or None)

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write the ``vrf`` section."""
        config: Config | None = interface.own.get("vrf")
        if config is not None:
            profile.sections["vrf"] = {"table": config.table}

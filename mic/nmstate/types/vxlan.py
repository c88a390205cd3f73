"""VXLANs: layer 2 over UDP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mic.nmstate import schema
from mic.nmstate.addresses import Address
from mic.nmstate.keyfile import Profile
from mic.nmstate.schema import Struct, member, optional, required
from mic.nmstate.types.base import InterfaceType

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The ``vxlan`` member."""

    base_iface: str | None = member("base-iface", schema.text)
    ident: int = required("id", schema.unsigned(32))
    learning: bool | None = member("learning", schema.truth)
    local: Address | None = member("local", optional(schema.address))
    remote: Address | None = member("remote", optional(schema.address))
    port: int | None = member("destination-port", schema.unsigned(16))


class Vxlan(InterfaceType):
    """A VXLAN."""

    name = "vxlan"
    nm_type = "vxlan"
    members: ClassVar[Mapping[str, Any]] = {"vxlan": optional(Struct(Config))}

    def parent(self, interface: Interface) -> str | None:
        """Return ``base-iface``, which may be left out."""
        config: Config | None = interface.own.get("vxlan")
        return None if config is None else config.base_iface or ""

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write the ``vxlan`` section."""
        config: Config | None = interface.own.get("vxlan")
        if config is not None:
            profile.sections["vxlan"] = {
                "id": config.ident,
                "parent": config.base_iface,
                "learning": config.learning,
                "local": config.local,
                "remote": config.remote,
                "destination-port": config.port,
            }

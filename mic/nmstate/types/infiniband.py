"""IP over InfiniBand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mic.nmstate import schema
from mic.nmstate.keyfile import Profile
from mic.nmstate.schema import Struct, member, optional, required
from mic.nmstate.types.base import InterfaceType

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface

_NO_KEY: Final = 0xFFFF  # stands for the base interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The ``infiniband`` member."""

    mode: str = required("mode", schema.choice("datagram", "connected"))
    base_iface: str | None = member("base-iface", optional(schema.text))
    key: int | None = required("pkey", schema.unsigned(16))


class InfiniBand(InterfaceType):
    """A base interface, or one of its partitions."""

    name = "infiniband"
    nm_type = "infiniband"
    members: ClassVar[Mapping[str, Any]] = {"infiniband": optional(Struct(Config))}
    has_link_settings = False

    def parent(self, interface: Interface) -> str | None:
        """Return ``base-iface``."""
        config: Config | None = interface.own.get("infiniband")
        return None if config is None else config.base_iface

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write the ``infiniband`` section, which has the MTU as well."""
        config: Config | None = interface.own.get("infiniband")
        section: dict[str, object] = {"mtu": interface.base.mtu}
        if config is not None:
            section |= {
                "parent": config.base_iface,
                "p-key": None if config.key == _NO_KEY else config.key,
                "transport-mode": config.mode,
            }
        profile.sections["infiniband"] = section

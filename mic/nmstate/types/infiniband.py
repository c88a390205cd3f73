"""IP over InfiniBand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mic.common import schema
from mic.common.keyfile import Profile, kernel_mtu
from mic.common.schema import Struct, member, optional, required
from mic.nmstate.interface import Interface, InterfaceType

_BASE_KEY: Final = 0xFFFF  # the partition key of the base interface


@dataclass(frozen=True, slots=True, kw_only=True)
class InfiniBandConfig:
    """The ``infiniband`` member."""

    mode: str = required("mode", schema.choice("datagram", "connected"))
    base_iface: str | None = member("base-iface", optional(schema.text))
    key: int | None = required("pkey", schema.unsigned(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class InfiniBandMembers:
    """The members that only InfiniBand interfaces have."""

    infiniband: InfiniBandConfig | None = member("infiniband", optional(Struct(InfiniBandConfig)))


class InfiniBand(InterfaceType[InfiniBandMembers]):
    """A base interface, or one of its partitions."""

    name = "infiniband"
    nm_type = "infiniband"
    members = Struct(InfiniBandMembers)
    has_link_settings = False

    def parent(self, interface: Interface[InfiniBandMembers]) -> str | None:
        """Return ``base-iface``."""
        config = interface.config.infiniband
        return None if config is None else config.base_iface

    def write(self, interface: Interface[InfiniBandMembers], profile: Profile) -> None:
        """Write the ``infiniband`` section, which also holds the MTU."""
        config = interface.config.infiniband
        section: dict[str, object] = {"mtu": kernel_mtu(interface.common.mtu)}
        if config is not None:
            section |= {
                "parent": config.base_iface,
                "p-key": None if config.key == _BASE_KEY else config.key,
                "transport-mode": config.mode,
            }
        profile.sections["infiniband"] = section

"""MAC VLANs and MAC VTAPs: more MAC addresses on an interface."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mic.nmstate import schema
from mic.nmstate.keyfile import Profile
from mic.nmstate.problems import problem
from mic.nmstate.schema import Struct, member, optional, required
from mic.nmstate.types.base import InterfaceType

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface

# NMSettingMacvlanMode's numbers are the indices.
_MODES: Final = ("unknown", "vepa", "bridge", "private", "passthru", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The ``mac-vlan`` and ``mac-vtap`` members."""

    base_iface: str = required("base-iface", schema.text)
    mode: str = required("mode", schema.choice(*_MODES))
    promiscuous: bool | None = member("promiscuous", schema.truth, "accept-all-mac")


class MacVlan(InterfaceType):
    """A MAC VLAN."""

    name = "mac-vlan"
    nm_type = "macvlan"
    members: ClassVar[Mapping[str, Any]] = {"mac-vlan": optional(Struct(Config))}
    tap: ClassVar[bool] = False

    def parent(self, interface: Interface) -> str | None:
        """Return ``base-iface``."""
        config = self._config(interface)
        return None if config is None else config.base_iface

    def sanitised(self, interface: Interface) -> Interface:
        """Check that only a mode that can be without it is without promiscuity."""
        config = self._config(interface)
        if config is not None and config.promiscuous is False and config.mode != "passthru":
            raise problem(interface.place / self.name / "promiscuous", "false needs mode passthru")
        return interface

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write the ``macvlan`` section."""
        config = self._config(interface)
        if config is not None:
            profile.sections["macvlan"] = {
                "mode": _MODES.index(config.mode),
                "parent": config.base_iface,
                "promiscuous": config.promiscuous,
                "tap": self.tap,
            }

    def _config(self, interface: Interface) -> Config | None:
        return interface.own.get(self.name)


class MacVtap(MacVlan):
    """A MAC VTAP."""

    name = "mac-vtap"
    members: ClassVar[Mapping[str, Any]] = {"mac-vtap": optional(Struct(Config))}
    tap = True

"""MAC VLANs and MAC VTAPs: additional MAC addresses on an interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from mic.common import schema
from mic.common.keyfile import Profile
from mic.common.problems import problem
from mic.common.schema import Struct, member, optional, required
from mic.nmstate.interface import Interface, InterfaceType

# The indices are the numbers of NMSettingMacvlanMode.
_MODES: Final = ("unknown", "vepa", "bridge", "private", "passthru", "source")


@dataclass(frozen=True, slots=True, kw_only=True)
class MacVlanConfig:
    """The ``mac-vlan`` and ``mac-vtap`` members."""

    base_iface: str = required("base-iface", schema.text)
    mode: str = required("mode", schema.choice(*_MODES))
    promiscuous: bool | None = member("promiscuous", schema.truth, "accept-all-mac")


@dataclass(frozen=True, slots=True, kw_only=True)
class MacVlanMembers:
    """The members that only MAC VLANs have."""

    link: MacVlanConfig | None = member("mac-vlan", optional(Struct(MacVlanConfig)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MacVtapMembers(MacVlanMembers):
    """The members that only MAC VTAPs have."""

    link: MacVlanConfig | None = member("mac-vtap", optional(Struct(MacVlanConfig)))


class MacVlan(InterfaceType[MacVlanMembers]):
    """A MAC VLAN."""

    name = "mac-vlan"
    nm_type = "macvlan"
    members = Struct(MacVlanMembers)
    tap: ClassVar[bool] = False

    def parent(self, interface: Interface[MacVlanMembers]) -> str | None:
        """Return ``base-iface``."""
        config = interface.config.link
        return None if config is None else config.base_iface

    def normalised(self, interface: Interface[MacVlanMembers]) -> Interface[MacVlanMembers]:
        """Check that ``promiscuous`` is off only in a mode that allows it."""
        config = interface.config.link
        if config is not None and config.promiscuous is False and config.mode != "passthru":
            raise problem(interface.place / self.name / "promiscuous", "false needs mode passthru")
        return interface

    def write(self, interface: Interface[MacVlanMembers], profile: Profile) -> None:
        """Write the ``macvlan`` section."""
        config = interface.config.link
        if config is not None:
            profile.sections["macvlan"] = {
                "mode": _MODES.index(config.mode),
                "parent": config.base_iface,
                "promiscuous": config.promiscuous,
                "tap": self.tap,
            }


class MacVtap(MacVlan):
    """A MAC VTAP."""

    name = "mac-vtap"
    members: Struct[MacVlanMembers] = Struct(MacVtapMembers)
    tap = True

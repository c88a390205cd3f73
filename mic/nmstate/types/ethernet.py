"""Ethernet interfaces and pairs of virtual ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from mic.nmstate import ip, schema, sriov
from mic.nmstate.keyfile import Profile
from mic.nmstate.schema import Struct, member, optional, required
from mic.nmstate.sriov import SrIov
from mic.nmstate.types.base import InterfaceType

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface
    from mic.nmstate.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The ``ethernet`` member."""

    sriov: SrIov | None = member("sr-iov", optional(sriov.read))
    negotiates: bool | None = member("auto-negotiation", schema.truth)
    speed: int | None = member("speed", schema.unsigned(32))
    duplex: str | None = member("duplex", optional(schema.choice("full", "half")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The ``veth`` member: the name of the other end."""

    peer: str = required("peer", schema.text)


class Ethernet(InterfaceType):
    """A network card, or what the document does not say the type of."""

    name = "ethernet"
    nm_type = "802-3-ethernet"
    members: ClassVar = {
        "ethernet": optional(Struct(Link)),
        "veth": optional(Struct(Pair, open_ended=True)),
    }

    def sanitised(self, interface: Interface) -> Interface:
        """Check the virtual functions."""
        link: Link | None = interface.own.get("ethernet")
        if link is not None and link.sriov is not None:
            link.sriov.check(interface.place / "ethernet" / "sr-iov")
        return interface

    def nm_type_of(self, interface: Interface) -> str:
        """Return the type, which is another one for an end of a pair."""
        return "veth" if interface.own.get("veth") is not None else self.nm_type

    def write(self, interface: Interface, profile: Profile) -> None:
        """Write link speed, virtual functions and peer."""
        link: Link | None = interface.own.get("ethernet")
        pair: Pair | None = interface.own.get("veth")
        if link is not None and link.negotiates is not None:
            section = dict(profile.sections.get("ethernet", {}))
            section["auto-negotiate"] = link.negotiates
            if not link.negotiates:
                section |= {"speed": link.speed, "duplex": link.duplex}
            profile.sections["ethernet"] = section
        if link is not None and link.sriov is not None:
            functions = link.sriov.section()
            if functions is not None:
                profile.sections["sriov"] = functions
        if pair is not None:
            profile.sections["veth"] = {"peer": pair.peer}

    def further_profiles(self, interface: Interface, network: Network) -> list[Profile]:
        """Return a profile of the peer, which must be up too, unless somebody else makes one."""
        pair: Pair | None = interface.own.get("veth")
        if pair is None or pair.peer in network.kernel or pair.peer in network.ignored_ethernets:
            return []
        disabled = {"method": "disabled", "dhcp-timeout": ip.INFINITE}
        profile = network.blank_profile(pair.peer, VETH, "veth")
        profile.sections["ipv4"] = disabled
        profile.sections["ipv6"] = {**disabled, "addr-gen-mode": 0}
        profile.sections["veth"] = {"peer": interface.name}
        return [profile]


class Veth(Ethernet):
    """An end of a virtual pair by name; ethernet from the moment it has been read."""

    name = "veth"
    nm_type = "veth"


ETHERNET: Final = Ethernet()
VETH: Final = Veth()


def unified(type_: InterfaceType) -> InterfaceType:
    """Return the type that an interface has once it has been read."""
    return ETHERNET if type_ is VETH else type_

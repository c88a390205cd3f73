"""Ethernet interfaces and pairs of virtual ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mic.common import schema
from mic.common.keyfile import Profile
from mic.common.schema import Struct, member, optional, required
from mic.nmstate import ip, sriov
from mic.nmstate.interface import AnyType, Interface, InterfaceType
from mic.nmstate.sriov import SrIov


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EthernetMembers:
    """The members that only ethernet interfaces have."""

    ethernet: Link | None = member("ethernet", optional(Struct(Link)))
    veth: Pair | None = member("veth", optional(Struct(Pair, open_ended=True)))


class Ethernet(InterfaceType[EthernetMembers]):
    """A network card, or an interface whose type the document does not give."""

    name = "ethernet"
    nm_type = "802-3-ethernet"
    members = Struct(EthernetMembers)

    def normalised(self, interface: Interface[EthernetMembers]) -> Interface[EthernetMembers]:
        """Check the virtual functions."""
        link = interface.config.ethernet
        if link is not None and link.sriov is not None:
            link.sriov.check(interface.place / "ethernet" / "sr-iov")
        return interface

    def nm_type_of(self, interface: Interface[EthernetMembers]) -> str:
        """Return the type, which is ``veth`` for an end of a pair."""
        return "veth" if interface.config.veth is not None else self.nm_type

    def write(self, interface: Interface[EthernetMembers], profile: Profile) -> None:
        """Write link speed, virtual functions and peer."""
        link = interface.config.ethernet
        pair = interface.config.veth
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

    def extra_profiles(
        self, interface: Interface[EthernetMembers], lacks_profile: Callable[[str], bool]
    ) -> list[Profile]:
        """Return a profile of the peer, which must be up too, unless it has one."""
        pair = interface.config.veth
        if pair is None or not lacks_profile(pair.peer):
            return []
        disabled = {"method": "disabled", "dhcp-timeout": ip.INFINITE}
        profile = VETH.blank_profile(pair.peer)
        profile.sections["ipv4"] = disabled
        profile.sections["ipv6"] = {**disabled, "addr-gen-mode": 0}
        profile.sections["veth"] = {"peer": interface.name}
        return [profile]


class Veth(Ethernet):
    """An end of a virtual pair. Only documents use this type: it is treated as ethernet."""

    name = "veth"
    nm_type = "veth"


ETHERNET: Final = Ethernet()
VETH: Final = Veth()


def unified(type_: AnyType) -> AnyType:
    """Return the type that an interface of ``type_`` is treated as."""
    return ETHERNET if type_ is VETH else type_

"""Interfaces: the members that all types share, and the contract of a type.

`Interface` is one interface of a document. `InterfaceType` is the base class of the modules in
`mic.nmstate.types`; ``Config`` is the dataclass of the members that only its interfaces have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from mic.common import schema
from mic.common.keyfile import Profile, stable_uuid
from mic.common.problems import Collector, Path, problem, shown
from mic.common.schema import Struct, member, optional, required
from mic.nmstate import ethtool, ieee8021x, lldp, mptcp, ovsdb
from mic.nmstate import ip as ipfamily
from mic.nmstate.changed import changed
from mic.nmstate.ethtool import Ethtool
from mic.nmstate.ieee8021x import Ieee8021X
from mic.nmstate.ip import Ip
from mic.nmstate.lldp import Lldp
from mic.nmstate.mptcp import Mptcp
from mic.nmstate.ovsdb import OvsDb
from mic.nmstate.routes import Route
from mic.nmstate.sriov import upper

T = TypeVar("T")
Config = TypeVar("Config")

_U64: Final = schema.unsigned(64)
_TEXT: Final = optional(schema.text)

STATES: Final = ("up", "down", "absent", "unknown", "ignore")
BY_MAC: Final = "mac-address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """Dispatch scripts. They are parsed only so that the document can be refused for them."""

    post_activation: str | None = member("post-activation", _TEXT)
    post_deactivation: str | None = member("post-deactivation", _TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonMembers:
    """The members that interfaces of every type have."""

    name: str = required("name", schema.text)
    profile_name: str | None = member("profile-name", _TEXT)
    description: str | None = member("description", _TEXT)
    kind: str | None = member("type", schema.text)
    state: str | None = member("state", schema.choice(*STATES))
    identifier: str | None = member("identifier", optional(schema.choice("name", BY_MAC)))
    mac: str | None = member("mac-address", _TEXT)
    permanent_mac: str | None = member("permanent-mac-address", _TEXT)
    driver: str | None = member("driver", _TEXT)
    mtu: int | None = member("mtu", _U64)
    min_mtu: int | None = member("min-mtu", optional(schema.integer(64)))
    max_mtu: int | None = member("max-mtu", optional(schema.integer(64)))
    wait_ip: str | None = member(
        "wait-ip", optional(schema.choice("any", "ipv4", "ipv6", "ipv4+ipv6"))
    )
    ipv4: Ip | None = member("ipv4", optional(ipfamily.read_ipv4))
    ipv6: Ip | None = member("ipv6", optional(ipfamily.read_ipv6))
    mptcp: Mptcp | None = member("mptcp", optional(mptcp.read))
    controller: str | None = member("controller", _TEXT)
    accept_all: bool | None = member("accept-all-mac-addresses", schema.truth)
    copy_mac_from: str | None = member("copy-mac-from", _TEXT)
    ovsdb: OvsDb | None = member("ovs-db", optional(ovsdb.read))
    ieee8021x: Ieee8021X | None = member("802.1x", optional(ieee8021x.read))
    lldp: Lldp | None = member("lldp", optional(lldp.read))
    ethtool: Ethtool | None = member("ethtool", optional(ethtool.read))
    dispatch: Dispatch | None = member("dispatch", optional(Struct(Dispatch, open_ended=True)))


_COMMON: Final = Struct(CommonMembers)
COMMON_KEYS: Final = _COMMON.keys
"""The names of the members in `CommonMembers`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMembers:
    """The configuration of a type without members of its own."""


NO_MEMBERS: Final = Struct(NoMembers)


class PortConfig(Protocol):
    """Settings of a port that its controller gives."""

    def write(self, profile: Profile) -> None:
        """Add the settings to the port's profile."""


class InterfaceType(Generic[Config]):
    """A type of interface. A new type is a subclass in a module of its own."""

    name: ClassVar[str]
    """The document's ``type``; also the scheme of the stable UUID."""
    nm_type: ClassVar[str]
    """NetworkManager's ``connection.type``."""
    members: Struct[Config]
    """Reader of the members that only this type has."""
    is_controller: ClassVar[bool] = False
    """Whether it has ports."""
    is_userspace: ClassVar[bool] = False
    """Whether the kernel does not know its name, so that a kernel interface may share it."""
    binds_ports_by_name: ClassVar[bool] = True
    """Whether a port's settings apply only to a profile that is bound to the port by name."""
    ports_keep_ip: ClassVar[bool] = False
    """Whether its ports may have addresses."""
    keeps_ip_as_port: ClassVar[bool] = False
    """Whether it may have addresses while it is a port itself."""
    copies_mac: ClassVar[bool] = False
    """Whether it supports ``copy-mac-from``."""
    has_link_settings: ClassVar[bool] = True
    """Whether MAC address and MTU go to an ``ethernet`` section."""
    has_interface_name: ClassVar[bool] = True
    """Whether the profile is bound to the interface by its name."""
    suffix: ClassVar[str] = ""
    """Appended to the name to form the profile's ID."""

    def ports(self, interface: Interface[Config]) -> tuple[str, ...] | None:  # noqa: ARG002
        """Return the names of the interface's ports, or None when the document lists none."""
        return None

    def without_ports(
        self,
        interface: Interface[Config],
        ports: Set[str],  # noqa: ARG002
    ) -> Interface[Config]:
        """Return the interface without these ports, which are ignored."""
        return interface

    def parent(self, interface: Interface[Config]) -> str | None:  # noqa: ARG002
        """Return the name of the interface that this one is stacked on, if any."""
        return None

    def check_rereading(self, interface: Interface[Config]) -> None:
        """Raise `DocumentInvalid` if the reference cannot parse its own output for the interface.

        The reference serialises and parses an interface that the host has as well.
        """

    def normalised(self, interface: Interface[Config]) -> Interface[Config]:
        """Return the interface with its own members checked and normalised.

        Called after the common members have been normalised. Raises `DocumentInvalid`.
        """
        return interface

    def nm_type_of(self, interface: Interface[Config]) -> str:  # noqa: ARG002
        """Return NetworkManager's type, which may depend on the interface."""
        return self.nm_type

    def write(self, interface: Interface[Config], profile: Profile) -> None:
        """Add the type's sections to the profile."""

    def port_configs(self, interface: Interface[Config]) -> Mapping[str, PortConfig]:  # noqa: ARG002
        """Return the settings of the ports by their names."""
        return {}

    def extra_profiles(
        self,
        interface: Interface[Config],  # noqa: ARG002
        lacks_profile: Callable[[str], bool],  # noqa: ARG002
    ) -> list[Profile]:
        """Return the profiles that the interface needs in addition to its own.

        ``lacks_profile`` returns whether an interface needs a profile and has none.
        """
        return []

    def blank_profile(self, name: str, nm_type: str | None = None) -> Profile:
        """Return the profile of an interface of which only name and type are known."""
        ident = f"{name}{self.suffix}"
        profile = Profile(ident=ident)
        profile.sections["connection"] = {
            "id": ident,
            "uuid": stable_uuid(self.name, name),
            "type": nm_type or self.nm_type,
            "interface-name": name if self.has_interface_name else None,
            "autoconnect": True,
            "autoconnect-slaves": 1 if self.is_controller else -1,
        }
        return profile


AnyType = InterfaceType[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface(Generic[Config]):
    """One interface on its way from the document to a profile.

    ``common`` and ``config`` hold the members of the document. ``controller`` is the name and type
    of the interface that this one is a port of; ``routes`` are those in its profile. ``is_typed``
    is false when the document gives no known type.
    """

    common: CommonMembers
    type: InterfaceType[Config]
    config: Config = field(repr=False)
    place: Path = field(compare=False, repr=False)
    is_typed: bool = True
    controller: tuple[str, AnyType] | None = None
    routes: tuple[Route, ...] = ()

    @property
    def name(self) -> str:
        """The interface's name."""
        return self.common.name

    @property
    def state(self) -> str:
        """One of `STATES`; up by default."""
        return self.common.state or "up"

    @property
    def is_up(self) -> bool:
        """Whether the interface is to be up."""
        return self.common.state is None or self.common.state == "up"

    @property
    def is_absent(self) -> bool:
        """Whether the interface is to be removed."""
        return self.common.state == "absent"

    @property
    def controller_name(self) -> str:
        """The name of the controller, attached or only claimed; empty without one."""
        return self.controller[0] if self.controller is not None else self.common.controller or ""

    @property
    def has_controller(self) -> bool:
        """Whether this is a port, or claims to be one."""
        return bool(self.controller_name)

    @property
    def can_have_ip(self) -> bool:
        """Whether it may have addresses: ports may not, except those of VRFs and of OVS."""
        if not self.has_controller or self.type.keeps_ip_as_port:
            return True
        return self.controller is not None and self.controller[1].ports_keep_ip

    @property
    def ports(self) -> tuple[str, ...] | None:
        """The names of the ports; None when the document does not list them."""
        if not self.type.is_controller:
            return None
        return () if self.is_absent else self.type.ports(self)

    def family(self, version: int) -> Ip | None:
        """Return the IP settings of a version."""
        return self.common.ipv6 if version == 6 else self.common.ipv4

    def with_common(self, **changes: Any) -> Interface[Config]:
        """Return the interface with some common members changed."""
        return changed(self, common=changed(self.common, **changes))

    def with_config(self, config: Config) -> Interface[Config]:
        """Return the interface with other members of its type."""
        return changed(self, config=config)

    def with_family(self, version: int, ip: Ip) -> Interface[Config]:
        """Return the interface with other IP settings of a version."""
        return self.with_common(**{f"ipv{version}": ip})


AnyInterface = Interface[Any]
"""An interface of any type; its methods pair it with its own type."""


def placeholder(
    name: str, type_: InterfaceType[Config], place: Path | None = None
) -> Interface[Config]:
    """Return an interface of which only name and type are known.

    ``place`` defaults to that of an interface that the document names but does not describe.
    """
    place = place or Path() / f"interface {shown(name)}"
    config = type_.members({}, place)
    return Interface(common=CommonMembers(name=name), type=type_, config=config, place=place)


def read(
    members: dict[str, Any], type_: InterfaceType[Config], place: Path, *, is_typed: bool = True
) -> Interface[Config]:
    """Read an interface's members as those of ``type_``; refuse unknown ones."""
    keys = type_.members.keys
    own = {key: item for key, item in members.items() if key in keys}
    rest = {key: item for key, item in members.items() if key not in own} if own else members
    problems = Collector()
    with problems:
        common = _COMMON(rest, place, keys)
    with problems:
        config = type_.members(own, place)
    problems.check()
    return Interface(common=common, type=type_, config=config, place=place, is_typed=is_typed)


def normalised(interface: AnyInterface) -> AnyInterface:
    """Return the interface with its common members checked and normalised.

    Raises `DocumentInvalid`.
    """
    common, place = interface.common, interface.place
    if common.mptcp is not None:
        common.mptcp.check(place / "mptcp")
    if common.dispatch is not None:
        raise problem(place / "dispatch", "keyfiles cannot hold dispatch scripts")
    ipv4 = None if common.ipv4 is None else ipfamily.normalised(common.ipv4, place / "ipv4")
    ipv6 = None if common.ipv6 is None else ipfamily.normalised(common.ipv6, place / "ipv6")
    if ipv6 is not None and ipv6.enabled and (common.mtu or 1 << 64) < ipfamily.MINIMUM_IPV6_MTU:
        low = ipfamily.MINIMUM_IPV6_MTU
        raise problem(place / "mtu", f"found {common.mtu}, expected {low} or more: IPv6 needs it")
    mac = common.mac
    if mac is not None and mac != upper(mac):
        mac = upper(mac)
    wait_ip = common.wait_ip if interface.can_have_ip else None
    return interface.with_common(ipv4=ipv4, ipv6=ipv6, mac=mac, wait_ip=wait_ip)


def without_first(
    items: Iterable[T], names: Set[str], name_of: Callable[[T], object] = lambda item: item
) -> tuple[T, ...]:
    """Return the items without the first item of each name."""
    left = set[object](names)
    kept: list[T] = []
    for item in items:
        name = name_of(item)
        if name in left:
            left.remove(name)
        else:
            kept.append(item)
    return tuple(kept)

"""An interface of the document: what all types have in common.

The members that belong to one type only are read by that type (`mic.nmstate.types`) and kept as
the interface's ``own`` values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mic.nmstate import ethtool, ieee8021x, lldp, mptcp, ovsdb, schema
from mic.nmstate import ip as ipfamily
from mic.nmstate.ethtool import Ethtool
from mic.nmstate.ieee8021x import Ieee8021X
from mic.nmstate.ip import Ip
from mic.nmstate.lldp import Lldp
from mic.nmstate.mptcp import Mptcp
from mic.nmstate.ovsdb import OvsDb
from mic.nmstate.problems import NMStateInvalid, Path, problem
from mic.nmstate.routes import Route
from mic.nmstate.schema import Struct, member, optional, required
from mic.nmstate.sriov import upper

if TYPE_CHECKING:
    from mic.nmstate.types.base import InterfaceType

_U64: Final = schema.unsigned(64)
_TEXT: Final = optional(schema.text)

STATES: Final = ("up", "down", "absent", "unknown", "ignore")
BY_MAC: Final = "mac-address"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The members that every type has; ``dispatch`` is read only to be refused."""

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
    dispatch: Any = member("dispatch", optional(schema.mapping_of))


_BASE: Final = Struct(Base)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One interface on its way from the document to a profile.

    ``base`` and ``own`` are what the document says. ``controller`` is the name and type of the
    interface that this one is a port of; ``routes`` are those that its profile holds.
    """

    base: Base
    type: InterfaceType
    own: Mapping[str, Any] = field(repr=False, default_factory=dict)
    place: Path = field(compare=False, repr=False)
    controller: tuple[str, InterfaceType] | None = None
    routes: tuple[Route, ...] = ()

    @property
    def name(self) -> str:
        """The interface's name."""
        return self.base.name

    @property
    def state(self) -> str:
        """One of `STATES`; up when the document does not say."""
        return self.base.state or "up"

    @property
    def is_up(self) -> bool:
        """Whether the interface is to be up."""
        return self.state == "up"

    @property
    def is_absent(self) -> bool:
        """Whether the interface is not to be there."""
        return self.state == "absent"

    @property
    def can_have_ip(self) -> bool:
        """Whether addresses can be on it: not on a port, but for those of VRFs and of OVS."""
        if not self.has_controller or self.type.keeps_ip_as_port:
            return True
        return self.controller is not None and self.controller[1].ports_keep_ip

    @property
    def has_controller(self) -> bool:
        """Whether this is a port, or says that it is one."""
        return self.controller is not None or bool(self.base.controller)

    @property
    def ports(self) -> tuple[str, ...] | None:
        """The names of the ports; None when the document says nothing about them."""
        if not self.type.is_controller:
            return None
        return () if self.is_absent else self.type.ports(self)

    def family(self, version: int) -> Ip | None:
        """Return the IP settings of a version."""
        return self.base.ipv6 if version == 6 else self.base.ipv4

    def with_base(self, **changes: Any) -> Interface:
        """Return the interface with other values of common members."""
        return dataclasses.replace(self, base=dataclasses.replace(self.base, **changes))

    def with_family(self, version: int, ip: Ip) -> Interface:
        """Return the interface with other IP settings of a version."""
        return self.with_base(**{f"ipv{version}": ip})


def read(members: dict[str, Any], type_: InterfaceType, place: Path) -> Interface:
    """Read an interface's members as those of ``type_``; unknown ones are refused."""
    own = {key: item for key, item in members.items() if key in type_.members}
    problems: list[str] = []
    found: dict[str, Any] = {}
    values: dict[str, Any] = {}
    try:
        rest = {key: item for key, item in members.items() if key not in own}
        found = _BASE.members(rest, place, type_.members)
    except NMStateInvalid as refusal:
        problems += refusal.problems
    for key, item in own.items():
        try:
            values[key] = type_.members[key](item, place / key)
        except NMStateInvalid as refusal:
            problems += refusal.problems
    if problems:
        raise NMStateInvalid(tuple(problems))
    return Interface(base=Base(**found), type=type_, own=values, place=place)


def sanitised(interface: Interface) -> Interface:
    """Return the interface checked and with its common members brought into shape."""
    base, place = interface.base, interface.place
    if base.mptcp is not None:
        base.mptcp.check(place / "mptcp")
    if base.dispatch is not None:
        raise problem(place / "dispatch", "dispatch scripts do not fit into keyfiles")
    ipv4 = None if base.ipv4 is None else ipfamily.sanitised(base.ipv4, place / "ipv4")
    ipv6 = None if base.ipv6 is None else ipfamily.sanitised(base.ipv6, place / "ipv6")
    if ipv6 is not None and ipv6.enabled and (base.mtu or 1 << 64) < ipfamily.MINIMUM_IPV6_MTU:
        low = ipfamily.MINIMUM_IPV6_MTU
        raise problem(place / "mtu", f"found {base.mtu}, expected {low} or more, as IPv6 needs")
    mac = None if base.mac is None else upper(base.mac)
    wait_ip = base.wait_ip if interface.can_have_ip else None
    return interface.with_base(ipv4=ipv4, ipv6=ipv6, mac=mac, wait_ip=wait_ip)

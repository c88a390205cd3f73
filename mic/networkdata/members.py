"""The members of network data as values, each with its place.

Members that OpenStack's consumers do not know are not refused: documents carry many that are of no
use to a host. One that is spelled nearly like a known one gets a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema
from mic.common.addresses import Address
from mic.common.problems import Collector, Path, add_own_words, problem, shown
from mic.common.schema import Struct, member, required
from mic.common.spelling import nearest
from mic.networkdata import readers
from mic.networkdata.notes import Notes
from mic.networkdata.readers import given, listed, whole, word

PHYSICAL: Final = (
    *("phy", "ethernet", "bridge", "dvs", "hw_veb", "hyperv", "ovs", "tap", "vhostuser", "vif"),
    *("bgpovs", "cascading"),
)
"""Types of links that are network cards to the host: Nova's VIF types, and those of some clouds."""

BOND: Final = "bond"
VLAN: Final = "vlan"
MAX_MTU: Final = 65535
_VLAN_IDS: Final = (1, 4094)
_BOND_OPTION: Final = ("bond_", "bond-")
_UNUSED: Final = frozenset(("vif_id", "network_id", "links", "metadata", "services"))
"""Members that say nothing to a host, or that another place has, and are no misspelling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service of the host, a network or a route."""

    kind: str | None = member("type", given(word))
    address: Any = member("address", schema.anything)


_SERVICES: Final = listed(Struct(Service, open_ended=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMembers:
    """The members of a link."""

    ident: str = required("id", word)
    kind: str | None = member("type", given(word))
    name: str | None = member("name", given(readers.device))
    mac: str | None = member("ethernet_mac_address", given(readers.mac))
    mtu: int | None = member("mtu", given(whole(1, MAX_MTU)))
    bond_links: tuple[str, ...] | None = member("bond_links", given(listed(word)))
    vlan_id: int | None = member("vlan_id", given(whole(*_VLAN_IDS)))
    vlan_link: str | None = member("vlan_link", given(word))
    vlan_mac: str | None = member("vlan_mac_address", given(readers.mac))


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link: its members, and those that start with ``bond_``, as they are."""

    members: LinkMembers
    kind: str
    """`BOND`, `VLAN`, or "" for a network card."""
    bond: Mapping[str, Any]
    place: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route of a network. Without ``gateway`` the destination is on the link itself."""

    network: tuple[Address, str | None] = required("network", readers.with_mask)
    mask: str | None = member("netmask", given(word))
    gateway: Address | None = member("gateway", given(readers.address))
    metric: int | None = member("metric", given(whole(0, 2**32 - 1)))
    services: tuple[Service, ...] | None = member("services", _SERVICES)


_ROUTE: Final = Struct(Route, open_ended=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkMembers:
    """The members of a network."""

    link: str = required("link", word)
    kind: str = required("type", word)
    ident: str | None = member("id", given(word))
    address: tuple[Address, str | None] | None = member("ip_address", given(readers.with_mask))
    mask: str | None = member("netmask", given(word))
    gateway: Address | None = member("gateway", given(readers.address))
    routes: tuple[Route, ...] | None = member("routes", listed(_ROUTE))
    services: tuple[Service, ...] | None = member("services", _SERVICES)
    name_servers: tuple[str, ...] | None = member("dns_nameservers", given(readers.words))
    search: tuple[str, ...] | None = member("dns_search", given(readers.words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The links, networks and services of a document."""

    links: tuple[Link, ...] = ()
    networks: tuple[NetworkMembers, ...] = ()
    services: tuple[Service, ...] = ()


_LINK: Final = Struct(LinkMembers, open_ended=True)
_NETWORK: Final = Struct(NetworkMembers, open_ended=True)
_TOP: Final = ("links", "networks", "services")
add_own_words(_TOP)


def read(content: Any, notes: Notes) -> Document:
    """Read the tree of a document; see `mic.common.tree.read`.

    Raises `DocumentInvalid` with all problems of its members.
    """
    root = Path()
    problems = Collector()
    document = schema.mapping_of(content, root)
    for key in getattr(document, "duplicate_keys", ()):
        problems.add(problem(root / key, "given twice"))
    _note_misspelled(document, _TOP, root, notes)
    links: tuple[Link, ...] = ()
    networks: tuple[NetworkMembers, ...] = ()
    services: tuple[Service, ...] = ()
    with problems:
        links = listed(lambda value, path: _link(value, path, notes))(
            document.get("links"), root / "links"
        )
    with problems:
        networks = listed(lambda value, path: _network(value, path, notes))(
            document.get("networks"), root / "networks"
        )
    with problems:
        services = _SERVICES(document.get("services"), root / "services")
    problems.check()
    return Document(links=links, networks=networks, services=services)


def _network(value: Any, path: Path, notes: Notes) -> NetworkMembers:
    found = _NETWORK(value, path)
    _note_misspelled(value, _NETWORK.keys, path, notes)
    for index, route in enumerate(_items(value, "routes")):
        _note_misspelled(route, _ROUTE.keys, path / "routes" / index, notes)
    return found


def _items(value: Mapping[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else []


def _link(value: Any, path: Path, notes: Notes) -> Link:
    """Read a link; raises `DocumentInvalid` for members that do not go with its type."""
    members = _LINK(value, path)
    _note_misspelled(value, _LINK.keys, path, notes)
    bond = _bond_options(value, path)
    kind = members.kind
    if kind in (BOND, VLAN):
        return Link(members=members, kind=kind, bond=bond, place=path)
    for belongs, given_one in ((BOND, members.bond_links), (VLAN, members.vlan_link)):
        if given_one is not None:
            found = "no type" if kind is None else repr(shown(kind))
            what = f"found {found} with {belongs}_link{'s' * (belongs == BOND)}, expected {belongs}"
            raise problem(path / "type", what)
    if kind is not None and kind not in PHYSICAL:
        near = nearest(kind, (*PHYSICAL, BOND, VLAN), 2)
        hint = f"; did you mean {near}?" if near else ""
        notes.add(
            path / "type",
            "is not a type of link: it is taken for a network card",
            f"{shown(kind)!r} is not a type of link, and is taken for a network card{hint}",
        )
    return Link(members=members, kind="", bond=bond, place=path)


def _bond_options(value: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the members of a bond by their names without prefix, with underscores.

    Raises `DocumentInvalid` for one that is given twice: the last would win without a word.
    """
    found: dict[str, Any] = {}
    for key in getattr(value, "duplicate_keys", ()):
        if key.startswith(_BOND_OPTION):
            raise problem(path / key, "given twice")
    for key, item in value.items():
        if key.startswith(_BOND_OPTION) and key != "bond_links":
            name = key[len("bond_") :].replace("-", "_")
            if name in found:
                what = "given twice, under two of its names"
                raise problem(path / f"bond_{name}", what)
            found[name] = item
    return found


def _note_misspelled(value: Any, known: tuple[str, ...], path: Path, notes: Notes) -> None:
    """Warn of members that are not used and look like a known one."""
    for key in value if isinstance(value, dict) else ():
        if key in known or key in _UNUSED or key.startswith(_BOND_OPTION):
            continue
        near = nearest(key, known, 2)
        if near:
            notes.add(
                path,
                "has a member that is not used, and looks misspelled",
                f"has a member {shown(key)!r}, which is not used; did you mean {near}?",
            )

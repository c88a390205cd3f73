"""Settings that are valid and probably do not work on the host: one table of checks.

The keyfiles stay as the reference makes them. Each check looks at the document as it was given and
at the network that was made of it, in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mic.common import addresses
from mic.common.keyfile import Profile
from mic.common.networkmanager import refusals
from mic.common.problems import Path, shown
from mic.common.spelling import nearest
from mic.common.warning import HostWarning, capped, warning_at
from mic.nmstate.document import Document
from mic.nmstate.interface import AnyInterface
from mic.nmstate.interface_doubts import CHECKS, of_all
from mic.nmstate.ip import Ip
from mic.nmstate.network import Entry, Network
from mic.nmstate.routes import LOOPBACK, Route

_Found = Iterator[HostWarning]


def doubts(
    document: Document, network: Network, profiles: Sequence[Profile]
) -> tuple[HostWarning, ...]:
    """Return the warnings about a document, capped, in the order of the document.

    ``network`` is the document's, with routes, rules and name servers placed; ``profiles`` are
    those that its keyfiles hold.
    """
    return capped(_all(document, network, profiles))


def _all(document: Document, network: Network, profiles: Sequence[Profile]) -> _Found:
    root = Path()
    if not profiles:
        yield warning_at(root, "configures nothing: no interface gets a profile")
    if document.hostname is not None and document.hostname.config:
        yield warning_at(
            root / "hostname" / "config", "is not used: keyfiles cannot hold the name of a host"
        )
    interfaces = document.interfaces or ()
    last = {_identity(each): number for number, each in enumerate(interfaces)}
    for number, interface in enumerate(interfaces):
        if last[_identity(interface)] != number:
            again = f"interfaces[{last[_identity(interface)]}]"
            yield warning_at(
                interface.place,
                "is described again later: the last description counts",
                f"{shown(interface.name)} is described again at {again}: the last one counts",
            )
        elif not interface.is_absent and interface.state != "ignore":
            for check in CHECKS:
                yield from check(interface, network)
    yield from of_all(interfaces)
    yield from _routes(document, network, root / "routes")
    yield from _dns(document, root / "dns-resolver")
    yield from refusals(profiles, {each.name: each.place for each in interfaces})


def _identity(interface: AnyInterface) -> tuple[str, str]:
    # User space has a name space for each type.
    return (interface.name, interface.type.name if interface.type.is_userspace else "")


def _routes(document: Document, network: Network, place: Path) -> _Found:
    routes = document.routes
    if routes is None:
        return
    if (
        routes.running
        and not _has_default(routes.config)
        and (not routes.config or _has_default(routes.running))
    ):
        yield warning_at(
            place / "running", "describes a present state and is not used: write routes.config"
        )
    for index, route in enumerate(routes.config or ()):
        name = route.interface
        if not route.is_absent and route.kind is None and name is not None and name != LOOPBACK:
            yield from _route(route, name, network, place / "config" / index)


def _route(route: Route, interface: str, network: Network, place: Path) -> _Found:
    name = shown(interface)
    entry = network.find(interface, None)
    what = _what(route)
    if entry is None or entry.given is None:
        near = nearest(interface, network.kernel, 2)
        hint = f"; did you mean {shown(near)}?" if near and near != LOOPBACK else ""
        yield warning_at(
            place / "next-hop-interface",
            "is not in the document: the route is dropped",
            f"{name} is not in the document: the {what} is dropped{hint}",
        )
        return
    if entry.merged.is_absent or entry.merged.state != "up":
        yield warning_at(
            place / "next-hop-interface",
            "is not up: the route is dropped",
            f"{name} is {entry.merged.state}: the {what} is dropped",
        )
        return
    gateway = addresses.parsed(route.gateway or "")
    version = route.version
    if gateway is not None and gateway.version != version:
        yield warning_at(
            place / "next-hop-address",
            f"is IPv{gateway.version} and the route IPv{version}: NetworkManager refuses it",
            f"{gateway} is IPv{gateway.version} and the route IPv{version}: NetworkManager "
            "refuses it",
        )
        return
    family = entry.merged.family(version)
    if family is not None and gateway is not None and gateway.value:
        yield from _gateway(gateway, family, entry, place / "next-hop-address")


def _has_default(routes: tuple[Route, ...] | None) -> bool:
    return any(_is_default(route) and not route.is_absent for route in routes or ())


def _is_default(route: Route) -> bool:
    return (route.destination or "").endswith("/0")


def _what(route: Route) -> str:
    return "default route" if _is_default(route) else "route"


def _gateway(gateway: addresses.Address, family: Ip, entry: Entry, place: Path) -> _Found:
    if family.is_auto or not family.addresses or gateway.is_link_local:
        return
    for each in family.addresses:
        if each.ip == gateway:
            yield warning_at(
                place,
                "is the address of the host itself",
                f"{gateway} is the address of {shown(entry.merged.name)} itself",
            )
            return
        if gateway.masked(each.prefix) == each.ip.masked(each.prefix):
            return
    yield warning_at(
        place,
        "is outside of every subnet of its interface: the route is refused on the host",
        f"{gateway} is outside of every subnet of {shown(entry.merged.name)}: the route is refused "
        "on the host",
    )


def _dns(document: Document, place: Path) -> _Found:
    resolver = document.resolver
    if resolver is None or resolver.running is None or not resolver.running.server:
        return
    if resolver.config is None or not resolver.config.server:
        yield warning_at(
            place / "running",
            "describes a present state and is not used: write dns-resolver.config",
        )

"""Which interface's profile holds what the document says once: routes, rules, name servers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from mic.nmstate import addresses, routerules, routes
from mic.nmstate.dns import (
    FIRST_PRIORITY,
    SECOND_PRIORITY,
    Client,
    DnsSettings,
    Resolver,
    is_interleaved,
)
from mic.nmstate.interface import Interface
from mic.nmstate.ip import Ip
from mic.nmstate.network import Network
from mic.nmstate.problems import Path, problem, shown
from mic.nmstate.routerules import MAIN_TABLE, Rule, Rules
from mic.nmstate.routes import LOOPBACK, Route, Routes
from mic.nmstate.types import LOOPBACK as LOOPBACK_TYPE


def _ensure_loopback(network: Network) -> None:
    if LOOPBACK not in network.kernel:
        network.kernel[LOOPBACK] = network.loopback()
        network.priority[LOOPBACK] = 0


def place_routes(network: Network, wanted: Routes, path: Path) -> dict[str, list[Route]]:
    """Give each interface its routes and return them by interface.

    Routes over interfaces that the document does not have are nobody's, and left out. Raises
    `NMStateInvalid` for a route over an interface that cannot have it.
    """
    to_apply = routes.to_apply(wanted, path)
    for route, place in to_apply:
        via = network.given.get(route.interface or "")
        if via is None:
            continue
        if via.is_absent:
            raise problem(place / "next-hop-interface", f"{shown(via.name)} is absent")
        family = via.family(route.version)
        if family is None or not family.enabled:
            raise problem(
                place / "next-hop-interface",
                f"IPv{route.version} is not enabled on {shown(via.name)}",
            )
    held = routes.by_holder(route for route, _ in to_apply)
    for name in network.ignored:
        held.pop(name, None)
    if LOOPBACK in held:
        _ensure_loopback(network)
    for name, its in held.items():
        holder = network.kernel.get(name)
        if holder is not None:
            network.kernel[name] = dataclasses.replace(holder, routes=tuple(its))
    return held


def place_rules(network: Network, wanted: Rules, path: Path, held: dict[str, list[Route]]) -> None:
    """Give each rule to an interface with something in the table that it looks up."""
    placed: dict[tuple[str, int], list[Rule]] = {}
    for rule in routerules.to_apply(wanted, path):
        if rule.iif is not None and rule.iif in network.ignored:
            continue
        name = _rule_holder(network, rule, path, held)
        placed.setdefault((name, rule.version), []).append(rule)
    for (name, version), its in placed.items():
        if name == LOOPBACK:
            _ensure_loopback(network)
        holder = network.kernel.get(name)
        family = holder.family(version) if holder is not None else None
        if holder is not None and family is not None:
            kept = dataclasses.replace(family, rules=tuple(its))
            network.kernel[name] = holder.with_family(version, kept)


def _rule_holder(network: Network, rule: Rule, path: Path, held: dict[str, list[Route]]) -> str:
    if rule.iif is not None:
        if rule.iif not in network.kernel and rule.iif != LOOPBACK:
            raise problem(path, f"there is no interface {shown(rule.iif)}, which a rule has as iif")
        return rule.iif
    table = MAIN_TABLE if rule.table is None else rule.table
    for names in (sorted(held), sorted(network.kernel)):
        for name in names:
            if _uses_table(network.given.get(name), held.get(name, []), rule.version, table):
                return name
    if table == MAIN_TABLE:
        return LOOPBACK
    for name, type_ in network.order:
        found = network.user.get((name, type_)) if type_.is_userspace else network.given.get(name)
        family = found.family(rule.version) if found is not None else None
        if family is not None and family.enabled:
            return name
    return LOOPBACK


def _uses_table(holder: Interface | None, its: list[Route], version: int, table: int) -> bool:
    for route in its:
        if route.version == version and table in (route.table, route.table or MAIN_TABLE):
            return True
    if holder is None:
        return False
    family = holder.family(version)
    automatic = family.auto_table if family is not None else None
    return table in (automatic, automatic or MAIN_TABLE)


def place_dns(network: Network, resolver: Resolver, path: Path) -> None:
    """Put the name servers into the profile of an interface that has IP.

    Raises `NMStateInvalid` when there is none, and for an order of servers that profiles cannot
    keep: NetworkManager orders profiles by one number for each address family.
    """
    if resolver.config is None:
        return
    client, place = resolver.config.sanitised(path / "config"), path / "config"
    servers = client.server or ()
    _check_link_local(network, servers, place)
    if not servers:
        _place_search(network, client, place)
        return
    if len(servers) > 2 and is_interleaved(servers):
        raise problem(place / "server", "IPv4 and IPv6 servers in turns, an order nobody can keep")
    first = 6 if addresses.is_ipv6(servers[0]) else 4
    for version in (6, 4):
        own = [server for server in servers if addresses.is_ipv6(server) == (version == 6)]
        if not own:
            continue
        name = _dns_holder(network, version, own)
        if name is None:
            what = f"no interface has IPv{version}, which the profile needs to hold them"
            raise problem(place / "server", what)
        settings = DnsSettings(
            servers=tuple(server.partition("%")[0] for server in own),
            search=(client.search or ()) if version == first else (),
            options=(client.options or ()) if version == first else (),
            priority=FIRST_PRIORITY if version == first else SECOND_PRIORITY,
        )
        _give_dns(network, name, version, settings)


def _check_link_local(network: Network, servers: tuple[str, ...], path: Path) -> None:
    zones = [zone for server in servers if (zone := server.partition("%")[2])]
    for zone in zones:
        holder = network.given.get(zone)
        if holder is None:
            raise problem(path / "server", f"there is no interface {shown(zone)}")
        if not _can_hold(holder, 6):
            raise problem(path / "server", f"{shown(zone)} has no IPv6 to reach it with")
    if len(zones) > 1:
        raise problem(path / "server", "more than one link-local server")


def _give_dns(network: Network, name: str, version: int, settings: DnsSettings) -> None:
    if name == LOOPBACK:
        _ensure_loopback(network)
    holder = network.kernel[name]
    family = holder.family(version) or network.given[name].family(version)
    if family is not None:
        network.kernel[name] = holder.with_family(
            version, dataclasses.replace(family, dns=settings)
        )


def _candidates(network: Network) -> Iterator[str]:
    """Yield the interfaces that may hold name servers, in the document's order."""
    for name, type_ in network.order:
        if not type_.is_userspace and type_ is not LOOPBACK_TYPE and name in network.kernel:
            yield name


def _can_hold(holder: Interface, version: int) -> bool:
    family = holder.family(version)
    return holder.is_up and family is not None and (family.is_static or family.is_auto)


def _is_preferred(family: Ip | None) -> bool:
    """Whether servers of the document's own would be the only ones."""
    return family is not None and (
        family.is_static or (family.is_auto and family.auto_dns is False)
    )


def _dns_holder(network: Network, version: int, servers: list[str]) -> str | None:
    if version == 6:
        for server in servers:
            zone = server.partition("%")[2]
            if zone:
                return zone
    for name in _candidates(network):
        if _is_preferred(network.kernel[name].family(version)):
            return name
    for name in _candidates(network):
        if _can_hold(network.given[name], version):
            return name
    return None


def _place_search(network: Network, client: Client, path: Path) -> None:
    """Put search domains and options without servers where servers come from DHCP, or anywhere."""
    if not client.search and not client.options:
        return
    settings = DnsSettings(
        search=client.search or (), options=client.options or (), priority=FIRST_PRIORITY
    )
    families = [
        (name, version, family)
        for name in _candidates(network)
        for version in (6, 4)
        if (family := network.given[name].family(version)) is not None and family.enabled
    ]
    families.sort(key=lambda found: not found[2].is_auto)
    for name, version, _ in families[:1]:
        _give_dns(network, name, version, settings)
        return
    raise problem(path, "no interface has IP, which the profile needs to hold them")

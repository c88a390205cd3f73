"""Select the profiles that hold the routes, rules and name servers of the document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from mic.common import addresses
from mic.common.problems import Path, problem, shown
from mic.nmstate import route_rules, routes
from mic.nmstate.changed import changed
from mic.nmstate.dns import (
    FIRST_PRIORITY,
    SECOND_PRIORITY,
    Client,
    DnsSettings,
    Resolver,
    is_interleaved,
)
from mic.nmstate.ip import Ip
from mic.nmstate.network import Entry, Network
from mic.nmstate.route_rules import MAIN_TABLE, Rule, Rules
from mic.nmstate.routes import LOOPBACK, Route, Routes
from mic.nmstate.types import LOOPBACK as LOOPBACK_TYPE

_VERSIONS: Final = (4, 6)


def place_routes(network: Network, wanted: Routes, path: Path) -> dict[str, list[Route]]:
    """Assign the routes to their interfaces and return them by interface.

    Skip routes via interfaces that the document does not have. Raises `DocumentInvalid` for a route
    via an interface that cannot have it.
    """
    to_apply = routes.to_apply(wanted, path)
    for route, place in to_apply:
        entry = network.kernel.get(route.interface) if route.interface is not None else None
        if entry is None:
            continue
        via = entry.merged
        if via.is_absent:
            raise problem(place / "next-hop-interface", f"{shown(via.name)} is absent")
        family = via.family(route.version)
        if family is None or not family.enabled:
            raise problem(
                place / "next-hop-interface",
                f"IPv{route.version} is not enabled on {shown(via.name)}",
            )
    by_interface = routes.by_holder(route for route, _ in to_apply)
    for name in network.ignored:
        by_interface.pop(name, None)
    for name, own in by_interface.items():
        holder = network.kernel.get(name)
        if holder is not None:
            for version in _VERSIONS:
                holder.touch_family(version)
            holder.applied = changed(holder.touch(), routes=tuple(own))
    return by_interface


def place_rules(
    network: Network, wanted: Rules, path: Path, routes_of: dict[str, list[Route]]
) -> None:
    """Assign each rule to an interface with routes in the table that the rule looks up.

    ``routes_of`` are the routes by interface. Raises `DocumentInvalid` for an unknown ``iif``.
    """
    to_apply = route_rules.to_apply(wanted, path)
    if not to_apply:
        return
    holders = _RuleHolders(network, routes_of)
    placed: dict[tuple[str, int], list[Rule]] = {}
    for rule in to_apply:
        if rule.iif is None or rule.iif not in network.ignored:
            name = holders.holder_of(rule)
            placed.setdefault((name, rule.version), []).append(rule)
    for (name, version), own in placed.items():
        holder = network.kernel.get(name)
        if holder is None:
            continue
        applied = holder.touch_family(version)
        family = applied.family(version)
        if family is not None:
            family = changed(family, rules=tuple(own))
            holder.applied = applied.with_family(version, family)


class _RuleHolders:
    """Selects the interface that holds a rule.

    The candidates are, in this order: the rule's ``iif``; an interface with routes in the rule's
    table; one that gets a profile and has its automatic routes in that table; one with IP; the
    loopback interface. Of several, the first by name is selected, or the first in the document
    where only IP is needed.
    """

    def __init__(self, network: Network, routes_of: dict[str, list[Route]]) -> None:
        self._network = network
        self._routes_of = routes_of
        self._with_routes = self._by_table(routes_of)
        touched = (name for name, entry in network.kernel.items() if entry.applied is not None)
        self._touched = self._by_table(touched)
        self._loopback = LOOPBACK in network.kernel and network.kernel[LOOPBACK].applied is None
        self._with_ip: dict[int, str] = {}
        for name, type_ in network.order:
            entry = network.find(name, type_)
            for version in _VERSIONS:
                family = entry.merged.family(version) if entry is not None else None
                if family is not None and family.enabled:
                    self._with_ip.setdefault(version, name)

    def holder_of(self, rule: Rule) -> str:
        """Return the name of the holder, which may not exist.

        Raises `DocumentInvalid` for an unknown ``iif``.
        """
        if rule.iif is not None:
            if rule.iif not in self._network.kernel:
                place = rule.place or Path()
                raise problem(place / "iif", f"there is no interface {shown(rule.iif)}")
            name = rule.iif
        else:
            table = rule.version, MAIN_TABLE if rule.table is None else rule.table
            by_ip = self._with_ip.get(rule.version, LOOPBACK)
            name = self._with_routes.get(table, self._touched.get(table, by_ip))
        if name == LOOPBACK and self._loopback:
            # It gets a profile for this rule, and from now on is a candidate by its tables.
            self._loopback = False
            for table, holder in self._by_table([LOOPBACK]).items():
                self._touched[table] = min(self._touched.get(table, holder), holder)
        return name

    def _by_table(self, names: Iterable[str]) -> dict[tuple[int, int], str]:
        """Return the first interface by name with routes in each table, by version and table."""
        found: dict[tuple[int, int], str] = {}
        for name in sorted(names):
            for table in self._tables(name):
                found.setdefault(table, name)
        return found

    def _tables(self, name: str) -> Iterator[tuple[int, int]]:
        """Yield the tables that an interface has routes in; 0 also denotes the main table."""
        for route in self._routes_of.get(name, ()):
            yield route.version, route.table or MAIN_TABLE
            if route.table is not None:
                yield route.version, route.table
        entry = self._network.kernel.get(name)
        for version in _VERSIONS if entry is not None else ():
            family = entry.merged.family(version) if entry is not None else None
            table = family.auto_table if family is not None else None
            yield version, table or MAIN_TABLE
            if table is not None:
                yield version, table


def place_dns(network: Network, resolver: Resolver, path: Path) -> None:
    """Assign the name servers to the profile of an interface that has IP.

    Raises `DocumentInvalid` if no interface has IP, and for an order of servers that profiles
    cannot keep: NetworkManager has one priority for each address family of a profile.
    """
    if resolver.config is None:
        return
    client, place = resolver.config.normalised(path / "config"), path / "config"
    servers = client.server or ()
    _check_link_local(network, servers, place)
    if not servers:
        _place_search(network, client, place)
        return
    if len(servers) > 2 and is_interleaved(servers):
        raise problem(place / "server", "IPv4 and IPv6 servers alternate; group them by version")
    first = 6 if addresses.is_ipv6(servers[0]) else 4
    for version in (6, 4):
        of_family = [server for server in servers if addresses.is_ipv6(server) == (version == 6)]
        if not of_family:
            continue
        holder = _dns_holder(network, version, of_family)
        if holder is None:
            what = f"no interface has IPv{version}, which a profile needs to hold them"
            raise problem(place / "server", what)
        settings = DnsSettings(
            servers=tuple(server.partition("%")[0] for server in of_family),
            search=(client.search or ()) if version == first else (),
            options=(client.options or ()) if version == first else (),
            priority=FIRST_PRIORITY if version == first else SECOND_PRIORITY,
        )
        _give_dns(holder, version, settings)


def _check_link_local(network: Network, servers: tuple[str, ...], path: Path) -> None:
    zones = [server.partition("%")[2] for server in servers if "%" in server]
    for zone in zones:
        holder = network.kernel.get(zone)
        if holder is None:
            raise problem(path / "server", f"there is no interface {shown(zone) or repr(zone)}")
        if not _can_hold(holder.merged.family(6)):
            raise problem(path / "server", f"{shown(zone)} has no IPv6, which the server needs")
    if len(zones) > 1:
        raise problem(path / "server", "more than one link-local server")


def _give_dns(holder: Entry, version: int, settings: DnsSettings) -> None:
    applied = holder.touch_family(version)
    family = applied.family(version)
    if family is not None:
        family = changed(family, dns=settings)
        holder.applied = applied.with_family(version, family)


def _candidates(network: Network) -> Iterator[Entry]:
    """Yield the interfaces that may hold name servers, in the document's order."""
    for name, type_ in network.order:
        if type_ is None or not (type_.is_userspace or type_ is LOOPBACK_TYPE):
            entry = network.kernel.get(name)
            if entry is not None and entry.applied is not None:
                yield entry


def _can_hold(family: Ip | None) -> bool:
    return family is not None and (family.is_static or family.is_auto)


def _is_preferred(family: Ip | None) -> bool:
    """Return whether the servers of the document would be the only ones."""
    return family is not None and (
        family.is_static or (family.is_auto and family.auto_dns is False)
    )


def _dns_holder(network: Network, version: int, servers: list[str]) -> Entry | None:
    if version == 6:
        for server in servers:
            zone = server.partition("%")[2]
            if zone:
                return network.kernel[zone]
    for entry in _candidates(network):
        if entry.applied is not None and _is_preferred(entry.applied.family(version)):
            return entry
    for entry in _candidates(network):
        if _can_hold(entry.merged.family(version)):
            return entry
    return None


def _place_search(network: Network, client: Client, path: Path) -> None:
    """Assign search domains and options without servers, preferably where DHCP gives servers."""
    if not client.search and not client.options:
        return
    settings = DnsSettings(
        search=client.search or (), options=client.options or (), priority=FIRST_PRIORITY
    )
    families = [
        (entry, version, family)
        for entry in _candidates(network)
        for version in (6, 4)
        if (family := entry.merged.family(version)) is not None and family.enabled
    ]
    families.sort(key=lambda found: not found[2].is_auto)
    for entry, version, _ in families[:1]:
        _give_dns(entry, version, settings)
        return
    raise problem(path, "no interface has IP, which a profile needs to hold them")

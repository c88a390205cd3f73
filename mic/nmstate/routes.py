"""Static routes: ``routes`` and the ``route`` keys of a profile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from mic.common import addresses, schema
from mic.common.problems import Path, problem, shown
from mic.common.schema import Struct, member, optional, sequence
from mic.nmstate.changed import changed
from mic.nmstate.route_rules import MAIN_TABLE

LOOPBACK: Final = "lo"
_RTN: Final = {"blackhole": 6, "unreachable": 7, "prohibit": 8}  # rtnetlink(7)
_DEFAULT_METRIC: Final = -1
_WEIGHTS: Final = range(1, 257)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route, as given or, after `normalised`, with canonical addresses."""

    state: str | None = member("state", optional(schema.choice("absent")))
    destination: str | None = member("destination", optional(schema.text))
    interface: str | None = member("next-hop-interface", optional(schema.text))
    gateway: str | None = member("next-hop-address", optional(schema.text))
    metric: int | None = member("metric", schema.signed(64))
    table: int | None = member("table-id", schema.unsigned(32))
    weight: int | None = member("weight", schema.unsigned(16))
    kind: str | None = member("route-type", optional(schema.choice(*_RTN)))
    cwnd: int | None = member("cwnd", optional(schema.integer(32)))
    source: str | None = member("source", optional(schema.text))

    @property
    def is_absent(self) -> bool:
        """Whether the route is to be removed, which a fresh host does not need."""
        return self.state == "absent"

    @property
    def version(self) -> int:
        """The IP version; 4 without a destination."""
        return 6 if addresses.is_ipv6(self.destination or "") else 4

    @property
    def holder(self) -> str | None:
        """The interface whose profile holds the route."""
        if self.interface is not None:
            return self.interface
        return LOOPBACK if self.kind is not None else None

    def sort_key(self) -> tuple[Any, ...]:
        """Return the sort key of the route. Routes with equal keys are the same route."""
        return (
            self.version == 4,
            self.table if self.table is not None else MAIN_TABLE,
            (self.interface if self.interface is not None else LOOPBACK).encode(),
            (self.destination or "").encode(),
            (self.gateway or "").encode(),
            (self.source or "").encode(),
            self.weight or 0,
            self.cwnd or 0,
        )

    def check(self, path: Path) -> None:
        """Raise `DocumentInvalid` for a missing or an excess member."""
        if not self.is_absent:
            if self.kind is not None:
                if self.gateway is not None or self.interface not in (None, LOOPBACK):
                    raise problem(path, f"a {self.kind} route cannot have a next hop")
            elif self.interface is None:
                raise problem(path, "'next-hop-interface' is missing")
        if self.destination is not None and not addresses.is_ipv6(self.destination):
            self._check_ipv4_destination(self.destination, path / "destination")

    def _check_ipv4_destination(self, destination: str, path: Path) -> None:
        host, slash, length = destination.partition("/")
        found = addresses.parsed(host)
        if found is None:
            raise problem(path, f"found {shown(destination)!r}, expected address/prefix")
        if found.value >> 24 or self.kind is not None:
            return
        digits = length.partition("/")[0].removeprefix("+")
        if not slash or not digits.isascii() or not digits.isdigit() or int(digits[:4]) >= 8:
            raise problem(path, "0.0.0.0/8 is not allowed; the default route is 0.0.0.0/0")

    def normalised(self, path: Path) -> Route:
        """Return the route with canonical addresses; raises `DocumentInvalid` for bad values."""
        destination = None
        if self.destination:
            destination = addresses.network(self.destination)
            if destination is None:
                found = shown(self.destination)
                raise problem(path / "destination", f"found {found!r}, expected address/prefix")
        if self.weight is not None:
            if self.weight not in _WEIGHTS:
                raise problem(path / "weight", f"found {self.weight}, expected 1 to 256")
            if destination is not None and addresses.is_ipv6(destination):
                raise problem(path / "weight", "IPv6 routes cannot have a weight")
        if self.cwnd == 0:
            raise problem(path / "cwnd", "found 0, expected 1 or more")
        gateway = _canonical(self.gateway, path / "next-hop-address")
        source = _canonical(self.source, path / "source")
        if (destination, gateway, source) == (self.destination, self.gateway, self.source):
            return self
        return changed(self, destination=destination, gateway=gateway, source=source)

    def settings(self) -> tuple[str, str] | None:
        """Return the values of the ``routeN`` and ``routeN_options`` keys."""
        if self.destination is None:
            return None
        metric = 0 if self.metric in (None, _DEFAULT_METRIC) else (self.metric or 0) & 0xFFFFFFFF
        options = [f"table={self.table or MAIN_TABLE}"]
        if self.weight is not None:
            options.append(f"weight={self.weight}")
        if self.kind is not None:
            options.append(f"type={self.kind}")
        if self.cwnd is not None:
            options.append(f"cwnd={self.cwnd},lock-cwnd=true")
        if self.source is not None:
            options.append(f"src={self.source}")
        return f"{self.destination},{self.gateway or ''},{metric}", ",".join(options)


def _canonical(text: str | None, path: Path) -> str | None:
    if text is None:
        return None
    found = addresses.parsed(text)
    if found is None:
        raise problem(path, f"found {shown(text)!r}, expected an IPv4 or IPv6 address")
    return str(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """The document's ``routes``. ``running`` is parsed and not used."""

    running: tuple[Route, ...] | None = member("running", optional(sequence(Struct(Route))))
    config: tuple[Route, ...] | None = member("config", optional(sequence(Struct(Route))))


read: Final = Struct(Routes)


def to_apply(routes: Routes, path: Path) -> list[tuple[Route, Path]]:
    """Return the normalised routes with their places, neither sorted nor unique."""
    given = [(route, path / "config" / index) for index, route in enumerate(routes.config or ())]
    for route, place in given:
        route.check(place)
    normalised = [(route.normalised(place), place) for route, place in given]
    return [(route, place) for route, place in normalised if not route.is_absent]


def by_holder(routes: Iterable[Route]) -> dict[str, list[Route]]:
    """Return the routes of each interface, sorted and without duplicates."""
    by_interface: dict[str, list[Route]] = {}
    last: tuple[Any, ...] | None = None
    keyed = [(route.sort_key(), route) for route in routes]
    for key, route in sorted(keyed, key=itemgetter(0)):
        if route.holder is not None and key != last:
            by_interface.setdefault(route.holder, []).append(route)
        last = key
    return by_interface


def of_version(routes: Iterable[Route], version: int) -> list[Route]:
    """Return the routes of an IP version. Routes without a destination belong to both."""
    return [r for r in routes if r.destination is None or r.version == version]


def settings(routes: Iterable[Route]) -> dict[str, object]:
    """Return the keys of routes. A route without a destination takes a number but has no keys."""
    keys: dict[str, object] = {}
    for number, route in enumerate(routes):
        written = route.settings()
        if written is not None:
            keys[f"route{number}"], keys[f"route{number}_options"] = written
    return keys

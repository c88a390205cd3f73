"""Name resolution: ``dns-resolver``, and the DNS keys of the profile that holds it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

from mic.common import addresses, schema
from mic.common.problems import Path, problem, shown
from mic.common.schema import Struct, member, optional, sequence
from mic.nmstate.changed import changed

FIRST_PRIORITY: Final = 40
SECOND_PRIORITY: Final = 50
_BARE_OPTIONS: Final = frozenset(
    (
        *("debug", "edns0", "inet6", "ip6-bytestring", "ip6-dotint", "no-aaaa", "no-check-names"),
        *("no-ip6-dotint", "no-reload", "no-tld-query", "rotate", "single-request"),
        *("single-request-reopen", "trust-ad", "use-vc"),
    )
)
_VALUED_OPTIONS: Final = frozenset(("ndots", "timeout", "attempts"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A resolver's configuration: resolv.conf(5)."""

    server: tuple[str, ...] | None = member("server", optional(sequence(schema.text)))
    search: tuple[str, ...] | None = member("search", optional(sequence(schema.text)))
    options: tuple[str, ...] | None = member("options", optional(sequence(schema.text)))

    def normalised(self, path: Path) -> Client:
        """Return this with canonical addresses; raises `DocumentInvalid` for invalid values."""
        servers = []
        for index, server in enumerate(self.server or ()):
            canonical = _server(server, path / "server" / index)
            if canonical is not None:
                servers.append(canonical)
        for index, option in enumerate(self.options or ()):
            name, colon, _ = option.partition(":")
            if name not in (_VALUED_OPTIONS if colon else _BARE_OPTIONS):
                bare, valued = sorted(_BARE_OPTIONS), (f"{o}:n" for o in sorted(_VALUED_OPTIONS))
                allowed = ", ".join((*bare, *valued))
                found = shown(option)
                raise problem(path / "options" / index, f"found {found!r}, expected: {allowed}")
        return changed(self, server=tuple(servers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """The document's ``dns-resolver``. ``running`` is parsed and not used."""

    running: Client | None = member("running", optional(Struct(Client)))
    config: Client | None = member("config", optional(Struct(Client)))


read: Final = Struct(Resolver)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """The part of a resolver's configuration that one IP section holds."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    priority: int

    def settings(self) -> dict[str, object]:
        """Return the keys of the IP section."""
        return {
            "dns": self.servers,
            "dns-search": self.search,
            "dns-options": self.options,
            "dns-priority": self.priority,
        }


def _server(server: str, path: Path) -> str | None:
    host, zone, interface = server.partition("%")
    if addresses.is_ipv6(server) and zone and "%" not in interface:
        found = addresses.parsed(host)
        # The reference skips a malformed scoped address.
        return None if found is None or found.version != 6 else f"{found}%{interface}"
    found = addresses.parsed(server)
    if found is None:
        raise problem(path, f"found {shown(server)!r}, expected an IPv4 or IPv6 address")
    return str(found)


def is_interleaved(servers: tuple[str, ...]) -> bool:
    """Return whether the families alternate, an order that two profiles cannot keep."""
    changes = 0
    for before, after in itertools.pairwise(servers):
        changes += addresses.is_ipv6(before) != addresses.is_ipv6(after)
    return changes > 1

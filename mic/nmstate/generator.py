"""The built-in generator of keyfiles, which needs no subprocess."""

from __future__ import annotations

from typing import Any

from mic.common import tree
from mic.common.generated import Generated, rendered
from mic.common.keyfile import Keyfile
from mic.common.problems import Path
from mic.nmstate import document, placement, profiles
from mic.nmstate.assembly import build_network
from mic.nmstate.dns import Resolver
from mic.nmstate.doubts import doubts
from mic.nmstate.hardware import mac_addresses
from mic.nmstate.host_network import host_network
from mic.nmstate.route_rules import Rules
from mic.nmstate.routes import Routes
from mic.nmstate.summary import summary


def keyfiles(text: bytes | str) -> tuple[Keyfile, ...]:
    """Return the keyfiles of an NMState document; see `generate`."""
    return generate(text).keyfiles


def generate(text: bytes | str) -> Generated:
    """Return the keyfiles of an NMState document, YAML or JSON, and warnings about it.

    Pure: no I/O, no clock, no randomness; equal documents give equal results. Raises
    `mic.common.problems.DocumentInvalid` with one sentence for each problem.
    """
    return generate_from(tree.read(text))


def generate_from(content: Any) -> Generated:
    """Return what the tree of a document gives; see `generate` and `mic.common.tree.read`."""
    found = document.read(content)
    root = Path()
    network = build_network(found.interfaces or ())
    routes_of = placement.place_routes(network, found.routes or Routes(), root / "routes")
    placement.place_rules(network, found.rules or Rules(), root / "route-rules", routes_of)
    placement.place_dns(network, found.resolver or Resolver(), root / "dns-resolver")
    ordered = profiles.ordered(network)
    return Generated(
        keyfiles=tuple(rendered(ordered)),
        warnings=doubts(found, network, ordered),
        network=summary(network),
        host_network=host_network(network),
        mac_addresses=mac_addresses(found.interfaces or ()),
    )

"""The built-in generator: NMState documents to NetworkManager keyfiles, without a subprocess."""

from __future__ import annotations

from mic.nmstate import document, network, placement, profiles
from mic.nmstate.dns import Resolver
from mic.nmstate.keyfile import Keyfile
from mic.nmstate.problems import Path
from mic.nmstate.routerules import Rules
from mic.nmstate.routes import Routes


def keyfiles(text: bytes | str) -> tuple[Keyfile, ...]:
    """Return the keyfiles of an NMState document, YAML or JSON, in the reference's order.

    Pure: no I/O, no clock, no randomness; equal documents give equal keyfiles. Raises
    `mic.nmstate.NMStateInvalid` with a sentence for each thing that is wrong.
    """
    found = document.read(text)
    root = Path()
    interfaces = network.related(found.interfaces or ())
    held = placement.place_routes(interfaces, found.routes or Routes(), root / "routes")
    rules = found.rules or Rules()
    placement.place_rules(interfaces, rules, root / "route-rules", held)
    placement.place_dns(interfaces, found.resolver or Resolver(), root / "dns-resolver")
    return tuple(profile.rendered() for profile in profiles.ordered(interfaces))

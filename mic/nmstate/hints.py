"""Hints: add to a problem what to do about it, if its place and its name show that.

Only texts change. The same documents are refused with and without hints.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mic.common.problems import DocumentInvalid, UnknownMember, refusal, shown
from mic.common.spelling import nearest
from mic.nmstate.types import BY_NAME

_NEWER: Final = "is of a newer NMState than 2.2.38, which mic follows: leave it out"
_GATEWAY: Final = (
    "a gateway is a route under routes.config at the top level: destination 0.0.0.0/0 or ::/0, "
    "next-hop-address, next-hop-interface"
)
_NAME_SERVERS: Final = "name servers belong at the top level: dns-resolver.config.server"
_INTERFACE: Final = r"interfaces\[\]"
_FAMILY: Final = r"interfaces\[\]\.ipv[46]"
_ADDRESS: Final = rf"{_FAMILY}\.address\[\]"

_UNKNOWN: Final[tuple[tuple[str, str, str], ...]] = (
    # Of what place, which member, and what to do. A place is a path without numbers.
    (_FAMILY, "forwarding", _NEWER),
    (r"interfaces\[\]\.ethtool", "fec", _NEWER),
    (
        rf"{_INTERFACE}|{_FAMILY}",
        "routes?|route-rules|rules|dns-resolver|hostname",
        "belongs at the top level",
    ),
    (rf"{_INTERFACE}|{_FAMILY}", "dns|dns-servers?|name-?servers?", _NAME_SERVERS),
    (
        rf"{_INTERFACE}|{_FAMILY}|{_ADDRESS}",
        "gateway|gateway4|gateway6|default-gateway|gw|next-hop-address",
        _GATEWAY,
    ),
    (
        _INTERFACE,
        "enabled|dhcp|dhcp4|dhcp6|autoconf|address|addresses|auto-(?:dns|routes|gateway)|"
        "auto-route-(?:metric|table-id)|dhcp-[a-z-]+|ip|prefix-length",
        "belongs under ipv4 or ipv6",
    ),
    (_INTERFACE, "id|base-iface|vlan-id", "belongs under vlan: id and base-iface"),
    (
        _INTERFACE,
        "ports?|slaves|mode|miimon",
        "belongs under link-aggregation of a bond, or bridge of a bridge",
    ),
    (_INTERFACE, "mac|macaddress|hwaddr", "is called mac-address"),
    (_FAMILY, "addresses|ip|ip-address", "is called address: a list of ip and prefix-length"),
    (_FAMILY, "dhcp[46]", "is called dhcp"),
    (_ADDRESS, "prefix|netmask|mask|cidr", "is called prefix-length, a number such as 24"),
    (_ADDRESS, "address|addr", "is called ip"),
    (r"routes\.config\[\]", "via|gateway|next-hop|gw", "is called next-hop-address"),
    (r"routes\.config\[\]", "dev|interface|iface|device", "is called next-hop-interface"),
    (r"routes\.config\[\]", "to|dest|dst|network", "is called destination"),
    (r"routes\.config\[\]", "table", "is called table-id"),
    (r"routes", "destination|next-hop-.*", "belongs into a list under config"),
    (
        r"dns-resolver",
        "servers?|search|options",
        "belongs under dns-resolver.config: server, search",
    ),
    (r"dns-resolver\.config", "servers|nameservers?", "is called server"),
    (r"document", "dns|name-?servers?", _NAME_SERVERS),
    (r"document", "gateway|default-gateway", _GATEWAY),
    (
        r"document",
        "name|type|state|ipv4|ipv6|mtu",
        "belongs to an interface in the list interfaces",
    ),
)

_VALUES: Final[tuple[tuple[str, str], ...]] = (
    # What a sentence begins with, and what to add to it.
    (
        r"interfaces\[\d+\]\.[a-z0-9.-]+: found (?:an integer|a number|a boolean|null), expected a "
        "string",
        "put quotes around it",
    ),
    (r"routes\.config\[\d+\]\.state: found 'ignore'", f"ignore {_NEWER}"),
    (r"(?:routes|route-rules): found a list", "put the list under config"),
    (r"dns-resolver: found a list", "put the list under config.server"),
    (r"interfaces\[\d+\]: found a string", "an interface has members such as name, type, state"),
    (
        r"interfaces\[\d+\]\.ipv[46]: found (?:a string|a list)",
        "write enabled: true, and address as a list of ip and prefix-length",
    ),
    (
        r"interfaces\[\d+\]\.ipv[46]\.address\[\d+\]: found a string",
        "write ip: 192.0.2.1 and prefix-length: 24 as two members",
    ),
    (
        r"interfaces\[\d+\]\.ipv[46]\.address(?:\[\d+\]\.ip)?: found '[0-9a-fA-F:.]+/",
        "write the number behind the slash as prefix-length",
    ),
)


def improved(error: DocumentInvalid) -> DocumentInvalid:
    """Return the error with hints."""
    return DocumentInvalid(tuple(map(_improved, error.problems)))


def _improved(problem: str) -> str:
    unknown = getattr(problem, "unknown", None)
    quiet = getattr(problem, "without_content", None)
    if isinstance(unknown, UnknownMember) and quiet is not None:
        text = _unknown_text(unknown)
    else:
        hint = next((hint for begin, hint in _VALUES if re.match(begin, problem)), "")
        if not hint or quiet is None:
            return problem
        text = f"{problem}: {hint}"
    (better,) = refusal(text, quiet).problems
    return better


def _unknown_text(unknown: UnknownMember) -> str:
    place = re.sub(r"\[\d+\]", "[]", str(unknown.path))
    name = unknown.name
    for where, names, hint in _UNKNOWN:
        if re.fullmatch(where, place) and re.fullmatch(names, name[:40]):
            return f"{unknown.path / name}: unknown member {shown(name)!r}: {hint}"
    kinds = _types_with(name) if re.fullmatch(_INTERFACE, place) else []
    near = "" if kinds else _near(name, unknown.allowed)
    meant = f" did you mean {near}?" if near else ""
    if kinds:
        meant = f" which belongs to an interface of type {' or '.join(kinds)};"
    listed = (
        [near, *(each for each in unknown.allowed if each != near)] if near else unknown.allowed
    )
    expected = f"expected: {', '.join(listed)}"
    return f"{unknown.path / name}: unknown member {shown(name)!r},{meant} {expected}"


def _types_with(name: str) -> list[str]:
    """Return the types whose interfaces have a member of their own with that name."""
    return [each.name for each in BY_NAME.values() if name in each.members.keys]


def _near(name: str, allowed: Iterable[str]) -> str:
    # Names differ in their words' separators and in a plural more often than in letters.
    written = name[:40].lower().replace("_", "-")
    return nearest(written, allowed, 1 if len(written) < 4 else 2 if len(written) < 9 else 3)

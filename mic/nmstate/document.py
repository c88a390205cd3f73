"""Read a document: its interfaces, routes, rules, name servers and other members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema, tree
from mic.common.problems import Collector, DocumentInvalid, Path, refusal
from mic.common.schema import Struct, member, optional
from mic.nmstate import dns, hints, interface, route_rules, routes, wrappers
from mic.nmstate.dns import Resolver
from mic.nmstate.interface import STATES, AnyInterface, AnyType
from mic.nmstate.ovsdb import GlobalOvsDb, Ovn, read_global, read_ovn
from mic.nmstate.route_rules import Rules
from mic.nmstate.routes import Routes
from mic.nmstate.types import BY_NAME
from mic.nmstate.types.ethernet import ETHERNET

_KIND: Final = optional(schema.open_choice(*BY_NAME, "tun", "unknown"))
_STATE: Final = schema.choice(*STATES)
_KEPT_OF_ABSENT: Final = frozenset(("name", "type", "state"))
_KEPT_OF_UNTYPED: Final = frozenset(("name", "state"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostName:
    """The document's ``hostname``, which keyfiles cannot hold."""

    running: str | None = member("running", optional(schema.text))
    config: str | None = member("config", optional(schema.text))


def _interfaces(value: Any, path: Path) -> tuple[AnyInterface, ...]:
    """Read the interfaces and report the problems of all of them.

    An interface without a known type is treated as ethernet. If a later kernel interface has the
    same name, only its name and state are read.
    """
    problems = Collector()
    given: list[tuple[dict[str, Any], AnyType | None, Path]] = []
    last: dict[object, int] = {}
    for index, item in enumerate(schema.sequence(schema.anything)(value, path)):
        with problems:
            members = _members(item, path / index)
            type_ = BY_NAME.get(members.get("type", ""))
            if type_ is None or not type_.is_userspace:
                last[str(members.get("name"))] = len(given)
            given.append((members, type_, path / index))
    found: list[AnyInterface] = []
    for index, (members, type_, place) in enumerate(given):
        if type_ is None and last[str(members.get("name"))] != index:
            kept = {key: item for key, item in members.items() if key in _KEPT_OF_UNTYPED}
        else:
            kept = members
        with problems:
            is_typed = type_ is not None
            found.append(interface.read(kept, type_ or ETHERNET, place, is_typed=is_typed))
    problems.check()
    return tuple(found)


def _members(value: Any, path: Path) -> dict[str, Any]:
    """Return the members of an interface to read: only a few if it is absent."""
    members = schema.mapping_of(tree.resolved(value, path), path)
    state = members.get("state")
    if state is not None:
        state = _STATE(state, path / "state")
    if state == "absent":
        members = {key: item for key, item in members.items() if key in _KEPT_OF_ABSENT}
    kind = _KIND(members.get("type"), path / "type")
    rest = {key: item for key, item in members.items() if key != "type"}
    return rest if kind is None else {**rest, "type": kind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """The members of a document."""

    description: str | None = member("description", optional(schema.text))
    hostname: HostName | None = member("hostname", optional(Struct(HostName)))
    resolver: Resolver | None = member("dns-resolver", optional(dns.read))
    rules: Rules | None = member("route-rules", route_rules.read)
    routes: Routes | None = member("routes", routes.read)
    interfaces: tuple[AnyInterface, ...] | None = member("interfaces", _interfaces)
    ovsdb: GlobalOvsDb | None = member("ovs-db", optional(read_global))
    ovn: Ovn | None = member("ovn", read_ovn)


_DOCUMENT: Final = Struct(Document)


def read(content: Any) -> Document:
    """Read the tree of a document, which may be empty or consist of comments.

    Raises `DocumentInvalid` with all problems.
    """
    if content is None or tree.is_empty(content):
        return Document()
    if not isinstance(content, dict):
        found = f"document: found {schema.kind_of(content)}, expected a mapping"
        raise _whole(wrappers.sentence(content)) or DocumentInvalid((found,))
    try:
        return _DOCUMENT(content, Path())
    except DocumentInvalid as error:
        raise _whole(wrappers.sentence(content)) or hints.improved(error) from None


def _whole(sentence: str) -> DocumentInvalid | None:
    """Return the error of a document that is something else as a whole, None if it is not."""
    text = f"document: {sentence}"
    return refusal(text, text) if sentence else None

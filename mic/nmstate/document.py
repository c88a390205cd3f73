"""A whole document, read: what it says of interfaces, routes, rules, name servers and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mic.nmstate import dns, interface, routerules, routes, schema, tree
from mic.nmstate.dns import Resolver
from mic.nmstate.interface import STATES, Interface
from mic.nmstate.ovsdb import Ovn, OvsDb, read_global, read_ovn
from mic.nmstate.problems import NMStateInvalid, Path, problem
from mic.nmstate.routerules import Rules
from mic.nmstate.routes import Routes
from mic.nmstate.schema import Struct, member, optional
from mic.nmstate.types import BY_NAME
from mic.nmstate.types.ethernet import ETHERNET

_KEPT_OF_ABSENT: Final = frozenset(("name", "type", "state", "identifier", "mac-address"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostName:
    """The document's ``hostname``, which has no place in keyfiles."""

    running: str | None = member("running", optional(schema.text))
    config: str | None = member("config", optional(schema.text))


def _interface(value: Any, path: Path) -> Interface:
    """Read an interface; one of an unknown type, or of none, is taken for ethernet."""
    members = schema.mapping_of(tree.resolved(value, path), path)
    state = members.get("state")
    if state is not None and state not in STATES:
        schema.choice(*STATES)(state, path / "state")
    if state == "absent":
        members = {key: item for key, item in members.items() if key in _KEPT_OF_ABSENT}
    kind = members.get("type")
    if kind is not None and not isinstance(kind, str):
        raise problem(path / "type", f"found {schema.kind_of(kind)}, expected a string")
    members = {key: item for key, item in members.items() if key != "type" or item is not None}
    return interface.read(members, BY_NAME.get(kind or "", ETHERNET), path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What the document says."""

    description: str | None = member("description", optional(schema.text))
    hostname: HostName | None = member("hostname", optional(Struct(HostName)))
    resolver: Resolver | None = member("dns-resolver", optional(dns.read))
    rules: Rules | None = member("route-rules", routerules.read)
    routes: Routes | None = member("routes", routes.read)
    interfaces: tuple[Interface, ...] | None = member("interfaces", schema.sequence(_interface))
    ovsdb: OvsDb | None = member("ovs-db", optional(read_global))
    ovn: Ovn | None = member("ovn", read_ovn)


_DOCUMENT: Final = Struct(Document)


def read(document: bytes | str) -> Document:
    """Read a document. One that is empty, or has nothing but comments, says nothing.

    Raises `NMStateInvalid` with everything that is wrong with it.
    """
    content = tree.parsed(document)
    if content is None or (isinstance(content, tree.Plain) and tree.is_null(content)):
        return Document()
    if not isinstance(content, dict):
        raise NMStateInvalid((f"document: found {schema.kind_of(content)}, expected a mapping",))
    return _DOCUMENT(content, Path())

"""Private names of Twisted: all of them are checked, and a missing one is named."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from twisted.internet.tcp import Port, Server
from twisted.protocols.basic import LineReceiver
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.http import HTTPChannel, HTTPFactory, Request
from twisted.web.resource import Resource
from twisted.web.server import Site

from mic.web import _twisted

MODULES = sorted((Path(__file__).parents[3] / "mic").rglob("*.py"))
TWISTED = (
    *(HTTPChannel, HTTPFactory, LineReceiver, Port, Request, Resource, Server, Site),
    TLSMemoryBIOProtocol,
)


def test_this_version_of_twisted_has_all_names() -> None:
    assert list(_twisted.missing(_twisted.PRIVATE)) == []


def test_a_missing_name_is_named() -> None:
    with pytest.raises(ImportError, match=r"Twisted .* has no HTTPChannel\._no, Port\._such;"):
        _twisted.check({HTTPChannel: ("_dataBuffer", "_no"), Port: ("_such",)})


def private_names_of_twisted() -> set[str]:
    """The private names that Twisted's classes define or set on themselves."""
    found: set[str] = set()
    for kind in TWISTED:
        for each in kind.__mro__:
            if each.__module__.startswith("twisted."):
                source = inspect.getsource(each)
                found |= set(re.findall(r"\bself\.(_[a-z]\w*)", source))
                found |= set(re.findall(r"^    (?:def )?(_[a-z]\w*)\b", source, re.MULTILINE))
    return found


def used_on_objects(path: Path) -> set[str]:
    """The private names that the classes of a module use and do not set themselves."""
    tree = ast.parse(path.read_text())
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    used: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
            (own if isinstance(node.ctx, ast.Store) else used).add(node.attr)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            own |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            own.add(node.value)  # __slots__
    return used - own


def test_every_private_name_in_use_is_checked() -> None:
    checked = {name for names in _twisted.PRIVATE.values() for name in names}
    theirs = private_names_of_twisted()
    assert checked <= theirs
    for path in MODULES:
        if path.name != "_twisted.py" and "twisted" in path.read_text():
            assert used_on_objects(path) & theirs <= checked, path

"""A document's text as a tree of mappings, lists and scalars, within limits.

YAML 1.2 as the reference reads it, which is narrower than what PyYAML's own constructors do:
plain ``yes`` and ``0123`` are strings, ``0x10`` and ``0o17`` are integers, merge keys are plain
members, there is one document, and keys are text. Aliases are followed, but their cost is
counted, so that a small document cannot unfold into a large one.

Only PyYAML's parser runs on the text: nothing is constructed from tags.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from mic.nmstate.problems import NMStateInvalid, Path, problem

try:  # libyaml: the same parser the reference uses, and ten times faster
    from yaml import CSafeLoader as _Loader
except ImportError:  # pragma: no cover - PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
MAX_SCALAR: Final = 64 << 10
MAX_DIRECTIVES: Final = 100

_TAG: Final = "tag:yaml.org,2002:"
_COLLECTIONS: Final = (None, "!", f"{_TAG}map", f"{_TAG}seq")
_NO_SUCH_TAG: Final = "a tag that has no use here; quote a value that starts with !"
_NULLS: Final = frozenset({"", "null", "Null", "NULL", "~"})
_TRUES: Final = frozenset({"true", "True", "TRUE"})
_FALSES: Final = frozenset({"false", "False", "FALSE"})
_INTEGER: Final = re.compile(
    r"(?P<sign>[+-]?)(?:0x(?P<x>[0-9a-fA-F]{1,40})|0o(?P<o>[0-7]{1,60})|0b(?P<b>[01]{1,140})"
    r"|(?P<d>0|[1-9][0-9]{0,40}))",
    re.ASCII,
)
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_ZERO_LED: Final = re.compile(r"[+-]?0[0-9]+", re.ASCII)
_SPECIAL_FLOATS: Final = frozenset(
    f"{sign}.{word}" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")
) | {".nan", ".NaN", ".NAN"}


class Plain(str):
    """A scalar written without quotes: what it stands for depends on who reads it."""

    __slots__ = ()


def is_null(scalar: Plain) -> bool:
    """Whether a plain scalar is one of YAML's spellings of null."""
    return scalar in _NULLS


def resolved_scalar(scalar: Plain) -> bool | int | float | str | None:
    """Return what a plain scalar stands for: null, boolean, integer, float or string."""
    first = scalar[:1]
    if first.isalpha() and first not in "nNtTfF":
        return str(scalar)
    if scalar in _NULLS:
        return None
    if scalar in _TRUES:
        return True
    if scalar in _FALSES:
        return False
    found = _INTEGER.fullmatch(scalar)
    if found is not None:
        sign = -1 if found["sign"] == "-" else 1
        for group, base in (("x", 16), ("o", 8), ("b", 2), ("d", 10)):
            if found[group] is not None:
                return sign * int(found[group], base)
    if scalar in _SPECIAL_FLOATS:
        return None  # no JSON number: the reference makes null of it
    if not _ZERO_LED.fullmatch(scalar) and len(scalar) <= 400 and _FLOAT.fullmatch(scalar):
        number = float(scalar)
        if number - number == 0:  # finite
            return number
    return str(scalar)


def resolved(node: Any, path: Path) -> Any:
    """Return the tree with all plain scalars resolved; of members given twice the last counts.

    Raises `NMStateInvalid` for integers beyond 64 bits, which the reference cannot hold.
    """
    if isinstance(node, Plain):
        value = resolved_scalar(node)
        if type(value) is int and not -(1 << 63) <= value < 1 << 64:
            raise problem(path, "an integer of more than 64 bits")
        return value
    if isinstance(node, dict):
        return {key: resolved(item, path / key) for key, item in node.items()}
    if isinstance(node, list):
        return [resolved(item, path / index) for index, item in enumerate(node)]
    return node


class Twice(dict[str, Any]):
    """A mapping with a member given twice: ``key`` names it. The last value is kept."""

    __slots__ = ("key",)

    def __init__(self, items: dict[str, Any], key: str) -> None:
        super().__init__(items)
        self.key = key


def parsed(document: bytes | str) -> Any:
    """Return the tree of ``document``: None for one without content.

    The input is UTF-8 (or UTF-16 with a byte order mark), YAML or JSON. Raises
    `NMStateInvalid` when it is no such thing, or beyond the limits of this module.
    """
    if len(document) > MAX_BYTES:
        raise NMStateInvalid((f"document: longer than {MAX_BYTES} bytes",))
    if isinstance(document, bytes):
        try:
            document = document.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise NMStateInvalid((f"document: byte {error.start} is not UTF-8",)) from None
    if len(document) > MAX_BYTES:
        raise NMStateInvalid((f"document: longer than {MAX_BYTES} bytes",))
    # A no-break space pasted from a web page; the reference reads it as a space.
    document = document.replace("\N{NO-BREAK SPACE}", " ")
    if document.count("\n%") > MAX_DIRECTIVES:
        raise NMStateInvalid(("document: too many YAML directives",))
    try:
        return _Builder(document).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1} column {mark.column + 1}: " if mark is not None else ""
        raise NMStateInvalid((f"document: {where}{error.problem or 'not YAML'}",)) from None
    except (yaml.YAMLError, UnicodeError):
        raise NMStateInvalid(("document: has a character that YAML does not allow",)) from None


class _Builder:
    """Builds the tree from the parser's events; as deep as `MAX_DEPTH` lets it."""

    __slots__ = ("_anchors", "_deepest", "_nodes", "_parser")

    def __init__(self, document: str) -> None:
        self._parser = _Loader(document)
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # value, its nodes, its height
        self._nodes = 0
        self._deepest = 0

    def document(self) -> Any:
        parser = self._parser
        try:
            parser.get_event()  # the stream starts
            if isinstance(parser.peek_event(), yaml.StreamEndEvent):
                return None
            parser.get_event()  # the document starts
            tree = self._node(parser.get_event(), 0)
            parser.get_event()  # the document ends
            if not isinstance(parser.peek_event(), yaml.StreamEndEvent):
                raise NMStateInvalid(("document: more than one YAML document",))
        finally:
            parser.dispose()
        return tree

    def _next(self) -> Any:
        return self._parser.get_event()

    def _count(self, nodes: int, depth: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise NMStateInvalid((f"document: more than {MAX_NODES} values",))
        if depth > MAX_DEPTH:
            raise NMStateInvalid((f"document: nested deeper than {MAX_DEPTH} levels",))
        self._deepest = max(self._deepest, depth)

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            self._count(1, depth)
            value = _scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1, 0)
            return value
        if isinstance(event, yaml.AliasEvent):
            found = self._anchors.get(event.anchor or "")
            if found is None:
                raise _refused(event, "an alias of nothing; quote a value that starts with *")
            value, nodes, height = found
            self._count(nodes, depth + height)
            return value
        if event.tag not in _COLLECTIONS:
            raise _refused(event, _NO_SUCH_TAG)
        before, deepest = self._nodes, self._deepest
        self._deepest = depth
        self._count(1, depth)
        collect = self._mapping if isinstance(event, yaml.MappingStartEvent) else self._sequence
        value = collect(depth + 1)
        if event.anchor is not None:  # set when complete: a value cannot contain itself
            self._anchors[event.anchor] = (value, self._nodes - before, self._deepest - depth)
        self._deepest = max(deepest, self._deepest)
        return value

    def _sequence(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        twice: str | None = None
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth)
            if not isinstance(key, str):
                raise _refused(event, "a key that is not a string")
            if key in items:
                twice = str(key)
            items[str(key)] = self._node(self._next(), depth)
        return items if twice is None else Twice(items, twice)


def _scalar(event: Any) -> Any:
    value: str = event.value
    if len(value) > MAX_SCALAR:
        raise _refused(event, f"a value of more than {MAX_SCALAR} characters")
    tag = event.tag
    if tag is None:
        return Plain(value) if event.implicit[0] else value
    if tag in ("!", f"{_TAG}str"):
        return value
    if tag in (f"{_TAG}null", f"{_TAG}bool", f"{_TAG}int", f"{_TAG}float"):
        return Plain(value)
    raise _refused(event, _NO_SUCH_TAG)


def _refused(event: Any, why: str) -> NMStateInvalid:
    """Return a refusal that tells the line, and nothing of what is in it: it may be a secret."""
    return NMStateInvalid((f"document: line {event.start_mark.line + 1}: {why}",))

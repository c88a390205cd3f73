"""Parse the text of a document into a tree of mappings, lists and scalars, within limits.

YAML 1.2 as the reference reads it, which is stricter than the constructors of PyYAML: plain
``yes`` and ``0123`` are strings, ``0x10`` and ``0o17`` are integers, merge keys are ordinary
members, there is one document, and keys are text. Aliases are expanded and count with their
values, so that a small document cannot expand into a large one.

Only PyYAML's parser is used: no tag constructs an object.
"""

from __future__ import annotations

import codecs
import math
import re
from typing import Any, Final

import yaml

from mic.common.problems import DocumentInvalid, Path, problem
from mic.common.yaml_errors import explained

try:  # libyaml: the parser of the reference, and ten times faster
    from yaml import CSafeLoader as _Loader
except ImportError:  # pragma: no cover - PyYAML without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
MAX_SCALAR: Final = 64 << 10
MAX_DIRECTIVES: Final = 100

_TAG: Final = "tag:yaml.org,2002:"
_TAGS: Final = {
    "!": "!",
    **{f"{_TAG}{name}": name for name in ("null", "bool", "int", "float", "str", "map", "seq")},
}
_UNSUPPORTED_TAG: Final = (
    "unsupported tag, expected one of the core tags such as !!str; quote a value that starts with !"
)
_MARKED: Final = "found a value with the tag '!', which is not allowed here"
_NULLS: Final = frozenset({"", "null", "Null", "NULL", "~"})
_TRUES: Final = frozenset({"true", "True", "TRUE"})
_FALSES: Final = frozenset({"false", "False", "FALSE"})
_INTEGER: Final = re.compile(
    r"(?P<sign>[+-]?)(?:0x0*(?P<x>[0-9a-fA-F]{1,40})|0o0*(?P<o>[0-7]{1,60})|0b0*(?P<b>[01]{1,140})"
    r"|(?P<d>0|[1-9][0-9]{0,40}))",
    re.ASCII,
)
# No two parts side by side that take digits: a long word would cost the square of its length.
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_NO_ZERO: Final = frozenset("123456789")
_SURE_DIGITS: Final = 18  # of an integer that is in every range
_ZERO_LED: Final = re.compile(r"[+-]?0[0-9]+", re.ASCII)
_SPECIAL_FLOATS: Final = frozenset(
    f"{sign}.{word}" for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")
) | {".nan", ".NaN", ".NAN"}


class Plain(str):
    """A scalar without quotes, whose meaning depends on the reader."""

    __slots__ = ()


class Tagged(str):
    """A scalar with a tag.

    ``tag`` is "!" or the short name of a core tag. ``style`` is YAML's indicator: empty for a
    scalar without quotes. Readers of text or of numbers of a fixed size ignore the tag; others
    apply it.
    """

    __slots__ = ("style", "tag")

    tag: str
    style: str


class FlaggedMapping(dict[str, Any]):
    """A mapping with duplicate keys or with the tag "!".

    ``duplicate_keys`` are sorted; the last value of each is kept. ``is_marked`` is true if the
    mapping has the tag "!".
    """

    __slots__ = ("duplicate_keys", "is_marked")

    def __init__(
        self, items: dict[str, Any], *, duplicate_keys: tuple[str, ...], is_marked: bool
    ) -> None:
        super().__init__(items)
        self.duplicate_keys = duplicate_keys
        self.is_marked = is_marked


class FlaggedList(list[Any]):
    """A list with the tag "!"."""

    __slots__ = ()


def is_null(scalar: str) -> bool:
    """Return whether a scalar without quotes is one of YAML's spellings of null."""
    return scalar in _NULLS


def is_empty(value: object) -> bool:
    """Return whether the value is an empty scalar without quotes: an empty collection."""
    return isinstance(value, (Plain, Tagged)) and not value and not getattr(value, "style", "")


def resolved_scalar(scalar: Plain) -> bool | int | float | str | None:
    """Return the value that a plain scalar denotes: null, boolean, integer, float or string."""
    # First what most values of documents are: words, numbers, addresses.
    first = scalar[:1]
    if (first.isalpha() and first not in "nNtTfF") or ":" in scalar or scalar.count(".") > 1:
        return str(scalar)
    if first in _NO_ZERO and len(scalar) <= _SURE_DIGITS and scalar.isdigit() and scalar.isascii():
        return int(scalar)
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
                value = sign * int(found[group], base)
                if -(1 << 127) <= value < 1 << 128:
                    return value
                if base != 10:
                    return str(scalar)
    if scalar in _SPECIAL_FLOATS:
        return None  # not a JSON number: the reference reads null
    number = None if _ZERO_LED.fullmatch(scalar) else _finite(scalar)
    return str(scalar) if number is None else number


def _finite(scalar: str) -> float | None:
    number = float(scalar) if _FLOAT.fullmatch(scalar) else math.inf
    return number if math.isfinite(number) else None


def followed(scalar: Tagged, path: Path) -> bool | int | float | str | None:
    """Return the value that a tagged scalar denotes; raises `DocumentInvalid` if it has none."""
    tag = scalar.tag
    if tag == "!":
        raise problem(path, _MARKED)
    if tag in ("str", "map", "seq"):
        return str(scalar)
    if tag == "float" and scalar in _SPECIAL_FLOATS:
        return None
    if tag == "float" and (number := _finite(scalar)) is not None:
        return number
    value = resolved_scalar(Plain(scalar)) if scalar not in _SPECIAL_FLOATS else str(scalar)
    kinds = {"null": type(None), "bool": bool, "int": int}
    if type(value) is not kinds.get(tag) or not scalar:
        raise problem(path, f"the value does not match its tag, !!{tag}")
    return value


def _json(value: Any, path: Path) -> Any:
    if type(value) is int and not -(1 << 63) <= value < 1 << 64:
        raise problem(path, "an integer of more than 64 bits")
    return value


def resolved(node: Any, path: Path) -> Any:
    """Return the tree with all scalars resolved; the last of duplicate members wins.

    Raises `DocumentInvalid` for values that the reference cannot convert to JSON: an integer of
    more than 64 bits, a value with the tag "!", a value that does not match its tag.
    """
    if isinstance(node, Plain):
        return _json(resolved_scalar(node), path)
    if isinstance(node, Tagged):
        return _json(followed(node, path), path)
    if type(node) is str:
        return node
    if isinstance(node, (dict, list)):
        if isinstance(node, FlaggedList) or (isinstance(node, FlaggedMapping) and node.is_marked):
            raise problem(path, _MARKED)
        if isinstance(node, dict):
            return {key: resolved(item, Path(path, key)) for key, item in node.items()}
        return [resolved(item, Path(path, index)) for index, item in enumerate(node)]
    return node


def decoded(document: bytes | str) -> str:
    """Return the text of ``document``.

    Raises `DocumentInvalid` if it is not UTF-8 or longer than `MAX_BYTES`.
    """
    if len(document) > MAX_BYTES:
        raise DocumentInvalid((f"document: longer than {MAX_BYTES} bytes",))
    if isinstance(document, str):
        return document
    try:
        return document.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        why = ": it looks like UTF-16" if document[:2] in _UTF_16 else ""
        raise DocumentInvalid((f"document: byte {error.start} is not UTF-8{why}",)) from None


def read(document: bytes | str) -> Any:
    """Return the tree of ``document``; see `decoded` and `parsed`."""
    # No-break spaces come from web pages; the reference reads them as spaces.
    return parsed(decoded(document).replace("\N{NO-BREAK SPACE}", " "))


def parsed(document: str, *, max_scalar: int = MAX_SCALAR, max_bytes: int = MAX_BYTES) -> Any:
    """Return the tree of ``document``, YAML or JSON, or None if it has no content.

    Raises `DocumentInvalid` for malformed text and for text beyond the limits of this module.
    """
    if len(document) > max_bytes:
        raise DocumentInvalid((f"document: longer than {max_bytes} bytes",))
    if document.count("\n%") > MAX_DIRECTIVES:
        raise DocumentInvalid(("document: too many YAML directives",))
    try:
        return _Builder(document, max_scalar).document()
    except yaml.MarkedYAMLError as error:
        raise explained(error, document) from None
    except (yaml.YAMLError, UnicodeError):
        raise DocumentInvalid(("document: has a character that YAML does not allow",)) from None


class _Builder:
    """Builds the tree from the events of the parser, up to `MAX_DEPTH`."""

    __slots__ = ("_anchors", "_deepest", "_max_scalar", "_nodes", "_parser")

    def __init__(self, document: str, max_scalar: int) -> None:
        self._parser = _Loader(document)
        self._max_scalar = max_scalar
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
                raise DocumentInvalid(
                    ("document: more than one YAML document: remove what follows its ---",)
                )
        finally:
            parser.dispose()
        return tree

    def _count(self, nodes: int, depth: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise DocumentInvalid((f"document: more than {MAX_NODES} values",))
        if depth > MAX_DEPTH:
            raise DocumentInvalid((f"document: nested deeper than {MAX_DEPTH} levels",))
        self._deepest = max(self._deepest, depth)

    def _node(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            self._nodes += 1
            if self._nodes > MAX_NODES or depth > MAX_DEPTH:
                self._count(0, depth)
            text: str = event.value
            if event.tag is not None or len(text) > self._max_scalar:
                text = _unusual(event, self._max_scalar)
            elif event.implicit[0]:
                text = Plain(text)
            if event.anchor is not None:
                self._anchors[event.anchor] = (text, 1, 0)
            return text
        if isinstance(event, yaml.AliasEvent):
            found = self._anchors.get(event.anchor or "")
            if found is None:
                raise _refused(event, "unknown alias; quote a value that starts with *")
            value, nodes, height = found
            self._count(nodes, depth + height)
            return value
        if event.tag is not None and event.tag not in _TAGS:
            raise _refused(event, _UNSUPPORTED_TAG)
        before, deepest = self._nodes, self._deepest
        self._deepest = depth
        self._count(1, depth)
        collect = self._mapping if isinstance(event, yaml.MappingStartEvent) else self._sequence
        value = collect(depth + 1, is_marked=event.tag == "!")
        if value:
            self._deepest = max(self._deepest, depth + 1)  # of its scalars
        if event.anchor is not None:  # set last: a value cannot contain itself
            self._anchors[event.anchor] = (value, self._nodes - before, self._deepest - depth)
        self._deepest = max(deepest, self._deepest)
        return value

    def _sequence(self, depth: int, *, is_marked: bool) -> list[Any]:
        items: list[Any] = FlaggedList() if is_marked else []
        following = self._parser.get_event
        while not isinstance(event := following(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth))
        return items

    def _mapping(self, depth: int, *, is_marked: bool) -> dict[str, Any]:
        items: dict[str, Any] = {}
        duplicates: set[str] = set()
        following = self._parser.get_event
        while not isinstance(event := following(), yaml.MappingEndEvent):
            key = self._node(event, depth)
            if not isinstance(key, str):
                raise _refused(event, "a key that is not a string")
            key = str(key)
            if key in items:
                duplicates.add(key)
            items[key] = self._node(following(), depth)
        if not duplicates and not is_marked:
            return items
        return FlaggedMapping(items, duplicate_keys=tuple(sorted(duplicates)), is_marked=is_marked)


def _unusual(event: Any, limit: int) -> str:
    """Return a scalar with a tag; refuse one that is too long."""
    text: str = event.value
    if len(text) > limit:
        raise _refused(event, f"a value of more than {limit} characters")
    if event.tag not in _TAGS:
        raise _refused(event, _UNSUPPORTED_TAG)
    tagged = Tagged(text)
    tagged.tag = _TAGS[event.tag]
    tagged.style = event.style or ""
    return tagged


def _refused(event: Any, why: str) -> DocumentInvalid:
    """Return an error that names the line but not its text, which may be a secret."""
    return DocumentInvalid((f"document: line {event.start_mark.line + 1}: {why}",))

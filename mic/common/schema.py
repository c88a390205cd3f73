"""Readers: convert the tree of a document to checked values.

A reader is a function of a value and its `Path` that returns the converted value or raises
`DocumentInvalid`. `Struct` reads a mapping into a dataclass whose fields declare their readers.

The rules are those of the reference's deserialisation, because existing documents depend on
them: integers and booleans may be quoted, null means "not given" only where a member is
`optional`, unknown members are refused, and an alias next to its member is a duplicate.

Values come in two forms. Interfaces are read from resolved values (`tree.resolved`), so that
``name: 1`` is an integer and is refused. Everything else is read from `tree.Plain` scalars,
where ``next-hop-interface: 1`` is the text "1".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from mic.common import addresses
from mic.common.addresses import Address
from mic.common.problems import (
    Collector,
    DocumentInvalid,
    Path,
    add_own_words,
    problem,
    shown,
    unknown_member,
)
from mic.common.tree import (
    FlaggedMapping,
    Plain,
    Tagged,
    followed,
    is_empty,
    is_null,
    resolved_scalar,
)

T = TypeVar("T")
Reader = Callable[[Any, Path], T]

_NUMBER: Final = re.compile(r"(?P<sign>[+-]?)(?P<digits>[0-9]+)", re.ASCII)
_HEX: Final = re.compile(r"(?P<sign>\+?)(?P<digits>[0-9a-fA-F]+)", re.ASCII)
_MAX_DIGITS: Final = 40  # without leading zeros, which are not limited
_TRUE: Final = frozenset({"1", "true", "yes", "on", "y"})
_FALSE: Final = frozenset({"0", "false", "no", "off", "n"})


def kind_of(value: object) -> str:
    """Return the kind of the value in words; never the value itself."""
    if value is None or (isinstance(value, Plain) and is_null(value)):
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a mapping" if isinstance(value, dict) else "a list"


def scalar(value: Any, path: Path) -> Any:
    """Return the value; resolve a scalar of a document to the value that it denotes."""
    if isinstance(value, Plain):
        return resolved_scalar(value)
    return followed(value, path) if isinstance(value, Tagged) else value


def _number(value: Any) -> Any:
    """Return the value, or the number that a scalar without quotes denotes.

    For readers of numbers of a fixed size, which ignore tags.
    """
    if isinstance(value, Tagged):
        is_literal = value.style == "|" and value.tag == "int"
        value = Plain(value) if not value.style or is_literal else str(value)
    return resolved_scalar(value) if isinstance(value, Plain) else value


def _is_negative_zero(value: object, read: object) -> bool:
    """Return whether a document has a signed zero, which the reference's YAML parser refuses.

    Values of interfaces are converted to JSON first, where it is 0.
    """
    return read == 0 and isinstance(value, (Plain, Tagged)) and value.startswith("-")


def text(value: Any, path: Path) -> str:
    """Read a string."""
    if isinstance(value, str):
        return str(value)
    raise problem(path, f"found {kind_of(value)}, expected a string")


def boolean(value: Any, path: Path) -> bool:
    """Read true or false, and no other spelling."""
    value = scalar(value, path)
    if isinstance(value, bool):
        return value
    raise problem(path, f"found {kind_of(value)}, expected true or false")


def truth(value: Any, path: Path) -> bool:
    """Read a boolean that may also be written as yes, no, on, off, y, n, 1, 0 or a string."""
    value = scalar(value, path)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return value == 1
    if isinstance(value, str):
        word = value.lower()
        if word in _TRUE:
            return True
        if word in _FALSE:
            return False
    found = repr(shown(value)) if isinstance(value, str) else kind_of(value)
    raise problem(path, f"found {found}, expected a boolean (true, false, yes, no, on, off, 1, 0)")


def _range_of(value: Any, path: Path, low: int, high: int) -> int:
    if low <= value <= high:
        return int(value)
    raise problem(path, f"found {value}, expected an integer from {low} to {high}")


def number(text: str, pattern: re.Pattern[str] = _NUMBER, base: int = 10) -> int | None:
    """Return the integer in ``text``, or None if it is malformed or has too many digits."""
    found = pattern.fullmatch(text)
    if found is None:
        return None
    digits = found["digits"].lstrip("0") or "0"
    if len(digits) > _MAX_DIGITS:
        return None
    return -int(digits, base) if found["sign"] == "-" else int(digits, base)


def unsigned(bits: int) -> Reader[int]:
    """Return a reader of an unsigned integer, which may be a string, decimal or ``0x``."""
    high = 2**bits - 1

    def read(value: Any, path: Path) -> int:
        found = scalar(value, path)
        if isinstance(found, int) and not isinstance(found, bool):
            if _is_negative_zero(value, found):
                raise problem(path, f"found -0, expected an integer from 0 to {high}")
            return _range_of(found, path, 0, high)
        if isinstance(found, str):
            is_hex = found.startswith("0x")
            integer = number(found[2:], _HEX, 16) if is_hex else number(found)
            if integer is not None and not found.startswith("-"):
                return _range_of(integer, path, 0, high)
            raise problem(path, f"found {shown(found)!r}, expected an integer from 0 to {high}")
        raise problem(path, f"found {kind_of(found)}, expected an integer from 0 to {high}")

    return read


def signed(bits: int) -> Reader[int]:
    """Return a reader of a signed integer, which may be a string."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def read(value: Any, path: Path) -> int:
        value = scalar(value, path)
        if isinstance(value, int) and not isinstance(value, bool):
            return _range_of(value, path, low, high)
        if isinstance(value, str):
            found = number(value)
            if found is not None:
                return _range_of(found, path, low, high)
            raise problem(path, f"found {shown(value)!r}, expected an integer")
        raise problem(path, f"found {kind_of(value)}, expected an integer")

    return read


def integer(bits: int) -> Reader[int]:
    """Return a reader of an unsigned integer that may not be quoted."""
    high = 2**bits - 1

    def read(value: Any, path: Path) -> int:
        found = _number(value)
        if isinstance(found, int) and not isinstance(found, bool):
            if _is_negative_zero(value, found):
                raise problem(path, f"found -0, expected an integer from 0 to {high}")
            return _range_of(found, path, 0, high)
        raise problem(path, f"found {kind_of(found)}, expected an integer from 0 to {high}")

    return read


def unit(value: Any) -> Any:
    """Return ``word`` for ``{word: null}`` in an interface, and any other value unchanged.

    Serde accepts both forms for a unit variant of an enumeration. Outside of interfaces null is
    `Plain`: serde_yaml requires a tag there.
    """
    if isinstance(value, dict) and list(value.values()) == [None]:
        return next(iter(value))
    return value


def choice(*words: str, also: Mapping[str, str] | None = None) -> Reader[str]:
    """Return a reader of one of ``words``; ``also`` maps other spellings to them."""
    read_word = _word(*words, also=also)

    def read(value: Any, path: Path) -> str:
        return read_word(unit(value), path)

    return read


def open_choice(*words: str) -> Reader[str]:
    """Return a reader of any string; ``words`` are the known ones."""

    def read(value: Any, path: Path) -> str:
        word = unit(value)
        return text(word if word in words else value, path)

    return read


def _word(*words: str, also: Mapping[str, str] | None = None) -> Reader[str]:
    known = {**{word: word for word in words}, **(also or {})}

    def read(value: Any, path: Path) -> str:
        if isinstance(value, str):
            word = known.get(value)
            if word is not None and not (isinstance(value, Tagged) and value.tag == "!"):
                return word
            raise problem(path, f"found {shown(value)!r}, expected one of {', '.join(words)}")
        raise problem(path, f"found {kind_of(value)}, expected one of {', '.join(words)}")

    return read


def numbered(*words: str, also: Mapping[str, str] | None = None) -> Reader[str]:
    """Return a reader of one of ``words``, which may also be given by its index."""
    by_index = {str(index): word for index, word in enumerate(words)}
    read_word = _word(*words, also={**by_index, **(also or {})})

    def read(value: Any, path: Path) -> str:
        value = scalar(value, path)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        return read_word(value, path)

    return read


def address(value: Any, path: Path) -> Address:
    """Read an IPv4 or IPv6 address."""
    if isinstance(value, str):
        found = addresses.parsed(value)
        if found is not None:
            return found
        raise problem(path, f"found {shown(value)!r}, expected an IPv4 or IPv6 address")
    raise problem(path, f"found {kind_of(value)}, expected an IPv4 or IPv6 address")


def anything(value: Any, path: Path) -> Any:  # noqa: ARG001 - a Reader
    """Return the value unchecked: it is not used."""
    return value


def optional(read: Reader[T]) -> Reader[T | None]:
    """Return a reader that treats null as "not given"."""

    def read_optional(value: Any, path: Path) -> T | None:
        if value is None or (isinstance(value, Plain) and is_null(value)):
            return None
        if isinstance(value, Tagged) and value.tag == "null" and not value.style:
            followed(value, path)
            return None
        return read(value, path)

    return read_optional


def sequence(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """Return a reader of a list that reports all invalid items."""

    def read_sequence(value: Any, path: Path) -> tuple[T, ...]:
        if is_empty(value):
            return ()
        if not isinstance(value, list):
            raise problem(path, f"found {kind_of(value)}, expected a list")
        items: list[T] = []
        problems = Collector()
        for index, item in enumerate(value):
            try:
                items.append(read(item, Path(path, index)))
            except DocumentInvalid as refusal:
                problems.add(refusal)
        problems.check()
        return tuple(items)

    return read_sequence


def mapping_of(value: Any, path: Path) -> dict[str, Any]:
    """Return the value as a mapping."""
    if is_empty(value):
        return {}
    if isinstance(value, dict):
        return value
    raise problem(path, f"found {kind_of(value)}, expected a mapping")


def mapping(read: Reader[T]) -> Reader[dict[str, T]]:
    """Return a reader of a mapping with any keys that reports all invalid values."""

    def read_mapping(value: Any, path: Path) -> dict[str, T]:
        items: dict[str, T] = {}
        problems = Collector()
        for key, item in mapping_of(value, path).items():
            with problems:
                items[key] = read(item, path / key)
        problems.check()
        return items

    return read_mapping


_READER: Final = "mic.reader"
_KEYS: Final = "mic.keys"


def member(key: str, read: Reader[Any], *aliases: str) -> Any:
    """Declare a dataclass field read from ``key`` or one of ``aliases``; None when absent."""
    add_own_words((key, *aliases))
    return dataclasses.field(default=None, metadata={_READER: read, _KEYS: (key, *aliases)})


def required(key: str, read: Reader[Any]) -> Any:
    """Declare a dataclass field whose member is required."""
    add_own_words((key,))
    return dataclasses.field(metadata={_READER: read, _KEYS: (key,)})


def _unknown(key: str) -> str:
    """Return a key without a value that may be part of it, as in ``psk:hunter2``."""
    name = re.split("[:=]", key, maxsplit=1)[0]
    return key if name == key else f"{name}..."


class Struct(Generic[T]):
    """A reader of a mapping into the dataclass ``of``.

    ``open_ended`` mappings may have unknown members: the reference ignores those in a few places
    and refuses them in all others.
    """

    __slots__ = ("_known", "_needed", "_of", "_open_ended", "keys")

    def __init__(self, of: type[T], *, open_ended: bool = False) -> None:
        self._of = of
        self._open_ended = open_ended
        self._known: dict[str, tuple[str, Reader[Any]]] = {}
        self._needed: list[tuple[str, str]] = []
        for field in dataclasses.fields(of):  # type: ignore[arg-type]
            read = field.metadata.get(_READER)
            if read is None:
                continue
            keys = field.metadata[_KEYS]
            for key in keys:
                self._known[key] = (field.name, read)
            if field.default is dataclasses.MISSING:
                self._needed.append((field.name, keys[0]))
        self.keys = tuple(self._known)

    def members(self, value: Any, path: Path, others: Iterable[str] = ()) -> dict[str, Any]:
        """Return the values by field name; raises `DocumentInvalid` with all problems.

        ``others`` are members of another reader, to be listed among the allowed ones.
        """
        found: dict[str, Any] = {}
        problems = Collector()
        given: dict[str, Any] = value if type(value) is dict else mapping_of(value, path)
        if isinstance(given, FlaggedMapping):
            for key in given.duplicate_keys:
                if key in self._known or not self._open_ended:
                    problems.add(problem(path / _unknown(key), "given twice"))
        for key, item in given.items():
            known = self._known.get(key)
            if known is None:
                if not self._open_ended:
                    problems.add(unknown_member(path, _unknown(key), (*self.keys, *others)))
                continue
            name, read = known
            if name in found:
                problems.add(problem(path / key, "given twice, under two of its names"))
                continue
            try:
                found[name] = read(item, Path(path, key))
            except DocumentInvalid as refusal:
                found[name] = None
                problems.add(refusal)
        for name, key in self._needed:
            if name not in found:
                problems.add(problem(path, f"{key!r} is missing"))
        problems.check()
        return found

    def __call__(self, value: Any, path: Path, others: Iterable[str] = ()) -> T:
        """Read the mapping into a value of the dataclass; see `members`."""
        return self._of(**self.members(value, path, others))

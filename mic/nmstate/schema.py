"""Readers: from the tree of a document to checked values.

A reader is a function of a value and its `Path` that returns what it read or raises
`NMStateInvalid`. `Struct` reads a mapping into a dataclass whose members say their reader.

The rules are those of the reference's deserialisation, where documents in the wild depend on
them: integers and booleans may be quoted, null stands for "not given" only where a member is
`optional`, unknown members are refused, and an alias beside its member is a duplicate.

Values come in two forms. Interfaces are read from resolved values (`tree.resolved`), so that
``name: 1`` is an integer and is refused. Everything else is read from `tree.Plain` scalars,
where ``next-hop-interface: 1`` is the text "1".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from mic.nmstate import addresses
from mic.nmstate.addresses import Address
from mic.nmstate.problems import Collector, NMStateInvalid, Path, problem, shown
from mic.nmstate.tree import Plain, Twice, is_null, resolved_scalar

T = TypeVar("T")
Reader = Callable[[Any, Path], T]

_DIGITS: Final = re.compile(r"\+?[0-9]{1,40}", re.ASCII)
_SIGNED: Final = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_HEX: Final = re.compile(r"\+?[0-9a-fA-F]{1,32}", re.ASCII)
_TRUE: Final = frozenset({"1", "true", "yes", "on", "y"})
_FALSE: Final = frozenset({"0", "false", "no", "off", "n"})


def kind_of(value: object) -> str:
    """Return what sort of value this is, in words; never the value."""
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


def scalar(value: Any) -> Any:
    """Return the value with a plain scalar resolved to what it stands for."""
    return resolved_scalar(value) if isinstance(value, Plain) else value


def text(value: Any, path: Path) -> str:
    """Read a string."""
    if isinstance(value, str):
        return str(value)
    raise problem(path, f"found {kind_of(value)}, expected a string")


def boolean(value: Any, path: Path) -> bool:
    """Read true or false and nothing else."""
    value = scalar(value)
    if isinstance(value, bool):
        return value
    raise problem(path, f"found {kind_of(value)}, expected true or false")


def truth(value: Any, path: Path) -> bool:
    """Read a boolean that may also be written as yes, no, on, off, y, n, 1, 0 or a string."""
    value = scalar(value)
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


def unsigned(bits: int) -> Reader[int]:
    """Return a reader of an unsigned integer, or of a string with one, decimal or ``0x``."""
    high = 2**bits - 1

    def read(value: Any, path: Path) -> int:
        value = scalar(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return _range_of(value, path, 0, high)
        if isinstance(value, str):
            digits = value.removeprefix("0x")
            if digits != value and _HEX.fullmatch(digits):
                return _range_of(int(digits, 16), path, 0, high)
            if digits == value and _DIGITS.fullmatch(value):
                return _range_of(int(value), path, 0, high)
            raise problem(path, f"found {shown(value)!r}, expected an integer from 0 to {high}")
        raise problem(path, f"found {kind_of(value)}, expected an integer from 0 to {high}")

    return read


def signed(bits: int) -> Reader[int]:
    """Return a reader of a signed integer, or of a string with one."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def read(value: Any, path: Path) -> int:
        value = scalar(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return _range_of(value, path, low, high)
        if isinstance(value, str):
            if _SIGNED.fullmatch(value):
                return _range_of(int(value), path, low, high)
            raise problem(path, f"found {shown(value)!r}, expected an integer")
        raise problem(path, f"found {kind_of(value)}, expected an integer")

    return read


def integer(bits: int) -> Reader[int]:
    """Return a reader of an unsigned integer that may not be quoted."""
    high = 2**bits - 1

    def read(value: Any, path: Path) -> int:
        value = scalar(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return _range_of(value, path, 0, high)
        raise problem(path, f"found {kind_of(value)}, expected an integer from 0 to {high}")

    return read


def choice(*words: str, also: Mapping[str, str] | None = None) -> Reader[str]:
    """Return a reader of one of ``words``; ``also`` maps other spellings to them."""
    known = {**{word: word for word in words}, **(also or {})}

    def read(value: Any, path: Path) -> str:
        if isinstance(value, str):
            word = known.get(value)
            if word is not None:
                return word
            raise problem(path, f"found {shown(value)!r}, expected one of {', '.join(words)}")
        raise problem(path, f"found {kind_of(value)}, expected one of {', '.join(words)}")

    return read


def numbered(*words: str, also: Mapping[str, str] | None = None) -> Reader[str]:
    """Return a reader of one of ``words`` that may also be given by its index, as a number."""
    by_index = {str(index): word for index, word in enumerate(words)}
    read_word = choice(*words, also={**by_index, **(also or {})})

    def read(value: Any, path: Path) -> str:
        value = scalar(value)
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
    """Read a value of any form, which nothing looks at."""
    return value


def optional(read: Reader[T]) -> Reader[T | None]:
    """Return a reader that takes null as "not given"."""

    def read_optional(value: Any, path: Path) -> T | None:
        if value is None or (isinstance(value, Plain) and is_null(value)):
            return None
        return read(value, path)

    return read_optional


def sequence(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """Return a reader of a list; all bad items are told."""

    def read_sequence(value: Any, path: Path) -> tuple[T, ...]:
        if isinstance(value, Plain) and not value:
            return ()
        if not isinstance(value, list):
            raise problem(path, f"found {kind_of(value)}, expected a list")
        items: list[T] = []
        problems = Collector()
        for index, item in enumerate(value):
            try:
                items.append(read(item, path / index))
            except NMStateInvalid as refusal:
                problems.add(refusal)
        problems.check()
        return tuple(items)

    return read_sequence


def mapping_of(value: Any, path: Path) -> dict[str, Any]:
    """Return the value as a mapping."""
    if isinstance(value, Plain) and not value:
        return {}
    if isinstance(value, dict):
        return value
    raise problem(path, f"found {kind_of(value)}, expected a mapping")


_READER: Final = "mic.reader"
_KEYS: Final = "mic.keys"


def member(key: str, read: Reader[Any], *aliases: str) -> Any:
    """Declare a dataclass field read from ``key`` or one of ``aliases``; None when absent."""
    return dataclasses.field(default=None, metadata={_READER: read, _KEYS: (key, *aliases)})


def required(key: str, read: Reader[Any]) -> Any:
    """Declare a dataclass field that must be there."""
    return dataclasses.field(metadata={_READER: read, _KEYS: (key,)})


class Struct(Generic[T]):
    """A reader of a mapping into the dataclass ``of``.

    ``open_ended`` mappings may have members that nobody knows: the reference ignores those in a
    few places, and refuses them in all others.
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
        """Return what was read, by field name; raises `NMStateInvalid` with all problems.

        ``others`` are members that somebody else reads.
        """
        found: dict[str, Any] = {}
        problems = Collector()
        if isinstance(value, Twice):
            problems.add(problem(path / value.key, "given twice"))
        for key, item in mapping_of(value, path).items():
            known = self._known.get(key)
            if known is None:
                if not self._open_ended:
                    allowed = ", ".join((*self.keys, *others))
                    problems.add(
                        problem(path / key, f"unknown member {shown(key)!r}, expected: {allowed}")
                    )
                continue
            name, read = known
            if name in found:
                problems.add(problem(path / key, "given twice, under two of its names"))
                continue
            try:
                found[name] = read(item, path / key)
            except NMStateInvalid as refusal:
                found[name] = None
                problems.add(refusal)
        for name, key in self._needed:
            if name not in found:
                problems.add(problem(path, f"{key!r} is missing"))
        problems.check()
        return found

    def __call__(self, value: Any, path: Path) -> T:
        """Read the mapping into a value of the dataclass."""
        return self._of(**self.members(value, path))

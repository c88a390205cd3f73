"""Readers of the values that network data consists of: names, MAC addresses, IP addresses, masks.

They are lenient where the documents in the field are: null and an empty string mean "not given",
numbers may be strings and names may be numbers. See `mic.common.schema` for what a reader is.
"""

from __future__ import annotations

import re
from typing import Any, Final

from mic.common import addresses, schema
from mic.common.addresses import WIDTH, Address
from mic.common.problems import Path, problem, shown
from mic.common.schema import Reader, T
from mic.common.tree import Plain, Tagged, is_null, resolved_scalar

_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}")
_DECIMAL: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_DEVICE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_RESERVED: Final = frozenset(("all", "default", "bonding_masters", "lo"))
_DOMAIN: Final = re.compile(r"~?[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")


def word(value: Any, path: Path) -> str:
    """Read a name, which may be written as a number; not null, not empty."""
    if isinstance(value, str) and value and not _is_null(value):
        return str(value)
    found = "an empty string" if value == "" and not _is_null(value) else schema.kind_of(value)
    raise problem(path, f"found {found}, expected a string")


def given(read: Reader[T]) -> Reader[T | None]:
    """Return a reader that treats null and an empty string as "not given"."""

    def read_given(value: Any, path: Path) -> T | None:
        return None if value == "" or _is_null(value) else read(value, path)

    return read_given


def listed(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """Return a reader of a list, which may be null."""
    return lambda value, path: () if _is_null(value) else schema.sequence(read)(value, path)


def _is_null(value: Any) -> bool:
    if isinstance(value, Tagged):
        return value.tag == "null" and not value.style
    return value is None or (isinstance(value, Plain) and is_null(value))


def whole(low: int, high: int) -> Reader[int]:
    """Return a reader of an integer in a range, which may be quoted or end with ``.0``."""
    expected = f"expected an integer from {low} to {high}"

    def read(value: Any, path: Path) -> int:
        found = resolved_scalar(Plain(value)) if isinstance(value, str) else value
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, int) and not isinstance(found, bool):
            if low <= found <= high:
                return found
            raise problem(path, f"found {found}, {expected}")
        raise problem(path, f"found {schema.kind_of(found)}, {expected}")

    return read


def mac(value: Any, path: Path) -> str:
    """Read the MAC address of a network card, as NetworkManager writes it: ``52:54:00:...``."""
    expected = "expected a MAC address such as 52:54:00:12:34:56"
    text = _text(value, path, expected)
    if not _MAC.fullmatch(text):
        raise problem(path, f"found {shown(text)!r}, {expected}")
    found = text.replace("-", ":").upper()
    if int(found[:2], 16) & 1 or found == "00:00:00:00:00:00":
        what = f"found {found}, expected the address of a network card: not zero, not multicast"
        raise problem(path, what)
    return found


def device(value: Any, path: Path) -> str:
    """Read the name of a network device on the host."""
    expected = "expected the name of a network interface: 1 to 15 letters, digits, '.', '_' or '-'"
    text = _text(value, path, expected)
    if not is_device_name(text):
        raise problem(path, f"found {shown(text)!r}, {expected}")
    return text


def is_device_name(text: str) -> bool:
    """Return whether a network device can have that name."""
    return bool(_DEVICE.fullmatch(text)) and text not in _RESERVED


def domain(value: Any, path: Path) -> str:
    """Read a domain to search names in."""
    expected = "expected a domain name"
    text = _text(value, path, expected)
    if not _DOMAIN.fullmatch(text):
        raise problem(path, f"found {shown(text)!r}, {expected}")
    return text


def address(value: Any, path: Path) -> Address:
    """Read an IP address; a prefix length or the zone of a link-local address is dropped."""
    return with_mask(value, path)[0]


def with_mask(value: Any, path: Path) -> tuple[Address, str | None]:
    """Read an IP address, and what follows it after a slash."""
    expected = "expected an IPv4 or IPv6 address"
    text = _text(value, path, expected)
    host, slash, mask = text.partition("/")
    bare, _, _ = host.partition("%")
    found = addresses.parsed(bare)
    if found is None or (bare != host and not found.is_link_local):
        raise problem(path, f"found {shown(text)!r}, {expected}")
    return found, mask if slash else None


def prefix(text: str, version: int, path: Path) -> int:
    """Return the prefix length of a mask: ``24``, ``255.255.255.0``, ``ffff:ffff::``.

    Raises `DocumentInvalid` if it is none of the address family.
    """
    width = WIDTH[version]
    example = "255.255.255.0 or 24" if version == 4 else "ffff:ffff:ffff:ffff:: or 64"
    found = _prefix(text, version, width)
    if found is None:
        raise problem(
            path, f"found {shown(text)!r}, expected an IPv{version} mask such as {example}"
        )
    return found


def _prefix(text: str, version: int, width: int) -> int | None:
    if _DECIMAL.fullmatch(text):
        number = int(text)
        return number if number <= width else None
    mask = addresses.parsed(text)
    if mask is None or mask.version != version:
        return None
    ones = mask.value.bit_count()
    return ones if mask.value == (1 << width) - (1 << (width - ones)) else None


def _text(value: Any, path: Path, expected: str) -> str:
    if isinstance(value, str) and not _is_null(value):
        return str(value).strip()
    raise problem(path, f"found {schema.kind_of(value)}, {expected}")


def words(value: Any, path: Path) -> tuple[str, ...]:
    """Read a list of names, or a string of them with spaces between."""
    if isinstance(value, str) and not _is_null(value):
        return tuple(value.split())
    return schema.sequence(word)(value, path)

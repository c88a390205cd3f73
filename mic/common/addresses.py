"""IP addresses and networks, parsed and formatted as in the reference (Rust's ``std::net``).

Differences from `ipaddress`: there are no scope identifiers, and the IPv4 part of an IPv4-mapped
IPv6 address is written in dotted form on every Python version.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_IPV4: Final = re.compile(r"\.".join([r"(0|[1-9][0-9]{0,2})"] * 4), re.ASCII)
_PREFIX: Final = re.compile(r"\+?0*[0-9]{1,20}", re.ASCII)
_LINK_LOCAL: Final = 0xFE80 >> 6
_LONGEST_IPV4: Final = 15  # characters of the longest IPv4 text
_LONGEST: Final = 45  # characters of the longest IPv6 text
WIDTH: Final = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 or IPv6 address; ``str()`` gives its canonical text."""

    version: int
    value: int

    def __str__(self) -> str:
        if self.version == 4:
            return _ipv4_text(self.value)
        if self.value >> 32 == 0xFFFF:
            return f"::ffff:{_ipv4_text(self.value & 0xFFFFFFFF)}"
        return str(ipaddress.IPv6Address(self.value))

    @property
    def is_link_local(self) -> bool:
        """Whether this is in fe80::/10."""
        return self.version == 6 and self.value >> 118 == _LINK_LOCAL

    @property
    def is_loopback(self) -> bool:
        """Whether this is in 127.0.0.0/8, or ::1."""
        return self.value >> 24 == 127 if self.version == 4 else self.value == 1

    def masked(self, prefix: int) -> Address:
        """Return the first address of the network of ``prefix`` bits."""
        keep = max(WIDTH[self.version] - prefix, 0)
        return Address(self.version, self.value >> keep << keep)


@dataclass(frozen=True, slots=True)
class Subnet:
    """An address, and how many of its leading bits all addresses of its subnet share."""

    address: Address
    prefix: int

    def holds(self, other: Address) -> bool:
        """Return whether an address is in the subnet."""
        if other.version != self.address.version:
            return False
        free = WIDTH[other.version] - self.prefix
        return other.value >> free == self.address.value >> free

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"


def parsed(text: str) -> Address | None:
    """Return the address in ``text``, or None if it is malformed."""
    if ":" not in text:
        value = _ipv4(text)
        return None if value is None else Address(4, value)
    if len(text) > _LONGEST or not text.isascii() or "%" in text or "/" in text:
        return None
    try:
        return Address(6, int(ipaddress.IPv6Address(text)))
    except ipaddress.AddressValueError:
        return None


def _ipv4(text: str) -> int | None:
    # The few addresses of a document are read again and again; long texts are not remembered.
    return _ipv4_value(text) if len(text) <= _LONGEST_IPV4 else None


@lru_cache(maxsize=256)
def _ipv4_value(text: str) -> int | None:
    # Like `ipaddress`, in a third of the time: documents may have tens of thousands of addresses.
    found = _IPV4.fullmatch(text)
    if found is None:
        return None
    first, second, third, fourth = map(int, found.groups())
    if max(first, second, third, fourth) > 255:
        return None
    return first << 24 | second << 16 | third << 8 | fourth


def _ipv4_text(value: int) -> str:
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def is_ipv6(text: str) -> bool:
    """Return whether ``text`` would be parsed as IPv6, that is, has a colon."""
    return ":" in text


def network(text: str) -> str | None:
    """Return ``address/prefix`` with the host bits cleared, or None if ``text`` is malformed.

    An address without a prefix length is the network of that one address.
    """
    host, slash, length = text.partition("/")
    found = parsed(host)
    if found is None:
        return None
    width = WIDTH[found.version]
    if not slash:
        return f"{found}/{width}"
    if not _PREFIX.fullmatch(length):
        return None
    prefix = int(length.lstrip("+").lstrip("0") or "0")
    return f"{found.masked(prefix)}/{prefix}" if prefix <= width else None

"""IP addresses and networks, parsed and written as the reference does (Rust's ``std::net``).

Differs from `ipaddress` in two points: no scope identifiers, and an IPv4-mapped IPv6 address is
written with its IPv4 part in dots on every Python version.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = re.compile(r"\+?[0-9]{1,20}", re.ASCII)
_LINK_LOCAL: Final = 0xFE80 >> 6
_LONGEST: Final = 45  # characters of the longest IPv6 text
WIDTH: Final = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 or IPv6 address; ``str()`` gives its canonical text."""

    version: int
    value: int

    def __str__(self) -> str:
        if self.version == 4:
            return str(ipaddress.IPv4Address(self.value))
        if self.value >> 32 == 0xFFFF:
            return f"::ffff:{ipaddress.IPv4Address(self.value & 0xFFFFFFFF)}"
        return str(ipaddress.IPv6Address(self.value))

    @property
    def is_link_local(self) -> bool:
        """Whether this is in fe80::/10."""
        return self.version == 6 and self.value >> 118 == _LINK_LOCAL

    def masked(self, prefix: int) -> Address:
        """Return the first address of the network of ``prefix`` bits."""
        keep = max(WIDTH[self.version] - prefix, 0)
        return Address(self.version, self.value >> keep << keep)


def parsed(text: str) -> Address | None:
    """Return the address that ``text`` writes, or None when it writes none."""
    if len(text) > _LONGEST or not text.isascii() or "%" in text or "/" in text:
        return None
    try:
        if ":" in text:
            return Address(6, int(ipaddress.IPv6Address(text)))
        return Address(4, int(ipaddress.IPv4Address(text)))
    except ipaddress.AddressValueError:
        return None


def is_ipv6(text: str) -> bool:
    """Whether ``text`` would be read as IPv6: it has a colon."""
    return ":" in text


def network(text: str) -> str | None:
    """Return ``address/prefix`` with the host bits cleared; None when ``text`` is no network.

    A bare address is the network of that one address.
    """
    host, slash, length = text.partition("/")
    found = parsed(host)
    if found is None:
        return None
    width = WIDTH[found.version]
    if not slash:
        return f"{found}/{width}"
    if not _PREFIX.fullmatch(length) or int(length) > width:
        return None
    return f"{found.masked(int(length))}/{int(length)}"

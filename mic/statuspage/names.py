"""Which names the page answers to.

A page on another site can have its own name resolve to this address (DNS rebinding). A browser
would then let that site read the page. The Host field of such a request has that site's name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from typing import Final

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[^\[\]:]{1,255})(?::[0-9]{1,5})?")
_LOCALHOST: Final = "localhost"


def own_names(machine: str, more: Iterable[str]) -> frozenset[str]:
    """Return the names to answer to: those of the ``machine``, with and without its domain."""
    names = {machine, machine.partition(".")[0], *more}
    return frozenset(name.lower().rstrip(".") for name in names if name)


def is_own(host: str, names: Collection[str]) -> bool:
    """Return whether a Host field is an IP address, localhost, or one of ``names``.

    The port does not matter: a tunnel or a proxy may have another one.
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match[1].lower().rstrip(".")
    if name == _LOCALHOST or name.endswith(f".{_LOCALHOST}") or name in names:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True

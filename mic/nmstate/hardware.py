"""The hardware addresses of a host's NICs, by which boot loaders know it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from mic.nmstate.interface import AnyInterface

_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}", re.ASCII)


def mac_addresses(interfaces: Iterable[AnyInterface]) -> tuple[str, ...]:
    """Return the MAC addresses that a document gives for Ethernet interfaces.

    As ``52:54:00:12:34:56``, in the document's order and without duplicates. Texts that are none
    are left out.
    """
    given = (
        mac
        for interface in interfaces
        if interface.type.name == "ethernet"
        for mac in (interface.common.permanent_mac, interface.common.mac)
        if mac is not None and _MAC.fullmatch(mac)
    )
    return tuple(dict.fromkeys(mac.lower().replace("-", ":") for mac in given))

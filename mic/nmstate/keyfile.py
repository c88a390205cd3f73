"""NetworkManager keyfiles as values, and the text form in which nmstatectl prints them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyfile:
    """One connection profile: file name (``eth0.nmconnection``) and text.

    The text stays out of the repr: 802.1X and VPN secrets live there.
    """

    name: str
    content: str = field(repr=False)

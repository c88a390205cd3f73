"""Results of a description of a host's network: keyfiles, warnings, what the host can reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from mic.common.addresses import Address, Subnet
from mic.common.keyfile import Keyfile, Profile
from mic.common.problems import DocumentInvalid
from mic.common.warning import HostWarning

MAX_LENGTH: Final = 4 << 20
"""Cap on the characters of all keyfiles of a document: 1 MiB of port names would give 13 MiB."""

_SUMMARY: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticRoute:
    """A static route of the main table. ``refusal`` is its type if it leads nowhere."""

    destination: Subnet
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostNetwork:
    """The network of a host by its keyfiles, outside of VRFs, and in the main routing table.

    ``addresses`` are those that other machines know: without link-local and loopback addresses.

    ``unknown`` has the IP versions about which the document does not say everything: DHCP,
    autoconfiguration, routing rules, or an interface that the document ignores.
    ``unknown_name_servers``: DHCP or router advertisements may give name servers. ``link_local``:
    an interface has IPv6, and with it a link-local address. ``vrf``: an interface in a VRF has IP.
    """

    addresses: tuple[Subnet, ...] = ()
    routes: tuple[StaticRoute, ...] = ()
    name_servers: tuple[Address, ...] = ()
    unknown: frozenset[int] = frozenset()
    unknown_name_servers: bool = False
    link_local: bool = False
    vrf: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Result of a document: keyfiles in a fixed order, and doubts about the document.

    ``network`` is the host's network in one line, for people: names and addresses.
    ``host_network`` is what the host can reach by it; None if that is unknown. ``mac_addresses``
    are those of its NICs that the document gives, as ``52:54:00:12:34:56``.
    """

    keyfiles: tuple[Keyfile, ...]
    warnings: tuple[HostWarning, ...] = ()
    network: str = field(default="")
    host_network: HostNetwork | None = field(default=None, repr=False)
    mac_addresses: tuple[str, ...] = ()


def rendered(ordered: Iterable[Profile]) -> Iterator[Keyfile]:
    """Yield profiles as keyfiles; raises `DocumentInvalid` for more than `MAX_LENGTH`."""
    length = 0
    for profile in ordered:
        keyfile = profile.rendered()
        length += len(keyfile.content)
        if length > MAX_LENGTH:
            what = f"its keyfiles have more than {MAX_LENGTH} characters, more than a host can use"
            raise DocumentInvalid((f"document: {what}",))
        yield keyfile


def one_line(parts: Sequence[str]) -> str:
    """Return a list of about `_SUMMARY` characters for people; the rest is counted."""
    line = ""
    for number, part in enumerate(parts):
        longer = f"{line}, {part}" if line else part
        if line and len(longer) > _SUMMARY:
            return f"{line} and {len(parts) - number} more"
        line = longer
    return line

"""Which endpoints a host can reach by its addresses, routes and name servers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mic.common.addresses import Address
from mic.common.endpoint import Endpoint
from mic.common.generated import HostNetwork
from mic.common.warning import HostWarning
from mic.reachability.needs import Need

_MAX_SHOWN: Final = 3
"""How many endpoints, addresses or name servers a warning names."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a host does not reach an endpoint: the end of a sentence after "the host".

    ``without_content`` does not quote the host's network data.
    """

    text: str
    without_content: str


def warnings(needs: Iterable[Need], host: HostNetwork | None) -> tuple[HostWarning, ...]:
    """Return a warning for each need of which the host reaches no endpoint.

    A host without network data, or whose network data says too little, has none. One warning is
    enough for a host without any IP address.
    """
    if host is None:
        return ()
    found: list[HostWarning] = []
    for need in needs:
        obstacles = [unreachable(endpoint, host) for endpoint in need.endpoints]
        known = [obstacle for obstacle in obstacles if obstacle is not None]
        if known and len(known) == len(obstacles):
            found.append(_warning(need, known))
    return tuple(found if host.addresses or host.unknown else found[:1])


def unreachable(endpoint: Endpoint, host: HostNetwork) -> Obstacle | None:
    """Return why the host does not reach an endpoint; None if it does, or may."""
    address = endpoint.address
    if address is not None:
        return _to_address(address, host)
    return None if endpoint.host == "localhost" else _to_name(host)


def _to_address(address: Address, host: HostNetwork) -> Obstacle | None:
    version = address.version
    if version in host.unknown or address.is_loopback:
        return None
    if address.is_link_local:
        return None if host.link_local else _without_family(host, version)
    if all(subnet.address.version != version for subnet in host.addresses):
        return _without_family(host, version)
    # The longest prefix decides (RFC 1812, 5.2.4.3); addresses make routes to their subnets.
    matches = [(s.prefix, "") for s in host.addresses if s.holds(address)]
    matches += [
        (r.destination.prefix, r.refusal) for r in host.routes if r.destination.holds(address)
    ]
    if not matches:
        text = "has no route to it"
        own = [str(s) for s in host.addresses if s.address.version == version]
        return Obstacle(f"{text}: its addresses are {_list(own)}, without a default route", text)
    longest = max(prefix for prefix, _ in matches)
    refusals = [refusal for prefix, refusal in matches if prefix == longest]
    if "" in refusals:
        return None
    text = f"has a route of type {refusals[0]} to it"
    return Obstacle(text, text)


def _without_family(host: HostNetwork, version: int) -> Obstacle:
    versions = {subnet.address.version for subnet in host.addresses} | host.unknown
    if versions:
        text = f"has IPv{10 - version} addresses only"
    elif host.link_local:
        text = "has link-local IPv6 addresses only"
    else:
        text = "has no IP address"
    if host.vrf:
        text += " outside of VRFs"
    return Obstacle(text, text)


def _to_name(host: HostNetwork) -> Obstacle | None:
    """Return why the host does not resolve names, or sends nothing to what they resolve to."""
    if not host.addresses and not host.unknown:
        return _without_family(host, 4)
    if host.unknown_name_servers:
        return None
    if not host.name_servers:
        text = "has no name server to look it up"
        return Obstacle(text, text)
    if any(_to_address(server, host) is None for server in host.name_servers):
        return None
    text = "does not reach its name servers"
    servers = _list([str(server) for server in host.name_servers])
    return Obstacle(f"{text} ({servers}), which would look it up", text)


def _warning(need: Need, obstacles: list[Obstacle]) -> HostWarning:
    ends = _list([str(end) for end in need.endpoints], last="or")
    subject = f"{need.what} is at {ends} and the host"
    texts = _list(list(dict.fromkeys(each.text for each in obstacles)))
    without = _list(list(dict.fromkeys(each.without_content for each in obstacles)))
    caveat = f"; {need.caveat}" if need.caveat else ""
    return HostWarning(
        place=need.setting,
        text=f"{subject} {texts}{caveat}",
        without_content=f"{need.setting}: {subject} {without}{caveat}",
    )


def _list(words: list[str], *, last: str = "and") -> str:
    """Return words as a list in a sentence, of at most `_MAX_SHOWN`."""
    if len(words) > _MAX_SHOWN:
        words = [*words[:_MAX_SHOWN], f"{len(words) - _MAX_SHOWN} more"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"

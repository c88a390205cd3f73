"""Reach of a host, as far as its document says: addresses, routes, name servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mic.common import addresses
from mic.common.addresses import Address, Subnet
from mic.common.generated import HostNetwork, StaticRoute
from mic.nmstate.interface import AnyInterface
from mic.nmstate.network import Network
from mic.nmstate.route_rules import MAIN_TABLE
from mic.nmstate.routes import Route

_FAMILIES: Final = (4, 6)
_WITHOUT_NIC: Final = frozenset(
    ("loopback", "dummy", "vxlan", "ipsec", "xfrm", "hsr", "ovs-bridge", "ovs-port")
)
"""Types whose profiles leave the NICs of the host to NetworkManager's default, which is DHCP."""


def host_network(network: Network) -> HostNetwork | None:
    """Return the network of a host whose routes, rules and name servers have been placed.

    None if no NIC of the host is configured: NetworkManager then uses DHCP.
    """
    interfaces = list(_active(network))
    if all(interface.type.name in _WITHOUT_NIC for interface in interfaces):
        return None
    found: list[Subnet] = []
    routes: list[StaticRoute] = []
    servers: list[Address] = []
    unknown = set[int](_FAMILIES) if network.ignored else set[int]()
    unknown_servers = bool(network.ignored)
    link_local = vrf = False
    for interface in interfaces:
        in_vrf = interface.controller is not None and interface.controller[1].name == "vrf"
        for version in _FAMILIES:
            family = interface.family(version)
            if family is None or not family.enabled or not interface.can_have_ip:
                continue
            if family.rules:
                unknown.add(version)
            vrf = vrf or in_vrf
            if not in_vrf:
                found += [
                    Subnet(each.ip, each.prefix)
                    for each in family.addresses or ()
                    if not each.ip.is_loopback
                ]
                link_local = link_local or version == 6
                if family.is_auto:
                    unknown.add(version)
                    unknown_servers = unknown_servers or family.auto_dns is not False
            if family.dns is not None:
                servers += filter(None, map(addresses.parsed, family.dns.servers))
            routes += _routes(interface, version)
    return HostNetwork(
        addresses=tuple(found),
        routes=tuple(routes),
        name_servers=tuple(servers),
        unknown=frozenset(unknown),
        unknown_name_servers=unknown_servers,
        link_local=link_local,
        vrf=vrf,
    )


def _active(network: Network) -> Iterator[AnyInterface]:
    """Yield the interfaces that NetworkManager brings up by itself."""
    for entry in network.entries():
        applied = entry.applied
        if applied is not None and not entry.merged.is_absent and applied.state != "down":
            yield applied


def _routes(interface: AnyInterface, version: int) -> Iterator[StaticRoute]:
    for route in interface.routes:
        destination = _destination(route)
        if destination is None or destination.address.version != version:
            continue
        if (route.table or MAIN_TABLE) == MAIN_TABLE:
            yield StaticRoute(destination=destination, refusal=route.kind or "")


def _destination(route: Route) -> Subnet | None:
    """Return the destination of a normalised route; None if the route has no keys."""
    if route.destination is None:
        return None
    host, _, prefix = route.destination.partition("/")
    address = addresses.parsed(host)
    return None if address is None else Subnet(address, int(prefix))

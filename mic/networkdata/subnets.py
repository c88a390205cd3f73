"""Give devices the addresses, routes and name servers of a document's networks and services."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from mic.common.addresses import Address, Subnet
from mic.common.problems import Collector, Path, problem, shown
from mic.common.spelling import nearest
from mic.networkdata import readers
from mic.networkdata.devices import Device, Family
from mic.networkdata.members import Document, NetworkMembers, Route, Service
from mic.networkdata.notes import Notes

_STATIC: Final = "static"
_AUTO: Final = "auto"
_TYPES: Final = {
    "ipv4": (4, _STATIC),
    "ipv4_dhcp": (4, _AUTO),
    "ipv6": (6, _STATIC),
    "ipv6_dhcp": (6, _AUTO),
    "ipv6_slaac": (6, _AUTO),
    "ipv6_dhcpv6-stateful": (6, _AUTO),
    "ipv6_dhcpv6-stateless": (6, _AUTO),
}
"""IP version of each type of network, and whether its addresses are given."""

_ALSO: Final = {"static": "ipv4", "static6": "ipv6", "dhcp": "ipv4_dhcp", "dhcp4": "ipv4_dhcp"}
"""Other names, which cloud-init knows."""

MAX_SERVERS: Final = 20
"""How many name servers a host gets; its resolver asks the first three (resolv.conf(5))."""
MIN_IPV6_MTU: Final = 1280
_BROADCAST: Final = 2**32 - 1
_DNS: Final = "dns"


def place(document: Document, devices: Mapping[str, Device], notes: Notes) -> None:
    """Give the devices what the networks and services of the document say.

    Raises `DocumentInvalid` with all problems.
    """
    problems = Collector()
    root = Path() / "networks"
    seen: dict[str, int] = {}
    servers: list[_Servers] = []
    for index, network in enumerate(document.networks):
        with problems:
            servers.append(_place_network(network, devices, root / index, notes))
        if network.ident is not None and seen.setdefault(network.ident, index) != index:
            notes.add(
                root / index / "id",
                "is the id of another network too: this host gets both, glean takes the last only",
                f"{shown(network.ident)!r} is the id of networks[{seen[network.ident]}] too: this "
                "host gets both, glean takes the last only",
            )
    path = Path() / "services"
    of_all = _services(document.services, path, problems)
    _note_other_services(document.services, path, notes)
    problems.check()
    # All addresses are known now.
    resolving = {version: _Resolving(devices.values(), version) for version in (4, 6)}
    for each in (*servers, _Servers(None, of_all, path)):
        _add_servers(each, resolving, notes)


class _Servers(NamedTuple):
    """The name servers of a network's device, or of the whole document."""

    device: Device | None
    addresses: Sequence[Address]
    place: Path


def _place_network(
    network: NetworkMembers, devices: Mapping[str, Device], path: Path, notes: Notes
) -> _Servers:
    """Give a device the addresses and routes of a network; return the name servers."""
    device = devices.get(network.link)
    if device is None:
        what = f"found {shown(network.link)!r}, expected the id of a link"
        raise problem(path / "link", what)
    if device.controller is not None:
        bond = shown(device.controller.link.members.ident)
        what = (
            f"found {shown(network.link)!r}, a port, expected its bond {bond!r}: a port has no "
            "addresses"
        )
        raise problem(path / "link", what)
    version, method = _type(network, path)
    family = device.families.setdefault(version, Family(version=version))
    problems = Collector()
    with problems:
        if method == _AUTO:
            family.is_auto = True
            _note_ignored(network, version, path, notes)
        else:
            family.subnets.setdefault(_subnet(network, version, path, notes), path)
    with problems:
        gateway = network.gateway
        if gateway is not None and gateway.value:
            _check_gateway(gateway, version, path / "gateway")
            default = Subnet(Address(version, 0), 0)
            family.routes.setdefault((default, gateway, None), path)
    for index, route in enumerate(network.routes or ()):
        with problems:
            _place_route(route, family, path / "routes" / index, notes)
    servers = [*_services(network.services, path / "services", problems)]
    for index, text in enumerate(network.name_servers or ()):
        with problems:
            servers.append(_name_server(text, path / "dns_nameservers" / index))
    for index, route in enumerate(network.routes or ()):
        servers += _services(route.services, path / "routes" / index / "services", problems)
    for index, text in enumerate(network.search or ()):
        with problems:
            family.search[readers.domain(text, path / "dns_search" / index)] = None
    problems.check()
    return _Servers(device, servers, path)


def _type(network: NetworkMembers, path: Path) -> tuple[int, str]:
    kind = _ALSO.get(network.kind, network.kind)
    if network.kind == "static" and network.address is not None:
        kind = f"ipv{network.address[0].version}"
    found = _TYPES.get("ipv6_dhcp" if kind == "dhcp6" else kind)
    if found is None:
        near = nearest(kind, _TYPES, 2)
        hint = f" (did you mean {near}?)" if near else ""
        what = f"found {shown(network.kind)!r}{hint}, expected one of {', '.join(_TYPES)}"
        raise problem(path / "type", what)
    return found


def _note_ignored(network: NetworkMembers, version: int, path: Path, notes: Notes) -> None:
    # Nova writes the address that it expects also for networks with autoconfiguration.
    if network.address is not None and version == 4:
        notes.add(path / "ip_address", "is not used: the type of the network is DHCP")


def _subnet(network: NetworkMembers, version: int, path: Path, notes: Notes) -> Subnet:
    if network.address is None:
        raise problem(path, "'ip_address' is missing")
    address, own_mask = network.address
    _check_version(address, version, path / "ip_address")
    lengths = [
        readers.prefix(mask, version, place)
        for mask, place in ((own_mask, path / "ip_address"), (network.mask, path / "netmask"))
        if mask is not None
    ]
    if not lengths:
        raise problem(path, "'netmask' is missing")
    prefix = lengths[0]
    if prefix != lengths[-1]:
        notes.add(
            path / "netmask",
            "is not used: ip_address has another prefix length",
            f"{shown(network.mask or '')} is not used: ip_address has the prefix length {prefix}",
        )
    _check_host(address, prefix, path / "ip_address", notes)
    return Subnet(address, prefix)


def _check_host(address: Address, prefix: int, path: Path, notes: Notes) -> None:
    """Raise `DocumentInvalid` for an address that no host can have; warn of an unlikely one."""
    kind = _no_host(address) or ("in a subnet of all addresses" if prefix == 0 else "")
    if kind:
        raise problem(path, f"found {address}/{prefix}, {kind}, expected the address of a host")
    if address.version == 4 and prefix < 31:
        last = address.masked(prefix).value | (1 << (32 - prefix)) - 1
        if address.value == last or address == address.masked(prefix):
            what = "is the first or last address of its subnet, which no host should have"
            notes.add(path, what, f"{address}/{prefix} {what}")


def _no_host(address: Address) -> str:
    """Return what an address is that no host can have; empty if one can."""
    if not address.value:
        return "no address"
    if address.is_loopback:
        return "a loopback address"
    if address.version == 4 and address.value == _BROADCAST:
        return "the broadcast address"
    is_multicast = address.value >> (28 if address.version == 4 else 120) in (0xE, 0xFF)
    return "a multicast address" if is_multicast else ""


def _check_gateway(gateway: Address, version: int, path: Path) -> None:
    _check_version(gateway, version, path)
    kind = _no_host(gateway)
    if kind:
        raise problem(path, f"found {gateway}, {kind}, expected the address of a host")


def _name_server(value: Any, path: Path) -> Address:
    found = readers.address(value, path)
    kind = _no_host(found)
    # Zero stands for none, as with Neutron; a resolver may run on the host itself.
    if kind and found.value and not found.is_loopback:
        raise problem(path, f"found {found}, {kind}, expected the address of a host")
    return found


def _check_version(address: Address, version: int, path: Path) -> None:
    if address.version != version:
        raise problem(path, f"found {address}, expected an IPv{version} address")


def _place_route(route: Route, family: Family, path: Path, notes: Notes) -> None:
    version = family.version
    address, own_mask = route.network
    _check_version(address, version, path / "network")
    mask, place = (
        (own_mask, path / "network") if own_mask is not None else (route.mask, path / "netmask")
    )
    if mask is None and address.value:
        raise problem(path, "'netmask' is missing")
    prefix = 0 if mask is None else readers.prefix(mask, version, place)
    destination = Subnet(address.masked(prefix), prefix)
    if destination.address != address:
        notes.add(
            path / "network",
            "has bits outside of its mask, which are cleared",
            f"{address} is no network of the length {prefix}: {destination} is used",
        )
    gateway = route.gateway
    if gateway is not None and not gateway.value:
        gateway = None
    if gateway is not None:
        _check_gateway(gateway, version, path / "gateway")
    elif prefix == 0:
        what = "has no gateway: the host looks for every address on the link itself"
        notes.add(path, f"a default route {what}")
    family.routes.setdefault((destination, gateway, route.metric), path)


def _services(services: Sequence[Service] | None, path: Path, problems: Collector) -> list[Address]:
    """Return the name servers among services; collect malformed addresses."""
    found: list[Address] = []
    for index, service in enumerate(services or ()):
        if service.kind in (None, _DNS):
            with problems:
                found.append(_name_server(service.address, path / index / "address"))
    return found


def _note_other_services(services: Sequence[Service], path: Path, notes: Notes) -> None:
    for index, service in enumerate(services):
        if service.kind not in (None, _DNS):
            notes.add(
                path / index / "type",
                "is not used: mic knows dns only",
                f"{shown(service.kind or '')!r} is not used: mic knows dns only",
            )


class _Resolving:
    """The families of the devices that get the document's name servers of an IP version.

    Those with a default route; else those with static addresses; else all.
    """

    def __init__(self, devices: Iterable[Device], version: int) -> None:
        families = [each.families[version] for each in devices if version in each.families]
        found = [family for family in families if family.has_default]
        self._families = found or [family for family in families if family.subnets] or families
        self._added: set[Address] = set()

    def __bool__(self) -> bool:
        return bool(self._families)

    def add(self, server: Address) -> None:
        """Give the families a name server."""
        # Each one once, and no more than fit: every network may name servers for every link.
        if server not in self._added and len(self._added) < MAX_SERVERS:
            self._added.add(server)
            for family in self._families:
                _add_server(family, server)


def _add_server(family: Family, server: Address) -> None:
    if len(family.servers) < MAX_SERVERS:
        family.servers[server] = None


def _add_servers(given: _Servers, resolving: Mapping[int, _Resolving], notes: Notes) -> None:
    servers = list(dict.fromkeys(each for each in given.addresses if each.value))
    if len(servers) > MAX_SERVERS:
        notes.add(given.place, f"has more than {MAX_SERVERS} name servers: the others are not used")
    for server in servers[:MAX_SERVERS]:
        version = server.version
        own = None if given.device is None else given.device.families.get(version)
        if own is not None:
            _add_server(own, server)
        elif resolving[version]:
            resolving[version].add(server)
        else:
            what = f"there is no IPv{version} to reach it by"
            notes.add(
                given.place,
                f"an IPv{version} name server is not used: {what}",
                f"the name server {server} is not used: {what}",
            )


def gateways_outside(family: Family) -> list[tuple[Address, Path]]:
    """Return the gateways that are in no subnet of the family, if all its subnets are known.

    Each with the place of its route.
    """
    if family.is_auto or not family.subnets:
        return []
    networks: dict[int, set[Address]] = {}
    for subnet in family.subnets:
        networks.setdefault(subnet.prefix, set()).add(subnet.address.masked(subnet.prefix))
    return [
        (gateway, place)
        for (_, gateway, _), place in family.routes.items()
        if gateway is not None
        and not gateway.is_link_local
        and not any(gateway.masked(prefix) in of for prefix, of in networks.items())
    ]

"""From a network to NetworkManager's profiles."""

from __future__ import annotations

from typing import Any, Final

from mic.nmstate import ip, routes
from mic.nmstate.interface import BY_MAC, Interface
from mic.nmstate.keyfile import Profile
from mic.nmstate.network import Network
from mic.nmstate.problems import problem
from mic.nmstate.types.ovs import OVS_BRIDGE

# What may fail without the connection failing, by what is to be waited for: IPv4, IPv6.
_MAY_FAIL: Final = {
    "any": (True, True),
    "ipv4": (False, True),
    "ipv6": (True, False),
    "ipv4+ipv6": (False, False),
}


def ordered(network: Network) -> list[Profile]:
    """Return the profiles of all interfaces, controllers and parents first, then by name."""
    present = [found for found in network.everything() if not found.is_absent]
    present.sort(key=lambda found: found.name.encode("utf-8", "surrogatepass"))
    present.sort(
        key=lambda found: 0 if found.type.is_userspace else network.priority.get(found.name, 0)
    )
    configs = {
        (found.name, found.type): found.type.port_configs(found) for found in network.everything()
    }
    profiles: list[Profile] = []
    for found in present:
        config = configs[found.controller].get(found.name) if found.controller else None
        its = [_profile(found, network, config), *found.type.further_profiles(found, network)]
        if found.state == "down":
            for profile in its:
                connection = {**profile.sections["connection"], "autoconnect": False}
                profile.sections["connection"] = connection
        profiles += its
    return profiles


def _profile(interface: Interface, network: Network, port_config: Any) -> Profile:
    base, type_ = interface.base, interface.type
    profile = network.blank_profile(interface.name, type_, type_.nm_type_of(interface))
    _write_connection(interface, profile)
    if interface.can_have_ip:
        _write_ip(interface, profile)
    if type_.has_link_settings:
        _write_link(interface, profile)
    if base.ovsdb is not None and _is_of_ovs(interface):
        profile.sections |= base.ovsdb.sections()
    if base.ieee8021x is not None:
        profile.sections["802-1x"] = base.ieee8021x.section()
    if base.description is not None:
        profile.sections["user"] = {"nmstate.interface.description": base.description}
    if base.ethtool is not None:
        profile.sections["ethtool"] = base.ethtool.section(interface.place / "ethtool")
    type_.write(interface, profile)
    if interface.controller is not None and port_config is not None:
        interface.controller[1].write_port(port_config, profile)
    return profile


def _is_of_ovs(interface: Interface) -> bool:
    controller = interface.controller
    return interface.type is OVS_BRIDGE or (controller is not None and controller[1] is OVS_BRIDGE)


def _write_connection(interface: Interface, profile: Profile) -> None:
    base = interface.base
    connection = dict(profile.sections["connection"])
    if base.profile_name is not None:
        profile.ident = base.profile_name
        connection["id"] = base.profile_name
    if base.identifier == BY_MAC:
        connection["interface-name"] = None
    if interface.controller is not None:
        name, type_ = interface.controller
        connection["master"] = name
        connection["slave-type"] = "ovs-port" if type_ is OVS_BRIDGE else type_.nm_type
    if base.lldp is not None:
        connection["lldp"] = int(base.lldp.enabled)
    if base.mptcp is not None:
        connection["mptcp-flags"] = base.mptcp.value()
    profile.sections["connection"] = connection


def _write_ip(interface: Interface, profile: Profile) -> None:
    may_fail = _MAY_FAIL.get(interface.base.wait_ip or "")
    for index, version in enumerate((4, 6)):
        family = interface.family(version)
        if family is not None and family.is_auto and not family.dhcp:
            place = interface.place / "ipv6" / "autoconf"
            raise problem(place, "autoconf needs dhcp: NetworkManager has no method for it")
        section = ip.section(family, routes.section(interface.routes, version))
        if may_fail is not None:
            section["may-fail"] = may_fail[index]
        profile.sections[f"ipv{version}"] = section


def _write_link(interface: Interface, profile: Profile) -> None:
    base = interface.base
    section: dict[str, object] = {}
    if base.mac is not None:
        key = "mac-address" if base.identifier == BY_MAC else "cloned-mac-address"
        section[key] = base.mac
    if base.mtu is not None:
        section["mtu"] = base.mtu & 0xFFFFFFFF
    if base.accept_all is not None:
        section["accept-all-mac-addresses"] = int(base.accept_all)
    if section:
        profile.sections["ethernet"] = section

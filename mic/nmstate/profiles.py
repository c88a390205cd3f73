"""Write the network as profiles of NetworkManager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mic.common.keyfile import Profile, file_name_fault, kernel_mtu
from mic.common.problems import problem, shown
from mic.nmstate import ip, routes
from mic.nmstate.interface import BY_MAC, AnyInterface, AnyType, PortConfig
from mic.nmstate.network import Entry, Network
from mic.nmstate.types.ovs import OVS_BRIDGE

# Whether IPv4 and IPv6 may fail without failing the connection, by ``wait-ip``.
_MAY_FAIL: Final = {
    "any": (True, True),
    "ipv4": (False, True),
    "ipv6": (True, False),
    "ipv4+ipv6": (False, False),
}


def ordered(network: Network) -> list[Profile]:
    """Return the profiles of all interfaces, controllers and parents first, then by name."""
    present = [
        (entry, entry.applied)
        for entry in network.entries()
        if entry.applied is not None and not entry.merged.is_absent
    ]
    present.sort(key=lambda found: found[0].merged.name.encode("utf-8", "surrogatepass"))
    present.sort(key=lambda found: found[0].priority)
    configs: dict[tuple[str, AnyType], Mapping[str, PortConfig]] = {}
    profiles: list[Profile] = []
    for entry, applied in present:
        interface = _with_host_ip(applied, entry)
        config = None
        if interface.controller is not None:
            if interface.controller not in configs:
                controller = network.find(*interface.controller)
                configs[interface.controller] = _port_configs(controller)
            config = configs[interface.controller].get(interface.name)
        extra = interface.type.extra_profiles(interface, network.lacks_profile)
        by_interface = [_profile(interface, config), *extra]
        _check_names(interface, by_interface)
        if interface.state == "down":
            for profile in by_interface:
                connection = {**profile.sections["connection"], "autoconnect": False}
                profile.sections["connection"] = connection
        profiles += by_interface
    return profiles


def _check_names(interface: AnyInterface, profiles: list[Profile]) -> None:
    """Raise `DocumentInvalid` for a profile with an invalid file name."""
    for profile in profiles:
        fault = file_name_fault(profile.file_name)
        if fault is not None:
            member = "name" if interface.common.profile_name is None else "profile-name"
            what = f"a profile cannot be named {shown(profile.file_name)!r}: {fault}"
            raise problem(interface.place / member, what)


def _port_configs(controller: Entry | None) -> Mapping[str, PortConfig]:
    return {} if controller is None else controller.merged.type.port_configs(controller.merged)


def _with_host_ip(interface: AnyInterface, entry: Entry) -> AnyInterface:
    """Return the interface with IP settings of the host that the document does not give."""
    if entry.host is not None:
        for version in (4, 6):
            family = entry.host.family(version)
            if interface.family(version) is None and family is not None:
                interface = interface.with_family(version, family)
    return interface


def _profile(interface: AnyInterface, port_config: PortConfig | None) -> Profile:
    common, type_ = interface.common, interface.type
    profile = type_.blank_profile(interface.name, type_.nm_type_of(interface))
    _write_connection(interface, profile)
    if interface.can_have_ip:
        _write_ip(interface, profile)
    if type_.has_link_settings:
        _write_link(interface, profile)
    if common.ovsdb is not None and _is_of_ovs(interface):
        profile.sections |= common.ovsdb.sections()
    if common.ieee8021x is not None:
        profile.sections["802-1x"] = common.ieee8021x.section()
    if common.description is not None:
        profile.sections["user"] = {"nmstate.interface.description": common.description}
    if common.ethtool is not None:
        profile.sections["ethtool"] = common.ethtool.section(interface.place / "ethtool")
    type_.write(interface, profile)
    if interface.controller is not None and port_config is not None:
        controller = interface.controller[1]
        # The reference looks up a port's settings by the name that the profile is bound to.
        is_named = profile.sections["connection"]["interface-name"] is not None
        if is_named or not controller.binds_ports_by_name:
            port_config.write(profile)
    return profile


def _is_of_ovs(interface: AnyInterface) -> bool:
    controller = interface.controller
    return interface.type is OVS_BRIDGE or (controller is not None and controller[1] is OVS_BRIDGE)


def _write_connection(interface: AnyInterface, profile: Profile) -> None:
    common = interface.common
    connection = dict(profile.sections["connection"])
    if common.profile_name is not None:
        profile.ident = common.profile_name
        connection["id"] = common.profile_name
    if common.identifier == BY_MAC:
        connection["interface-name"] = None
    if interface.controller is not None and interface.has_controller:
        name, type_ = interface.controller
        connection["master"] = name
        connection["slave-type"] = "ovs-port" if type_ is OVS_BRIDGE else type_.nm_type
    if common.lldp is not None:
        connection["lldp"] = int(common.lldp.enabled)
    if common.mptcp is not None:
        connection["mptcp-flags"] = common.mptcp.value()
    profile.sections["connection"] = connection


def _write_ip(interface: AnyInterface, profile: Profile) -> None:
    may_fail = _MAY_FAIL.get(interface.common.wait_ip or "")
    for index, version in enumerate((4, 6)):
        family = interface.family(version)
        if family is not None and family.is_auto and not family.dhcp:
            place = interface.place / "ipv6" / "autoconf"
            raise problem(place, "autoconf needs dhcp: NetworkManager has no method for it")
        section = ip.section(family, routes.of_version(interface.routes, version))
        if may_fail is not None:
            section["may-fail"] = may_fail[index]
        profile.sections[f"ipv{version}"] = section


def _write_link(interface: AnyInterface, profile: Profile) -> None:
    common = interface.common
    section: dict[str, object] = {}
    if common.mac is not None:
        key = "mac-address" if common.identifier == BY_MAC else "cloned-mac-address"
        section[key] = common.mac
    if common.mtu is not None:
        section["mtu"] = kernel_mtu(common.mtu)
    if common.accept_all is not None:
        section["accept-all-mac-addresses"] = int(common.accept_all)
    if section:
        profile.sections["ethernet"] = section

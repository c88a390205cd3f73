"""Profiles that NetworkManager refuses, although a document asks for them.

A table of rules that libnm applies when it reads and verifies a keyfile (``verify()`` of the
settings in libnm-core-impl, 1.42). An end-to-end test compares the table with libnm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from mic.common import addresses
from mic.common.keyfile import Profile
from mic.common.problems import Path, shown
from mic.common.warning import HostWarning, warning_at

_Sections = Mapping[str, Mapping[str, Any]]
_Rule = Callable[[str, _Sections], Iterator[tuple[str, str]]]

_NAME_LENGTH: Final = 15
_RESERVED: Final = frozenset({"all", "default", "bonding_masters", ".", ".."})
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NEEDED: Final = {
    **{
        kind: kind
        for kind in ("macsec", "vlan", "vpn", "macvlan", "ovs-interface", "ipvlan", "hsr")
    },
    "802-3-ethernet": "",
}
"""The section that a type of connection must have."""
_OTHERS: Final = (
    *((section, "parent") for section in ("vlan", "macvlan", "vxlan", "infiniband", "macsec")),
    ("veth", "peer"),
)
"""Sections and keys that name another interface."""
_NOT_IN_NAMES: Final = re.compile(r"[/:\s]")
_MODES: Final = frozenset(
    (
        *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb"),
        *("balance-alb", *map(str, range(7))),
    )
)
_NUMBERS: Final = {
    "min_links": 2**31 - 1,
    "downdelay": 2**31 - 1,
    "updelay": 2**31 - 1,
    "miimon": 2**31 - 1,
    "arp_interval": 2**31 - 1,
    "resend_igmp": 255,
}
"""Options of a bond that are numbers, and the largest of each."""
_MAX_VNI: Final = (1 << 24) - 1


def refusals(profiles: Iterable[Profile], places: Mapping[str, Path]) -> Iterator[HostWarning]:
    """Yield a warning for each setting that NetworkManager refuses.

    ``places`` are the places of interfaces in the document, by their names.
    """
    for profile in profiles:
        sections: _Sections = profile.sections
        connection = sections["connection"]
        kind = str(connection.get("type"))
        name = str(connection.get("interface-name") or profile.ident)
        for rule, concerned in _RULES:
            if concerned and concerned.isdisjoint(sections):
                continue
            for generic, text in rule(kind, sections):
                place = places.get(name) or Path() / f"interface {shown(name)}"
                yield warning_at(
                    place,
                    f"{generic}: NetworkManager refuses it",
                    f"{text or generic}: NetworkManager refuses it",
                )


def _sections(kind: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    needed = _NEEDED.get(kind, "")
    if needed and needed not in sections:
        yield f"its profile lacks the section {needed}", ""
    if kind == "infiniband":
        if sections.get("infiniband", {}).get("transport-mode") is None:
            yield "an InfiniBand interface needs a mode", ""
        elif (
            sections["infiniband"].get("p-key") is not None
            and sections["infiniband"].get("parent") is None
        ):
            yield "an InfiniBand interface with a pkey needs base-iface", ""
    if kind == "loopback" and sections["connection"].get("interface-name") != "lo":
        yield "an interface of type loopback must be lo", ""
    elif kind == "loopback" and sections["connection"].get("master") is not None:
        yield "the loopback interface cannot be a port", ""
    if sections["connection"].get("slave-type") == "loopback":
        yield "its controller cannot have ports", ""


def _names(kind: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    name = sections["connection"].get("interface-name")
    if name is None and kind in ("bridge", "bond", "dummy", "vrf"):
        yield f"a {kind} cannot be identified by a MAC address", ""
    if name is not None and not kind.startswith("ovs-"):
        # `mic.nmstate.doubts` warns of other names.
        if name in _RESERVED:
            yield "its name is reserved", f"the name {shown(str(name))!r} is reserved"
    elif name == "":
        yield "its name is empty", ""
    for section, key in _OTHERS:
        other = sections[section].get(key) if section in sections else None
        if other is not None and not _UUID.fullmatch(str(other)):
            fault = _name_fault(str(other))
            if fault:
                text = f"the interface {shown(str(other))!r} of its {section} {fault}"
                yield f"the name of another interface {fault}", text


def _name_fault(name: str) -> str:
    if not name or len(name.encode()) > _NAME_LENGTH:
        return f"does not have 1 to {_NAME_LENGTH} bytes"
    if name in _RESERVED:
        return "is reserved"
    if _NOT_IN_NAMES.search(name) or not name.isprintable():
        return "has a character that Linux does not allow"
    return ""


def _ieee8021x(_: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    settings = sections.get("802-1x")
    if settings is None:
        return
    methods = settings.get("eap") or ()
    if not methods:
        yield "802.1X needs eap-methods", ""
    elif "tls" in str(methods) and settings.get("client-cert") is None:
        yield "802.1X with TLS needs client-cert", ""
    elif any(each in str(methods) for each in ("peap", "ttls", "fast")) and not (
        settings.get("phase2-auth") or settings.get("phase2-autheap")
    ):
        yield "802.1X with this method needs phase2-auth", ""


def _bond(_: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    options = sections.get("bond", {})
    mode = options.get("mode")
    if mode is not None and str(mode) not in _MODES:
        yield "its bond mode does not exist", ""
    if options.get("primary") is not None and str(mode) not in ("active-backup", "1"):
        yield "the bond option primary needs the mode active-backup", ""
    if options.get("lacp_rate") is not None and str(mode) not in ("802.3ad", "4"):
        yield "the bond option lacp_rate needs the mode 802.3ad", ""
    if str(options.get("arp_interval") or "0") != "0" and not options.get("arp_ip_target"):
        yield "the bond option arp_interval needs arp_ip_target", ""
    if options.get("arp_missed_max") is not None:
        yield "the bond option arp_missed_max is known since 1.44 only", ""
    for target in str(options.get("arp_ip_target") or "").split(","):
        found = addresses.parsed(target.strip())
        if target and (found is None or found.version != 4):
            yield "an arp_ip_target of the bond is no IPv4 address", ""
    for name, most in _NUMBERS.items():
        value = options.get(name)
        if value is not None and (not str(value).isdecimal() or int(value) > most):
            yield f"the bond option {name} is out of range", ""


def _bridge(_: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    bridge = sections.get("bridge", {})
    mask = bridge.get("group-forward-mask")
    if mask is not None and int(mask) & 7:
        yield "the group-forward-mask of a bridge cannot have the bits 0, 1 and 2", ""
    address = bridge.get("group-address")
    if address and not _is_group_address(address):
        yield "the group-addr of a bridge is not in 01:80:C2:00:00:00 to 0F", ""
    cost = sections.get("bridge-port", {}).get("path-cost")
    if cost is not None and int(cost) > 65535:
        yield "the stp-path-cost of a bridge's port is above 65535", ""
    for section in ("bridge", "bridge-port"):
        for first, last in re.findall(
            r"(\d+)(?:-(\d+))?", str(sections.get(section, {}).get("vlans") or "")
        ):
            if not (1 <= int(first) <= int(last or first) <= 4094):
                yield "a VLAN range of a bridge is not within 1 to 4094", ""
    for first, last in re.findall(r"(\d+)-(\d+)", str(sections.get("ovs-port", {}).get("trunks"))):
        if int(first) > int(last):
            yield "a trunk range ends before it begins", ""


def _is_group_address(value: object) -> bool:
    """Return whether bytes, as a keyfile has them, are an address that bridges do not forward."""
    numbers = [int(part) for part in re.findall(r"[0-9]+", str(value))]
    free = (0, *range(4, 16))  # 1 to 3 have other uses (IEEE 802.1D, table 7-10)
    return numbers[:5] == [0x01, 0x80, 0xC2, 0, 0] and numbers[5:] in [[each] for each in free]


def _tunnel(_: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    vxlan = sections.get("vxlan", {})
    if vxlan.get("id") is not None and int(vxlan["id"]) > _MAX_VNI:
        yield f"a VXLAN id is at most {_MAX_VNI}", ""
    local = addresses.parsed(str(vxlan.get("local") or ""))
    remote = addresses.parsed(str(vxlan.get("remote") or ""))
    if local is not None and remote is not None and local.version != remote.version:
        yield "local and remote of a VXLAN are of two IP versions", ""
    elif local is not None and local.version == 6 and local.value >> 32 == 0xFFFF:
        yield "local of a VXLAN is an IPv4 address written as IPv6", ""


def _ip(_: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    for section in ("ipv4", "ipv6"):
        settings = sections.get(section, {})
        method = settings.get("method")
        if method == "disabled" and any(key.startswith("address") for key in settings):
            yield f"{section} is off and has addresses", ""
        if method in ("disabled", "link-local") and settings.get("dns"):
            yield f"{section} has name servers and no addresses", ""
        duid = settings.get("dhcp-duid")
        if duid is not None and not re.fullmatch(
            r"(ll|llt|lease|stable-(ll|llt|uuid)|([0-9a-fA-F]{1,2}:)*[0-9a-fA-F]{1,2})",
            str(duid),
        ):
            yield f"the dhcp-duid of {section} is no DUID", ""
        if method == "manual" and not any(key.startswith("address") for key in settings):
            yield f"{section} has routes and no addresses", ""


def _text(_: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    for section, settings in sections.items():
        for key, value in settings.items():
            if isinstance(value, str) and ("\n" in value or "\r" in value):
                yield f"{section}.{key} has a line break", ""


def _open_vswitch(kind: str, sections: _Sections) -> Iterator[tuple[str, str]]:
    bridge = sections.get("ovs-bridge", {})
    if bridge.get("datapath-type") not in (None, "", "system", "netdev"):
        yield "the datapath of an OVS bridge is not system or netdev", ""
    if bridge.get("fail-mode") not in (None, "", "secure", "standalone"):
        yield "the fail-mode of an OVS bridge is not secure or standalone", ""
    if kind == "ovs-port" and not sections["connection"].get("master"):
        yield "an OVS port needs a bridge", ""


_RULES: Final[tuple[tuple[_Rule, frozenset[str]], ...]] = (
    (_sections, frozenset()),
    (_names, frozenset()),
    (_ieee8021x, frozenset({"802-1x"})),
    (_bond, frozenset({"bond"})),
    (_bridge, frozenset({"bridge", "bridge-port", "ovs-port"})),
    (_tunnel, frozenset({"vxlan"})),
    (_ip, frozenset({"ipv4", "ipv6"})),
    (_open_vswitch, frozenset()),
    (_text, frozenset()),
)
"""The rules, each with the sections of which a profile needs one to break it; empty for all."""

"""Options of bonds: the members ``bond_*``, named as the kernel names them.

Documentation/networking/bonding.rst of Linux describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mic.common import addresses
from mic.common.problems import Path, add_own_words, problem, shown
from mic.common.schema import Reader, truth
from mic.networkdata import readers
from mic.networkdata.notes import Notes
from mic.networkdata.readers import given, whole, word

_MODES: Final = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad"),
    *("balance-tlb", "balance-alb"),
)
_IRONICS_LACP: Final = "802.1ad"
"""How the schema of Ironic spells 802.3ad; 802.1ad is another standard."""

_BIG: Final = 2**31 - 1
_DEFAULT_MIIMON: Final = 100


def _one_of(*words: str) -> Reader[str]:
    """Return a reader of a word, or of its index."""
    by_index = {str(index): each for index, each in enumerate(words)}

    def read(value: Any, path: Path) -> str:
        text = word(value, path)
        text = by_index.get(text, text)
        if text not in words:
            raise problem(path, f"found {shown(text)!r}, expected one of {', '.join(words)}")
        return text

    return read


_MODE: Final = _one_of(*_MODES)


def _mode(value: Any, path: Path) -> str:
    return "802.3ad" if value == _IRONICS_LACP else _MODE(value, path)


def _targets(value: Any, path: Path) -> str:
    """Read IPv4 addresses in a string, or in a list."""
    texts = (
        value.replace(",", " ").split() if isinstance(value, str) else readers.words(value, path)
    )
    for text in texts:
        found = addresses.parsed(text)
        if found is None or found.version != 4:
            raise problem(path, f"found {shown(text)!r}, expected IPv4 addresses")
    if len(texts) > _MAX_TARGETS:
        raise problem(path, f"found {len(texts)} addresses, expected at most {_MAX_TARGETS}")
    return ",".join(texts)


_MAX_TARGETS: Final = 16  # BOND_MAX_ARP_TARGETS

_OPTIONS: Final[Mapping[str, Reader[Any]]] = {
    "mode": _mode,
    "miimon": whole(0, _BIG),
    "updelay": whole(0, _BIG),
    "downdelay": whole(0, _BIG),
    "use_carrier": truth,
    "arp_interval": whole(0, _BIG),
    "arp_ip_target": _targets,
    "arp_validate": _one_of(
        *("none", "active", "backup", "all", "filter", "filter_active", "filter_backup")
    ),
    "arp_all_targets": _one_of("any", "all"),
    "primary": readers.device,
    "primary_reselect": _one_of("always", "better", "failure"),
    "fail_over_mac": _one_of("none", "active", "follow"),
    "xmit_hash_policy": _one_of(
        *("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")
    ),
    "lacp_rate": _one_of("slow", "fast"),
    "ad_select": _one_of("stable", "bandwidth", "count"),
    "ad_actor_sys_prio": whole(1, 65535),
    "ad_actor_system": readers.mac,
    "ad_user_port_key": whole(0, 1023),
    "min_links": whole(0, _BIG),
    "all_slaves_active": truth,
    "resend_igmp": whole(0, 255),
    "num_grat_arp": whole(0, 255),
    "num_unsol_na": whole(0, 255),
    "lp_interval": whole(1, _BIG),
    "packets_per_slave": whole(0, 65535),
    "tlb_dynamic_lb": truth,
}

_LACP: Final = frozenset(("802.3ad",))
_ARP: Final = frozenset(("balance-rr", "active-backup", "balance-xor", "broadcast"))
_TLB: Final = frozenset(("balance-tlb", "balance-alb"))
_ONLY_IN: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("lacp_rate", "ad_select", "ad_user_port_key"), _LACP),
    **dict.fromkeys(("ad_actor_sys_prio", "ad_actor_system"), _LACP),
    **dict.fromkeys(("arp_interval", "arp_ip_target", "arp_validate", "arp_all_targets"), _ARP),
    **dict.fromkeys(("primary", "primary_reselect"), _TLB | {"active-backup"}),
    "packets_per_slave": frozenset(("balance-rr",)),
    "tlb_dynamic_lb": frozenset(("balance-tlb",)),
    "lp_interval": _TLB,
}
"""The modes of options that not all modes have; NetworkManager refuses a bond with others."""

add_own_words(f"bond_{name}" for name in _OPTIONS)

_NEED_MIIMON: Final = ("updelay", "downdelay")
_OF_ARP: Final = ("arp_interval", "arp_ip_target", "arp_validate", "arp_all_targets")


def options(
    bond: Mapping[str, Any], names: Mapping[str, str], place: Path, notes: Notes
) -> dict[str, object]:
    """Return the ``bond`` section of a keyfile for members without their prefix ``bond_``.

    ``names`` are the interfaces of the ports by the ids of their links, empty for those that have
    none. Options that NetworkManager would refuse are left out with a warning. Raises
    `DocumentInvalid` for a missing mode and for malformed values.
    """
    found: dict[str, object] = {}
    for key, value in bond.items():
        path = place / f"bond_{key}"
        read = _OPTIONS.get(key)
        if read is None:
            notes.add(path, "is not an option of bonds, and is not used")
            continue
        if key == "primary" and isinstance(value, str) and value in names:
            value = names[value]  # noqa: PLW2901
            if not value:
                notes.add(path, "is not used: the port is found by its MAC address, without a name")
                continue
        option = given(read)(value, path)
        if option is not None:
            found[key] = int(option) if isinstance(option, bool) else option
    if "mode" not in found:
        raise problem(place, f"'bond_mode' is missing, expected one of {', '.join(_MODES)}")
    _drop_unusable(found, place, notes)
    return found


def _drop_unusable(found: dict[str, object], place: Path, notes: Notes) -> None:
    mode = str(found["mode"])
    for key, modes in _ONLY_IN.items():
        if key in found and mode not in modes:
            del found[key]
            what = f"is not used: a bond of mode {mode} has no such option"
            notes.add(place / f"bond_{key}", what)
    by_arp = bool(found.get("arp_interval")) and bool(found.get("arp_ip_target"))
    if found.get("arp_interval") and not by_arp:
        notes.add(place / "bond_arp_interval", "is not used: bond_arp_ip_target is missing")
    if by_arp and found.get("miimon"):
        notes.add(place / "bond_arp_interval", "is not used: bond_miimon monitors the ports")
        by_arp = False
    for key in () if by_arp else _OF_ARP:
        found.pop(key, None)
    for key in _NEED_MIIMON:
        if by_arp and found.pop(key, None):
            notes.add(place / f"bond_{key}", "is not used: it needs bond_miimon")
    if any(found.get(key) for key in _NEED_MIIMON) and not found.get("miimon"):
        found["miimon"] = _DEFAULT_MIIMON
    grat, unsol = found.get("num_grat_arp"), found.pop("num_unsol_na", None)
    if grat is None and unsol is not None:
        # Two names of one setting.
        found["num_grat_arp"] = unsol

"""NetworkManager keyfiles, and the profiles that they are rendered from.

The format is NetworkManager's (nm-settings-keyfile(5)). Like the reference, sections and keys are
sorted and empty values are omitted.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from mic.common.problems import refusal, shown

_SECTIONS: Final = {
    name: rank
    for rank, name in enumerate(
        (
            *("connection", "bond", "bond-port", "bridge", "bridge-port", "ipv4", "ipv6"),
            *("ovs-bridge", "ovs-port", "ovs-interface", "ovs-patch", "ovs-dpdk", "ethernet"),
            *("vlan", "vxlan", "sriov", "macvlan", "vrf", "veth", "user", "802-1x", "ethtool"),
            *("infiniband", "ovs-external-ids", "ovs-other-config", "vpn", "vpn-secrets"),
        )
    )
}
Section = Mapping[str, object]

_SHORT: Final = 32  # characters of a name whose UUID is remembered

MAX_FILE_NAME: Final = 255
"""Maximum length of a file name on Linux, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyfile:
    """A keyfile for ``/etc/NetworkManager/system-connections``; only root may read it."""

    name: str
    """The file's name, such as ``eth0.nmconnection``."""
    content: str = field(repr=False)
    """The file's text. Excluded from the repr: it may contain 802.1X and VPN secrets."""


@dataclass(slots=True, kw_only=True)
class Profile:
    """A connection profile: an identity and settings by section.

    Values are strings, integers, booleans or tuples of those. None and empty values are omitted
    when the profile is rendered.
    """

    ident: str
    sections: dict[str, Section] = field(default_factory=dict, repr=False)

    @property
    def file_name(self) -> str:
        """The name of the profile's file."""
        return f"{self.ident}.nmconnection"

    def rendered(self) -> Keyfile:
        """Return the profile as a file."""
        parts = []
        for name in sorted(self.sections, key=_SECTIONS.__getitem__):
            lines = [f"[{name}]\n"]
            settings = self.sections[name]
            for key in sorted(settings):  # by code point, which is UTF-8's order of bytes too
                value = settings[key]
                if type(value) is not str:
                    value = _written(value)
                if value:
                    lines.append(f"{key}={value}\n")
            parts.append("".join(lines))
        return Keyfile(name=self.file_name, content="\n".join(parts))


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ";".join(map(_written, value))
    return str(value)


def file_name_fault(name: str) -> str | None:
    """Return why ``name`` is not a valid file name, or None if it is valid.

    Stricter than the kernel: names appear in paths, logs and shells, and NetworkManager ignores
    files whose name starts with a dot.
    """
    if "/" in name:
        return "a file name has no '/'"
    if not name.isprintable():
        return "a file name has printable characters only"
    if not name or name.startswith("."):
        return "a file name does not start with a dot"
    if len(name.encode()) > MAX_FILE_NAME:
        return f"a file name has at most {MAX_FILE_NAME} bytes"
    return None


def check_names(keyfiles: Iterable[Keyfile]) -> None:
    """Check that the keyfiles can be files of one directory, as in a host's image.

    Raises `mic.common.problems.DocumentInvalid` for an invalid name and for a duplicate name: on
    the host, Ignition refuses a config with two files of the same path.
    """
    names: set[str] = set()
    for keyfile in keyfiles:
        fault = file_name_fault(keyfile.name)
        if fault is not None:
            what = f"a profile cannot be named {shown(keyfile.name)!r}: {fault}"
            raise refusal(what, f"a profile's name: {fault}")
        if keyfile.name in names:
            raise refusal(
                f"two profiles are named {keyfile.name!r}", "two profiles have the same name"
            )
        names.add(keyfile.name)


def kernel_mtu(mtu: int | None) -> int | None:
    """Return an MTU truncated to 32 bits, as the reference does."""
    return None if mtu is None else mtu & 0xFFFFFFFF


def stable_uuid(kind: str, name: str) -> str:
    """Return the profile's UUID: version 5 of ``kind://name`` in RFC 4122's URL name space.

    The same interface gets the same UUID on every run, so that a new keyfile replaces the old one.
    """
    make = _uuid if len(name) <= _SHORT else _uuid.__wrapped__
    return make(kind, name)


@lru_cache(maxsize=1024)
def _uuid(kind: str, name: str) -> str:
    """Return as `stable_uuid`. Most hosts have interfaces of the same names."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}://{name}"))

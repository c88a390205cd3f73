"""NetworkManager keyfiles: the file handed out, and the profile it is rendered from.

The format is NetworkManager's (nm-settings-keyfile(5)); the order of sections and keys, and the
leaving out of empty values, are the reference's.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyfile:
    """A keyfile for ``/etc/NetworkManager/system-connections``, to be readable by root only."""

    name: str
    """The file's name, such as ``eth0.nmconnection``."""
    content: str = field(repr=False)
    """The file's text. Out of the repr: it may hold 802.1X and VPN secrets."""


@dataclass(slots=True, kw_only=True)
class Profile:
    """A connection profile: an identity and settings by section.

    Values are strings, integers, booleans or sequences of those; None and empty values are left
    out when the profile is rendered.
    """

    ident: str
    sections: dict[str, Section] = field(default_factory=dict, repr=False)

    def rendered(self) -> Keyfile:
        """Return the profile as a file."""
        parts = []
        for name in sorted(self.sections, key=_SECTIONS.__getitem__):
            lines = [f"[{name}]\n"]
            settings = self.sections[name]
            for key in sorted(settings, key=_by_bytes):
                value = _written(settings[key])
                if value:
                    lines.append(f"{key}={value}\n")
            parts.append("".join(lines))
        return Keyfile(name=f"{self.ident}.nmconnection", content="\n".join(parts))


def _by_bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


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


def stable_uuid(kind: str, name: str) -> str:
    """Return the profile's UUID: version 5 of ``kind://name`` in RFC 4122's URL name space.

    The same interface gets the same UUID on every run, so that a keyfile replaces its elder.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}://{name}"))

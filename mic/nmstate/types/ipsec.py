"""IPsec connections of Libreswan. They contain secrets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema
from mic.common.keyfile import Profile
from mic.common.problems import DocumentInvalid, Path, problem
from mic.common.schema import Struct, member, optional, required
from mic.nmstate.ieee8021x import revealed
from mic.nmstate.interface import Interface, InterfaceType

_TEXT: Final = optional(schema.text)
_SERVICE: Final = "org.freedesktop.NetworkManager.libreswan"
_FAMILY: Final = optional(schema.choice("ipv4", "ipv6"))


def _ipsec_interface(value: Any, path: Path) -> str:
    """Read yes, no, or a number."""
    if value in ("yes", "no"):
        return str(value)
    try:
        bits = 32 if isinstance(value, str) else 64
        if not isinstance(value, str) or not value.startswith("0x"):
            schema.unsigned(bits)(value, path)
            return str(value)
    except DocumentInvalid:
        pass
    raise problem(path, "expected yes, no or an unsigned integer")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LibreswanConfig:
    """The ``libreswan`` member, without a repr. Field names are those of ipsec.conf(5)."""

    right: str = required("right", schema.text)
    rightid: str | None = member("rightid", _TEXT)
    rightrsasigkey: str | None = member("rightrsasigkey", _TEXT)
    rightcert: str | None = member("rightcert", _TEXT)
    left: str | None = member("left", _TEXT)
    leftid: str | None = member("leftid", _TEXT)
    leftrsasigkey: str | None = member("leftrsasigkey", _TEXT)
    leftcert: str | None = member("leftcert", _TEXT)
    ikev2: str | None = member("ikev2", _TEXT)
    psk: str | None = member("psk", _TEXT)
    ikelifetime: str | None = member("ikelifetime", _TEXT)
    salifetime: str | None = member("salifetime", _TEXT)
    ike: str | None = member("ike", _TEXT)
    esp: str | None = member("esp", _TEXT)
    dpddelay: int | None = member("dpddelay", schema.unsigned(64))
    dpdtimeout: int | None = member("dpdtimeout", schema.unsigned(64))
    dpdaction: str | None = member("dpdaction", _TEXT)
    ipsec_interface: str | None = member("ipsec-interface", _ipsec_interface)
    authby: str | None = member("authby", _TEXT)
    rightsubnet: str | None = member("rightsubnet", _TEXT)
    leftsubnet: str | None = member("leftsubnet", _TEXT)
    leftmodecfgclient: bool | None = member("leftmodecfgclient", optional(schema.boolean))
    type: str | None = member("type", optional(schema.choice("tunnel", "transport")))
    hostaddrfamily: str | None = member("hostaddrfamily", _FAMILY)
    clientaddrfamily: str | None = member("clientaddrfamily", _FAMILY)
    require_id_on_certificate: bool | None = member(
        "require-id-on-certificate", optional(schema.boolean)
    )

    def section(self) -> dict[str, object]:
        """Return the ``vpn`` section, which has everything except the secret."""
        section: dict[str, object] = {"service-type": _SERVICE}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "psk" and value is not None:
                word = ("yes" if value else "no") if isinstance(value, bool) else value
                section[field.name.replace("_", "-")] = word
        return section


@dataclass(frozen=True, slots=True, kw_only=True)
class IpsecMembers:
    """The members that only IPsec connections have."""

    libreswan: LibreswanConfig | None = member("libreswan", optional(Struct(LibreswanConfig)))


class Ipsec(InterfaceType[IpsecMembers]):
    """A connection, which the kernel does not know as an interface."""

    name = "ipsec"
    nm_type = "vpn"
    members = Struct(IpsecMembers)
    is_userspace = True
    has_interface_name = False

    def normalised(self, interface: Interface[IpsecMembers]) -> Interface[IpsecMembers]:
        """Treat ``dhcp: false`` as IPv4 disabled: the peer assigns the addresses."""
        ipv4 = interface.common.ipv4
        if ipv4 is not None and ipv4.enabled and ipv4.dhcp is False:
            return interface.with_common(ipv4=dataclasses.replace(ipv4, enabled=False, dhcp=None))
        return interface

    def write(self, interface: Interface[IpsecMembers], profile: Profile) -> None:
        """Write the ``vpn`` and ``vpn-secrets`` sections."""
        config = interface.config.libreswan
        if config is None:
            return
        profile.sections["vpn"] = config.section()
        secret = revealed(config.psk)
        if secret is not None:
            profile.sections["vpn-secrets"] = {"pskvalue": secret}

"""IPv4 and IPv6 of an interface: the ``ipv4`` and ``ipv6`` members and keyfile sections."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mic.nmstate import addresses, schema
from mic.nmstate.addresses import Address
from mic.nmstate.dns import DnsSettings
from mic.nmstate.mptcp import FLAG
from mic.nmstate.problems import Path, problem, shown
from mic.nmstate.routerules import Rule
from mic.nmstate.schema import Struct, member, optional, required, sequence

MINIMUM_IPV6_MTU: Final = 1280
INFINITE: Final = 2**31 - 1  # seconds: DHCP and router advertisements are waited for without end
_UNSET: Final = "::"
_FOREVER: Final = "forever"
_GENERATION: Final = {"eui64": 0, "EUI64": 0, "stable-privacy": 1, "STABLE-PRIVACY": 1}
_CLIENT_ID: Final = {"ll": "mac", "LL": "mac", "iaid+duid": "duid", "IAID+DUID": "duid"}
_DUID: Final = {"LLT": "llt", "EN": "en", "LL": "ll", "UUID": "uuid"}
_I32: Final = re.compile(r"[+-]?[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class IpAddress:
    """An address with the length of its network's prefix."""

    ip: Address = required("ip", schema.address)
    prefix: int = required("prefix-length", schema.unsigned(8))
    mptcp_flags: tuple[str, ...] | None = member("mptcp-flags", optional(sequence(FLAG)))
    valid: str | None = member("valid-life-time", optional(schema.text), "valid-left", "valid-lft")
    preferred: str | None = member(
        "preferred-life-time", optional(schema.text), "preferred-left", "preferred-lft"
    )

    @property
    def is_dynamic(self) -> bool:
        """Whether the address has a life time, hence came from DHCP or autoconfiguration."""
        return self.valid is not None and self.valid != _FOREVER

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ip:
    """One address family of an interface, as given or (after `sanitised`) as it will be."""

    given_enabled: bool | None = member("enabled", schema.truth)
    dhcp: bool | None = member("dhcp", schema.truth)
    autoconf: bool | None = member("autoconf", schema.truth)
    client_id: str | None = member("dhcp-client-id", optional(schema.text))
    duid: str | None = member("dhcp-duid", optional(schema.text))
    addresses: tuple[IpAddress, ...] | None = member(
        "address", optional(sequence(Struct(IpAddress)))
    )
    auto_dns: bool | None = member("auto-dns", schema.truth)
    auto_gateway: bool | None = member("auto-gateway", schema.truth)
    auto_routes: bool | None = member("auto-routes", schema.truth)
    auto_table: int | None = member("auto-route-table-id", schema.unsigned(32))
    auto_metric: int | None = member("auto-route-metric", schema.unsigned(32))
    generation: str | None = member("addr-gen-mode", optional(schema.text))
    allow_extra: bool | None = member("allow-extra-address", optional(schema.boolean))
    token: str | None = member("token", optional(schema.text))
    send_hostname: bool | None = member("dhcp-send-hostname", optional(schema.boolean))
    custom_hostname: str | None = member("dhcp-custom-hostname", optional(schema.text))
    enabled: bool = False
    version: int = 4
    dns: DnsSettings | None = None
    rules: tuple[Rule, ...] = field(default=())

    @property
    def is_auto(self) -> bool:
        """Whether addresses come from DHCP or router advertisements."""
        return self.enabled and (self.dhcp is True or (self.version == 6 and self.autoconf is True))

    @property
    def is_static(self) -> bool:
        """Whether there are addresses of the document's own, and no others."""
        return self.enabled and not self.is_auto and bool(self.addresses)


_IP: Final = Struct(Ip)


def static(ip: Address, prefix: int) -> Ip:
    """Return a family that is enabled and has one address."""
    found = (IpAddress(ip=ip, prefix=prefix),)
    return Ip(given_enabled=True, enabled=True, version=ip.version, addresses=found)


def read_ipv4(value: Any, path: Path) -> Ip:
    """Read an ``ipv4`` member."""
    if isinstance(value, dict) and "autoconf" in value:
        raise problem(path / "autoconf", "IPv4 has no autoconfiguration")
    found = _IP.members(value, path)
    return Ip(**found, enabled=found.get("given_enabled") or False, version=4)


def read_ipv6(value: Any, path: Path) -> Ip:
    """Read an ``ipv6`` member."""
    found = _IP.members(value, path)
    return Ip(**found, enabled=found.get("given_enabled") or False, version=6)


def sanitised(ip: Ip, path: Path) -> Ip:
    """Return the family with defaults filled in and with what does not apply taken out.

    Raises `NMStateInvalid` for an address of the other family or an impossible prefix.
    """
    width = addresses.WIDTH[ip.version]
    kept = ip.addresses
    for index, address in enumerate(kept or ()):
        place = path / "address" / index
        if address.ip.version != ip.version:
            raise problem(place / "ip", f"{address.ip} is not an IPv{ip.version} address")
        if address.prefix > width:
            raise problem(place / "prefix-length", f"found {address.prefix}, expected 0 to {width}")
    if kept is not None:
        kept = tuple(a for a in kept if not a.is_dynamic and not a.ip.is_link_local)
    if ip.enabled:
        ip = dataclasses.replace(ip, addresses=kept)
    else:
        ip = dataclasses.replace(ip, dhcp=None, autoconf=None, addresses=None)
    if ip.is_auto:
        ip = dataclasses.replace(
            ip,
            auto_dns=ip.auto_dns is not False,
            auto_routes=ip.auto_routes is not False,
            auto_gateway=ip.auto_gateway is not False,
        )
    token = ip.token
    if token is not None and ip.version == 6:
        if ip.autoconf is False and token not in ("", _UNSET):
            raise problem(path / "token", "a token needs autoconf; an empty one takes it away")
        ip = dataclasses.replace(ip, token=_token(token, path / "token"))
    return ip


def _token(token: str, path: Path) -> str:
    """Return the interface identifier in its shortest hexadecimal form, ``::fac1``."""
    if not token:
        return _UNSET
    found = addresses.parsed(token)
    if found is None or found.version != 6:
        raise problem(path, f"found {shown(token)!r}, expected an IPv6 address")
    if found.value >> 64:
        raise problem(path, f"found {found}, expected 64 zero bits in front")
    # Written below a documentation prefix, for str() would put IPv4 dots into a bare identifier.
    return str(Address(6, found.value | 0x2001_0DB8 << 96)).removeprefix("2001:db8")


def section(ip: Ip | None, routes: Mapping[str, object]) -> dict[str, object]:
    """Return the keyfile section of a family; ``routes`` are the keys of its static routes."""
    if ip is None:
        return {"method": "disabled", "dhcp-timeout": INFINITE}
    settings: dict[str, object] = {"method": _method(ip, routes), "dhcp-timeout": INFINITE}
    for index, address in enumerate(ip.addresses or ()):
        settings[f"address{index}"] = str(address)
    if ip.version == 6:
        settings["addr-gen-mode"] = _generation(ip.generation)
    if ip.is_auto:
        settings |= _auto(ip)
    for index, rule in enumerate(ip.rules):
        settings[f"routing-rule{index}"] = rule.written()
    if ip.dns is not None:
        settings |= ip.dns.settings()
    if ip.enabled:
        settings |= routes
    return settings


def _method(ip: Ip, routes: Mapping[str, object]) -> str:
    if not ip.enabled:
        return "disabled"
    if ip.dhcp:
        return "auto" if ip.version == 4 or ip.autoconf else "dhcp"
    if ip.addresses or routes:
        return "manual"
    return "disabled" if ip.version == 4 else "link-local"


def _generation(mode: str | None) -> int:
    known = _GENERATION.get(mode or "eui64")
    if known is not None:
        return known
    number = int(mode) if mode is not None and _I32.fullmatch(mode) else 0
    return number if -(1 << 31) <= number < 1 << 31 else 0


def _auto(ip: Ip) -> dict[str, object]:
    settings: dict[str, object] = {
        "ignore-auto-dns": not ip.auto_dns,
        "never-default": not ip.auto_gateway,
        "ignore-auto-routes": not ip.auto_routes,
        "route-table": ip.auto_table,
        "route-metric": ip.auto_metric,
        "dhcp-send-hostname": ip.send_hostname is not False,
    }
    if ip.version == 4:
        settings["dhcp-client-id"] = _CLIENT_ID.get(ip.client_id or "ll", ip.client_id)
    else:
        settings["dhcp-duid"] = _DUID.get(ip.duid or "ll", ip.duid or "ll")
        settings["dhcp-iaid"] = "mac"
        settings["ra-timeout"] = INFINITE
        settings["token"] = None if ip.token == _UNSET else ip.token
    if ip.send_hostname is not False and ip.custom_hostname:
        is_fqdn = ip.version == 4 and "." in ip.custom_hostname
        settings["dhcp-fqdn" if is_fqdn else "dhcp-hostname"] = ip.custom_hostname
    return settings

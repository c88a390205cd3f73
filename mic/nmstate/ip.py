"""IPv4 and IPv6 of an interface: the ``ipv4`` and ``ipv6`` members and keyfile sections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mic.common import addresses, schema
from mic.common.addresses import Address
from mic.common.problems import Path, problem, shown
from mic.common.schema import Struct, member, optional, required, sequence
from mic.nmstate.changed import changed
from mic.nmstate.dns import DnsSettings
from mic.nmstate.mptcp import FLAG
from mic.nmstate.route_rules import Rule
from mic.nmstate.routes import Route
from mic.nmstate.routes import settings as route_settings

MINIMUM_IPV6_MTU: Final = 1280
INFINITE: Final = 2**31 - 1  # seconds: wait for DHCP and router advertisements forever
_UNSET: Final = "::"
_FOREVER: Final = "forever"
_GENERATION: Final = {"eui64": 0, "EUI64": 0, "stable-privacy": 1, "STABLE-PRIVACY": 1}
_CLIENT_ID: Final = {"ll": "mac", "LL": "mac", "iaid+duid": "duid", "IAID+DUID": "duid"}
_DUID: Final = {
    word: word.lower() for word in ("LLT", "llt", "EN", "en", "LL", "ll", "UUID", "uuid")
}


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
        """Whether the address has a lifetime, and so came from DHCP or autoconfiguration."""
        return self.valid is not None and self.valid != _FOREVER

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ip:
    """One address family of an interface, as given or, after `normalised`, as it will be."""

    given_enabled: bool | None = member("enabled", schema.truth)
    dhcp: bool | None = member("dhcp", schema.truth)
    autoconf: bool | None = member("autoconf", schema.truth)
    client_id: str | None = member("dhcp-client-id", optional(schema.open_choice(*_CLIENT_ID)))
    duid: str | None = member("dhcp-duid", optional(schema.open_choice(*_DUID)))
    addresses: tuple[IpAddress, ...] | None = member(
        "address", optional(sequence(Struct(IpAddress)))
    )
    auto_dns: bool | None = member("auto-dns", schema.truth)
    auto_gateway: bool | None = member("auto-gateway", schema.truth)
    auto_routes: bool | None = member("auto-routes", schema.truth)
    auto_table: int | None = member("auto-route-table-id", schema.unsigned(32))
    auto_metric: int | None = member("auto-route-metric", schema.unsigned(32))
    generation: str | None = member("addr-gen-mode", optional(schema.open_choice(*_GENERATION)))
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
        """Whether all addresses are given by the document."""
        return self.enabled and not self.is_auto and bool(self.addresses)


_IP: Final = Struct(Ip)


def static(ip: Address, prefix: int) -> Ip:
    """Return an enabled family with one address."""
    found = (IpAddress(ip=ip, prefix=prefix),)
    return Ip(given_enabled=True, enabled=True, version=ip.version, addresses=found)


def read_ipv4(value: Any, path: Path) -> Ip:
    """Read an ``ipv4`` member."""
    if isinstance(value, dict) and "autoconf" in value:
        raise problem(path / "autoconf", "IPv4 does not support autoconf")
    found = _IP.members(value, path)
    return Ip(**found, enabled=found.get("given_enabled") or False, version=4)


def read_ipv6(value: Any, path: Path) -> Ip:
    """Read an ``ipv6`` member."""
    found = _IP.members(value, path)
    return Ip(**found, enabled=found.get("given_enabled") or False, version=6)


def normalised(ip: Ip, path: Path) -> Ip:
    """Return the family checked and `with_defaults`.

    Raises `DocumentInvalid` for an address of the other family, an invalid prefix length and an
    invalid token.
    """
    width = addresses.WIDTH[ip.version]
    for index, address in enumerate(ip.addresses or ()):
        place = path / "address" / index
        if address.ip.version != ip.version:
            raise problem(place / "ip", f"{address.ip} is not an IPv{ip.version} address")
        if address.prefix > width:
            raise problem(place / "prefix-length", f"found {address.prefix}, expected 0 to {width}")
    ip = with_defaults(ip)
    token = ip.token
    if token is not None and ip.version == 6:
        if ip.autoconf is False and token not in ("", _UNSET):
            raise problem(path / "token", "a token needs autoconf; an empty token removes it")
        ip = changed(ip, token=_token(token, path / "token"))
    return ip


def with_defaults(ip: Ip) -> Ip:
    """Return the family with defaults filled in and without settings that do not apply."""
    kept = ip.addresses
    if kept is not None:
        left = tuple(a for a in kept if not a.is_dynamic and not a.ip.is_link_local)
        kept = kept if len(left) == len(kept) else left
    if ip.enabled:
        ip = changed(ip, addresses=kept)
    else:
        ip = changed(ip, dhcp=None, autoconf=None, addresses=None)
    if ip.is_auto:
        return changed(
            ip,
            auto_dns=ip.auto_dns is not False,
            auto_routes=ip.auto_routes is not False,
            auto_gateway=ip.auto_gateway is not False,
        )
    return changed(
        ip, auto_dns=None, auto_routes=None, auto_gateway=None, auto_table=None, auto_metric=None
    )


def _token(token: str, path: Path) -> str:
    """Return the interface identifier in its shortest hexadecimal form, ``::fac1``."""
    if not token:
        return _UNSET
    found = addresses.parsed(token)
    if found is None or found.version != 6:
        raise problem(path, f"found {shown(token)!r}, expected an IPv6 address")
    if found.value >> 64:
        raise problem(path, f"found {found}, expected the first 64 bits to be zero")
    # Formatted with a documentation prefix: str() would write a bare identifier with IPv4 dots.
    return str(Address(6, found.value | 0x2001_0DB8 << 96)).removeprefix("2001:db8")


def section(ip: Ip | None, routes: Sequence[Route]) -> dict[str, object]:
    """Return the keyfile section of a family that has these static routes.

    Raises `DocumentInvalid` for a routing rule that NetworkManager does not support.
    """
    if ip is None:
        return {"method": "disabled", "dhcp-timeout": INFINITE}
    settings: dict[str, object] = {
        "method": _method(ip, has_routes=bool(routes)),
        "dhcp-timeout": INFINITE,
    }
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
        settings |= route_settings(routes)
    return settings


def _method(ip: Ip, *, has_routes: bool) -> str:
    if not ip.enabled:
        return "disabled"
    if ip.dhcp:
        return "auto" if ip.version == 4 or ip.autoconf else "dhcp"
    if ip.addresses or has_routes:
        return "manual"
    return "disabled" if ip.version == 4 else "link-local"


def _generation(mode: str | None) -> int:
    known = _GENERATION.get(mode or "eui64")
    if known is not None:
        return known
    number = schema.number(mode or "")
    return number if number is not None and -(1 << 31) <= number < 1 << 31 else 0


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
        client = "ll" if ip.client_id is None else ip.client_id
        settings["dhcp-client-id"] = _CLIENT_ID.get(client, client)
    else:
        duid = "ll" if ip.duid is None else ip.duid
        settings["dhcp-duid"] = _DUID.get(duid, duid)
        settings["dhcp-iaid"] = "mac"
        settings["ra-timeout"] = INFINITE
        settings["token"] = None if ip.token == _UNSET else ip.token
    if ip.send_hostname is not False and ip.custom_hostname:
        is_fqdn = ip.version == 4 and "." in ip.custom_hostname
        settings["dhcp-fqdn" if is_fqdn else "dhcp-hostname"] = ip.custom_hostname
    return settings

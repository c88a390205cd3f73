"""Settings that all hosts share: how the Ironic Python Agent is started and configured."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from mic.ignition.extra import ExtraConfig

IRONIC_PORT = 6385
"""Default port of Ironic's API."""

INSPECTOR_PORT = 5050
"""Default port of the inspector."""

_CONTINUE = "/v1/continue"


class VlanInterfaces(StrEnum):
    """When the agent creates VLAN interfaces itself."""

    ALWAYS = "always"
    NEVER = "never"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Settings of the agent, with the content of the files that belong to them.

    The caller checks URLs; ``pull_secret`` is the decoded auth.json. The repr shows no field that
    may contain a password or a token.
    """

    image: str
    ironic_urls: tuple[str, ...] = field(default=(), repr=False)
    inspector_urls: tuple[str, ...] = field(default=(), repr=False)
    pull_secret: bytes = field(default=b"", repr=False)
    vlan_interfaces: VlanInterfaces = VlanInterfaces.AUTOMATIC
    ssh_keys: tuple[str, ...] = field(default=(), repr=False)
    registries_conf: bytes = field(default=b"", repr=False)
    ip_options: str = ""
    http_proxy: str = field(default="", repr=False)
    https_proxy: str = field(default="", repr=False)
    no_proxy: str = field(default="", repr=False)
    ntp_servers: tuple[str, ...] = ()
    ca_bundle: bytes = field(default=b"", repr=False)
    ironic_ca_bundle: bytes = field(default=b"", repr=False)
    extra: tuple[ExtraConfig, ...] = ()
    """Ignition configs of the operator for all hosts, in the order in which they are merged."""

    @property
    def api_url(self) -> str:
        """Ironic's URLs with their ports, joined by commas."""
        return ",".join(with_port(url, IRONIC_PORT) for url in self.ironic_urls)

    @property
    def inspection_callback_url(self) -> str:
        """The inspector's URLs with ports and path, joined by commas; empty without inspector."""
        return ",".join(_continue(with_port(url, INSPECTOR_PORT)) for url in self.inspector_urls)

    def enable_vlan_interfaces(self, *, network_data: bool) -> str:
        """Return the agent's option of that name for a host with or without network data."""
        if self.vlan_interfaces is VlanInterfaces.ALWAYS:
            return "all"
        if self.vlan_interfaces is VlanInterfaces.NEVER or network_data:
            return ""
        return "all"


def with_port(url: str, port: int) -> str:
    """Return ``url`` with ``port`` if it has none; IPv6 literals keep their brackets."""
    parts = urlsplit(url)
    if parts.port is not None:
        return url
    # "host:" is legal (RFC 3986 section 3.2.3) and means no port.
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:{port}"))


def _continue(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix(_CONTINUE)
    return urlunsplit(parts._replace(path=path + _CONTINUE))

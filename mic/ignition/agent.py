"""What is the same for all hosts: how the Ironic Python Agent is started and configured."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

IRONIC_PORT = 6385
"""Port of Ironic's API where a URL names none."""

INSPECTOR_PORT = 5050
"""Port of the inspector where a URL names none."""

_CONTINUE = "/v1/continue"


class VlanInterfaces(StrEnum):
    """When the agent brings up VLAN interfaces of its own."""

    ALWAYS = "always"
    NEVER = "never"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The settings of the agent, with the content of the files that go along.

    URLs are checked by whoever makes this; ``pull_secret`` is the decoded auth.json.
    Everything that may hold a password or a token stays out of the repr.
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

    @property
    def api_url(self) -> str:
        """Ironic's URLs, with their port, joined by commas."""
        return ",".join(with_port(url, IRONIC_PORT) for url in self.ironic_urls)

    @property
    def inspection_callback_url(self) -> str:
        """Where inspection data goes: the inspector's URLs with port and path, or nothing."""
        return ",".join(_continue(with_port(url, INSPECTOR_PORT)) for url in self.inspector_urls)

    def enable_vlan_interfaces(self, *, network_data: bool) -> str:
        """The agent's option of that name for a host with or without NMState data."""
        if self.vlan_interfaces is VlanInterfaces.ALWAYS:
            return "all"
        if self.vlan_interfaces is VlanInterfaces.NEVER or network_data:
            return ""
        return "all"


def with_port(url: str, port: int) -> str:
    """``url`` with ``port`` where it has none; IPv6 literals keep their brackets."""
    parts = urlsplit(url)
    if parts.port is not None:
        return url
    # "host:" with an empty port is legal (RFC 3986 section 3.2.3) and has none.
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.removesuffix(':')}:{port}"))


def _continue(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix(_CONTINUE)
    return urlunsplit(parts._replace(path=path + _CONTINUE))

"""The settings: frozen values without logic."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from enum import StrEnum

from mic.ignition import Agent
from mic.media.catalog import BasePaths
from mic.media.kernel_arguments import ArgumentEdits
from mic.ramdisk.archive import RamdiskNetwork
from mic.tls.certificate import Tls

PULL_SECRET_FILE = "/run/secrets/pull-secret"  # noqa: S105
"""Path of the pull secret when ``IRONIC_AGENT_PULL_SECRET`` is empty."""

OWN_ROOTFS = "self"
"""Value of ``IRONIC_ROOTFS_URL`` for the root file system that mic itself serves."""


class Mode(StrEnum):
    """Where mic learns about hosts from."""

    STATIC = "static"
    CONTROLLER = "controller"


class LogFormat(StrEnum):
    """Format of log lines."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """Lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class Backend(StrEnum):
    """Converter of NMState documents. No backend falls back to another one."""

    BUILTIN = "builtin"
    NMSTATECTL = "nmstatectl"


class IsoKind(StrEnum):
    """Which ISO images are made from a live ISO."""

    FULL = "full"
    MINIMAL = "minimal"
    """Without the root file system, which the host fetches from ``IRONIC_ROOTFS_URL``."""


class EarlyNetwork(StrEnum):
    """When keyfiles go into the initramfs too."""

    AUTO = "auto"
    """When a host needs its network there: for a minimal ISO, or for a config that is fetched."""
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Settings of the agent as given; ``agent`` lacks only the content of files.

    ``ignition`` is the path of extra Ignition configs for all hosts, a file or a directory.
    """

    agent: Agent
    pull_secret_file: str = PULL_SECRET_FILE
    registries_conf: str = ""
    ca_bundle: str = ""
    ironic_ca_bundle: str = ""
    ignition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    """TCP address to listen on; an empty host means every address of both IP families."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Twisted server endpoint description."""

    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Format and content of the log."""

    format: LogFormat = LogFormat.TEXT
    level: LogLevel = LogLevel.INFO
    image_names_are_secret: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a process, checked.

    ``publish_url`` ends without a slash. ``http_bind`` is the address for plain HTTP next to
    HTTPS, and ``http_publish_url`` its URL; both may be missing. ``warnings`` holds sentences for
    the log about values that are usable but look wrong, or are ignored. ``rootfs_url`` may be
    `OWN_ROOTFS`.
    """

    mode: Mode
    bases: BasePaths
    agent: AgentSettings
    bind: Tcp | Endpoint
    publish_url: str
    log: LogSettings = field(default_factory=LogSettings)
    tls: Tls | None = None
    http_bind: Tcp | Endpoint | None = None
    http_publish_url: str = ""
    metrics: Tcp | Endpoint | None = None
    status: Tcp | Endpoint | None = None
    status_hosts: tuple[str, ...] = ()
    nmstate_dir: str = ""
    namespace: str = ""
    kubeconfig: str = field(default="", repr=False)
    leader_elect: bool = False
    url_key: bytes = field(default=b"", repr=False)
    rootfs_url: str = ""
    max_downloads: int = 0
    nmstate_backend: Backend = Backend.BUILTIN
    kernel_arguments: ArgumentEdits = field(default_factory=ArgumentEdits)
    ipxe: bool = False
    iso_kind: IsoKind = IsoKind.FULL
    verify_bases: bool = False
    early_network: EarlyNetwork = EarlyNetwork.AUTO
    ramdisk_network: RamdiskNetwork = RamdiskNetwork.AUTO
    host_architecture: str = field(default_factory=platform.machine)
    warnings: tuple[str, ...] = ()

"""Settings: every variable and flag, its meaning and its default, read in one place.

`load` turns an environment and parsed flags into one frozen `Settings`, or raises one
`ConfigError` with everything that is wrong. Files named by settings are looked at here, so that
a start fails early and says why; what may change while mic runs is read again by `read_agent`.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from mic.errors import BuildInvalid, ConfigError
from mic.files import read_regular
from mic.ignition import Agent, VlanInterfaces
from mic.image.base import BasePaths, Kind
from mic.image.basefile import peek
from mic.image.coreos import embed_area
from mic.image.iso9660 import Iso, IsoError
from mic.nmstate import backends
from mic.tls import (
    CERT_FILE,
    CIPHERS,
    DEFAULT_CIPHERS,
    MIN_VERSION,
    MinVersion,
    Tls,
    load_certificate,
    parse_ciphers,
    parse_min_version,
    read_pem,
)

PULL_SECRET_FILE = "/run/secrets/pull-secret"  # noqa: S105
"""Where the pull secret is when ``IRONIC_AGENT_PULL_SECRET`` is empty."""

_PULL_SECRET_CREDENTIAL = "pull-secret"  # noqa: S105

IMAGES_ADDRESS = "-images-bind-addr"
IMAGES_URL = "-images-publish-addr"
HTTP_ADDRESS = "-images-http-bind-addr"
HTTP_URL = "-images-http-publish-addr"
METRICS_ADDRESS = "-metrics-addr"

URL_KEY_FILE = "MIC_URL_KEY_FILE"
SHORTEST_URL_KEY = 32
"""Bytes: as many as the HMAC has (RFC 2104 section 3), and as ``openssl rand -hex 16`` writes."""

_FILE_LIMIT = 4 * 1024 * 1024


class Mode(StrEnum):
    """What tells mic about hosts."""

    STATIC = "static"
    CONTROLLER = "controller"


class LogFormat(StrEnum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The lowest level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An environment variable; ``required`` ones must be present, if empty."""

    name: str
    meaning: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A command-line flag that takes a value; a ``switch`` may stand without one."""

    name: str
    default: str
    meaning: str
    switch: bool = False
    modes: frozenset[Mode] = frozenset(Mode)


VARIABLES = (
    Variable(name="DEPLOY_ISO", meaning="CoreOS live ISO, a file or a block device", required=True),
    Variable(name="DEPLOY_INITRD", meaning="live initramfs; empty: the one inside the ISO"),
    Variable(
        name="DEPLOY_KERNEL", meaning="kernel of the initramfs; empty: the one inside the ISO"
    ),
    Variable(name="IMAGE_SHARED_DIR", meaning="directory with base images of other architectures"),
    Variable(
        name="IRONIC_AGENT_IMAGE", meaning="pull spec of the agent's container", required=True
    ),
    Variable(name="IRONIC_BASE_URL", meaning="URL(s) of Ironic, separated by commas"),
    Variable(name="IRONIC_INSPECTOR_BASE_URL", meaning="URL(s) of the inspector, likewise"),
    Variable(
        name="IRONIC_AGENT_PULL_SECRET",
        meaning=(
            "auth.json, plain or base64; empty: systemd's credential "
            f"{_PULL_SECRET_CREDENTIAL}, or else the file {PULL_SECRET_FILE}"
        ),
    ),
    Variable(
        name="IRONIC_AGENT_VLAN_INTERFACES",
        meaning="always, never, or anything else for automatic",
    ),
    Variable(name="IRONIC_RAMDISK_SSH_KEY", meaning="SSH public key(s) of user core, one a line"),
    Variable(name="REGISTRIES_CONF_PATH", meaning="file embedded as registries.conf"),
    Variable(name="IP_OPTIONS", meaning="kernel's ip= options for the installed system"),
    Variable(name="HTTP_PROXY", meaning="proxy for the agent's container pull"),
    Variable(name="HTTPS_PROXY", meaning="proxy for the agent's container pull"),
    Variable(name="NO_PROXY", meaning="what goes past the proxies"),
    Variable(name="ADDITIONAL_NTP_SERVERS", meaning="NTP servers, separated by commas"),
    Variable(name="CA_BUNDLE", meaning="PEM file embedded as a trust anchor"),
    Variable(name="IRONIC_CA_BUNDLE", meaning="PEM file with which the agent verifies Ironic"),
    Variable(name="IRONIC_ROOTFS_URL", meaning="URL of the live rootfs for network boot"),
    Variable(name="WATCH_NAMESPACE", meaning="default of -namespace"),
    Variable(name="KUBECONFIG", meaning="default of -kubeconfig"),
    Variable(
        name="MIC_MAX_DOWNLOADS",
        meaning="bodies above 64 KiB sent at a time; empty or 0: no limit but the system's",
    ),
    Variable(
        name=URL_KEY_FILE,
        meaning=(
            f"file with a secret of {SHORTEST_URL_KEY} bytes or more: controller mode derives "
            "image names from it, the same after a restart and in every replica"
        ),
    ),
    Variable(name=backends.VARIABLE, meaning=f"NMState by {', '.join(backends.Backend)}"),
)

FLAGS = (
    Flag(
        name="images-bind-addr",
        default=":8084",
        meaning="address the images are served on: [HOST]:PORT, or a Twisted server endpoint",
    ),
    Flag(
        name="images-publish-addr",
        default="http://127.0.0.1:8084",
        meaning="URL under which clients reach that address",
    ),
    Flag(
        name="images-tls-cert-file", default="", meaning="PEM certificate chain; empty: plain HTTP"
    ),
    Flag(name="images-tls-key-file", default="", meaning="PEM private key of that certificate"),
    Flag(
        name="images-tls-min-version",
        default=MinVersion.TLS_1_2.value,
        meaning=f"oldest TLS that is spoken: {' or '.join(MinVersion)}",
    ),
    Flag(
        name="images-tls-ciphers",
        default=DEFAULT_CIPHERS,
        meaning="OpenSSL cipher list for TLS 1.2",
    ),
    Flag(
        name="images-http-bind-addr",
        default="",
        meaning="address for the same images over plain HTTP, beside HTTPS; empty: none",
    ),
    Flag(
        name="images-http-publish-addr",
        default="",
        meaning="URL of that address, under which initramfs images and kernels are published",
    ),
    Flag(
        name="nmstate-dir",
        default="",
        meaning="directory with one NMState file per host (required)",
        modes=frozenset({Mode.STATIC}),
    ),
    Flag(
        name="namespace",
        default="",
        meaning="namespace to reconcile; empty: $WATCH_NAMESPACE, else all",
        modes=frozenset({Mode.CONTROLLER}),
    ),
    Flag(
        name="kubeconfig",
        default="",
        meaning="kubeconfig file; empty: $KUBECONFIG, else the pod's account, else ~/.kube/config",
        modes=frozenset({Mode.CONTROLLER}),
    ),
    Flag(
        name="leader-elect",
        default="false",
        meaning=f"of several replicas have one write statuses; needs {URL_KEY_FILE}",
        switch=True,
        modes=frozenset({Mode.CONTROLLER}),
    ),
    Flag(
        name="metrics-addr",
        default="",
        meaning="address of /healthz and /readyz; empty: :8080 for the controller; 0: off",
    ),
    Flag(
        name="log-format",
        default=LogFormat.TEXT.value,
        meaning="text, or json: an object per line",
    ),
    Flag(
        name="log-level",
        default=LogLevel.INFO.value,
        meaning=f"the lowest level that is logged: {', '.join(LogLevel)}",
    ),
)


def flags_of(mode: Mode) -> tuple[Flag, ...]:
    """The flags that a mode knows."""
    return tuple(flag for flag in FLAGS if mode in flag.modes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """The agent's settings as given; ``agent`` lacks only what is in files."""

    agent: Agent
    pull_secret_file: str = PULL_SECRET_FILE
    registries_conf: str = ""
    ca_bundle: str = ""
    ironic_ca_bundle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    """A TCP address to listen on; an empty host is every address of both IP families."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A Twisted server endpoint description."""

    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, and how."""

    format: LogFormat = LogFormat.TEXT
    level: LogLevel = LogLevel.INFO
    image_names_are_secret: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything mic is told, checked. ``publish_url`` ends without a slash.

    ``http_bind``: where images are served over plain HTTP too, ``bind`` being HTTPS then;
    ``http_publish_url``: its URL, if one is to be published.
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
    nmstate_dir: str = ""
    namespace: str = ""
    kubeconfig: str = field(default="", repr=False)
    leader_elect: bool = False
    url_key: bytes = field(default=b"", repr=False)
    rootfs_url: str = ""
    max_downloads: int = 0
    nmstate_backend: backends.Backend = backends.Backend.BUILTIN
    host_architecture: str = field(default_factory=platform.machine)


def load(mode: Mode, environment: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Settings from an environment and the values of flags (those not given have defaults).

    Raises `ConfigError` with every problem found.
    """
    problems = _Problems()
    reader = _Environment(environment, problems)
    given = {flag.name: flags.get(flag.name, flag.default) for flag in flags_of(mode)}

    bases = BasePaths(
        iso=reader.text("DEPLOY_ISO"),
        initramfs=reader.text("DEPLOY_INITRD"),
        kernel=reader.text("DEPLOY_KERNEL"),
        shared_dir=reader.text("IMAGE_SHARED_DIR"),
    )
    variables = {
        Kind.ISO: "DEPLOY_ISO",
        Kind.INITRAMFS: "DEPLOY_INITRD",
        Kind.KERNEL: "DEPLOY_KERNEL",
    }
    for kind, path in bases.exact().items():
        with problems.noted():
            check_base(variables[kind], kind, path)
    agent = AgentSettings(
        agent=Agent(
            image=reader.text("IRONIC_AGENT_IMAGE"),
            ironic_urls=reader.urls("IRONIC_BASE_URL"),
            inspector_urls=reader.urls("IRONIC_INSPECTOR_BASE_URL"),
            pull_secret=reader.pull_secret("IRONIC_AGENT_PULL_SECRET"),
            vlan_interfaces=_vlan_interfaces(reader.text("IRONIC_AGENT_VLAN_INTERFACES")),
            ssh_keys=reader.ssh_keys("IRONIC_RAMDISK_SSH_KEY"),
            ip_options=reader.text("IP_OPTIONS"),
            http_proxy=reader.text("HTTP_PROXY"),
            https_proxy=reader.text("HTTPS_PROXY"),
            no_proxy=reader.text("NO_PROXY"),
            ntp_servers=reader.ntp_servers("ADDITIONAL_NTP_SERVERS"),
        ),
        pull_secret_file=_pull_secret_file(environment),
        registries_conf=reader.text("REGISTRIES_CONF_PATH"),
        ca_bundle=reader.text("CA_BUNDLE"),
        ironic_ca_bundle=reader.text("IRONIC_CA_BUNDLE"),
    )
    for name, read in _FILES.items():
        # A host whose agent must verify Ironic's TLS gets no image without that bundle, but its
        # absence stops no process: in clusters it is often mounted after the first start.
        if name != "ironic_ca_bundle":
            with problems.noted():
                read(agent)

    bind: Tcp | Endpoint = Endpoint(description="")
    publish_url = ""
    with problems.noted():
        bind = parse_bind(given["images-bind-addr"])
    metrics: Tcp | Endpoint | None = None
    with problems.noted():
        metrics = _metrics(mode, given["metrics-addr"])
    with problems.noted():
        publish_url = parse_publish_url(given["images-publish-addr"])
    tls = _tls(problems, given)
    http_bind, http_publish_url = _http(problems, given)
    log = LogSettings(
        format=_choice(problems, given, "log-format", LogFormat.TEXT),
        level=_choice(problems, given, "log-level", LogLevel.INFO),
        # In static mode they are the names of the hosts.
        image_names_are_secret=mode is not Mode.STATIC,
    )
    nmstate_dir = given.get("nmstate-dir", "")
    if mode is Mode.STATIC:
        with problems.noted():
            _check_directory("-nmstate-dir", nmstate_dir)
    rootfs_url = reader.text("IRONIC_ROOTFS_URL")
    if rootfs_url:
        with problems.noted():
            _check_url("IRONIC_ROOTFS_URL", rootfs_url)
    backend = backends.Backend.BUILTIN
    with problems.noted():
        backend = backends.chosen(reader.text(backends.VARIABLE))
    max_downloads = reader.count("MIC_MAX_DOWNLOADS")
    leader_elect = given.get("leader-elect") == "true"
    url_key = b""
    if mode is Mode.CONTROLLER:
        with problems.noted():
            url_key = _url_key(reader.text(URL_KEY_FILE), required=leader_elect)
    if problems:
        raise ConfigError(problems)
    return Settings(
        mode=mode,
        bases=bases,
        agent=agent,
        bind=bind,
        publish_url=publish_url,
        log=log,
        tls=tls,
        http_bind=http_bind,
        http_publish_url=http_publish_url,
        metrics=metrics,
        nmstate_dir=nmstate_dir,
        namespace=given.get("namespace") or reader.text("WATCH_NAMESPACE"),
        kubeconfig=given.get("kubeconfig") or reader.text("KUBECONFIG"),
        leader_elect=leader_elect,
        url_key=url_key,
        rootfs_url=rootfs_url,
        nmstate_backend=backend,
        max_downloads=max_downloads,
    )


def read_agent(settings: AgentSettings) -> Agent:
    """The agent's settings with the present content of the files they name.

    Raises `BuildInvalid`, naming the variable and the file, when one cannot be used.
    """
    try:
        contents = {name: read(settings) for name, read in _FILES.items()}
    except ConfigError as error:
        raise BuildInvalid(str(error)) from None
    return replace(
        settings.agent,
        pull_secret=contents["pull_secret"],
        registries_conf=contents["registries_conf"],
        ca_bundle=contents["ca_bundle"],
        ironic_ca_bundle=contents["ironic_ca_bundle"],
    )


def check_base(variable: str, kind: Kind, path: str) -> None:
    """Look whether ``path`` can serve as a base: readable, and an ISO with an embed area.

    Raises `ConfigError` that names ``variable``.
    """
    try:
        with peek(path) as source:
            if not source.size:
                raise ConfigError([f"{variable}: base image {path} is empty"])
            if kind is Kind.ISO:
                embed_area(Iso(source), source)
    except (OSError, IsoError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError([f"{variable}: base image {path}: {reason}"]) from None


def parse_bind(text: str, flag: str = IMAGES_ADDRESS) -> Tcp | Endpoint:
    """``[HOST]:PORT`` as Go reads it, or a Twisted server endpoint description."""
    if re.match(r"(tcp6?|ssl|unix|systemd|tls|fd):", text):
        return Endpoint(description=text)
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535 or "/" in host:
        raise ConfigError([f"{flag}: {text!r} is not [HOST]:PORT, such as :8084"])
    if ":" in host and not bracketed:
        raise ConfigError([f"{flag}: {text!r}: write IPv6 addresses in brackets"])
    return Tcp(host=host[1:-1] if bracketed else host, port=int(port))


def _metrics(mode: Mode, text: str) -> Tcp | Endpoint | None:
    """Where health is told: nowhere for 0, as controller-runtime has it, which also chose 8080."""
    if text == "0" or (not text and mode is Mode.STATIC):
        return None
    return parse_bind(text or ":8080", METRICS_ADDRESS)


def parse_publish_url(text: str, flag: str = IMAGES_URL) -> str:
    """The URL that image names are put behind, without its trailing slash."""
    _check_url(flag, text)
    if "?" in text or "#" in text:
        raise ConfigError([f"{flag}: {text!r} must not have a query or a fragment"])
    return text.rstrip("/")


class _Problems(list[str]):
    """What is wrong so far."""

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Take the problems of a `ConfigError` and go on behind the block."""
        try:
            yield
        except ConfigError as error:
            self.extend(error.problems)


class _Environment:
    """Variables, checked for what they are; problems are noted, not raised."""

    def __init__(self, values: Mapping[str, str], problems: _Problems) -> None:
        self._values = values
        self._problems = problems
        for variable in VARIABLES:
            if variable.required and variable.name not in values:
                problems.append(f"{variable.name} is not set: it must give the {variable.meaning}")

    def text(self, name: str) -> str:
        """One line of text; it lands in units and INI files, where a newline starts another."""
        value = self._values.get(name, "").strip()
        if not _is_unicode(value):
            self._problems.append(f"{name} is not UTF-8")
            return ""
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
            self._problems.append(f"{name} holds a line break or another control character")
            return ""
        return value

    def count(self, name: str) -> int:
        text = self.text(name)
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text)
        if text:
            self._problems.append(f"{name}: {text!r} is not a number such as 100")
        return 0

    def urls(self, name: str) -> tuple[str, ...]:
        value = self.text(name)
        urls = tuple(filter(None, (url.strip() for url in value.split(","))))
        for url in urls:
            with self._problems.noted():
                # A password may hold a comma, and then a part of it is among the URLs.
                _check_url(name, url, secret="@" in value)
        return urls

    def ssh_keys(self, name: str) -> tuple[str, ...]:
        value = self._values.get(name, "")
        if not _is_unicode(value):
            self._problems.append(f"{name} is not UTF-8")
            return ()
        lines = (line.strip() for line in value.splitlines())
        return tuple(line for line in lines if line and not line.startswith("#"))

    def ntp_servers(self, name: str) -> tuple[str, ...]:
        servers = tuple(filter(None, (part.strip() for part in self.text(name).split(","))))
        self._problems.extend(
            f"{name}: {server!r} is neither a host name nor an address"
            for server in servers
            if not re.fullmatch(r"[A-Za-z0-9._:%\[\]-]+", server)
        )
        return servers

    def pull_secret(self, name: str) -> bytes:
        secret = b""
        with self._problems.noted():
            secret = decode_pull_secret(name, os.fsencode(self._values.get(name, "")))
        return secret


def decode_pull_secret(name: str, value: bytes) -> bytes:
    """The auth.json in ``value``: plain, or base64 of it, wrapped or not; empty stays empty.

    Raises `ConfigError` naming ``name``; the value is in no message and no traceback.
    """
    value = value.strip()
    if not value:
        return b""
    document = None
    # The decoders' errors hold the document: none of them may be another error's context.
    with suppress(ValueError, RecursionError):
        if not value.startswith(b"{"):
            value = base64.b64decode(b"".join(value.split()), validate=True).strip()
        document = json.loads(value)
    if document is None:
        raise ConfigError([f"{name} is neither an auth.json nor base64 of one"])
    if not isinstance(document, dict) or not isinstance(document.get("auths"), dict):
        raise ConfigError([f"{name} is not an auth.json: it has no object 'auths'"])
    return value


def _vlan_interfaces(text: str) -> VlanInterfaces:
    try:
        return VlanInterfaces(text.lower())
    except ValueError:
        return VlanInterfaces.AUTOMATIC


def _check_url(name: str, url: str, *, secret: bool = False) -> None:
    """Raise `ConfigError` for what is no HTTP URL; it is not shown when it may be ``secret``."""
    usable = False
    # The parser's errors hold what they could not parse: no context for ours.
    with suppress(ValueError):
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no port
        # White space at the ends would be dropped by the parser and stay in the URL.
        clean = not any(map(str.isspace, url))
        usable = clean and parts.scheme in ("http", "https") and bool(parts.hostname)
    if not usable:
        shown = "the URL (not shown: it has a password)" if secret or "@" in url else repr(url)
        raise ConfigError([f"{name}: {shown} is not an http or https URL"])


def _is_unicode(text: str) -> bool:
    """Whether a value of the environment is text: other bytes come in as surrogates."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)


def _content(name: str, path: str) -> bytes:
    if path in ("", os.devnull):
        return b""
    try:
        data = read_regular(path, _FILE_LIMIT)
    except OSError as error:
        raise ConfigError([f"{name}: {path}: {error.strerror}"]) from None
    if len(data) > _FILE_LIMIT:
        raise ConfigError([f"{name}: {path} has more than {_FILE_LIMIT} bytes"])
    return data


def _pem(name: str, path: str) -> bytes:
    data = _content(name, path)
    if path and b"-----BEGIN " not in data:
        raise ConfigError([f"{name}: {path} holds no PEM certificate"])
    return data


def _pull_secret_file(environment: Mapping[str, str]) -> str:
    """The credential of a systemd unit (systemd.exec(5), LoadCredential=), if there is one."""
    directory = environment.get("CREDENTIALS_DIRECTORY", "")
    credential = os.path.join(directory, _PULL_SECRET_CREDENTIAL)
    return credential if directory and os.path.exists(credential) else PULL_SECRET_FILE


def _pull_secret(settings: AgentSettings) -> bytes:
    if settings.agent.pull_secret:
        return settings.agent.pull_secret
    if not os.path.exists(settings.pull_secret_file):
        return b""
    path = settings.pull_secret_file
    return decode_pull_secret(path, _content("IRONIC_AGENT_PULL_SECRET", path))


_FILES: dict[str, Callable[[AgentSettings], bytes]] = {
    "pull_secret": _pull_secret,
    "registries_conf": lambda s: _content("REGISTRIES_CONF_PATH", s.registries_conf),
    "ca_bundle": lambda s: _pem("CA_BUNDLE", s.ca_bundle),
    "ironic_ca_bundle": lambda s: _pem("IRONIC_CA_BUNDLE", s.ironic_ca_bundle),
}


_Choice = TypeVar("_Choice", bound=StrEnum)


def _choice(problems: _Problems, given: Mapping[str, str], name: str, default: _Choice) -> _Choice:
    """The value of a flag that knows a few words; nothing is the default."""
    kind = type(default)
    try:
        return kind(given[name] or default)
    except ValueError:
        problems.append(f"-{name}: {given[name]!r} is none of {', '.join(kind)}")
        return default


def _url_key(path: str, *, required: bool) -> bytes:
    """The secret in a file, without the line break that editors and ``echo`` put behind it."""
    if not path and required:
        raise ConfigError(
            [
                f"-leader-elect needs {URL_KEY_FILE}: replicas can serve each other's images only "
                "when all of them derive the same names"
            ]
        )
    key = _content(URL_KEY_FILE, path).strip()
    if path and len(key) < SHORTEST_URL_KEY:
        raise ConfigError(
            [
                f"{URL_KEY_FILE}: {path} holds {len(key)} bytes; a secret of {SHORTEST_URL_KEY} "
                "or more is needed, as `openssl rand -hex 32` makes"
            ]
        )
    return key


def _tls(problems: _Problems, given: Mapping[str, str]) -> Tls | None:
    cert_file, key_file = given["images-tls-cert-file"], given["images-tls-key-file"]
    version, ciphers = MinVersion.TLS_1_2, DEFAULT_CIPHERS
    with problems.noted():
        version = parse_min_version(given["images-tls-min-version"])
    with problems.noted():
        ciphers = parse_ciphers(given["images-tls-ciphers"])
    if version is MinVersion.TLS_1_3 and ciphers != DEFAULT_CIPHERS:
        problems.append(f"{CIPHERS} is for TLS 1.2, which {MIN_VERSION} rules out: drop one")
    if not cert_file and not key_file:
        if version is not MinVersion.TLS_1_2 or ciphers != DEFAULT_CIPHERS:
            problems.append(f"{CERT_FILE} is missing: without it there is no TLS to set up")
        return None
    tls = Tls(cert_file=cert_file, key_file=key_file, min_version=version, ciphers=ciphers)
    with problems.noted():
        load_certificate(tls, read_pem(tls))
    return tls


def _http(problems: _Problems, given: Mapping[str, str]) -> tuple[Tcp | Endpoint | None, str]:
    """Where plain HTTP is served beside HTTPS, and its URL."""
    address, url = given["images-http-bind-addr"], given["images-http-publish-addr"]
    bind: Tcp | Endpoint | None = None
    if address:
        with problems.noted():
            bind = parse_bind(address, HTTP_ADDRESS)
        if not given["images-tls-cert-file"]:
            problems.append(
                f"{HTTP_ADDRESS} needs {CERT_FILE}: without TLS {IMAGES_ADDRESS} is plain HTTP"
            )
    elif url:
        problems.append(f"{HTTP_URL} needs {HTTP_ADDRESS}: nothing is served there")
    if url:
        with problems.noted():
            url = parse_publish_url(url, HTTP_URL)
    return bind, url


def _check_directory(name: str, path: str) -> None:
    if not path:
        raise ConfigError([f"{name} is missing: the directory with one NMState file per host"])
    try:
        os.scandir(path).close()
    except OSError as error:
        raise ConfigError([f"{name}: {path}: {error.strerror}"]) from None

"""The settings, a row each: what `load` reads, what ``-h`` prints and what the docs explain.

Long, because it is one table: a setting and all that is known about it is found in one place.
"""

from __future__ import annotations

from dataclasses import dataclass

from mic.media.base import Kind, Ramdisk
from mic.media.catalog import GRUB_CONFIG
from mic.ramdisk.archive import RamdiskNetwork
from mic.settings import read, values
from mic.settings.model import (
    PULL_SECRET_FILE,
    Backend,
    EarlyNetwork,
    IsoKind,
    LogFormat,
    LogLevel,
    Mode,
)
from mic.settings.values import Parser
from mic.tls.certificate import (
    CERT_FILE,
    CIPHERS,
    DEFAULT_CIPHERS,
    KEY_FILE,
    MAX_VERSION,
    MIN_VERSION,
    TlsVersion,
)

IMAGES_ADDRESS = "-images-bind-addr"
IMAGES_URL = "-images-publish-addr"
HTTP_ADDRESS = "-images-http-bind-addr"
HTTP_URL = "-images-http-publish-addr"
METRICS_ADDRESS = "-metrics-addr"
STATUS_ADDRESS = "-status-addr"
LEADER_ELECT = "-leader-elect"
NMSTATE_BACKEND = "MIC_NMSTATE_BACKEND"
URL_KEY_FILE = "MIC_URL_KEY_FILE"
RAMDISK = "MIC_RAMDISK"
RAMDISK_NETWORK = "MIC_RAMDISK_NETWORK"
BOOT_LOADER = "MIC_BOOTLOADER"

_STATIC = frozenset({Mode.STATIC})
_CONTROLLER = frozenset({Mode.CONTROLLER})
_COREOS = frozenset({Ramdisk.COREOS})
_IPA = frozenset({Ramdisk.IPA})


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """An environment variable.

    ``field`` says where the value goes: see `mic.settings.load`. ``modes`` are those that use it.
    A ``required`` variable must be set, but may be empty. ``ramdisks`` are those for which it means
    something.
    """

    name: str
    field: str
    parse: Parser = values.line
    help: str
    required: bool = False
    modes: frozenset[Mode] = frozenset(Mode)
    ramdisks: frozenset[Ramdisk] = frozenset(Ramdisk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A command-line flag. Commands that are no mode have flags without ``field`` and parser.

    ``switch``: it may stand without a value. ``required``: it must not be empty.
    ``empty_in_controller_mode`` is what an empty value stands for in that mode. ``choices`` are all
    values that a shell offers for it.
    """

    name: str
    field: str = ""
    parse: Parser = values.as_given
    help: str
    default: str = ""
    switch: bool = False
    required: bool = False
    empty_in_controller_mode: str = ""
    choices: tuple[str, ...] = ()
    modes: frozenset[Mode] = frozenset(Mode)


VARIABLES = (
    Variable(
        name="DEPLOY_ISO",
        field="bases.iso",
        parse=read.base_of(Kind.ISO),
        help="CoreOS live ISO, a file or a block device",
        required=True,
        ramdisks=_COREOS,
    ),
    Variable(
        name="DEPLOY_INITRD",
        field="bases.initramfs",
        parse=read.base_of(Kind.INITRAMFS),
        help="live initramfs; empty: the one inside the ISO",
    ),
    Variable(
        name="DEPLOY_KERNEL",
        field="bases.kernel",
        parse=read.base_of(Kind.KERNEL),
        help="kernel of the initramfs; empty: the one inside the ISO",
    ),
    Variable(
        name="DEPLOY_ROOTFS",
        field="bases.rootfs",
        parse=read.base_of(Kind.ROOTFS),
        help="live root file system that mic serves; empty: the one inside the ISO",
        ramdisks=_COREOS,
    ),
    Variable(
        name="IMAGE_SHARED_DIR",
        field="bases.shared_dir",
        help="directory with base images of other architectures and OS streams",
    ),
    Variable(
        name=RAMDISK,
        field="bases.ramdisk",
        parse=values.one_of(Ramdisk, Ramdisk.COREOS),
        help="what hosts boot: coreos, or ipa: an initramfs with the agent in it; empty: coreos",
    ),
    Variable(
        name=BOOT_LOADER,
        field="bases.boot_loader",
        parse=read.base_of(Kind.BOOT_LOADER),
        help="image of an EFI system partition (FAT), to make ISOs of an ipa ramdisk; empty: none",
        ramdisks=_IPA,
    ),
    Variable(
        name="MIC_GRUB_CONFIG",
        field="bases.grub_config",
        parse=values.grub_config,
        help=f"path in such an ISO where GRUB looks for its config; empty: {GRUB_CONFIG}",
        ramdisks=_IPA,
    ),
    Variable(
        name="MIC_ISOLINUX",
        field="bases.isolinux",
        parse=read.isolinux,
        help="directory with isolinux.bin and ldlinux.c32, so that BIOS boots such an ISO",
        ramdisks=_IPA,
    ),
    Variable(
        name=RAMDISK_NETWORK,
        field="ramdisk_network",
        parse=values.one_of(RamdiskNetwork, RamdiskNetwork.AUTO),
        help=(
            "what configures the network of an ipa ramdisk: networkmanager, glean, or auto: the "
            "first if it is there; empty: auto"
        ),
        ramdisks=_IPA,
    ),
    Variable(
        name="IRONIC_AGENT_IMAGE",
        field="agent.image",
        help="pull spec of the agent's container image",
        required=True,
        ramdisks=_COREOS,
    ),
    Variable(
        name="IRONIC_BASE_URL",
        field="agent.ironic_urls",
        parse=values.urls,
        help="URLs of Ironic, separated by commas; empty: no image can be built",
    ),
    Variable(
        name="IRONIC_INSPECTOR_BASE_URL",
        field="agent.inspector_urls",
        parse=values.urls,
        help="URLs of the inspector, separated by commas; empty: no inspection callback",
    ),
    Variable(
        name="IRONIC_AGENT_PULL_SECRET",
        field="agent.pull_secret",
        parse=values.pull_secret_text,
        help=(
            "auth.json, plain or base64; empty: the systemd credential "
            f"{read.PULL_SECRET_CREDENTIAL}, else the file {PULL_SECRET_FILE}"
        ),
        ramdisks=_COREOS,
    ),
    Variable(
        name="IRONIC_AGENT_VLAN_INTERFACES",
        field="agent.vlan_interfaces",
        parse=values.vlan_interfaces,
        help="always or never; anything else: for hosts without network data",
    ),
    Variable(
        name="IRONIC_RAMDISK_SSH_KEY",
        field="agent.ssh_keys",
        parse=values.ssh_keys,
        help="SSH public keys of user core, one per line",
    ),
    Variable(
        name="REGISTRIES_CONF_PATH",
        field="files.registries_conf",
        parse=read.embedded_file,
        help="file embedded as /etc/containers/registries.conf",
        ramdisks=_COREOS,
    ),
    Variable(
        name="IP_OPTIONS",
        field="agent.ip_options",
        help="ip= kernel arguments for the installed system",
        ramdisks=_COREOS,
    ),
    Variable(
        name="HTTP_PROXY",
        field="agent.http_proxy",
        help="proxy for the pull of the agent's image over HTTP",
        ramdisks=_COREOS,
    ),
    Variable(
        name="HTTPS_PROXY",
        field="agent.https_proxy",
        help="proxy for the pull of the agent's image over HTTPS",
        ramdisks=_COREOS,
    ),
    Variable(
        name="NO_PROXY",
        field="agent.no_proxy",
        help="hosts, domains and networks that are reached without a proxy",
        ramdisks=_COREOS,
    ),
    Variable(
        name="ADDITIONAL_NTP_SERVERS",
        field="agent.ntp_servers",
        parse=values.ntp_servers,
        help="NTP servers, separated by commas",
    ),
    Variable(
        name="CA_BUNDLE",
        field="files.ca_bundle",
        parse=read.pem_file,
        help="PEM file embedded as a trust anchor",
    ),
    Variable(
        name="IRONIC_CA_BUNDLE",
        field="files.ironic_ca_bundle",
        parse=read.later_pem_file,
        help="PEM file with which the agent verifies Ironic's certificate",
    ),
    Variable(
        name="IRONIC_ROOTFS_URL",
        field="rootfs_url",
        parse=values.rootfs_url,
        help="URL of the live rootfs for network boot and minimal ISOs, or self: mic serves it",
        ramdisks=_COREOS,
    ),
    Variable(
        name="MIC_KERNEL_ARGUMENTS",
        field="kernel_arguments",
        parse=values.kernel_arguments,
        help="kernel arguments for all hosts: words to append, and -NAME or -NAME=VALUE to remove",
    ),
    Variable(
        name="MIC_IGNITION",
        field="files.ignition",
        parse=read.ignition_path,
        help="Ignition config for all hosts: a file, or a directory with *.ign",
        ramdisks=_COREOS,
    ),
    Variable(
        name="MIC_ISO",
        field="iso_kind",
        parse=values.one_of(IsoKind, IsoKind.FULL),
        help="full, or minimal: without the root file system, which the host fetches; empty: full",
        ramdisks=_COREOS,
    ),
    Variable(
        name="MIC_VERIFY_BASES",
        field="verify_bases",
        parse=values.boolean,
        help="compare base images with the SHA-256 in FILE.sha256 next to them; empty: false",
    ),
    Variable(
        name="MIC_INITRAMFS_NETWORK",
        field="early_network",
        parse=values.one_of(EarlyNetwork, EarlyNetwork.AUTO),
        help=(
            "network of a host in its initramfs too: always, never, or auto: when a minimal ISO "
            "or a fetched config needs it; empty: auto"
        ),
        ramdisks=_COREOS,
    ),
    Variable(
        name="MIC_IPXE",
        field="ipxe",
        parse=values.boolean,
        help="an iPXE script next to each initramfs image, under its secret name; empty: false",
        modes=_CONTROLLER,
    ),
    Variable(
        name="WATCH_NAMESPACE",
        field="namespace",
        help="default of -namespace",
        modes=_CONTROLLER,
    ),
    Variable(
        name="KUBECONFIG",
        field="kubeconfig",
        help="default of -kubeconfig",
        modes=_CONTROLLER,
    ),
    Variable(
        name="MIC_MAX_DOWNLOADS",
        field="max_downloads",
        parse=values.count,
        help="cap on bodies above 64 KiB that are sent at a time; empty or 0: no cap",
    ),
    Variable(
        name=URL_KEY_FILE,
        field="url_key.file",
        help=(
            f"file with a secret of {read.SHORTEST_URL_KEY} bytes or more, from which image names "
            "are derived: the same after a restart and in every replica"
        ),
        modes=_CONTROLLER,
    ),
    Variable(
        name=NMSTATE_BACKEND,
        field="nmstate_backend",
        parse=values.backend,
        help=f"converter of NMState, {' or '.join(Backend)}; empty: {Backend.BUILTIN}",
    ),
)

FLAGS = (
    Flag(
        name=IMAGES_ADDRESS[1:],
        field="bind",
        parse=values.bind,
        default=":8084",
        help="address to serve images on: [HOST]:PORT, or a Twisted server endpoint",
    ),
    Flag(
        name=IMAGES_URL[1:],
        field="publish_url",
        parse=values.publish_url,
        default="http://127.0.0.1:8084",
        help="URL under which clients reach that address",
    ),
    Flag(
        name=CERT_FILE[1:],
        field="tls.cert_file",
        help="PEM certificate chain; empty: plain HTTP",
    ),
    Flag(
        name=KEY_FILE[1:],
        field="tls.key_file",
        help="PEM private key of that certificate",
    ),
    Flag(
        name=MIN_VERSION[1:],
        field="tls.min_version",
        parse=values.one_of(TlsVersion, TlsVersion.TLS_1_2),
        default=TlsVersion.TLS_1_2.value,
        help=f"oldest TLS version to accept: {' or '.join(TlsVersion)}",
        choices=tuple(TlsVersion),
    ),
    Flag(
        name=MAX_VERSION[1:],
        field="tls.max_version",
        parse=values.optional(TlsVersion),
        help=f"newest TLS version to accept: {' or '.join(TlsVersion)}; empty: the newest one",
        choices=tuple(TlsVersion),
    ),
    Flag(
        name=CIPHERS[1:],
        field="tls.ciphers",
        parse=values.ciphers,
        default=DEFAULT_CIPHERS,
        help="OpenSSL cipher list for TLS 1.2",
    ),
    Flag(
        name=HTTP_ADDRESS[1:],
        field="http_bind",
        parse=values.optional_bind,
        help="address to serve the same images on over plain HTTP, next to HTTPS; empty: none",
    ),
    Flag(
        name=HTTP_URL[1:],
        field="http_publish_url",
        parse=values.optional_publish_url,
        help="URL of that address, under which initramfs images and kernels are published",
    ),
    Flag(
        name="nmstate-dir",
        field="nmstate_dir",
        parse=read.directory,
        help="directory with one file per host, NMState or OpenStack network data",
        required=True,
        modes=_STATIC,
    ),
    Flag(
        name="namespace",
        field="namespace",
        help="namespace to reconcile; empty: $WATCH_NAMESPACE, else all",
        modes=_CONTROLLER,
    ),
    Flag(
        name="kubeconfig",
        field="kubeconfig",
        help="kubeconfig file; empty: $KUBECONFIG, else the pod's account, else ~/.kube/config",
        modes=_CONTROLLER,
    ),
    Flag(
        name=LEADER_ELECT[1:],
        field="leader_elect",
        parse=values.switch,
        default="false",
        help=f"let one of several replicas write statuses; needs {URL_KEY_FILE}",
        switch=True,
        modes=_CONTROLLER,
    ),
    Flag(
        name=METRICS_ADDRESS[1:],
        field="metrics",
        parse=values.metrics_bind,
        help=(
            "address of /healthz, /readyz and /metrics; empty: :8080 in controller mode, "
            "off in static mode; 0: off"
        ),
        empty_in_controller_mode=":8080",
    ),
    Flag(
        name=STATUS_ADDRESS[1:],
        field="status",
        parse=values.optional_bind,
        help="address of the status page; empty: off",
    ),
    Flag(
        name="status-hosts",
        field="status_hosts",
        parse=values.host_names,
        help=(
            "names under which browsers may open the status page, separated by commas, next to IP "
            "addresses, localhost and the machine's name"
        ),
    ),
    Flag(
        name="log-format",
        field="log.format",
        parse=values.one_of(LogFormat, LogFormat.TEXT),
        default=LogFormat.TEXT.value,
        help="text, or json: one object per line",
        choices=tuple(LogFormat),
    ),
    Flag(
        name="log-level",
        field="log.level",
        parse=values.one_of(LogLevel, LogLevel.INFO),
        default=LogLevel.INFO.value,
        help=f"lowest level that is logged: {', '.join(LogLevel)}",
        choices=tuple(LogLevel),
    ),
)


def flags_of(mode: Mode) -> tuple[Flag, ...]:
    """Return the flags that a mode knows."""
    return tuple(flag for flag in FLAGS if mode in flag.modes)


def variables_of(mode: Mode) -> tuple[Variable, ...]:
    """Return the environment variables that a mode uses."""
    return tuple(variable for variable in VARIABLES if mode in variable.modes)

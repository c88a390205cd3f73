"""What a host's images are made of: from its data to the archive, without threads and turns.

`mic.hosts.build` decides when this runs, and where.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from mic.common.errors import BuildInvalid
from mic.common.generated import Generated
from mic.common.host_data import HostData
from mic.common.warning import HostWarning
from mic.hosts.convert import built_in
from mic.hosts.early_network import members
from mic.ignition import Agent, Host, config
from mic.ignition.extra import doubts
from mic.ignition.extra import parse as extra_config
from mic.media.base import IMAGES, Kind, Ramdisk
from mic.media.cpio import archive
from mic.media.customisation import Customisation
from mic.media.kernel_arguments import ArgumentEdits, appended, parse
from mic.networkdata import as_json
from mic.ramdisk.archive import RamdiskHost, RamdiskNetwork, checked_arguments, iso_files
from mic.ramdisk.archive import archive as ramdisk_archive
from mic.ramdisk.archive import warnings as ramdisk_warnings
from mic.reachability import Need, needs, warnings
from mic.settings.model import EarlyNetwork, IsoKind, Settings

_NOT_COREOS = "an Ignition config means nothing to a ramdisk that is not CoreOS: it is left out"
_NO_IGNITION = HostWarning("ignition", _NOT_COREOS, f"ignition: {_NOT_COREOS}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForAllHosts:
    """Changes to the images of all hosts, before those of a host."""

    kernel_arguments: ArgumentEdits = field(default_factory=ArgumentEdits)
    early_network: EarlyNetwork = EarlyNetwork.AUTO
    minimal_iso: bool = False
    ramdisk_network: RamdiskNetwork | None = None
    """Program that configures the network of a ramdisk; None for CoreOS."""

    @classmethod
    def of(cls, settings: Settings) -> ForAllHosts:
        """Return what the settings say."""
        return cls(
            kernel_arguments=settings.kernel_arguments,
            early_network=settings.early_network,
            minimal_iso=settings.iso_kind is IsoKind.MINIMAL,
            ramdisk_network=(
                settings.ramdisk_network if settings.bases.ramdisk is Ramdisk.IPA else None
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostArchive:
    """The archive of a host, its kernel arguments, and what is worth knowing about its input.

    ``iso_data`` is the archive of its ISO, which is another one only if the ISO alone needs
    keyfiles in the initramfs. ``network`` is the host's network in one line. ``rootfs_url`` is
    what a minimal ISO fetches; ``mac_addresses`` are those of the host's NICs that are known.
    ``iso_files`` and ``owner`` are for virtual ISOs: see `Customisation`.
    """

    data: bytes = field(repr=False)
    iso_data: bytes = field(repr=False)
    rootfs_url: str = field(default="", repr=False)
    early_network: frozenset[Kind] = frozenset()
    extra_ignition: bool = False
    kernel_arguments: tuple[ArgumentEdits, ...] = ()
    warnings: tuple[HostWarning, ...] = ()
    network: str = ""
    mac_addresses: tuple[str, ...] = ()
    iso_files: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    owner: str = ""

    def customisation(self, kind: Kind) -> Customisation:
        """Return what is laid over a base of that kind."""
        is_iso = kind is Kind.ISO
        return Customisation(
            self.iso_data if is_iso else self.data,
            kernel_arguments=self.kernel_arguments if is_iso else (),
            rootfs_url=self.rootfs_url if is_iso else "",
            early_network=kind in self.early_network,
            extra_ignition=self.extra_ignition,
            files=self.iso_files if is_iso else (),
            owner=self.owner if is_iso else "",
        )

    def boot_arguments(self) -> tuple[str, ...]:
        """Return the kernel arguments for network boot, which the boot loader appends.

        Raises `BuildInvalid` for one to remove: Ironic's own arguments come first.
        """
        return appended(self.kernel_arguments)


def other_errors(given: HostData) -> Iterator[BuildInvalid]:
    """Yield what is wrong with a host's Ignition config and kernel arguments, each by itself.

    A build stops at the first kind of input that it cannot use; a check reports all.
    """
    if given.ignition is not None:
        try:
            extra_config(given.ignition, given.ignition_name)
        except BuildInvalid as error:
            yield error
    try:
        parse(given.kernel_arguments or b"", given.kernel_arguments_name)
    except BuildInvalid as error:
        yield error


def coreos_archive(
    agent: Agent,
    host_name: str,
    given: HostData,
    network: Generated | bytes | None,
    *,
    for_all: ForAllHosts,
    rootfs_url: str,
    network_boot: bool,
) -> HostArchive:
    """Return the archive of a host; ``network`` is a document, or what was generated of one."""
    generated = built_in(network) if isinstance(network, bytes) else network
    own = () if given.ignition is None else (extra_config(given.ignition, given.ignition_name),)
    host = Host(
        name=host_name,
        keyfiles=generated.keyfiles if generated is not None else (),
        network_data=generated is not None,
        extra=own,
    )
    arguments = parse(given.kernel_arguments or b"", given.kernel_arguments_name)
    ignition = config(agent, host)
    early = _early_network(for_all, fetches=any(each.fetches for each in (*agent.extra, *own)))
    fetched = rootfs_url if network_boot or for_all.minimal_iso else ""
    wanted = needs(agent, rootfs_url=fetched, early_network=bool(early))
    plain = archive(ignition)
    with_network = archive(ignition, members(host.keyfiles)) if early and host.keyfiles else plain
    return HostArchive(
        data=with_network if Kind.INITRAMFS in early else plain,
        iso_data=with_network if Kind.ISO in early else plain,
        rootfs_url=rootfs_url,
        early_network=early if host.keyfiles else frozenset(),
        extra_ignition=bool(agent.extra or own),
        kernel_arguments=tuple(filter(None, (for_all.kernel_arguments, arguments))),
        warnings=(*_network_doubts(wanted, generated), *_config_doubts(agent, host)),
        network=generated.network if generated is not None else "",
        mac_addresses=generated.mac_addresses if generated is not None else (),
    )


def ipa_archive(
    agent: Agent,
    host_name: str,
    given: HostData,
    network: Generated | bytes | None,
    *,
    for_all: ForAllHosts,
    namespace: str,
) -> HostArchive:
    """Return the archive of a host whose ramdisk is not CoreOS; see `coreos_archive`."""
    generated = built_in(network) if isinstance(network, bytes) else network
    by = for_all.ramdisk_network or RamdiskNetwork.AUTO
    host = RamdiskHost(
        keyfiles=generated.keyfiles if generated is not None else (),
        network_data=as_json(given.network) if given.network and generated else None,
        described=generated is not None,
    )
    arguments = parse(given.kernel_arguments or b"", given.kernel_arguments_name)
    edits = tuple(filter(None, (for_all.kernel_arguments, arguments)))
    checked_arguments(edits)
    data = ramdisk_archive(agent, host, by)
    return HostArchive(
        data=data,
        iso_data=data,
        kernel_arguments=edits,
        warnings=(
            *_network_doubts(needs(agent), generated),
            *ramdisk_warnings(host, by),
            *((_NO_IGNITION,) if given.ignition is not None else ()),
        ),
        network=generated.network if generated is not None else "",
        mac_addresses=generated.mac_addresses if generated is not None else (),
        iso_files=tuple(iso_files(agent, host, by).items()),
        owner="/".join(filter(None, (namespace, host_name))),
    )


def _early_network(for_all: ForAllHosts, *, fetches: bool) -> frozenset[Kind]:
    """Return the kinds of images whose initramfs needs the host's network."""
    if for_all.early_network is EarlyNetwork.NEVER:
        return frozenset()
    if for_all.early_network is EarlyNetwork.ALWAYS or fetches:
        return frozenset(IMAGES)
    return frozenset({Kind.ISO}) if for_all.minimal_iso else frozenset()


def _network_doubts(wanted: Iterable[Need], generated: Generated | None) -> Iterator[HostWarning]:
    if generated is not None:
        yield from generated.warnings
        yield from warnings(wanted, generated.host_network)


def _config_doubts(agent: Agent, host: Host) -> tuple[HostWarning, ...]:
    extra = (*agent.extra, *host.extra)
    return tuple(doubts(extra, config(agent, replace(host, extra=())))) if extra else ()

"""From a host's NMState data to the archive that goes into its images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from twisted.internet.defer import CancelledError

from mic.common.durations import Durations
from mic.common.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.common.generated import Generated
from mic.common.host_data import HostData
from mic.common.threads import Threads
from mic.common.warning import HostWarning
from mic.hosts.convert import built_in
from mic.hosts.early_network import members
from mic.hosts.turns import Turns
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

ExternalConverter = Callable[[bytes], Awaitable[Generated]]
"""Converts an NMState document to keyfiles outside of this process.

Raises `BuildInvalid` or `NotReady`.
"""

_Build = Callable[[Agent, str, HostData, Generated | bytes | None], "HostArchive"]

SECONDS = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0)
"""Bounds of build durations: from milliseconds to a base whose digest is taken first."""

_COST = 4096
"""Cost of an archive without its document, in bytes of a document that takes as long."""

_BATCH = 16 * _COST
"""Upper bound on the cost of a batch of several hosts: about 20 ms in a thread."""

_NOT_COREOS = "an Ignition config means nothing to a ramdisk that is not CoreOS: it is left out"
_NO_IGNITION = HostWarning("ignition", _NOT_COREOS, f"ignition: {_NOT_COREOS}")

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (BaseUnavailable, "base_unavailable"),
    (BuildInvalid, "invalid_input"),
    (NotReady, "not_ready"),
    (Exception, "defect"),
)


class Builds:
    """Durations and failures of builds; ``failures`` are counted by reason.

    ``now`` returns seconds of a monotonic clock, ``waiting`` the number of builds that wait for
    their turn.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self._now = now
        self.waiting = waiting
        self.seconds = Durations(SECONDS)
        self.failures: Counter[str] = Counter({reason: 0 for _, reason in _REASONS})

    @contextmanager
    def one(self, spent: float = 0.0) -> Iterator[None]:
        """Count the body of the ``with`` statement as one build, unless it is cancelled.

        ``spent`` are the seconds that the build has taken before.
        """
        began = self._now() - spent
        try:
            yield
        except CancelledError:
            raise
        except Exception as error:
            self.seconds.add(self._now() - began)
            reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
            self.failures[reason] += 1
            raise
        else:
            self.seconds.add(self._now() - began)


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


@dataclass(frozen=True, slots=True)
class Attempt:
    """The archive of a host, or why there is none, and the seconds spent on it."""

    outcome: HostArchive | Exception
    seconds: float = 0.0

    def archive(self) -> HostArchive:
        """Return the archive, or raise the exception."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Builder:
    """Builds the archives of hosts: keyfiles, Ignition config, cpio archive.

    All of that is one call in a thread, unless an ``external`` converter makes the keyfiles. Small
    hosts of a directory share such a call: see `archives`.

    At most ``at_once`` archives or batches are built at a time, and one of each owner. Owners take
    turns; a turn costs the document's size. The built-in generator holds the interpreter, which
    serves all clients: one build at a time leaves half of it to them.

    The callers count their builds in ``builds``.
    """

    def __init__(
        self,
        threads: Threads,
        *,
        external: ExternalConverter | None = None,
        at_once: int = 1,
        for_all: ForAllHosts = ForAllHosts(),
    ) -> None:
        self._threads = threads
        self._external = external
        self._for_all = for_all
        self.at_once = at_once
        """Number of archives or batches that may be built at a time."""
        self._turns = Turns(limit=at_once, share=1)
        self.builds = Builds(waiting=lambda: len(self._turns))

    async def archive(
        self,
        agent: Agent,
        host_name: str,
        given: HostData,
        *,
        owner: str = "",
        rootfs_url: str = "",
        network_boot: bool = False,
    ) -> HostArchive:
        """Return the archive of a host; without network data, or with blank data, no keyfiles.

        Turns are taken between owners; without ``owner`` each host is its own. ``rootfs_url`` is
        what the host fetches when it boots a minimal ISO or, with ``network_boot``, mic's initramfs
        with mic's kernel parameters: there is a warning if it cannot.

        Raises `BuildInvalid` or `NotReady`.
        """
        async with self._turns.turn(owner or host_name, _cost(given)):
            generated: Generated | bytes | None = _document(given)
            if isinstance(generated, bytes) and self._external is not None:
                generated = await self._external(generated)
            build = self._call(owner, rootfs_url, network_boot=network_boot)
            return await self._threads.run(build, agent, host_name, given, generated)

    def batches(self, hosts: Iterable[tuple[str, HostData]]) -> Iterator[dict[str, HostData]]:
        """Divide hosts, in their order, into batches for `archives`.

        A large host is a batch of its own, and with an external converter each host is.
        """
        batch: dict[str, HostData] = {}
        cost = 0
        for name, given in hosts:
            cost += _cost(given)
            if batch and (self._external is not None or cost > _BATCH):
                yield batch
                batch, cost = {}, _cost(given)
            batch[name] = given
        if batch:
            yield batch

    async def archives(
        self, agent: Agent, batch: Mapping[str, HostData], *, rootfs_url: str = ""
    ) -> dict[str, Attempt]:
        """Build the archives of a batch of hosts; see `archive`.

        They take one turn and one call in a thread: handing a call over takes half as long as the
        archive of a small host. A failure concerns its host alone.
        """
        began = time.monotonic()
        try:
            if self._external is None:
                build = self._call(rootfs_url=rootfs_url)
                async with self._turns.turn(next(iter(batch)), sum(map(_cost, batch.values()))):
                    return await self._threads.run(_attempts, build, agent, batch)
            ((name, given),) = batch.items()
            archive = await self.archive(agent, name, given, rootfs_url=rootfs_url)
            return {name: Attempt(archive, time.monotonic() - began)}
        except CancelledError:
            raise
        except Exception as error:
            return dict.fromkeys(batch, Attempt(error, time.monotonic() - began))

    def _call(self, owner: str = "", rootfs_url: str = "", *, network_boot: bool = False) -> _Build:
        """Return the function that builds a host in a thread."""
        if self._for_all.ramdisk_network is not None:
            return partial(_build_ramdisk, for_all=self._for_all, namespace=owner)
        return partial(
            _build, for_all=self._for_all, rootfs_url=rootfs_url, network_boot=network_boot
        )


def _document(given: HostData) -> bytes | None:
    """Return the network data to convert; None without data, or with blank data."""
    network = given.network
    return network if network is not None and network.strip() else None


def _cost(given: HostData) -> int:
    return _COST + given.size


def _attempts(build: _Build, agent: Agent, batch: Mapping[str, HostData]) -> dict[str, Attempt]:
    return {name: _attempt(build, agent, name, given) for name, given in batch.items()}


def _attempt(build: _Build, agent: Agent, name: str, given: HostData) -> Attempt:
    began = time.monotonic()
    outcome: HostArchive | Exception
    try:
        outcome = build(agent, name, given, _document(given))
    except Exception as error:
        outcome = error
    return Attempt(outcome, time.monotonic() - began)


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


def _build(
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


def _build_ramdisk(
    agent: Agent,
    host_name: str,
    given: HostData,
    network: Generated | bytes | None,
    *,
    for_all: ForAllHosts,
    namespace: str,
) -> HostArchive:
    """Return the archive of a host whose ramdisk is not CoreOS; see `_build`."""
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

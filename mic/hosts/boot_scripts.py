"""Static mode's files for boot loaders: iPXE scripts by host and by MAC, and what s390x loads."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from twisted.logger import Logger

from mic.common.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.common.once import Once
from mic.common.text import printable
from mic.common.threads import Threads
from mic.hosts.archive import HostArchive
from mic.hosts.boot_files import BootFiles, file_name, variant_of
from mic.hosts.publish import Publisher
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import Base, Kind
from mic.media.customisation import Customisation
from mic.media.netboot import BUILD_ARCHITECTURES, ChainByMac, NetworkBoot

BOOT_SCRIPT = "boot.ipxe"
"""The script that leads each host to its own."""

_GENERIC = "generic"
"""Name of the files for s390x that boot the live system without a config, as ``generic.ins``."""

_S390X = (Kind.INS, Kind.PRM, Kind.ADDRSIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """Which host each script by name or by MAC belongs to, and what is wrong with some hosts."""

    hosts: dict[str, str] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Contents to publish by name, which of them are new, and what is wrong with some hosts."""

    contents: dict[str, Content] = field(default_factory=dict)
    changed: Collection[str] = ()
    problems: Mapping[str, list[str]] = field(default_factory=dict)


class BootScripts:
    """Publishes ``NAME.ipxe`` and ``MAC.ipxe`` of each host, and ``boot.ipxe``.

    ``rootfs_url`` is what the scripts name as the root file system; empty: mic's own. Without one,
    without a kernel, or with a URL that iPXE would interpret there are none, and a line in the
    log says why.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        images: Store,
        bases: Bases,
        publisher: Publisher,
        boot_files: BootFiles,
        threads: Threads,
        rootfs_url: str,
    ) -> None:
        self._images = images
        self._bases = bases
        self._publisher = publisher
        self._boot_files = boot_files
        self._threads = threads
        self._rootfs_url = rootfs_url
        self._published: dict[str, Content] = {}
        self._reasons = Once()
        self._complaints = Once()

    def complaint(self, host: str) -> str:
        """Return what is wrong with the scripts of a host, empty if nothing is."""
        return self._complaints.get(host)

    def complaints(self) -> tuple[str, ...]:
        """Return what is wrong with the scripts of all hosts."""
        return self._complaints.texts()

    async def update(
        self, hosts: Mapping[str, HostArchive], *, known: Collection[str] = ()
    ) -> None:
        """Publish the scripts of these hosts, and stop publishing those of others.

        ``known`` are names of hosts of which some have no image: no other host gets files of
        these names. Nothing changes while the base image cannot be read.
        """
        plan = _Plan()
        try:
            plan = await self._plan(hosts, {*hosts, *known})
        except NotReady as error:
            self._explain(str(error))
            return
        except BuildInvalid as error:
            self._explain(str(error))
        else:
            self._explain("")
        if BOOT_SCRIPT in plan.contents and BOOT_SCRIPT not in self._published:
            url = self._publisher.url(BOOT_SCRIPT, Kind.IPXE)
            self._log.info("network boot: iPXE starts at {url}", url=url)
        for name in self._published.keys() - plan.contents.keys():
            entry = self._images.entry(name)
            # A new host of that name may have its image there.
            if entry is not None and entry.content == self._published[name]:
                self._publisher.discard(name)
        for name in plan.changed:
            self._publisher.publish(name, plan.contents[name])
        self._published = plan.contents
        for host in self._complaints.subjects() | plan.problems.keys():
            text = "; ".join(plan.problems.get(host, ()))
            if self._complaints.is_news(text and f"{printable(host)}: {text}", host):
                self._log.error("{error}", error=self._complaints.get(host), host=host)

    async def _plan(self, hosts: Mapping[str, HostArchive], taken: Container[str]) -> _Plan:
        """Return what to publish; raise `BuildInvalid` or `NotReady` when no host can boot.

        ``taken`` are names of hosts, with and without images.
        """
        if not self._rootfs_url:
            await self._boot_files.rootfs_url()
        chain = ChainByMac(self._publisher.root(Kind.IPXE))
        shared = Content(id=ImageId("", "boot", Kind.IPXE), customisation=Customisation(boot=chain))
        base = await self._images.check(shared)
        architectures = self._boot_files.other_architectures()
        s390x: dict[Kind, Base | None] = {}
        if self._bases.can_serve(Kind.INS):
            s390x = {kind: await self._usable(kind) for kind in _S390X}

        def planned(hosts: dict[str, HostArchive]) -> _Plan:
            names = _names({host: archive.mac_addresses for host, archive in hosts.items()})
            contents = {BOOT_SCRIPT: shared}
            contents.update(self._scripts(hosts, names, base, architectures, taken))
            if s390x:
                contents.update((str(each.id), each) for each in self._s390x(hosts, names, s390x))
            changed = [name for name, new in contents.items() if new != self._published.get(name)]
            return _Plan(contents=contents, changed=changed, problems=names.problems)

        # Thousands of hosts take a second.
        return await self._threads.run(planned, dict(hosts))

    async def _usable(self, kind: Kind) -> Base | None:
        """Return a base, or None if it cannot be used: requests for its files get the reason."""
        try:
            return await self._bases.load(kind)
        except BaseUnavailable:
            return None

    def _scripts(
        self,
        hosts: Mapping[str, HostArchive],
        names: _Names,
        base: Base,
        architectures: tuple[str, ...],
        taken: Container[str],
    ) -> Iterator[tuple[str, Content]]:
        """Yield names and contents of scripts; add what is wrong with hosts to ``names``."""
        others: dict[str, list[str]] = {}
        for host, archive in hosts.items():
            for content in self._others(host, archive, architectures, taken):
                yield str(content.id), content
                if content.kind is Kind.IPXE:
                    others.setdefault(host, []).append(content.architecture)
        refused: set[str] = set()
        for name, host in names.hosts.items():
            content = self._content(Kind.IPXE, host, hosts[host], others=others.get(host, ()))
            try:
                base.layout(content.customisation)
            except BuildInvalid as error:
                if host not in refused:
                    names.problems.setdefault(host, []).append(str(error))
                refused.add(host)
            else:
                yield name, content

    def _s390x(
        self, hosts: Mapping[str, HostArchive], names: _Names, bases: Mapping[Kind, Base | None]
    ) -> Iterator[Content]:
        """Yield the files of hosts for s390x, and those of the base image as it is.

        Add what is wrong with hosts to ``names``.
        """
        plain = HostArchive(data=b"", iso_data=b"")
        if _GENERIC not in hosts:
            yield Content(
                id=ImageId("", _GENERIC, Kind.INITRAMFS), customisation=Customisation(b"")
            )
        for host, archive in {_GENERIC: plain, **hosts}.items():
            for kind, base in bases.items():
                content = self._content(kind, host, archive)
                try:
                    if base is not None:
                        base.layout(content.customisation)
                except BaseUnavailable:
                    pass  # requests for it get the reason
                except BuildInvalid as error:
                    names.problems.setdefault(host, []).append(str(error))
                    continue
                yield content

    def _others(
        self,
        host: str,
        archive: HostArchive,
        architectures: tuple[str, ...],
        taken: Container[str],
    ) -> Iterator[Content]:
        """Yield the script and the initramfs of a host for each other architecture.

        Not for one whose name with the architecture is another host's.
        """
        for architecture in architectures:
            name = f"{host}.{architecture}"
            if architecture in BUILD_ARCHITECTURES and name not in taken:
                script = self._content(Kind.IPXE, host, archive, architecture=architecture)
                yield script
                yield replace(
                    script,
                    id=replace(script.id, kind=Kind.INITRAMFS),
                    customisation=archive.customisation(Kind.INITRAMFS),
                )

    def _content(
        self,
        kind: Kind,
        host: str,
        archive: HostArchive,
        *,
        architecture: str = "",
        others: Iterable[str] = (),
    ) -> Content:
        """Return a file of a host; for another architecture, its name ends in that."""
        name = f"{host}.{architecture}" if architecture else host
        if not self._boot_files.has_rootfs:
            rootfs_url = ""
        elif self._rootfs_url:
            rootfs_url = variant_of(self._rootfs_url, architecture=architecture)
        else:
            rootfs = file_name(Kind.ROOTFS, architecture=architecture)
            rootfs_url = self._publisher.url(rootfs, Kind.ROOTFS)
        kernel = file_name(Kind.KERNEL, architecture=architecture)
        boot = NetworkBoot(
            kernel=self._publisher.url(kernel, Kind.KERNEL),
            initramfs=self._publisher.url(f"{name}.{Kind.INITRAMFS}", Kind.INITRAMFS),
            rootfs=rootfs_url,
            others={
                other: self._publisher.url(f"{host}.{other}.{Kind.IPXE}", Kind.IPXE)
                for other in others
            },
        )
        # Only the length of its archive counts for the initramfs; scripts are the same without.
        data = archive.data if kind is Kind.ADDRSIZE else b""
        arguments = archive.kernel_arguments
        customisation = Customisation(data, kernel_arguments=arguments, boot=boot)
        return Content(
            id=ImageId("", name, kind), customisation=customisation, architecture=architecture
        )

    def _explain(self, reason: str) -> None:
        """Log once why there are no scripts."""
        if self._reasons.is_news(reason):
            self._log.warn("no scripts for network boot: {error}", error=reason)


def name_problems(hosts: Mapping[str, Iterable[str]]) -> Mapping[str, Sequence[str]]:
    """Return which scripts hosts do not get, by host: of their names and MAC addresses.

    ``hosts`` are the MAC addresses of each.
    """
    return _names(hosts).problems


def _names(hosts: Mapping[str, Iterable[str]]) -> _Names:
    """Return whose script each name leads to: shared names first, then names of hosts."""
    names = _Names()
    by_mac: dict[str, list[str]] = {}
    for host, mac_addresses in hosts.items():
        for mac in mac_addresses:
            by_mac.setdefault(mac, []).append(host)
    taken = {BOOT_SCRIPT: "leads all hosts to theirs"}
    for mac, owners in by_mac.items():
        name = f"{mac.replace(':', '-')}.{Kind.IPXE}"
        if len(owners) == 1:
            names.hosts[name] = owners[0]
            taken[name] = f"is the script of {printable(owners[0])} by its MAC address"
            continue
        taken[name] = "stands for the MAC address of several hosts"
        for host in owners:
            others = ", ".join(printable(other) for other in owners if other != host)
            text = f"the MAC address {mac} is that of {others}, too: no script is served for it"
            names.problems.setdefault(host, []).append(text)
    for host in hosts:
        name = f"{host}.{Kind.IPXE}"
        if name not in taken:
            names.hosts[name] = host
        elif names.hosts.get(name) != host:
            text = f"it has no script under its name: {printable(name)} {taken[name]}"
            names.problems.setdefault(host, []).append(text)
    return names

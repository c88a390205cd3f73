"""Static mode: a directory of files as the source of hosts."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from mic.common.errors import BaseUnavailable, BuildInvalid, MicError, NotReady
from mic.common.health import Health
from mic.common.once import Once
from mic.common.text import printable
from mic.common.threads import Threads
from mic.common.warning import HostWarning
from mic.hosts.agent_files import AgentFiles
from mic.hosts.archive import HostArchive
from mic.hosts.boot_files import BootFiles
from mic.hosts.boot_scripts import BootScripts
from mic.hosts.build import Attempt, Builder
from mic.hosts.changes import changes
from mic.hosts.files import HostFile, ignored_text, other_files, read_directory
from mic.hosts.publish import Publisher
from mic.hosts.status import HostState, HostStatus
from mic.ignition import Agent
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import IMAGES, Kind
from mic.settings.model import OWN_ROOTFS

_SLICE = 4
"""Number of hosts that are published before other events get their turn."""


class StaticHosts:
    """Publishes an ISO and an initramfs for each host file of a directory.

    A host whose file cannot be used keeps its last good image; other hosts are not affected.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        directory: str,
        images: Store,
        bases: Bases,
        agent_files: AgentFiles,
        builder: Builder,
        publisher: Publisher,
        threads: Threads,
        reactor: Any,
        rootfs_url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._reactor = reactor
        self._directory = directory
        self._images = images
        self._bases = bases
        self._agent_files = agent_files
        self._builder = builder
        self._publisher = publisher
        self._boot_files = BootFiles(
            images=images, bases=bases, publisher=publisher, per_architecture=False
        )
        self._own_rootfs = rootfs_url in ("", OWN_ROOTFS)
        self._rootfs_url = self._boot_files.own_rootfs if self._own_rootfs else rootfs_url
        self._threads = threads
        self._scripts = BootScripts(
            images=images,
            bases=bases,
            publisher=publisher,
            boot_files=self._boot_files,
            threads=threads,
            rootfs_url="" if self._own_rootfs else rootfs_url,
        )
        self._archives: dict[str, HostArchive] = {}
        """Of hosts with published images: what their scripts are made of."""
        self._scripts_stale = True
        self._hosts: dict[str, HostFile] = {}
        self._agent: Agent | None = None
        self._retry: set[str] = set()
        """Hosts to build again although their files have not changed."""
        self._complaints = Once()
        self._warnings = Once()
        self._doubts = Once()
        self._statuses: dict[str, HostStatus] = {}
        self._settled = False
        self._one_at_a_time = DeferredLock()
        bases.changed.append(self._retry_failed)

    def publish_boot_files(self) -> None:
        """Publish the kernel and the root file system."""
        self._boot_files.publish_known()

    async def start(self) -> None:
        """Publish the hosts of the directory."""
        await self.poll()

    async def poll(self) -> None:
        """Bring the published images in line with the directory.

        Polls run one at a time, so that the last one sees the latest state.
        """
        await self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self._poll()))

    async def stop(self) -> None:
        """Do nothing: there is no work between polls."""

    def settled(self) -> bool:
        """Return whether each host has been built once, or cannot be built.

        False as long as the directory, or a file that all hosts share, could not be read yet.
        """
        return self._settled

    def caught_up(self) -> bool:
        """Return the same as `settled`: all files are built before any image is served."""
        return self._settled

    def health(self) -> Health:
        """Return unusable base images and unfinished first builds, and complaints about hosts."""
        waiting = () if self._settled else ("the hosts' images are still being built",)
        texts = (
            *self._complaints.texts(),
            *self._warnings.texts(),
            *self._doubts.texts(),
            *self._scripts.complaints(),
        )
        own = Health(not_ready=waiting, warnings=texts)
        return Health.of([self._bases.health(), own])

    def statuses(self) -> Iterator[HostStatus]:
        """Yield the status of each host of the directory."""
        # A copy: a reader may take its time, and hosts come and go meanwhile.
        for name in tuple(self._hosts):
            status = self._statuses.get(name) or HostStatus(
                namespace="", name=name, state=HostState.WAITING, reason="not built yet"
            )
            complaint = self._scripts.complaint(name).removeprefix(f"{printable(name)}: ")
            warnings = (*status.warnings, complaint) if complaint else status.warnings
            yield replace(status, warnings=warnings)

    def has_no_image(self, name: str) -> bool:
        """Return whether a file name is that of a host's image that could not be built."""
        host, dot, kind = name.rpartition(".")
        return bool(dot) and kind in (*IMAGES, Kind.IPXE) and host in self._hosts

    def _retry_failed(self) -> None:
        """Retry failed hosts after a change of base images: they may fit now."""
        self._retry.update(self._complaints.subjects())
        self._scripts_stale = True

    async def _poll(self) -> None:
        try:
            found = await self._threads.run(read_directory, self._directory)
            others = await self._threads.run(other_files, self._directory, found.values())
        except OSError as error:
            # Keep the hosts that are published until the directory is back.
            self._complain("", f"-nmstate-dir: {self._directory}: {error.strerror}")
            return
        for name in self._hosts.keys() - found.keys():
            self._forget(name)
        try:
            await self._agent_files.poll()
            agent = await self._agent_files.load()
        except MicError as error:
            self._complain("", f"{error}; no host is built until this is fixed")
            return
        self._complain("", "")
        self._warn_of_files(found, others)
        everything = agent is not self._agent
        self._agent = agent
        todo = [
            name
            # Small ones first: a large one takes seconds.
            for name, file in sorted(found.items(), key=lambda item: (item[1].given.size, item[0]))
            if everything or name in self._retry or self._hosts.get(name) != file
        ]
        if found.keys() != self._hosts.keys():
            self._scripts_stale = True
        self._hosts = found
        self._retry.clear()
        usable = []
        for name in todo:
            file = found[name]
            if file.problem:
                await self._publish_host(name, file, Attempt(BuildInvalid(file.problem)))
            else:
                usable.append((name, file.given))
        queue = self._builder.batches(usable)

        async def work() -> None:
            for batch in queue:
                attempts = await self._builder.archives(agent, batch, rootfs_url=self._rootfs_url)
                for number, (name, attempt) in enumerate(attempts.items(), 1):
                    await self._publish_host(name, found[name], attempt)
                    if number % _SLICE == 0:
                        await deferLater(self._reactor, 0)

        await gatherResults(
            [Deferred.fromCoroutine(work()) for _ in range(self._builder.at_once)],
            consumeErrors=True,
        )
        if self._scripts_stale:
            self._scripts_stale = False
            await self._scripts.update(self._archives, known=self._hosts)
        if not self._settled:
            self._settled = True
            self._summarise()

    def _warn_of_files(self, found: dict[str, HostFile], others: list[str]) -> None:
        texts = [] if found else [f"no host files (*.yaml, *.yml, *.json) in {self._directory}"]
        if others:
            texts.append(ignored_text(others))
        text = f"-nmstate-dir: {'; '.join(texts)}" if texts else ""
        if self._doubts.is_news(text):
            self._log.warn("{error}", error=text)

    def _summarise(self) -> None:
        states = [status.state for status in self.statuses()]
        lacking = states.count(HostState.FAILED) + states.count(HostState.WAITING)
        if lacking:
            self._log.warn(
                "{count} hosts: {served} with images, {lacking} without",
                count=len(states),
                served=len(states) - lacking,
                lacking=lacking,
            )

    async def _publish_host(self, name: str, file: HostFile, attempt: Attempt) -> None:
        """Publish one host that was built; no failure affects another host."""
        try:
            with self._builder.builds.one(attempt.seconds):
                await self._try_to_publish(name, file, attempt)
        except MicError:
            pass  # logged already
        except (OSError, MemoryError) as error:
            # Retry: a lack of descriptors, memory or processes is temporary.
            self._retry.add(name)
            reason = str(error) or os.strerror(errno.ENOMEM)
            self._fail(name, file, reason)
        except Exception as error:
            if file.is_elsewhere:
                # A traceback includes the message, which may quote the file.
                self._fail(name, file, f"cannot be built: {type(error).__name__}")
            else:
                self._log.failure("{path}: cannot be built", path=file.path, host=name)
                self._complaints.is_news(f"{file.path}: cannot be built: see the log", name)
                self._note(name, self._failed_state(name), "cannot be built: see the log")

    async def _try_to_publish(self, name: str, file: HostFile, attempt: Attempt) -> None:
        """Publish the kinds of images that can be made; raise the first of the errors logged."""
        try:
            archive = attempt.archive()
        except MicError as error:
            if isinstance(error, NotReady):
                self._retry.add(name)
            self._fail(name, file, file.quote(error))
            raise
        warnings = _texts(file, archive.warnings)
        self._warn(name, file, warnings)
        errors: list[MicError] = []
        complaints = [file.note] if file.note else []
        state = HostState.READY
        failed = False
        news = ""
        for kind in self._bases.kinds:
            customisation = archive.customisation(kind)
            content = Content(id=ImageId("", name, kind), customisation=customisation)
            if not self._bases.has(kind):
                errors.append(BaseUnavailable(f"no {kind.value}: there is no base image for it"))
                complaints.append(str(errors[-1]))
                continue
            try:
                if kind is Kind.ISO and self._bases.minimal and self._own_rootfs:
                    await self._check_rootfs()
                await self._images.check(content)
            except (BaseUnavailable, NotReady) as error:
                # Publish it anyway: it is served as soon as the base image is there.
                errors.append(error)
                complaints.append(str(error))
                state = HostState.WAITING
            except MicError as error:
                errors.append(error)
                complaints.append(f"{error}{self._kept(name)}")
                failed = True
                continue
            self._archives[name] = archive
            changed = await self._publish(name, content)
            news = news or changed
        if self._is_published(name):
            self._archives[name] = archive
            self._scripts_stale = True
        if failed or not self._is_published(name):
            state = self._failed_state(name)
        was = self._complaints.get(name)
        self._complain(name, f"{file.path}: {'; '.join(complaints)}" if complaints else "")
        reason = "; ".join(dict.fromkeys(map(str, errors)))
        self._note(name, state, reason, archive.network, warnings, changed=bool(news))
        if errors:
            raise errors[0]
        if was and not complaints and news:
            self._log.info("{host}: fixed: {changes}", host=name, changes=news)
        elif was and not complaints:
            self._log.info("{host}: fixed", host=name)
        elif news:
            self._log.info("{host}: rebuilt: {changes}", host=name, changes=news)

    async def _check_rootfs(self) -> None:
        """Raise `BuildInvalid` when there is no rootfs to serve: hosts would wait for one."""
        try:
            await self._boot_files.rootfs_url()
        except BaseUnavailable as error:
            raise BuildInvalid(str(error)) from None

    def _fail(self, name: str, file: HostFile, reason: str) -> None:
        """Report that a host cannot be built."""
        self._complain(name, f"{file.path}: {reason}{self._kept(name)}")
        self._note(name, self._failed_state(name), reason)

    def _failed_state(self, name: str) -> HostState:
        return HostState.KEPT if self._is_published(name) else HostState.FAILED

    def _note(
        self,
        name: str,
        state: HostState,
        reason: str = "",
        network: str | None = None,
        warnings: tuple[str, ...] | None = None,
        *,
        changed: bool = False,
    ) -> None:
        """Keep the status of a host; its time moves when its image or anything else changes.

        ``network`` and ``warnings`` of a file that could not be built stay those of the last one.
        """
        old = self._statuses.get(name)
        new = HostStatus(
            namespace="",
            name=name,
            state=state,
            reason=reason,
            network=(old.network if old else "") if network is None else network,
            warnings=(old.warnings if old else ()) if warnings is None else warnings,
            since=old.since if old is not None else 0.0,
        )
        if new != old or changed:
            self._statuses[name] = replace(new, since=self._clock())

    def _warn(self, name: str, file: HostFile, warnings: tuple[str, ...]) -> None:
        """Log the doubts about a host once until they change."""
        text = "; ".join(warnings)
        if self._warnings.is_news(f"{file.path}: {text}" if text else "", name):
            self._log.warn("{path}: {warning}", path=file.path, warning=text, host=name)

    async def _publish(self, name: str, content: Content) -> str:
        """Publish an image; return what changed since the last one, empty for a first one."""
        file_name = f"{name}.{content.kind.value}"
        entry = self._images.entry(file_name)
        self._publisher.publish(file_name, content)
        if entry is None or entry.content.architecture != content.architecture:
            self._publisher.announce(file_name, host=name)
            return ""
        before = entry.content.customisation
        if before == content.customisation:
            return ""
        # It reads both archives, which may have megabytes.
        return await self._threads.run(changes, before, content.customisation)

    def _forget(self, name: str) -> None:
        self._complain(name, "")
        self._warnings.is_over(name)
        self._statuses.pop(name, None)
        del self._hosts[name]
        for kind in IMAGES:
            self._publisher.discard(f"{name}.{kind.value}")
        self._archives.pop(name, None)
        self._scripts_stale = True
        self._log.info("{host}: its file was removed; its images are no longer served", host=name)

    def _kept(self, name: str) -> str:
        if self._is_published(name):
            return "; its last good image stays"
        return f"; {printable(name)} has no image"

    def _is_published(self, name: str) -> bool:
        """Return whether images of the host are served; a file of that name may be another's."""
        return name in self._archives

    def _complain(self, name: str, text: str) -> None:
        """Log a problem of a host once until it changes; an empty text means it is over."""
        if self._complaints.is_news(text, name):
            self._log.error("{error}", error=text, host=name or None)


def _texts(file: HostFile, warnings: tuple[HostWarning, ...]) -> tuple[str, ...]:
    return tuple(each.without_content if file.is_elsewhere else str(each) for each in warnings)

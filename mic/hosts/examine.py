"""Check what the daemon would read, without serving: settings, base images, files of hosts.

Nothing is written and no port is bound. `mic.hosts.examine_cluster` checks a cluster.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from mic.common.errors import BaseUnavailable, BuildInvalid, ConfigError, MicError, NotReady
from mic.common.files import os_reason
from mic.common.host_data import HostData
from mic.common.keyfile import check_names
from mic.common.problems import DocumentInvalid
from mic.common.threads import Threads
from mic.common.warning import HostWarning
from mic.hosts.archive import ForAllHosts, HostArchive, other_errors
from mic.hosts.boot_files import BootFiles
from mic.hosts.boot_scripts import name_problems
from mic.hosts.build import Builder
from mic.hosts.convert import Conversion
from mic.hosts.files import FILE_LIMIT, HostFile, ignored_text, other_files, read_directory
from mic.hosts.findings import Findings
from mic.hosts.ignition_validate import validate
from mic.hosts.publish import Publisher
from mic.ignition import Agent, lacks
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import IMAGES, Kind, Ramdisk
from mic.reachability import needs, warnings
from mic.settings.load import Inspected
from mic.settings.model import OWN_ROOTFS, IsoKind
from mic.settings.read import read_agent
from mic.tls.certificate import load_certificate, read_pem

SETTINGS = "settings"
BASES = "base images"


class _Builder(Builder):
    """Builds as the daemon does, and notes the warnings of each host."""

    def __init__(self, examination: Examination, threads: Threads, **more: Any) -> None:
        super().__init__(threads, **more)
        self._examination = examination

    async def archive(
        self, agent: Agent, host_name: str, given: HostData, **more: Any
    ) -> HostArchive:
        """Return the archive of a host; see `Builder.archive`."""
        try:
            archive = await super().archive(agent, host_name, given, **more)
        except DocumentInvalid:
            raise
        except BuildInvalid:
            # What else is given for the host is invalid: its network data may be doubtful too.
            with suppress(MicError):
                await self._examination.convert(given.network or b"")
            raise
        self._examination.doubts = archive.warnings
        if given.ignition is not None and self._examination.validates:
            errors, doubts = await self._examination.threads.run(
                validate, given.ignition, given.ignition_name
            )
            self._examination.doubts += doubts
            if errors:
                raise BuildInvalid("; ".join(errors))
        return archive


class Examination:
    """Checks hosts with the daemon's own parts, and adds what it finds to ``findings``.

    ``agent`` has the agent's settings, after `examine_settings` with the content of their files.
    ``doubts`` are the warnings about the document that was built or converted last. ``can_build``:
    the settings allow images to be built; otherwise documents are only converted. ``validates``:
    ``ignition-validate`` is asked about configs, if it is installed.
    """

    def __init__(
        self, inspected: Inspected, reactor: Any, threads: Threads, *, validates: bool = False
    ) -> None:
        settings = inspected.settings
        self.findings = Findings()
        self.settings = settings
        self.validates = validates
        self.reactor = reactor
        self.threads = threads
        self.bases = Bases(
            settings.bases,
            settings.host_architecture,
            threads,
            minimal=settings.iso_kind is IsoKind.MINIMAL,
            checksums=settings.verify_bases,
        )
        self.images = Store(self.bases, time.time)
        self.conversion = Conversion(settings.nmstate_backend, reactor, threads)
        self.builder = _Builder(
            self,
            threads,
            external=self.conversion.external,
            at_once=self.conversion.at_once,
            for_all=ForAllHosts.of(settings),
        )
        self.doubts: tuple[HostWarning, ...] = ()
        self.can_build = True
        self._own_rootfs = settings.rootfs_url in ("", OWN_ROOTFS)
        # The URL of mic's own is known only where it is served.
        self._rootfs_url = "" if self._own_rootfs else settings.rootfs_url
        self._has_scripts = True
        self._mac_addresses: dict[str, tuple[str, ...]] = {}
        self.agent = settings.agent.agent
        self._problems = inspected.problems
        self._base_problem = any(each.startswith("DEPLOY_") for each in inspected.problems)

    async def examine_settings(self, *, builds: bool) -> None:
        """Report what is wrong with the settings and the files that they name.

        ``builds``: images are to be built, which needs Ironic's URL and the agent's image.
        """
        problems = [*self._problems]
        try:
            self.agent = await self.threads.run(read_agent, self.settings.agent)
        except MicError as error:
            problems.append(str(error))
            self.can_build = False
        if builds:
            known = {problem.partition(" ")[0].rstrip(":") for problem in problems}
            found = [lack for lack in self._lacks() if lack.partition(" ")[0] not in known]
            problems += found
        self.can_build = self.can_build and builds and not any(self._lacks())
        self.findings.error(SETTINGS, *problems)
        self.findings.warn(SETTINGS, *self.settings.warnings)
        for extra in self.agent.extra if self.validates else ():
            errors, doubts = await self.threads.run(validate, extra.content, extra.source)
            self.findings.error(SETTINGS, *errors)
            self.findings.warn(SETTINGS, *map(str, doubts))
        if self.settings.tls is not None:
            try:
                pem = await self.threads.run(read_pem, self.settings.tls)
                certificate = await self.threads.run(load_certificate, self.settings.tls, pem)
            except ConfigError as error:
                self.findings.error(SETTINGS, *error.problems)
            else:
                warning = certificate.validity_warning(datetime.now(UTC))
                self.findings.warn(SETTINGS, *filter(None, [warning]))

    def _lacks(self) -> list[str]:
        """Return which settings are missing without which no image can be built."""
        # The agent of other ramdisks is in the initramfs, and gets Ironic's URL from Ironic.
        return list(lacks(self.agent)) if self.bases.ramdisk is Ramdisk.COREOS else []

    async def examine_bases(self) -> None:
        """Read all base images, and report those that cannot be used and doubts about others."""
        self.findings.error(BASES, *await self.bases.load_all())
        doubts = [doubt.text for doubt in self.bases.doubts() if doubt.evidence]
        self.findings.warn(BASES, *doubts)
        if not self.has_bases and not self._base_problem:
            given = "DEPLOY_ISO" if self.bases.ramdisk is Ramdisk.COREOS else "DEPLOY_INITRD"
            self.findings.error(BASES, f"there is none: see {given} and IMAGE_SHARED_DIR")

    @property
    def has_bases(self) -> bool:
        """Whether there is a base image of any architecture, usable or not."""
        return bool(self.bases.states())

    async def examine_directory(self) -> None:
        """Check the hosts of ``-nmstate-dir``."""
        directory = self.settings.nmstate_dir
        if not directory:
            return  # unusable, which the settings report
        try:
            files = await self.threads.run(read_directory, directory)
            others = await self.threads.run(other_files, directory, files.values())
        except OSError as error:
            self.findings.error(SETTINGS, f"-nmstate-dir: {directory}: {os_reason(error)}")
            return
        if not files:
            text = f"-nmstate-dir: no host files (*.yaml, *.yml, *.json) in {directory}"
            self.findings.warn(SETTINGS, text)
        if others:
            self.findings.warn(SETTINGS, f"-nmstate-dir: {ignored_text(others)}")
        if self.has_bases and not self._base_problem:
            for kind in self.bases.kinds:
                if not self.bases.has(kind):
                    self.findings.warn(BASES, f"no {kind.value}: there is no base image for it")
        if self._own_rootfs:
            await self._examine_rootfs()
        for name, file in sorted(files.items()):
            await self._examine_file(file, name)
        if self._has_scripts and self.bases.can_serve(Kind.IPXE):
            for name, problems in sorted(name_problems(self._mac_addresses).items()):
                self.findings.warn(files[name].path, *problems, host=name)

    async def _examine_rootfs(self) -> None:
        """Learn the URL of mic's own root file system; report minimal ISOs without one."""
        settings = self.settings
        publisher = Publisher(
            self.images,
            publish_url=settings.publish_url,
            http_publish_url=settings.http_publish_url,
        )
        files = BootFiles(
            images=self.images, bases=self.bases, publisher=publisher, per_architecture=False
        )
        self._rootfs_url = files.own_rootfs
        try:
            await files.rootfs_url()
        except MicError as error:
            self._has_scripts = False
            if self.bases.minimal and self.bases.has(Kind.ISO):
                self.findings.error(BASES, str(error))

    async def examine_files(self, paths: Sequence[str]) -> None:
        """Check documents by themselves; ``-`` is standard input."""
        for path in paths:
            name = os.path.splitext(os.path.basename(path))[0]
            await self._examine_file(await self.threads.run(_document, path), name)

    async def _examine_file(self, file: HostFile, name: str) -> None:
        self.findings.hosts += 1
        if file.problem:
            self.findings.error(file.path, file.problem, host=name)
            return
        if file.note:
            self.findings.warn(file.path, file.note, host=name)
        self.doubts = ()
        try:
            await self._examine_host(name, file.given)
        except MicError as error:
            problems = error.problems if isinstance(error, DocumentInvalid) else (str(error),)
            self.findings.error(file.path, *problems, host=name)
            self.findings.error(file.path, *map(str, other_errors(file.given)), host=name)
        except Exception as error:
            # No defect must hide what is wrong with other hosts.
            self.findings.error(file.path, defect(error), host=name)
        self.findings.warn(file.path, *map(str, self.doubts), host=name)

    async def _examine_host(self, name: str, given: HostData) -> None:
        """Build the images of a host, or convert its document if none can be built.

        Raises `MicError` if that is impossible.
        """
        if not self.can_build:
            await self.convert(given.network or b"")
            return
        for content in (await self.contents(name, given)).values():
            await self._check_fit(content)

    async def contents(self, name: str, given: HostData) -> dict[Kind, Content]:
        """Return what static mode would publish for a host; raises `BuildInvalid` or `NotReady`."""
        archive = await self.builder.archive(self.agent, name, given, rootfs_url=self._rootfs_url)
        self._mac_addresses[name] = archive.mac_addresses
        return {
            kind: Content(id=ImageId("", name, kind), customisation=archive.customisation(kind))
            for kind in IMAGES
        }

    async def convert(self, document: bytes) -> None:
        """Convert a document, which may be blank, and note the warnings about it.

        Raises `BuildInvalid` or `NotReady`.
        """
        if document.strip():
            generated = await self.conversion.generate(document)
            check_names(generated.keyfiles)
            unreached = warnings(needs(self.agent), generated.host_network)
            self.doubts = (*generated.warnings, *unreached)

    async def _check_fit(self, content: Content) -> None:
        """Raise `BuildInvalid` if an image does not fit its base, whose own faults are known."""
        if self.bases.has(content.kind):
            with suppress(BaseUnavailable, NotReady):
                await self.images.check(content)


def defect(error: Exception) -> str:
    """Return what to say about an unexpected error, whose text may quote a document."""
    reason = error.strerror if isinstance(error, OSError) else ""
    return f"cannot be checked: {reason or type(error).__name__}"


def _document(path: str) -> HostFile:
    """Read a document as `mic.hosts.directory` does, or from a pipe. Blocks: for a thread."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(FILE_LIMIT + 1)
        else:
            with open(path, "rb") as file:
                content = file.read(FILE_LIMIT + 1)
    except IsADirectoryError:
        return HostFile(path=path, problem="a directory: check it with -nmstate-dir")
    except OSError as error:
        return HostFile(path=path, problem=os_reason(error))
    if len(content) > FILE_LIMIT:
        return HostFile(path=path, problem=f"the file has more than {FILE_LIMIT} bytes")
    return HostFile(path=path, given=HostData(network=content))

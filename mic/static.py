"""Static mode: a directory of NMState files as the source of hosts."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from twisted.internet.defer import Deferred, DeferredLock, gatherResults
from twisted.logger import Logger

from mic.bases import Bases
from mic.build import Builder
from mic.errors import BaseUnavailable, BuildInvalid, MicError, NotReady
from mic.files import NotRegular, read_regular
from mic.ignition import Agent
from mic.image.base import Kind
from mic.image.store import Content
from mic.images import Images
from mic.threads import Threads

SUFFIXES = (".yaml", ".yml", ".json")
"""File name endings of hosts; where several files name one host, the first of these counts."""

_FILE_LIMIT = 4 * 1024 * 1024
_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFile:
    """A host's file as last read: NMState data, or the problem in its way; ``note`` is said
    of a host that is built all the same."""

    path: str
    content: bytes = field(default=b"", repr=False)
    problem: str = ""
    note: str = ""


class StaticHosts:
    """Publishes an ISO and an initramfs for each host file of a directory.

    `refresh` brings the published images in line with the directory. A host whose file cannot
    be used keeps its last good image, and the others are not affected.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        directory: str,
        publish_url: str,
        http_publish_url: str = "",
        images: Images,
        bases: Bases,
        builder: Builder,
        threads: Threads,
    ) -> None:
        self._directory = directory
        self._urls = (publish_url, http_publish_url)
        self._images = images
        self._bases = bases
        self._builder = builder
        self._threads = threads
        self._hosts: dict[str, HostFile] = {}
        self._agent: Agent | None = None
        self._again: set[str] = set()
        self._complaints: dict[str, str] = {}
        self._settled = False
        self._one_at_a_time = DeferredLock()
        bases.changed.append(self._try_again)

    def refresh(self) -> Deferred[None]:
        """Look at the directory; one look at a time, so that a later one sees the later state."""
        return self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self._refresh()))

    async def start(self) -> None:
        """Publish what the directory holds at the start."""
        await self.refresh()

    async def look(self) -> None:
        """Follow the directory."""
        await self.refresh()

    async def stop(self) -> None:
        """Nothing of this goes on by itself."""

    def settled(self) -> bool:
        """Whether all hosts have been built once, as far as each of them can be.

        Not so while the directory, or a file that all hosts share, cannot be read at the start.
        """
        return self._settled

    def missing(self) -> list[str]:
        """What keeps hosts from their images."""
        waiting = [] if self._settled else ["the hosts' images are still being built"]
        return self._bases.problems() + waiting

    def defects(self) -> list[str]:
        """Nothing here dies for good."""
        return []

    def _try_again(self) -> None:
        """Other bases: what could not be built or did not fit may do so now."""
        self._again.update(self._complaints)

    async def _refresh(self) -> None:
        try:
            found = await self._threads.run(_read_directory, self._directory)
        except OSError as error:
            # The directory is away: keep what we have.
            self._complain("", f"-nmstate-dir: {self._directory}: {error.strerror}")
            return
        for name in self._hosts.keys() - found.keys():
            self._forget(name)
        try:
            agent = await self._builder.agent()
        except MicError as error:
            self._complain("", f"{error}; no host is built until that is mended")
            return
        self._complain("", "")
        everything = agent != self._agent
        self._agent = agent
        todo = [
            name
            for name, file in sorted(found.items())
            if everything or name in self._again or self._hosts.get(name) != file
        ]
        self._hosts = found
        self._again.clear()
        queue = iter(todo)

        async def work() -> None:
            for name in queue:
                await self._build(name, found[name], agent)

        await gatherResults(
            [Deferred.fromCoroutine(work()) for _ in range(_AT_ONCE)], consumeErrors=True
        )
        self._settled = True

    async def _build(self, name: str, file: HostFile, agent: Agent) -> None:
        """Build and publish one host; whatever goes wrong concerns this host alone."""
        try:
            with self._builder.builds.one():
                await self._try_to_build(name, file, agent)
        except MicError:
            pass  # Complained of already.
        except Exception:
            self._log.failure("{path}: cannot be built", path=file.path, host=name)

    async def _try_to_build(self, name: str, file: HostFile, agent: Agent) -> None:
        """Publish what can be; raises the first `MicError` of those complained of."""
        if file.problem:
            self._complain(name, f"{file.path}: {file.problem}{self._kept(name)}")
            raise BuildInvalid(file.problem)
        try:
            archive = await self._builder.archive(agent, name, file.content)
        except MicError as error:
            if isinstance(error, NotReady):
                self._again.add(name)
            self._complain(name, f"{file.path}: {error}{self._kept(name)}")
            raise
        errors: list[MicError] = []
        complaints = [file.note] if file.note else []
        for kind in (Kind.ISO, Kind.INITRAMFS):
            content = Content(label=f"{name}.{kind.value}", kind=kind, archive=archive)
            if not self._bases.has(kind):
                errors.append(BaseUnavailable(f"no {kind.value}: there is no base image for it"))
                complaints.append(str(errors[-1]))
                continue
            try:
                await self._images.etag(content)
            except (BaseUnavailable, NotReady) as error:
                # Published all the same: it is served as soon as the base is there.
                errors.append(error)
                complaints.append(str(error))
            except MicError as error:
                errors.append(error)
                complaints.append(f"{error}{self._kept(name)}")
                continue
            self._publish(name, content)
        self._complain(name, f"{file.path}: {'; '.join(complaints)}" if complaints else "")
        if errors:
            raise errors[0]

    def _publish(self, name: str, content: Content) -> None:
        file_name = f"{name}.{content.kind.value}"
        if self._images.entry(file_name) is None:
            url, http_url = (base and f"{base}/{quote(file_name)}" for base in self._urls)
            if http_url:
                self._log.info(
                    "serving {url} and {http_url}", url=url, http_url=http_url, host=name
                )
            else:
                self._log.info("serving {url}", url=url, host=name)
        self._images.publish(file_name, content)

    def _forget(self, name: str) -> None:
        self._complain(name, "")
        del self._hosts[name]
        for kind in (Kind.ISO, Kind.INITRAMFS):
            self._images.discard(f"{name}.{kind.value}")
        self._log.info("{host}: its file is gone, and so are its images", host=name)

    def _kept(self, name: str) -> str:
        kept = self._images.entry(f"{name}.iso") or self._images.entry(f"{name}.initramfs")
        return "; its last good image stays" if kept else ""

    def _complain(self, name: str, text: str) -> None:
        """Log what is wrong with a host, once until it changes."""
        before = self._complaints.pop(name, "")
        if text:
            self._complaints[name] = text
            if text != before:
                self._log.error("{error}", error=text, host=name or None)

    def problems(self) -> list[str]:
        """What is wrong now, for people."""
        return [text for _, text in sorted(self._complaints.items())]


def _read_directory(directory: str) -> dict[str, HostFile]:
    """In a thread: the hosts that the files of a directory describe, by name."""
    hosts: dict[str, HostFile] = {}
    with os.scandir(directory) as entries:
        names = sorted(entry.name for entry in entries)
    for suffix in SUFFIXES:
        for file_name in names:
            name, ending = os.path.splitext(file_name)
            # ConfigMap mounts keep their data in directories whose names start with a dot.
            if ending != suffix or not name or file_name.startswith("."):
                continue
            path = os.path.join(directory, file_name)
            file = _read_file(path, name)
            if file is None:
                continue
            if name in hosts:
                first = hosts[name]
                note = f"{file_name} names the same host and is ignored"
                note = f"{first.note}; {note}" if first.note else note
                hosts[name] = replace(first, note=note)
            else:
                hosts[name] = file
    return hosts


def _read_file(path: str, name: str) -> HostFile | None:
    """The host of a regular file (or a link to one), None for anything else."""
    try:
        content = read_regular(path, _FILE_LIMIT)
    except (FileNotFoundError, NotRegular):
        return None
    except OSError as error:
        return HostFile(path=path, problem=error.strerror or str(error))
    if not name.isprintable():
        return HostFile(path=repr(path), problem="its name is no host name")
    if len(content) > _FILE_LIMIT:
        return HostFile(path=path, problem=f"it has more than {_FILE_LIMIT} bytes")
    return HostFile(path=path, content=content)

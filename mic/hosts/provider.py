"""Builds images for PreprovisioningImages and publishes them under secret names."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from mic.common.errors import BaseUnavailable, BuildInvalid, MicError
from mic.hosts.agent_files import AgentFiles
from mic.hosts.archive import HostArchive
from mic.hosts.boot_files import BootFiles, variant_of
from mic.hosts.build import Builder
from mic.hosts.changes import changes
from mic.hosts.publish import Publisher
from mic.ignition import Agent
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, ImageVersion, Store
from mic.kube.builds import BuildRequest, Built
from mic.kube.events import ObjectReference
from mic.media.base import Kind, Ramdisk
from mic.media.customisation import Customisation
from mic.media.kernel_arguments import COMMAND_LINE
from mic.media.netboot import NetworkBoot
from mic.settings.model import OWN_ROOTFS

_NAME_BYTES = 20
_MAX_COMPARED = 512 * 1024
"""Bytes of two archives that are compared for the log: it takes milliseconds in the reactor."""

_COMMAND_LINE = {"s390x": 4095}
"""`COMMAND_LINE` of other architectures."""

_KINDS = {"iso": Kind.ISO, "initrd": Kind.INITRAMFS}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The inputs of an archive."""

    agent: Agent = field(repr=False)
    hostname: str
    given: bytes = field(repr=False)
    """Digest of what the operator gives for the host."""
    rootfs_url: str = field(repr=False)
    network_boot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """A published name's content, and its archive's inputs."""

    content: Content
    source: _Source
    archive: HostArchive


class Provider:
    """The `mic.kube.builds.ImageProvider` over mic's builder and store.

    An image's name is a random UUID (122 bits), and a capability: any client that knows it can read
    the image. Equal content of the same object keeps its name; new content gets a new name, and
    the old one stays.

    With ``url_key`` the name is an HMAC of the object and of every byte (160 bits) instead: the
    same in each process that has the key and the base image, and never that of other bytes.
    """

    def __init__(
        self,
        *,
        rootfs_url: str,
        host_architecture: str,
        url_key: bytes,
        images: Store,
        bases: Bases,
        agent_files: AgentFiles,
        builder: Builder,
        publisher: Publisher,
        ipxe: bool = False,
    ) -> None:
        self._rootfs_url = rootfs_url
        self._host = host_architecture
        self._url_key = url_key
        self._images = images
        self._bases = bases
        self._agent_files = agent_files
        self._builder = builder
        self._publisher = publisher
        self._ipxe = ipxe
        self.boot_files = BootFiles(
            images=images, bases=bases, publisher=publisher, per_architecture=True
        )
        self._names: dict[tuple[str, str], dict[str, _Published]] = {}
        self._subjects: dict[ImageId, ObjectReference] = {}
        self._changed: list[Callable[[], None]] = []
        bases.changed.append(self._notify)

    @property
    def host_architecture(self) -> str:
        """Architecture of objects that name none."""
        return self._host

    def supports_architecture(self, architecture: str, stream: str) -> bool:
        """Return whether there are an ISO and an initramfs of that architecture."""
        return self._bases.supports(architecture, stream)

    def supports_format(self, format: str, architecture: str, stream: str) -> bool:
        """Return whether there is a base image for a format; False for an unknown format."""
        kind = _KINDS.get(format)
        return kind is not None and self._bases.has(kind, stream=stream, architecture=architecture)

    async def build(self, request: BuildRequest) -> Built:
        """Build an image and publish it; see `mic.kube.builds.ImageProvider.build`."""
        with self._builder.builds.one():
            return await self._build(request)

    async def _build(self, request: BuildRequest) -> Built:
        kind = _KINDS[request.format]
        source = await self._source(request)
        archive = self._published_archive(request, source)
        if archive is None:
            archive = await self._builder.archive(
                source.agent,
                request.hostname,
                request.data,
                owner=request.namespace,
                rootfs_url=source.rootfs_url,
                network_boot=source.network_boot,
            )
        # Before anything is published: it may refuse.
        arguments = archive.boot_arguments() if kind is Kind.INITRAMFS else ()
        customisation = archive.customisation(kind)
        content = Content(
            id=ImageId(request.namespace, request.name, kind),
            customisation=customisation,
            stream=request.stream,
            architecture=request.architecture,
        )
        base = await self._images.check(content)
        if self._url_key:
            version = ImageVersion(etag=base.etag(customisation), date=request.created)
            content = replace(content, version=version)
        kernel_url = ""
        parameters = ""
        if kind is Kind.INITRAMFS:
            kernel_url = await self._kernel(request)
            url = source.rootfs_url
            rootfs = (f"coreos.live.rootfs_url={url}",) if url else ()
            parameters = " ".join((*rootfs, *arguments))
            room = _COMMAND_LINE.get(request.architecture, COMMAND_LINE)
            if arguments and len(parameters) > room:
                raise BuildInvalid(
                    f"the kernel arguments for network boot have {len(parameters)} bytes, a kernel "
                    f"for {request.architecture} reads at most {room}"
                )
        name = self._publish(request, content, source, archive)
        image_url = self._publisher.url(name, kind)
        script_url = ""
        if self._ipxe and kernel_url:
            script_url = await self._script(request, archive, image_url)
        return Built(
            image_url=image_url,
            kernel_url=kernel_url,
            script_url=script_url,
            extra_kernel_params=parameters,
            warnings=tuple(map(str, archive.warnings)),
            network=archive.network,
            changes=self._changes(request, name),
        )

    def about(self, namespace: str, name: str, url: str) -> HostArchive | None:
        """Return the archive of the object's image that is served at ``url``, or None."""
        published = self._names.get((namespace, name), {}).get(url.rpartition("/")[2])
        if published is None or not self.serves(url):
            return None
        return published.archive

    def discard(self, namespace: str, name: str, *, keep: Collection[str] = ()) -> None:
        """Stop serving the object's images, except those at the URLs ``keep``."""
        names = self._names.get((namespace, name), {})
        for each, published in list(names.items()):
            if self._publisher.url(each, published.content.kind) not in keep:
                self._publisher.discard(each)
                self._publisher.discard(_script_name(each))
                id = names.pop(each).content.id
                if all(published.content.id != id for published in names.values()):
                    self._subjects.pop(id, None)
        if not names:
            self._names.pop((namespace, name), None)

    def subject(self, id: ImageId) -> ObjectReference | None:
        """Return the object that an image belongs to; a kernel belongs to none."""
        return self._subjects.get(id)

    def serves(self, url: str) -> bool:
        """Return whether ``url`` is published; for a derived name, on the base image in force."""
        name = url.rpartition("/")[2]
        entry = self._images.entry(name)
        if entry is None or url != self._publisher.url(name, entry.content.kind):
            return False
        try:
            # None: the base image is not loaded yet, and may have changed; a build finds out.
            return entry.content.version is None or self._images.loaded(entry) is not None
        except MicError:
            return False

    def missing(self) -> list[str]:
        """Return why no image can be built for hosts like this one."""
        return list(self._bases.health().not_ready)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when base images, or the files that all images share, changed."""
        self._changed.append(callback)

    async def poll(self) -> None:
        """Read the files that all images share; notify the listeners when they changed."""
        if await self._agent_files.poll():
            self._notify()

    def _notify(self) -> None:
        for callback in self._changed:
            callback()

    async def _source(self, request: BuildRequest) -> _Source:
        agent = await self._agent_files.load()
        network_boot = _KINDS[request.format] is Kind.INITRAMFS
        return _Source(
            agent=agent,
            hostname=request.hostname,
            given=request.data.digest(),
            rootfs_url=await self._rootfs(request, network_boot=network_boot),
            network_boot=network_boot,
        )

    def _published_archive(self, request: BuildRequest, source: _Source) -> HostArchive | None:
        """Return the archive of an image that the object already has from the same inputs, or None.

        Most builds find nothing changed, and converting a large document takes seconds.
        """
        names = self._names.get((request.namespace, request.name), {})
        return next((p.archive for p in names.values() if p.source == source), None)

    def _changes(self, request: BuildRequest, name: str) -> str:
        """Return what differs between an object's image and the one published before it."""
        names = self._names[request.namespace, request.name]
        new = names[name].content
        others = [p.content for other, p in names.items() if other != name]
        old = others[-1].customisation if others else new.customisation
        size = len(old.archive) + len(new.customisation.archive)
        if old == new.customisation or size > _MAX_COMPARED:
            return ""
        return changes(old, new.customisation)

    def _publish(
        self, request: BuildRequest, content: Content, source: _Source, archive: HostArchive
    ) -> str:
        self._subjects[content.id] = ObjectReference(
            namespace=request.namespace, name=request.name, uid=request.uid
        )
        names = self._names.setdefault((request.namespace, request.name), {})
        name = f"{self._secret_name(request, content, names)}.{content.kind.value}"
        published = names.get(name)
        if published is not None and published.content == content:
            content = published.content  # share one copy with the store
        self._publisher.publish(name, content)
        names[name] = _Published(content=content, source=source, archive=archive)
        return name

    def _secret_name(
        self, request: BuildRequest, content: Content, names: dict[str, _Published]
    ) -> str:
        if content.version is not None:
            named = [request.namespace, request.name, request.uid, content.version.etag]
            digest = hmac.digest(self._url_key, json.dumps(named).encode(), hashlib.sha256)
            return base64.b32encode(digest[:_NAME_BYTES]).decode().lower()
        for name, published in names.items():
            if published.content == content:
                return name.rpartition(".")[0]
        return str(uuid.uuid4())

    async def _kernel(self, request: BuildRequest) -> str:
        """Return the URL of the kernel for an initramfs; empty when there is none.

        Raises `BuildInvalid` for a foreign architecture: Ironic's own kernel cannot boot there. The
        same goes for a ramdisk that is not CoreOS.
        """
        try:
            return await self.boot_files.kernel_url(request.stream, request.architecture)
        except BaseUnavailable as error:
            if self._bases.ramdisk is Ramdisk.IPA:
                raise
            if request.architecture == self._host:
                return ""
            raise BuildInvalid(
                f"no kernel for architecture {request.architecture}: {error}"
            ) from None

    async def _script(self, request: BuildRequest, archive: HostArchive, image_url: str) -> str:
        """Publish the iPXE script of an initramfs image, and return its URL.

        Raises `BuildInvalid` or `NotReady` when there is no root file system.
        """
        stream, architecture = request.stream, request.architecture
        rootfs_url = await self._rootfs(request, network_boot=True)
        boot = NetworkBoot(
            kernel=await self.boot_files.url(Kind.KERNEL, stream, architecture),
            initramfs=image_url,
            rootfs=rootfs_url or await self.boot_files.rootfs_url(stream, architecture),
        )
        content = Content(
            id=ImageId(request.namespace, request.name, Kind.IPXE),
            customisation=Customisation(kernel_arguments=archive.kernel_arguments, boot=boot),
            stream=stream,
            architecture=architecture,
        )
        await self._images.check(content)
        name = _script_name(image_url.rpartition("/")[2])
        self._publisher.publish(name, content)
        return self._publisher.url(name, Kind.IPXE)

    def script_url(self, url: str) -> str:
        """Return the URL of the iPXE script of the image at ``url``, empty without one."""
        name = _script_name(url.rpartition("/")[2])
        return self._publisher.url(name, Kind.IPXE) if self._publisher.is_published(name) else ""

    async def _rootfs(self, request: BuildRequest, *, network_boot: bool) -> str:
        """Return the URL of the rootfs: mic's own, or what is configured, empty for none.

        That has the stream and a foreign architecture before its extension. Raises `BuildInvalid`
        or `NotReady` when mic has none to serve.
        """
        if self._rootfs_url in ("", OWN_ROOTFS):
            is_minimal = self._bases.minimal and not network_boot
            if not is_minimal and not (network_boot and self._rootfs_url):
                return ""
            return await self.boot_files.rootfs_url(request.stream, request.architecture)
        architecture = request.architecture if request.architecture != self._host else ""
        return variant_of(self._rootfs_url, request.stream, architecture)


def _script_name(name: str) -> str:
    """Return the name of the script of an image: as secret as the image's own."""
    return f"{name.rpartition('.')[0]}.{Kind.IPXE}"

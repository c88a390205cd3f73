"""Controller mode's images: built for PreprovisioningImages, published under secret names."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import posixpath
import uuid
from collections.abc import Callable, Collection
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from mic.bases import Bases
from mic.build import Builder
from mic.errors import BaseUnavailable, BuildInvalid, MicError
from mic.ignition import Agent
from mic.image.base import Kind
from mic.image.store import Content, ImageVersion
from mic.images import Images
from mic.kube.events import ObjectReference
from mic.kube.images import GeneratedImage, ImageRequest

_NAME_BYTES = 20
_KINDS = {"iso": Kind.ISO, "initrd": Kind.INITRAMFS}


class PublishedImages:
    """The `mic.kube.images.ImageProvider` over mic's builder and store.

    Initramfs images and kernels are published under ``http_publish_url``, if there is one: what
    boots from the network trusts no private authority.

    An image's name is a random UUID (122 bits): whoever knows it may read the image. Equal content
    for the same object keeps its name; other content gets another one, beside the old.

    With ``url_key`` it is an HMAC of the object and of every byte (160 bits) instead: the same in
    every process that has the key and the base image, and then never that of other bytes.
    """

    def __init__(
        self,
        *,
        publish_url: str,
        http_publish_url: str = "",
        rootfs_url: str,
        host_architecture: str,
        url_key: bytes,
        images: Images,
        bases: Bases,
        builder: Builder,
    ) -> None:
        self._publish_url = publish_url
        self._boot_url = http_publish_url or publish_url
        self._rootfs_url = rootfs_url
        self._host = host_architecture
        self._url_key = url_key
        self._images = images
        self._bases = bases
        self._builder = builder
        self._names: dict[tuple[str, str], dict[str, Content]] = {}
        self._subjects: dict[str, ObjectReference] = {}
        self._agent: Agent | str = ""
        self._changed: list[Callable[[], None]] = []
        bases.changed.append(self._tell)

    @property
    def host_architecture(self) -> str:
        """What an empty architecture means."""
        return self._host

    def supports_architecture(self, architecture: str, stream: str) -> bool:
        """Whether an ISO and an initramfs of that architecture are there."""
        return self._bases.supports(architecture, stream)

    def supports_format(self, format: str, architecture: str, stream: str) -> bool:
        """Whether there is a base for a format; one that we do not know has none."""
        kind = _KINDS.get(format)
        return kind is not None and self._bases.has(kind, stream=stream, architecture=architecture)

    async def build(self, request: ImageRequest) -> GeneratedImage:
        """Build and publish; see `mic.kube.images.ImageProvider.build`."""
        with self._builder.builds.one():
            return await self._build(request)

    async def _build(self, request: ImageRequest) -> GeneratedImage:
        kind = _KINDS[request.format]
        agent = await self._builder.agent()
        archive = await self._builder.archive(agent, request.hostname, request.nmstate)
        content = Content(
            label=f"{request.namespace}/{request.name} {kind.value}",
            kind=kind,
            archive=archive,
            stream=request.stream,
            architecture=request.architecture,
        )
        etag = await self._images.etag(content)
        if self._url_key:
            version = ImageVersion(etag=etag, date=request.created)
            content = replace(content, version=version)
        kernel_url = ""
        parameters = ""
        if kind is Kind.INITRAMFS:
            kernel_url = await self._kernel(request)
            if self._rootfs_url:
                parameters = f"coreos.live.rootfs_url={self._rootfs(request)}"
        return GeneratedImage(
            image_url=self._url(self._publish(request, content), kind),
            kernel_url=kernel_url,
            extra_kernel_params=parameters,
        )

    def discard(self, namespace: str, name: str, *, keep: Collection[str] = ()) -> None:
        """Serve the object's images no more, but for those at the URLs ``keep``."""
        names = self._names.get((namespace, name), {})
        for each, content in list(names.items()):
            if self._url(each, content.kind) not in keep:
                self._images.discard(each)
                label = names.pop(each).label
                if all(content.label != label for content in names.values()):
                    self._subjects.pop(label, None)
        if not names:
            self._names.pop((namespace, name), None)

    def subject(self, label: str) -> ObjectReference | None:
        """The object that an image of this label belongs to; a kernel belongs to none."""
        return self._subjects.get(label)

    def serves(self, url: str) -> bool:
        """Whether ``url`` is one of ours and is served; of a derived name, on the base in force."""
        name = url.rpartition("/")[2]
        entry = self._images.entry(name)
        if entry is None or url != self._url(name, entry.content.kind):
            return False
        try:
            # None, a base that is not read yet, may be another one: building tells.
            return entry.content.version is None or self._images.current(entry) is not None
        except MicError:
            return False

    def missing(self) -> list[str]:
        """Why no image can be made for hosts like this one, in words."""
        return self._bases.problems()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when bases, or the files that all images share, changed."""
        self._changed.append(callback)

    async def refresh(self) -> None:
        """Look at the files that all images share; tell who listens when they changed."""
        before = self._agent
        # Why they cannot be read is told by every image that fails for it.
        try:
            self._agent = await self._builder.agent()
        except MicError as error:
            self._agent = str(error)
        if before and self._agent != before:
            self._tell()

    def _tell(self) -> None:
        for callback in self._changed:
            callback()

    def _publish(self, request: ImageRequest, content: Content) -> str:
        self._subjects[content.label] = ObjectReference(
            namespace=request.namespace, name=request.name, uid=request.uid
        )
        names = self._names.setdefault((request.namespace, request.name), {})
        name = f"{self._secret_name(request, content, names)}.{content.kind.value}"
        self._images.publish(name, content)
        names[name] = content
        return name

    def _secret_name(
        self, request: ImageRequest, content: Content, names: dict[str, Content]
    ) -> str:
        if content.version is not None:
            named = [request.namespace, request.name, request.uid, content.version.etag]
            digest = hmac.digest(self._url_key, json.dumps(named).encode(), hashlib.sha256)
            return base64.b32encode(digest[:_NAME_BYTES]).decode().lower()
        for name, published in names.items():
            if published == content:
                return name.rpartition(".")[0]
        return str(uuid.uuid4())

    def _url(self, name: str, kind: Kind) -> str:
        base = self._publish_url if kind is Kind.ISO else self._boot_url
        return f"{base}/{name}"

    async def _kernel(self, request: ImageRequest) -> str:
        """The URL of the kernel that goes with an initramfs, or nothing where none is known.

        Raises `BuildInvalid` for a foreign architecture: Ironic's own kernel is of no use there.
        """
        parts = [request.stream, request.architecture]
        content = Content(
            label=" ".join(filter(None, ["kernel", *parts])),
            kind=Kind.KERNEL,
            archive=b"",
            stream=request.stream,
            architecture=request.architecture,
        )
        try:
            await self._images.etag(content)
        except BaseUnavailable as error:
            if request.architecture == self._host:
                return ""
            raise BuildInvalid(
                f"no kernel for architecture {request.architecture}: {error}"
            ) from None
        # A kernel is no secret: its name is the same for all hosts, as the Go implementation's.
        name = "-".join(filter(None, ["kernel", *parts]))
        self._images.publish(name, content)
        return self._url(name, Kind.KERNEL)

    def _rootfs(self, request: ImageRequest) -> str:
        """The rootfs URL with stream and foreign architecture put before its extension."""
        parts = urlsplit(self._rootfs_url)
        stem, extension = posixpath.splitext(parts.path)
        if request.stream:
            stem += f"-{request.stream}"
        if request.architecture != self._host:
            stem += f"_{request.architecture}"
        return urlunsplit(parts._replace(path=stem + extension))

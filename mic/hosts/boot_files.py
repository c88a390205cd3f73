"""The boot files that all hosts share, under names that are no secret: kernels, root file systems.

Their names are ``kernel`` and ``rootfs``, with ``-STREAM`` and ``-ARCHITECTURE`` where a host has
these, and the ending ``.img``. Kernels have the name without the ending too, as in the Go
implementation.
"""

from __future__ import annotations

import posixpath
from urllib.parse import urlsplit, urlunsplit

from mic.common.errors import BaseUnavailable
from mic.hosts.publish import Publisher
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import SHARED, Kind, Ramdisk
from mic.media.customisation import Customisation

_ENDING = ".img"


class BootFiles:
    """Publishes kernels and root file systems, as they are.

    `publish_known` does so for the bases in force, and again whenever these change: a host that
    boots while mic restarts asks for its root file system before its own image is built. With
    ``per_architecture`` each base has a name with its architecture, otherwise those of this
    machine's architecture have names without.
    """

    def __init__(
        self, *, images: Store, bases: Bases, publisher: Publisher, per_architecture: bool
    ) -> None:
        self._images = images
        self._bases = bases
        self._publisher = publisher
        self._per_architecture = per_architecture
        self._known: set[str] | None = None
        bases.changed.append(self._follow)

    def publish_known(self) -> None:
        """Publish the files of the bases in force; stop publishing those of bases that are gone."""
        known: dict[str, Content] = {}
        for stream, architecture in self._wanted():
            for kind in SHARED:
                if self._bases.can_serve(kind, stream=stream, architecture=architecture):
                    content = _content(kind, stream, architecture)
                    known[file_name(kind, stream, architecture)] = content
        for name in (self._known or set()) - known.keys():
            self._publisher.discard(name)
        for name, content in known.items():
            self._publisher.publish(name, content)
        self._known = set(known)

    def _follow(self) -> None:
        if self._known is not None:
            self.publish_known()

    @property
    def has_rootfs(self) -> bool:
        """Whether hosts fetch a root file system: ramdisks that are not CoreOS have no other."""
        return self._bases.ramdisk is Ramdisk.COREOS

    @property
    def own_rootfs(self) -> str:
        """URL of the root file system for hosts without stream or architecture, if there is one."""
        return self._publisher.url(file_name(Kind.ROOTFS), Kind.ROOTFS)

    def _wanted(self) -> set[tuple[str, str]]:
        if self._per_architecture:
            return self._bases.known()
        return {("", ""), *(("", each) for each in self.other_architectures())}

    def other_architectures(self) -> tuple[str, ...]:
        """Return the architectures besides this machine's that have all that boots a host."""
        needed = [Kind.INITRAMFS, Kind.KERNEL]
        if self.has_rootfs:
            needed.append(Kind.ROOTFS)
        return tuple(
            architecture
            for stream, architecture in sorted(self._bases.known())
            if not stream
            and architecture != self._bases.host_architecture
            and all(self._bases.can_serve(kind, architecture=architecture) for kind in needed)
        )

    async def kernel_url(self, stream: str, architecture: str) -> str:
        """Return the URL of a kernel, and serve it from now on.

        Raises `BuildInvalid` or `NotReady` when there is none.
        """
        content = await self._publish(Kind.KERNEL, stream, architecture)
        # Without the ending, as ever: its change would be news for every object.
        name = file_name(Kind.KERNEL, stream, architecture).removesuffix(_ENDING)
        self._publisher.publish(name, content)
        return self._publisher.url(name, Kind.KERNEL)

    async def url(self, kind: Kind, stream: str, architecture: str) -> str:
        """Return the URL of a shared file, and serve it from now on.

        Raises `BuildInvalid` or `NotReady` when there is none.
        """
        await self._publish(kind, stream, architecture)
        return self._publisher.url(file_name(kind, stream, architecture), kind)

    async def rootfs_url(self, stream: str = "", architecture: str = "") -> str:
        """Return the URL of a root file system, and serve it from now on.

        Empty for ramdisks that need none. Raises `BuildInvalid` or `NotReady` when there is none.
        """
        if not self.has_rootfs:
            return ""
        try:
            return await self.url(Kind.ROOTFS, stream, architecture)
        except BaseUnavailable as error:
            raise BaseUnavailable(
                f"no root file system to serve: {error}; give DEPLOY_ROOTFS, or the URL of another "
                "server as IRONIC_ROOTFS_URL"
            ) from None

    async def _publish(self, kind: Kind, stream: str, architecture: str) -> Content:
        content = _content(kind, stream, architecture)
        await self._images.check(content)
        self._publisher.publish(file_name(kind, stream, architecture), content)
        return content


def file_name(kind: Kind, stream: str = "", architecture: str = "") -> str:
    """Return the name of a shared file."""
    return "-".join(filter(None, (kind.value, stream, architecture))) + _ENDING


def variant_of(url: str, stream: str = "", architecture: str = "") -> str:
    """Return the URL of a file with a stream and an architecture before its extension."""
    parts = urlsplit(url)
    stem, extension = posixpath.splitext(parts.path)
    stem += f"-{stream}" if stream else ""
    stem += f"_{architecture}" if architecture else ""
    return urlunsplit(parts._replace(path=stem + extension))


def _content(kind: Kind, stream: str, architecture: str) -> Content:
    return Content(
        id=ImageId("", " ".join(filter(None, (kind.value, stream, architecture))), kind),
        customisation=Customisation(),
        stream=stream,
        architecture=architecture,
    )

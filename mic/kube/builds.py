"""The interface to images: what the controller requests, and what it gets.

There are two implementations: the one over mic's image store, and the tests' stub. Like the
``ImageProvider`` of Metal3's baremetal-operator, this is all that reconciling knows of images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

from mic.common.host_data import HostData


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """All input of one host's image. Equal requests give the same bytes."""

    namespace: str
    name: str
    """Name of the PreprovisioningImage."""
    uid: str
    """Differs from that of an earlier object of the same name."""
    created: int
    """Creation time of the object, in seconds since the epoch."""
    hostname: str
    format: str
    """``iso`` or ``initrd``."""
    architecture: str
    """The kernel's name, for example ``x86_64``; never empty here."""
    stream: str
    """OS stream; empty for the default one."""
    data: HostData = field(default_factory=HostData)
    """Input of the operator for the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Where an image is served. The URLs are capabilities: keep them out of logs."""

    image_url: str = field(repr=False)
    kernel_url: str = field(default="", repr=False)
    extra_kernel_params: str = ""
    warnings: tuple[str, ...] = ()
    """Doubts about the input, each with its place."""
    network: str = ""
    """The host's network in one line; empty without network data."""
    script_url: str = field(default="", repr=False)
    """The iPXE script that boots the image; empty without one."""
    changes: str = ""
    """Differences from the object's other image that is served, by name; empty without one."""


class ImageProvider(Protocol):
    """Builds, serves and discards images."""

    @property
    def host_architecture(self) -> str:
        """The architecture that an empty one stands for."""

    def supports_architecture(self, architecture: str, stream: str) -> bool:
        """Return whether there are base images for this architecture and stream."""

    def supports_format(self, format: str, architecture: str, stream: str) -> bool:
        """Return whether images of this format can be built for architecture and stream."""

    async def build(self, request: BuildRequest) -> Built:
        """Build the image and serve it.

        The same request gives the same URLs until the image is discarded; any other request gives
        new URLs and keeps earlier images in service.

        :raises BuildInvalid: it cannot be built from this input.
        :raises NotReady: it cannot be built yet.
        """

    def discard(self, namespace: str, name: str, *, keep: Collection[str] = ()) -> None:
        """Stop serving the images of this PreprovisioningImage, except at the URLs ``keep``."""

    def serves(self, url: str) -> bool:
        """Return whether ``url`` names an image that is served at this moment."""

    def missing(self) -> list[str]:
        """Return in words why no images can be built at all; empty if they can."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the reactor's thread when base images change."""

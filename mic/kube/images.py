"""The seam towards images: what the controller asks for, and what it gets.

Two implementations exist: the one over mic's image store, and the tests' stub. Like the
``ImageProvider`` of Metal3's baremetal-operator, this is all that reconciling knows of images.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """Everything that one host's image is made from. Equal requests mean the same bytes."""

    namespace: str
    name: str
    """Name of the PreprovisioningImage."""
    uid: str
    """Tells an object from an earlier one of the same name."""
    created: int
    """When the object was made, in seconds since the epoch."""
    hostname: str
    format: str
    """``iso`` or ``initrd``."""
    architecture: str
    """The kernel's name, for example ``x86_64``; never empty here."""
    stream: str
    """OS stream; empty for the default one."""
    nmstate: bytes | None = field(repr=False)
    """The NMState document, or None for a host without network configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """Where an image is served. The URLs are capabilities: keep them out of logs."""

    image_url: str = field(repr=False)
    kernel_url: str = field(default="", repr=False)
    extra_kernel_params: str = ""


class ImageProvider(Protocol):
    """Makes, serves and drops images."""

    @property
    def host_architecture(self) -> str:
        """What an empty architecture means."""

    def supports_architecture(self, architecture: str, stream: str) -> bool:
        """Whether the base images for this architecture and stream are there."""

    def supports_format(self, format: str, architecture: str, stream: str) -> bool:
        """Whether images of this format can be made for this architecture and stream."""

    async def build(self, request: ImageRequest) -> GeneratedImage:
        """Make the image and serve it.

        The same request gives the same URLs for as long as the image is not discarded; any other
        request gives new URLs and leaves the images made before in service.

        :raises mic.errors.BuildInvalid: it cannot be made from this input.
        :raises mic.errors.NotReady: it cannot be made yet.
        """

    def discard(self, namespace: str, name: str, *, keep: Collection[str] = ()) -> None:
        """Stop serving the images of this PreprovisioningImage, save those at the URLs ``keep``."""

    def serves(self, url: str) -> bool:
        """Whether ``url`` names an image that is served at this moment."""

    def missing(self) -> list[str]:
        """What keeps images from being made at all, in words; empty when nothing does."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the reactor's thread when base images came, went or changed."""

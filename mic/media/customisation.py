"""Changes to a base image for one host, as a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from mic.media.kernel_arguments import ArgumentEdits
from mic.media.netboot import ChainByMac, NetworkBoot


class Addition(StrEnum):
    """Part of an image besides mic's own config in the place that its base has for that."""

    KERNEL_ARGUMENTS = "kernel arguments"
    IGNITION = "Ignition"
    EARLY_NETWORK = "early network"
    RELOCATED = "relocated archive"
    MINIMAL = "minimal ISO"


@dataclass(frozen=True, slots=True)
class Customisation:
    """Input that a base turns into a layout and an entity tag.

    ``archive`` goes into the embed area of an ISO or after an initramfs; ``kernel_arguments`` are
    the changes of the text in an ISO's areas, in the order in which they are made. ``rootfs_url``
    is where a minimal ISO finds its root file system; other images ignore it. ``early_network``:
    the host needs the keyfiles that the archive holds for the initramfs. ``extra_ignition``: the
    archive holds configs of the operator. ``boot`` is what scripts and other files for boot loaders
    are made of. ``files`` and ``owner`` are for virtual ISOs alone: files of the ISO by path, and
    what the ISO is of, for its publisher. Nothing but an archive gives the bytes and the tag of mic
    before there were customisations.
    """

    archive: bytes = field(default=b"", repr=False)
    kernel_arguments: tuple[ArgumentEdits, ...] = ()
    rootfs_url: str = field(default="", repr=False)
    early_network: bool = False
    boot: NetworkBoot | ChainByMac | None = None
    extra_ignition: bool = False
    files: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    owner: str = ""

    def additions(self) -> Iterator[Addition]:
        """Yield what the image has on any base; `mic.media.base.Base.additions` knows the rest."""
        if any(self.kernel_arguments):
            yield Addition.KERNEL_ARGUMENTS
        if self.extra_ignition:
            yield Addition.IGNITION
        if self.early_network:
            yield Addition.EARLY_NETWORK

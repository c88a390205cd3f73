"""A live ISO of CoreOS as it is customised: its bytes, and the places where something is laid."""

from __future__ import annotations

from dataclasses import dataclass

from mic.common.errors import BuildInvalid
from mic.media import coreos
from mic.media.coreos import KernelArguments
from mic.media.customisation import Customisation
from mic.media.iso9660 import Extent, Iso, IsoError, IsoNotFound
from mic.media.kernel_arguments import ArgumentEdits, argument_problem, edited
from mic.media.layout import Layout, Patch, Piece, memory, zeros
from mic.media.minimal import MinimalIso, minimal_iso
from mic.media.relocation import Relocation, relocation

MAX_ARCHIVE = 64 * 1024 * 1024
"""Most bytes of an archive."""

_LIVE_ISO = "coreos.liveiso"
_ROOTFS_URL = "coreos.live.rootfs_url"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveIso:
    """A live ISO: its bytes as ``layout`` and its areas. ``path`` names it in errors.

    ``volume`` is the volume name; CoreOS puts its version there. ``arguments`` are the kernel
    arguments and the areas that hold them: None without areas, and the reason when their
    description is broken. ``relocation`` says how to move the embed area to the end, None where
    that cannot be done. ``reads_early_network``: its initramfs takes keyfiles. A minimal ISO
    ``is_minimal``: it fetches its root file system.
    """

    path: str
    layout: Layout
    volume: str
    embed_area: Extent
    arguments: KernelArguments | IsoError | None
    relocation: Relocation | None
    reads_early_network: bool
    is_minimal: bool = False

    def customised(self, customisation: Customisation) -> Layout:
        """Return the ISO with a customisation laid over it.

        Raises `BuildInvalid`, naming both sizes, when something does not fit.
        """
        if customisation.early_network and not self.reads_early_network:
            raise BuildInvalid(
                f"the base image {self.path} does not read network profiles in its initramfs, as "
                "CoreOS images from before 2021-12: the host would have no network to fetch "
                f"{'its root file system' if self.is_minimal else 'its Ignition config'}"
            )
        archive = customisation.archive
        area = self.embed_area
        patches: list[Patch] = []
        fill: tuple[Piece, ...] = (memory(archive), *zeros(max(area.length - len(archive), 0)))
        tail: tuple[Piece, ...] = ()
        relocation = self.relocation_for(customisation)
        if relocation is not None:
            fill = tuple(zeros(area.length))
            tail = relocation.tail(archive)
            patches.extend(relocation.patches(len(archive)))
        patches.append(Patch(offset=area.offset, pieces=fill))
        text = self.kernel_arguments(customisation)
        if text is not None and isinstance(self.arguments, KernelArguments):
            for place in self.arguments.areas:
                pieces = (memory(place.filled(text)),)
                patches.append(Patch(offset=place.extent.offset, pieces=pieces))
        patched = self.layout.patched(patches)
        return Layout([*patched, *tail]) if tail else patched

    def relocation_for(self, customisation: Customisation) -> Relocation | None:
        """Return how an archive that does not fit the embed area is moved; None if it fits.

        Raises `BuildInvalid`, naming both sizes, when it cannot be moved either.
        """
        needed, room = len(customisation.archive), self.embed_area.length
        if needed <= room:
            return None
        sizes = (
            f"the Ignition config needs {needed} bytes compressed, the embed area of "
            f"{self.path} has {room}"
        )
        if needed > MAX_ARCHIVE:
            raise BuildInvalid(f"{sizes}, and an archive has at most {MAX_ARCHIVE}")
        if self.relocation is None:
            raise BuildInvalid(f"{sizes} and cannot be moved to the end of the image")
        return self.relocation

    def kernel_arguments(self, customisation: Customisation) -> str | None:
        """Return the kernel arguments of the customised ISO; None if they stay as they are.

        Raises `BuildInvalid` when there are changes, and the ISO has no areas for them.
        """
        edits = customisation.kernel_arguments
        if self.is_minimal:
            edits = (_fetches_rootfs(customisation.rootfs_url), *edits)
        if not any(edits):
            return None
        if isinstance(self.arguments, IsoError):
            raise BuildInvalid(
                f"the base image {self.path} cannot take kernel arguments: {self.arguments}"
            )
        if self.arguments is None:
            raise BuildInvalid(
                f"the base image {self.path} cannot take kernel arguments: it has no areas "
                "for them, as CoreOS images from before 2021 and those of s390x from before 2023-07"
            )
        text = edited(self.arguments.text, edits)
        return None if text == self.arguments.text else text


def read_live_iso(iso: Iso, source: Layout, path: str, *, is_minimal: bool = False) -> LiveIso:
    """Return a live ISO with its areas; raise `IsoError` when it has no embed area."""
    area = coreos.embed_area(iso, source)
    return LiveIso(
        path=path,
        layout=source,
        volume=iso.volume_id,
        embed_area=area,
        arguments=_kernel_arguments(iso, source, area),
        relocation=_relocation(iso, source, area),
        reads_early_network=coreos.reads_early_network(iso),
        is_minimal=is_minimal,
    )


def read_minimal_iso(iso: Iso, source: Layout, path: str) -> LiveIso:
    """Return the minimal ISO of a full one, after a check of its digest. Blocks: for a thread.

    Raises `IsoError` when there is none, or when it is not what the release promises.
    """
    try:
        found: MinimalIso = minimal_iso(iso, source)
    except IsoNotFound as error:
        raise IsoError(
            f"{error}: it has no minimal ISO, as CoreOS images from before 2021-12: set "
            "MIC_ISO=full, or use a newer image"
        ) from None
    if not found.is_genuine():
        raise IsoError(
            "its minimal ISO does not have the promised digest: the image was changed or is damaged"
        )
    return read_live_iso(Iso(found.layout), found.layout, path, is_minimal=True)


def _fetches_rootfs(url: str) -> ArgumentEdits:
    if not url:
        raise BuildInvalid(
            "a minimal ISO needs the URL of its root file system: give IRONIC_ROOTFS_URL as a URL"
        )
    argument = f"{_ROOTFS_URL}={url}"
    problem = argument_problem(argument)
    if problem:
        raise BuildInvalid(f"IRONIC_ROOTFS_URL cannot be a kernel argument: {problem}")
    return ArgumentEdits(removed=(_LIVE_ISO, _ROOTFS_URL), appended=(argument,))


def _kernel_arguments(iso: Iso, source: Layout, embed: Extent) -> KernelArguments | IsoError | None:
    """Return an ISO's kernel arguments; a broken description is a problem of those who use it."""
    try:
        found = coreos.kernel_arguments(iso, source)
    except IsoError as error:
        return error
    for area in found.areas if found is not None else ():
        if area.extent.overlaps(embed):
            return IsoError("a kernel argument area overlaps the Ignition embed area")
    return found


def _relocation(iso: Iso, source: Layout, area: Extent) -> Relocation | None:
    try:
        return relocation(iso, source, area)
    except IsoError:
        return None  # only archives that do not fit need it

"""Check that a base file is what it is configured as; refuse what is certainly something else.

`probe` runs before the digest, at the start and whenever a file appears or is replaced. `doubts`
yields what may keep hosts from booting, without certainty.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from mic.common.errors import BaseUnavailable, MicError
from mic.media import coreos
from mic.media.base import Base, Kind
from mic.media.basefile import BaseFile, peek, unreadable
from mic.media.fat import LOADERS, Fat, FatError
from mic.media.iso9660 import SECTOR, SYSTEM_AREA, Iso, IsoError, IsoNotFound
from mic.media.layout import Source
from mic.media.signature import UNKNOWN_WORDS, Form, Signature, signature

_NOT = {
    Kind.INITRAMFS: frozenset({Form.ELF, Form.ISO, Form.TEXT}),
    Kind.KERNEL: frozenset({Form.CPIO, Form.ISO, Form.TEXT}),
    Kind.ROOTFS: frozenset({Form.ELF, Form.ISO, Form.KERNEL, Form.TEXT}),
}
_A = {
    Kind.INITRAMFS: "an initramfs",
    Kind.KERNEL: "a kernel",
    Kind.ROOTFS: "a live root file system",
}
_ADVICE = {
    Kind.INITRAMFS: (
        "give an initramfs as DEPLOY_INITRD, "
        "or, for CoreOS, leave that empty: the one inside DEPLOY_ISO is served then"
    ),
    Kind.KERNEL: (
        "give its kernel as DEPLOY_KERNEL, "
        "or, for CoreOS, leave that empty: the one inside DEPLOY_ISO is served then"
    ),
    Kind.ROOTFS: (
        "give the live rootfs of CoreOS as DEPLOY_ROOTFS, "
        "or leave that empty: the one inside DEPLOY_ISO is served then"
    ),
}
_INSTEAD = {
    "an HTML page": "download the file again, maybe with a login",
    "Git LFS": "run git lfs pull",
    " disk image": "give the live ISO of CoreOS",
    "zip archive": "unpack it first",
    "7z archive": "unpack it first",
    "tar archive": "unpack it first",
    "cpio archive": "give the live ISO of CoreOS",
    "squashfs": "give the live ISO of CoreOS",
    "kernel": "give the live ISO of CoreOS",
}
"""Advice for what is given as ISO, by a part of `Signature.words`."""


_START = SYSTEM_AREA + SECTOR
"""Bytes up to the end of the first volume descriptor; an MBR may lie before it."""


def probe(path: str, kind: Kind) -> None:
    """Check that a file can be read, and is not certainly something other than ``kind``.

    An ISO must have an embed area. Raises `BaseUnavailable` with the file, the reason and the fix,
    `NotReady` when the file may be readable later.
    """
    try:
        with peek(path) as source:
            if not source.size:
                what = ": not an ISO 9660 image" if kind is Kind.ISO else ""
                raise BaseUnavailable(f"base image {path} is empty{what}")
            if kind is Kind.ISO:
                _check_iso(path, source)
            elif kind is Kind.BOOT_LOADER:
                _check_boot_loader(path, source)
            else:
                _check_boot_file(path, kind, signature(source))
    except OSError as error:
        raise unreadable(path, error) from None


def iso_problem(source: Source) -> str:
    """Return why a file is no live ISO with an embed area, and what to do; empty for one.

    Raises the errors of reading the source.
    """
    try:
        coreos.embed_area(Iso(source), source)
    except IsoError as error:
        return f"{error}{seen_instead(source)}"
    return ""


def _check_iso(path: str, source: Source) -> None:
    if problem := iso_problem(source):
        raise BaseUnavailable(f"base image {path}: {problem}")


def _check_boot_loader(path: str, source: Source) -> None:
    try:
        Fat(source).loaders()
    except FatError as error:
        seen = signature(source)
        words = "" if seen.words == UNKNOWN_WORDS else f": it is {seen.words}"
        raise BaseUnavailable(
            f"boot loader {path}: {error}{words}: give the image of an EFI system partition, a FAT "
            "file system that is not on a partition"
        ) from None


def seen_instead(source: Source) -> str:
    """Return what a file is that should be a live ISO, and advice; empty if that is not known."""
    seen = signature(source)
    if source.size < _START and (seen.words == UNKNOWN_WORDS or "raw disk image" in seen.words):
        return f": it has {source.size} bytes, fewer than the start of an ISO: copy it again"
    if seen.words == UNKNOWN_WORDS or (seen.form is Form.ISO and not seen.packer):
        return ""
    if seen.packer:
        return f": it is {seen.words}: unpack it first"
    advice = next((text for words, text in _INSTEAD.items() if words in seen.words), "")
    return f": it is {seen.words}{advice and f': {advice}'}"


def _check_boot_file(path: str, kind: Kind, seen: Signature) -> None:
    # Kernels are compressed too: of compressed data only a cpio archive is certainly no kernel.
    certain = not seen.packer or (kind is Kind.KERNEL and seen.form is Form.CPIO)
    if certain and seen.form in _NOT[kind]:
        raise BaseUnavailable(f"base image {path} is {seen.words}, not {_A[kind]}: {_ADVICE[kind]}")


def refusals(path: str, kinds: Sequence[Kind]) -> dict[Kind, MicError]:
    """Return which of its configured kinds a file certainly is not, with the errors.

    Raises the first error when it is none of them, and `NotReady` as `probe` does.
    """
    refused: dict[Kind, MicError] = {}
    for kind in kinds:
        try:
            probe(path, kind)
        except BaseUnavailable as error:
            refused[kind] = error
    if len(refused) == len(kinds):
        raise refused[kinds[0]]
    return refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A sentence about what may keep hosts from booting a base.

    Without ``evidence`` mic only does not know the format of a file inside an ISO; a new release
    may use a newer one.
    """

    text: str
    evidence: bool = True


def doubts(base: Base, architectures: Collection[str]) -> Iterator[Doubt]:
    """Yield what may keep hosts from booting a base, without certainty.

    ``architectures`` are those of the hosts that it is served to. Inspects the initramfs and the
    kernel of an ISO. Reads from the file (for a thread) and raises its errors.
    """
    file = base.file
    what = f"base image {file.path}"
    if base.kind is Kind.BOOT_LOADER:
        yield from _boot_loader_doubts(file, architectures)
        return
    if base.kind is not Kind.ISO:
        seen = signature(file, base.start, base.stop)
        if not _fits(base.kind, seen):
            yield Doubt(text=_misfit(what, base.kind, seen))
        yield from _foreign(what, seen.architecture, architectures)
        return
    iso = Iso(file)
    found = ""
    for kind, find in ((Kind.INITRAMFS, coreos.initramfs), (Kind.KERNEL, coreos.kernel)):
        try:
            extent = find(iso)
        except IsoNotFound:
            continue
        seen = signature(file, extent.offset, extent.offset + extent.length)
        found = found or seen.architecture
        if not _fits(kind, seen):
            evidence = seen.form is not Form.UNKNOWN
            yield Doubt(text=_misfit(f"{what}: its {kind}", kind, seen), evidence=evidence)
    yield from _foreign(what, found or coreos.architecture(iso), architectures)


def _boot_loader_doubts(file: BaseFile, architectures: Collection[str]) -> Iterator[Doubt]:
    what = f"boot loader {file.path}"
    try:
        found = Fat(file).loaders()
    except FatError as error:
        yield Doubt(text=f"{what}: {error}")
        return
    made_for = [LOADERS[name] for name in found if name in LOADERS]
    wanted = sorted(name for name, for_ in LOADERS.items() if for_ in architectures)
    if not found:
        yield Doubt(
            text=f"{what} has no {' or '.join(f'EFI/BOOT/{name}' for name in wanted)}: UEFI will "
            "not boot virtual ISOs"
        )
    elif made_for and not set(made_for) & set(architectures):
        yield from _foreign(what, made_for[0], architectures)


def _misfit(what: str, kind: Kind, seen: Signature) -> str:
    return (
        f"{what} looks like {seen.words}, not like {_A[kind]}: "
        "hosts that boot it will probably fail"
    )


def _fits(kind: Kind, seen: Signature) -> bool:
    if kind is Kind.ROOTFS:
        return seen.rootfs
    if kind is Kind.INITRAMFS:
        return (seen.form is Form.CPIO and not seen.rootfs) or seen.form is Form.PACKED
    if seen.packer:
        # Served unpacked: see mic.media.kernel.
        return seen.packer == "gzip" and seen.form is Form.KERNEL
    # Kernels for ppc64le are ELF files; of another architecture that is a program.
    return seen.form is Form.KERNEL or (seen.form is Form.ELF and seen.architecture == "ppc64le")


def _foreign(what: str, architecture: str, architectures: Collection[str]) -> Iterator[Doubt]:
    if architecture and architecture not in architectures:
        yield Doubt(
            text=f"{what} looks made for {architecture}, but is served to hosts of "
            f"{' and '.join(sorted(architectures))}: they will not boot; the name of a file for "
            f"{architecture} ends in _{architecture}"
        )

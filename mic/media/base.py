"""Content of a base file, and the images that are made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mic.common.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.media import coreos
from mic.media.basefile import BaseChanged, BaseFile, unreadable
from mic.media.cpio import GZIP_MAGIC
from mic.media.customisation import Addition, Customisation
from mic.media.iso9660 import Extent, Iso, IsoError, IsoNotFound
from mic.media.layout import FileRange, Layout, memory
from mic.media.liveiso import MAX_ARCHIVE, LiveIso, read_live_iso, read_minimal_iso
from mic.media.netboot import (
    S390X_LOAD_ADDRESS,
    ChainByMac,
    address_and_size,
    chain_script,
    ins_file,
    ipxe_script,
    live_arguments,
    parameter_file,
)
from mic.media.signature import signature

ARCHITECTURES = ("x86_64", "aarch64", "ppc64le", "s390x")
"""Architectures of CoreOS, by the kernel's names."""


class Ramdisk(StrEnum):
    """Which system hosts boot: it says what mic puts into images, and how."""

    COREOS = "coreos"
    IPA = "ipa"
    """An initramfs with the agent in it, such as those of diskimage-builder."""


class Kind(StrEnum):
    """Kind of image: a whole ISO, an initramfs, or an unchanged kernel or root file system.

    A boot loader is a part of an image and is not served. The others are `DERIVED`: scripts for
    iPXE, and what boot loaders of s390x read.
    """

    ISO = "iso"
    INITRAMFS = "initramfs"
    KERNEL = "kernel"
    BOOT_LOADER = "boot loader"
    ROOTFS = "rootfs"
    IPXE = "ipxe"
    INS = "ins"
    PRM = "prm"
    ADDRSIZE = "addrsize"


SERVED: Final[tuple[Kind, ...]] = tuple(kind for kind in Kind if kind is not Kind.BOOT_LOADER)
"""The kinds of images."""

SHARED: Final = (Kind.KERNEL, Kind.ROOTFS)
"""Kinds that are the same for all hosts."""

IMAGES: Final = (Kind.ISO, Kind.INITRAMFS)
"""Kinds that carry a host's config, in the order in which they are shown."""

DERIVED: Mapping[Kind, tuple[Kind, ...]] = {
    Kind.IPXE: IMAGES,
    Kind.PRM: IMAGES,
    Kind.INS: (Kind.ISO,),
    Kind.ADDRSIZE: (Kind.INITRAMFS,),
}
"""Small files that mic makes, and the kinds of base files that it makes them of, the best first."""

_PARTS: Mapping[Kind, Callable[[Iso], Extent]] = {
    Kind.INITRAMFS: coreos.initramfs,
    Kind.KERNEL: coreos.kernel,
    Kind.ROOTFS: coreos.rootfs,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The base of one kind of image: a range of a base file, and for ISOs its areas.

    A ``gzipped`` kernel is served unpacked: see `mic.media.kernel`. ``text`` is what a derived kind
    is made of: the kernel arguments of the ISO, its ``generic.ins``, or the load address of the
    initramfs. ``architecture`` is what a script's kernel is made for, empty if that is unknown.
    """

    kind: Kind
    file: BaseFile
    start: int
    stop: int
    gzipped: bool = False
    text: bytes = b""
    architecture: str = ""
    iso: LiveIso | None = None

    def is_current(self) -> bool:
        """Return whether the path still leads to this version; see `BaseFile.is_current`."""
        return self.file.is_current()

    def layout(self, customisation: Customisation) -> Layout:
        """Return the image with a customisation laid over it.

        The archive goes into the embed area of an ISO or after an initramfs; others have none.
        Kernel arguments are those of an ISO; other kinds get theirs from the boot loader. Raises
        `BuildInvalid`, naming both sizes, when something does not fit.
        """
        if self.iso is not None:
            return self.iso.customised(customisation)
        if self.kind in DERIVED:
            return Layout([memory(self._derived(customisation))])
        whole = FileRange(source=self.file, start=self.start, stop=self.stop)
        if self.kind in SHARED:
            return Layout([whole])
        needed = len(customisation.archive)
        if needed > MAX_ARCHIVE:
            raise BuildInvalid(
                f"what follows the initramfs {self.file.path} needs {needed} bytes compressed, an "
                f"archive has at most {MAX_ARCHIVE}"
            )
        return Layout([whole, memory(customisation.archive)])

    def additions(self, customisation: Customisation) -> Iterator[Addition]:
        """Yield what the customised image has besides mic's config in the place for that.

        Raises `BuildInvalid` as `layout`.
        """
        yield from customisation.additions()
        if self.iso is not None:
            if self.iso.relocation_for(customisation) is not None:
                yield Addition.RELOCATED
            if self.iso.is_minimal:
                yield Addition.MINIMAL

    def etag(self, customisation: Customisation) -> str:
        """Return a strong entity tag (RFC 9110 section 8.8.3): equal exactly for equal bytes.

        It depends only on content, so it is the same in every process that serves the same base
        and customisation. Raises `BuildInvalid` as `layout` for kernel arguments.
        """
        if self.kind in DERIVED:
            content = self._derived(customisation)
            return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
        area = self.iso and (self.iso.embed_area.offset, self.iso.embed_area.length)
        place: tuple[object, ...] = (self.kind.value, self.start, self.stop, area)
        if self.iso is not None:
            text = self.iso.kernel_arguments(customisation)
            if self.iso.is_minimal:
                place += ("minimal",)
            if text is not None:
                place += (text,)
        digest = hashlib.blake2b(repr(place).encode(), digest_size=16)
        digest.update(self.file.digest)
        if self.kind not in SHARED:
            digest.update(customisation.archive)
        return f'"{digest.hexdigest()}"'

    def _derived(self, customisation: Customisation) -> bytes:
        """Return the bytes of a derived kind; raises `BuildInvalid`."""
        boot = customisation.boot
        if self.kind is Kind.ADDRSIZE:
            size = self.stop - self.start + len(customisation.archive)
            return address_and_size(self.text, size)
        if isinstance(boot, ChainByMac):
            return chain_script(boot)
        if boot is None:
            raise BuildInvalid(f"no URLs are known for the {self.kind} of this host")
        if self.kind is Kind.INS:
            try:
                return ins_file(self.text, boot)
            except IsoError as error:
                raise BaseUnavailable(f"base image {self.file.path}: {error}") from None
        arguments = live_arguments(self.text.decode(), boot, customisation.kernel_arguments)
        if self.kind is Kind.PRM:
            return parameter_file(arguments)
        return ipxe_script(boot, arguments, self.architecture)


def read_base(file: BaseFile, kind: Kind, *, inside_iso: bool, minimal: bool = False) -> Base:
    """Return the base for images of ``kind`` in an open base file.

    With ``minimal`` ISO images are made from the minimal ISO. A kernel may be bare gzip: see
    `mic.media.kernel`. Raises `BaseUnavailable`, with the file and the reason, when there is none,
    and `NotReady` when the file changed meanwhile or may be readable later.
    """
    try:
        if kind is not Kind.ISO and not inside_iso:
            if kind in DERIVED:
                return _derived_base(file, kind, None)
            return _boot_file(file, kind, Extent(offset=0, length=file.size))
        iso = Iso(file)
        if kind in DERIVED:
            return _derived_base(file, kind, iso)
        if kind is Kind.ISO:
            read = read_minimal_iso if minimal else read_live_iso
            live = read(iso, Layout.of(file), file.path)
            return Base(kind=kind, file=file, start=0, stop=file.size, iso=live)
        extent = _PARTS[kind](iso)
        if not extent.length:
            raise BaseUnavailable(f"base image {file.path}: its {kind} is empty")
        return _boot_file(file, kind, extent)
    except IsoNotFound as error:
        raise BaseUnavailable(
            f"base image {file.path}: {error}; is it a CoreOS live ISO?"
        ) from None
    except IsoError as error:
        raise BaseUnavailable(f"base image {file.path}: {error}") from None
    except BaseChanged:
        raise NotReady(f"base image {file.path} is being written") from None
    except OSError as error:
        raise unreadable(file.path, error) from None


def _boot_file(file: BaseFile, kind: Kind, extent: Extent) -> Base:
    head = file.read(extent.offset, min(extent.length, len(GZIP_MAGIC)))
    return Base(
        kind=kind,
        file=file,
        start=extent.offset,
        stop=extent.offset + extent.length,
        gzipped=kind is Kind.KERNEL and head == GZIP_MAGIC,
    )


def _derived_base(file: BaseFile, kind: Kind, iso: Iso | None) -> Base:
    """Return the base of a derived kind in an ISO, or in an initramfs by itself."""
    if iso is None:
        extent = Extent(offset=0, length=file.size)
        text = S390X_LOAD_ADDRESS if kind is Kind.ADDRSIZE else b""
        architecture = ""
    else:
        extent = coreos.initramfs(iso)
        text = _text_of(file, kind, iso)
        kernel = coreos.kernel(iso)
        architecture = signature(file, kernel.offset, kernel.offset + kernel.length).architecture
    return Base(
        kind=kind,
        file=file,
        start=extent.offset,
        stop=extent.offset + extent.length,
        text=text,
        architecture=architecture,
    )


def _text_of(file: BaseFile, kind: Kind, iso: Iso) -> bytes:
    if kind is Kind.INS:
        return coreos.load_list(iso)
    if kind is Kind.ADDRSIZE:
        return coreos.load_address(iso)
    found = coreos.kernel_arguments(iso, Layout.of(file))
    return found.text.encode() if found is not None else b""

"""The parts of a CoreOS live ISO that customisation needs.

Sources: coreos-installer (``src/live/embed.rs`` and its fixtures), coreos-assembler's
``buildextend-live``. All reads are bounded: an ISO is untrusted input.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mic.common.errors import BuildInvalid
from mic.media.cpio import GZIP_MAGIC, ArchiveError, config_of
from mic.media.iso9660 import SYSTEM_AREA, Extent, Iso, IsoError, IsoNotFound
from mic.media.layout import Source

IGNITION_INFO = "/coreos/igninfo.json"
KARGS_INFO = "/coreos/kargs.json"
FEATURES = "/coreos/features.json"
IGNITION_IMAGE = "/images/ignition.img"
KERNEL = "/images/pxeboot/vmlinuz"
KERNEL_S390X = "/images/pxeboot/kernel.img"
"""The kernel for network boot of s390x; its ISOs may have the other name as well."""
INITRAMFS = "/images/pxeboot/initrd.img"
ROOTFS = "/images/pxeboot/rootfs.img"
LOAD_LIST = "/generic.ins"
ADDRESS_AND_SIZE = "/images/initrd.addrsize"

_JSON_LIMIT = 64 * 1024
_ADDRESS_AND_SIZE_LENGTH = 16
_AREA_LIMIT = 64 * 1024 * 1024
_KARGS_LIMIT = 2048
_KARGS_FILES = 64

_EMBED_HEADER = struct.Struct("<8sQQ")
_EMBED_MAGIC = b"coreiso+"
_KARGS_HEADER = struct.Struct("<8s8Q")
_KARGS_MAGIC = b"coreKarg"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentArea:
    """A place of an ISO that holds kernel arguments: the text, ``end``, then ``pad`` to the end."""

    extent: Extent
    pad: str
    end: str

    def filled(self, text: str) -> bytes:
        """Return the bytes of the area with ``text``; raise `BuildInvalid` when it is too long."""
        content = f"{text}{self.end}".encode()
        size = self.extent.length
        if len(content) > size:
            raise BuildInvalid(
                f"the kernel arguments have {len(text.encode())} bytes, the areas of the base "
                f"image have room for {size - len(self.end.encode())}"
            )
        return content + self.pad.encode() * (size - len(content))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelArguments:
    """The kernel arguments of an ISO, and the areas that contain them, all with the same text."""

    text: str
    default: str
    areas: tuple[ArgumentArea, ...]


# Files that only ISOs of one architecture have.
_MARKS = {
    KERNEL_S390X: "s390x",
    "/images/cdboot.img": "s390x",
    "/isolinux/isolinux.bin": "x86_64",
    "/ppc/bootinfo.txt": "ppc64le",
}


def initramfs(iso: Iso) -> Extent:
    """Return the extent of a live ISO's initramfs; raise `IsoNotFound` when there is none."""
    return iso.find(INITRAMFS)


def rootfs(iso: Iso) -> Extent:
    """Return the extent of a live ISO's root file system; raise `IsoNotFound` without one."""
    return iso.find(ROOTFS)


def kernel(iso: Iso) -> Extent:
    """Return the extent of a live ISO's kernel; raise `IsoNotFound` when there is none."""
    try:
        return iso.find(KERNEL_S390X)
    except IsoNotFound:
        return iso.find(KERNEL)


def has_rootfs(iso: Iso) -> bool:
    """Return whether a live ISO has its root file system: a minimal one has not."""
    return _has(iso, ROOTFS)


def load_list(iso: Iso) -> bytes:
    """Return the ``generic.ins`` of a live ISO for s390x; raise `IsoNotFound` without one."""
    return iso.read(LOAD_LIST, _JSON_LIMIT)


def load_address(iso: Iso) -> bytes:
    """Return the eight bytes of where the initramfs of s390x is loaded.

    Raises `IsoNotFound` when the ISO is for another architecture, and `IsoError` for a wrong file.
    """
    data = iso.read(ADDRESS_AND_SIZE, _JSON_LIMIT)
    if len(data) != _ADDRESS_AND_SIZE_LENGTH:
        raise IsoError(f"{ADDRESS_AND_SIZE} has {len(data)} bytes, not {_ADDRESS_AND_SIZE_LENGTH}")
    return data[:8]


def architecture(iso: Iso) -> str:
    """Return the architecture of a live ISO by its file names; empty when they do not show it."""
    for path, architecture in _MARKS.items():
        if _has(iso, path):
            return architecture
    return ""


def _has(iso: Iso, path: str) -> bool:
    try:
        iso.find(path)
    except IsoNotFound:
        return False
    return True


def reads_early_network(iso: Iso) -> bool:
    """Return whether the initramfs of a live ISO reads keyfiles from an archive.

    Images say so since 2021-12; older ones ignore them. False for a broken description.
    """
    try:
        return _json(iso, FEATURES).get("live-initrd-network") is True
    except IsoError:
        return False


def embed_area(iso: Iso, source: Source) -> Extent:
    """Return the extent for the Ignition archive in a live ISO.

    ``/coreos/igninfo.json`` names a file and possibly a part of it (s390x: inside ``cdboot.img``).
    ISOs from before 2021 have only ``/images/ignition.img``, still older ones a header at the end
    of the system area. Raises `IsoError` when there is none of these.
    """
    try:
        info = _json(iso, IGNITION_INFO)
    except IsoNotFound:
        return _area_before_igninfo(iso, source)
    path = info.get("file")
    if not isinstance(path, str):
        raise IsoError(f"{IGNITION_INFO} names no file")
    whole = iso.find(path)
    offset = _count(info.get("offset", 0), IGNITION_INFO, "offset")
    length = info.get("length")
    length = whole.length - offset if length is None else _count(length, IGNITION_INFO, "length")
    if length < 0 or offset + length > whole.length:
        raise IsoError(
            f"{IGNITION_INFO} describes bytes {offset}-{offset + length} of {path}, "
            f"which has {whole.length}"
        )
    return _checked_area(Extent(offset=whole.offset + offset, length=length))


def embed_file(iso: Iso) -> str | None:
    """Return the path of the file that is the embed area, None if the area is a part of a file.

    Raises `IsoError` when the description is broken.
    """
    try:
        info = _json(iso, IGNITION_INFO)
    except IsoNotFound:
        return IGNITION_IMAGE
    path = info.get("file")
    if not isinstance(path, str) or info.get("offset", 0) != 0 or info.get("length") is not None:
        return None
    return path


def embed_header(source: Source, area: Extent) -> int | None:
    """Return the offset of the header of old images that describes ``area``, None without it."""
    start = SYSTEM_AREA - _EMBED_HEADER.size
    magic, offset, length = _EMBED_HEADER.unpack(source.read(start, _EMBED_HEADER.size))
    described = magic == _EMBED_MAGIC and (offset, length) == (area.offset, area.length)
    return start if described else None


def _area_before_igninfo(iso: Iso, source: Source) -> Extent:
    try:
        return _checked_area(iso.find(IGNITION_IMAGE))
    except IsoNotFound:
        pass
    raw = source.read(SYSTEM_AREA - _EMBED_HEADER.size, _EMBED_HEADER.size)
    magic, offset, length = _EMBED_HEADER.unpack(raw)
    if magic != _EMBED_MAGIC:
        raise IsoError("no Ignition embed area in the ISO image: is it a CoreOS live ISO?")
    if offset + length > source.size:
        raise IsoError("truncated ISO image: the Ignition embed area lies past its end")
    return _checked_area(Extent(offset=offset, length=length))


def _checked_area(area: Extent) -> Extent:
    if not 0 < area.length <= _AREA_LIMIT:
        raise IsoError(f"implausible Ignition embed area of {area.length} bytes")
    return area


def embedded_config(source: Source, area: Extent) -> bytes | None:
    """Return the Ignition config in an embed area, or None if the area is all zeros.

    Raises `ArchiveError` for other content.
    """
    data = source.read(area.offset, area.length)
    if data.startswith(GZIP_MAGIC):
        return config_of(data)
    if any(data):
        raise ArchiveError("the embed area holds something that is not a gzip'd archive")
    return None


def kernel_arguments(iso: Iso, source: Source) -> KernelArguments | None:
    """Return the kernel arguments of a live ISO, or None if it has no areas for them.

    Raises `IsoError` when their description does not fit the image.
    """
    try:
        info = _json(iso, KARGS_INFO)
    except IsoNotFound:
        return _kargs_from_header(source)
    size = _count(info.get("size"), KARGS_INFO, "size")
    default = info.get("default")
    files = info.get("files")
    if size > _KARGS_LIMIT or not isinstance(default, str) or not isinstance(files, list):
        raise IsoError(f"{KARGS_INFO} is not as expected")
    if len(files) > _KARGS_FILES:
        raise IsoError(
            f"{KARGS_INFO} names {len(files)} areas, at most {_KARGS_FILES} are expected"
        )
    areas = []
    texts = set()
    for file in files:
        if not isinstance(file, dict) or not isinstance(file.get("path"), str):
            raise IsoError(f"{KARGS_INFO} is not as expected")
        whole = iso.find(file["path"])
        offset = _count(file.get("offset"), KARGS_INFO, "offset")
        if offset + size > whole.length:
            raise IsoError(f"{KARGS_INFO} describes an area past the end of {file['path']}")
        area = ArgumentArea(
            extent=Extent(offset=whole.offset + offset, length=size),
            pad=_character(file.get("pad", "#"), "pad"),
            end=_character(file.get("end", "\n"), "end"),
        )
        areas.append(area)
        texts.add(_kargs_text(source, area))
    return _kernel_arguments(texts, default, areas)


def _kargs_from_header(source: Source) -> KernelArguments | None:
    start = SYSTEM_AREA - _EMBED_HEADER.size - _KARGS_HEADER.size
    magic, size, default, *offsets = _KARGS_HEADER.unpack(source.read(start, _KARGS_HEADER.size))
    if magic != _KARGS_MAGIC:
        return None
    offsets = [offset for offset in offsets[: _end_of_list(offsets)] if offset]
    if size > _KARGS_LIMIT or any(o + size > source.size for o in (default, *offsets)):
        raise IsoError("the kernel argument header points past the end of the ISO image")
    areas = [_area(offset, size) for offset in offsets]
    texts = {_kargs_text(source, area) for area in areas}
    text = _kargs_text(source, _area(default, size))
    return _kernel_arguments(texts, text, areas)


def _area(offset: int, size: int) -> ArgumentArea:
    return ArgumentArea(extent=Extent(offset=offset, length=size), pad="#", end="\n")


def _end_of_list(offsets: list[int]) -> int:
    return offsets.index(0) if 0 in offsets else len(offsets)


def _kargs_text(source: Source, area: ArgumentArea) -> str:
    text = source.read(area.extent.offset, area.extent.length).decode("utf-8", "replace")
    return text.rstrip(area.pad).removesuffix(area.end).strip()


def _kernel_arguments(
    texts: set[str], default: str, areas: list[ArgumentArea]
) -> KernelArguments | None:
    if not areas:
        return None
    if len(texts) != 1:
        raise IsoError("the ISO image's kernel argument areas differ")
    distinct = tuple(dict.fromkeys(areas))
    for before, after in pairwise(sorted(distinct, key=lambda area: area.extent.offset)):
        if before.extent.offset + before.extent.length > after.extent.offset:
            raise IsoError("the ISO image's kernel argument areas overlap")
    return KernelArguments(text=texts.pop(), default=default.strip(), areas=distinct)


def _json(iso: Iso, path: str) -> dict[str, Any]:
    try:
        value = json.loads(iso.read(path, _JSON_LIMIT))
    except (ValueError, RecursionError):
        raise IsoError(f"{path} is not valid JSON") from None
    if not isinstance(value, dict):
        raise IsoError(f"{path} is not a JSON object")
    return value


def _character(value: object, name: str) -> str:
    # One byte each: an area is filled to its last byte.
    if not isinstance(value, str) or len(value) != 1 or not value.isascii():
        raise IsoError(f"{KARGS_INFO}: {name} is not one ASCII character")
    return value


def _count(value: object, path: str, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise IsoError(f"{path}: {name} is not a whole number")
    return value

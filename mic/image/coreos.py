"""What a CoreOS live ISO holds for those who customise it.

Facts: coreos-installer (``src/live/embed.rs`` and its fixtures), coreos-assembler's
``buildextend-live``. Everything is read with limits: an ISO is outside input.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

from mic.image.cpio import GZIP_MAGIC, ArchiveError, config_of
from mic.image.iso9660 import SYSTEM_AREA, Extent, Iso, IsoError, IsoNotFound
from mic.image.layout import Source

IGNITION_INFO = "/coreos/igninfo.json"
KARGS_INFO = "/coreos/kargs.json"
IGNITION_IMAGE = "/images/ignition.img"
KERNEL = "/images/pxeboot/vmlinuz"
INITRAMFS = "/images/pxeboot/initrd.img"
ROOTFS = "/images/pxeboot/rootfs.img"

_JSON_LIMIT = 64 * 1024
_AREA_LIMIT = 64 * 1024 * 1024
_KARGS_LIMIT = 2048
_KARGS_FILES = 64

_EMBED_HEADER = struct.Struct("<8sQQ")
_EMBED_MAGIC = b"coreiso+"
_KARGS_HEADER = struct.Struct("<8s8Q")
_KARGS_MAGIC = b"coreKarg"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelArguments:
    """The kernel arguments of an ISO and the areas (all with the same text) that hold them."""

    text: str
    default: str
    areas: tuple[Extent, ...]


def embed_area(iso: Iso, source: Source) -> Extent:
    """Where the Ignition archive of a live ISO goes.

    ``/coreos/igninfo.json`` names a file and perhaps a part of it (s390x: inside
    ``cdboot.img``); without it, as before 2021, all of ``/images/ignition.img``; without
    that the header at the end of the system area. Raises `IsoError` when there is none.
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
        raise IsoError(f"an Ignition embed area of {area.length} bytes is absurd")
    return area


def embedded_config(source: Source, area: Extent) -> bytes | None:
    """The Ignition config in an embed area, or None where it is all zeros.

    Raises `ArchiveError` when there is something else.
    """
    data = source.read(area.offset, area.length)
    if data.startswith(GZIP_MAGIC):
        return config_of(data)
    if any(data):
        raise ArchiveError("the embed area holds something that is not a gzip'd archive")
    return None


def kernel_arguments(iso: Iso, source: Source) -> KernelArguments | None:
    """The kernel arguments of a live ISO, or None where it has no areas for them.

    Raises `IsoError` when the description does not fit the image.
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
        raise IsoError(f"{KARGS_INFO} names {len(files)} areas, which is absurd")
    areas = []
    texts = set()
    for file in files:
        if not isinstance(file, dict) or not isinstance(file.get("path"), str):
            raise IsoError(f"{KARGS_INFO} is not as expected")
        whole = iso.find(file["path"])
        offset = _count(file.get("offset"), KARGS_INFO, "offset")
        if offset + size > whole.length:
            raise IsoError(f"{KARGS_INFO} describes an area past the end of {file['path']}")
        area = Extent(offset=whole.offset + offset, length=size)
        areas.append(area)
        texts.add(_kargs_text(source, area, str(file.get("pad", "#")), str(file.get("end", "\n"))))
    return _kernel_arguments(texts, default, areas)


def _kargs_from_header(source: Source) -> KernelArguments | None:
    start = SYSTEM_AREA - _EMBED_HEADER.size - _KARGS_HEADER.size
    magic, size, default, *offsets = _KARGS_HEADER.unpack(source.read(start, _KARGS_HEADER.size))
    if magic != _KARGS_MAGIC:
        return None
    offsets = [offset for offset in offsets[: _end_of_list(offsets)] if offset]
    if size > _KARGS_LIMIT or any(o + size > source.size for o in (default, *offsets)):
        raise IsoError("the kernel argument header points past the end of the ISO image")
    areas = [Extent(offset=offset, length=size) for offset in offsets]
    texts = {_kargs_text(source, area, "#", "\n") for area in areas}
    text = _kargs_text(source, Extent(offset=default, length=size), "#", "\n")
    return _kernel_arguments(texts, text, areas)


def _end_of_list(offsets: list[int]) -> int:
    return offsets.index(0) if 0 in offsets else len(offsets)


def _kargs_text(source: Source, area: Extent, pad: str, end: str) -> str:
    text = source.read(area.offset, area.length).decode("utf-8", "replace")
    return text.rstrip(pad).removesuffix(end).strip()


def _kernel_arguments(texts: set[str], default: str, areas: list[Extent]) -> KernelArguments | None:
    if not areas:
        return None
    if len(texts) != 1:
        raise IsoError("the ISO image's kernel argument areas differ")
    return KernelArguments(text=texts.pop(), default=default.strip(), areas=tuple(areas))


def _json(iso: Iso, path: str) -> dict[str, Any]:
    try:
        value = json.loads(iso.read(path, _JSON_LIMIT))
    except (ValueError, RecursionError):
        raise IsoError(f"{path} is not valid JSON") from None
    if not isinstance(value, dict):
        raise IsoError(f"{path} is not a JSON object")
    return value


def _count(value: object, path: str, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise IsoError(f"{path}: {name} is not a whole number")
    return value

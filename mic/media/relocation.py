"""Archives that do not fit the embed area of an ISO: they go to its end.

Boot loaders and the kernel's file system driver find ``images/ignition.img`` by its directory
records. Those of both trees, ISO 9660 and Joliet, are changed to the new place and length, and the
size of each volume grows. Such an image is for CD drives and virtual media: on a USB stick the
backup of its partition table would no longer be at the end.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass

from mic.media import coreos
from mic.media.iso9660 import SECTOR, Extent, Iso, IsoNotFound
from mic.media.layout import Memory, Patch, Source, memory

_EXTENT = 2
_LENGTH = 10
_VOLUME_SIZE = 80
"""Offsets in a directory record and in a volume descriptor (ECMA-119 sections 9.1 and 8.4.8)."""

_MOST_SECTORS = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """Where an ISO names the place of its embed area, which is a whole file.

    ``size`` is that of the ISO in bytes; ``records`` and ``descriptors`` are offsets of directory
    records and of volume descriptors; ``header`` is the offset of the header of old images, None
    without one.
    """

    size: int
    records: tuple[int, ...]
    descriptors: tuple[int, ...]
    header: int | None = None

    def place(self, length: int) -> Extent:
        """Return where an archive of ``length`` bytes goes."""
        return Extent(offset=-(-self.size // SECTOR) * SECTOR, length=length)

    def patches(self, length: int) -> tuple[Patch, ...]:
        """Return the changes that make the ISO name an archive of ``length`` bytes at its end."""
        place = self.place(length)
        sectors = (place.offset + length + SECTOR - 1) // SECTOR
        if sectors > _MOST_SECTORS:
            raise ValueError(f"an ISO image cannot have {sectors} sectors")
        found = [
            patch
            for record in self.records
            for patch in (
                _patch(record + _EXTENT, _both32(place.offset // SECTOR)),
                _patch(record + _LENGTH, _both32(length)),
            )
        ]
        found += [_patch(each + _VOLUME_SIZE, _both32(sectors)) for each in self.descriptors]
        if self.header is not None:
            found.append(_patch(self.header + 8, struct.pack("<QQ", place.offset, length)))
        return tuple(found)

    def tail(self, archive: bytes) -> tuple[Memory, ...]:
        """Return what follows the ISO: the archive, from one sector's start to another's end."""
        before = bytes(-self.size % SECTOR)
        after = bytes(-len(archive) % SECTOR)
        return (memory(before), memory(archive), memory(after))


def relocation(iso: Iso, source: Source, area: Extent) -> Relocation | None:
    """Return how to move the embed area of an ISO to its end, or None where that cannot be done.

    It can where the area is the whole of one file. That of s390x lies inside the file that the
    machine boots from. Raises `IsoError` for invalid structures.
    """
    path = coreos.embed_file(iso)
    if path is None:
        return None
    trees = [iso]
    with suppress(IsoNotFound):
        trees.append(Iso(source, joliet=True))
    records: list[int] = []
    for tree in trees:
        try:
            place, found = tree.find(path), tree.record_offsets(path)
        except IsoNotFound:
            continue  # an area without a file, or a Joliet tree without that name
        if place != area or len(found) != 1:
            return None
        records += found
    if not records:
        return None
    return Relocation(
        size=source.size,
        records=tuple(records),
        descriptors=tuple(tree.descriptor for tree in trees),
        header=coreos.embed_header(source, area),
    )


def _patch(offset: int, data: bytes) -> Patch:
    return Patch(offset=offset, pieces=(memory(data),))


def _both32(number: int) -> bytes:
    return struct.pack("<I", number) + struct.pack(">I", number)

"""Find the extent of a file in an ISO 9660 file system (ECMA-119).

Supports primary volume descriptors, directory records, multi-extent files and Rock Ridge names
(SUSP/RRIP ``NM``, with continuation areas), and the second tree of names in Unicode (Joliet). Does
not support UDF or relocated directories: CoreOS images have none. Images are untrusted: every
number is checked before use, and the work per lookup is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from mic.media.layout import Source

SECTOR = 2048
"""Bytes per logical sector (ECMA-119 section 6.1.2)."""

SYSTEM_AREA = 16 * SECTOR
"""Bytes before the volume descriptors, free for boot loaders (ECMA-119 section 6.2.1)."""

_MAX_DEPTH = 32
_MAX_DIRECTORY = 4 * 1024 * 1024
_MAX_DESCRIPTORS = 64
_MAX_CONTINUATIONS = 16
# Upper bound on the reads of all lookups in a volume, in bytes. Real images need a few sectors per
# lookup; directories that contain themselves, with circular name continuations, would take hours.
_MAX_READ = 16 * 1024 * 1024
_PRIMARY = 1
_SUPPLEMENTARY = 2
_END = 255
# Escape sequences of UCS-2 levels 1 to 3, at byte 88 of a supplementary descriptor (Joliet).
_JOLIET = (b"%/@", b"%/C", b"%/E")
_DIRECTORY_FLAG = 0x02
_MULTI_EXTENT_FLAG = 0x80


class IsoError(Exception):
    """The bytes are not a usable ISO 9660 image; the message has the reason."""


class IsoNotFound(IsoError):
    """The image is valid but has no such file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Position of a file in the image: offset and length in bytes."""

    offset: int
    length: int

    def overlaps(self, other: Extent) -> bool:
        """Return whether the two have a byte in common."""
        return (
            self.offset < other.offset + other.length and other.offset < self.offset + self.length
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    names: tuple[str, ...]
    offset: int
    extent: Extent
    directory: bool
    continued: bool


class Iso:
    """An ISO 9660 volume in a source; raises `IsoError` when it is missing or truncated.

    With ``joliet`` it is the volume that the supplementary descriptor describes: other directories
    with the same files. `IsoNotFound` when there is none.
    """

    def __init__(self, source: Source, *, joliet: bool = False) -> None:
        self._source = source
        self._left = _MAX_READ
        self._encoding = "utf-16-be" if joliet else "ascii"
        self.descriptor = self._descriptor(joliet)
        """Offset of the volume descriptor in bytes."""
        descriptor = source.read(self.descriptor, SECTOR)
        if _both16(descriptor, 128) != SECTOR:
            raise IsoError("ISO 9660 logical block size is not 2048")
        self.volume_id = descriptor[40:72].decode(self._encoding, "replace").strip()
        self.volume_size = _both32(descriptor, 80) * SECTOR
        if self.volume_size > source.size:
            raise IsoError(
                f"truncated ISO image: the volume has {self.volume_size} bytes, "
                f"the file {source.size}"
            )
        root = _record(descriptor[156:190], self.descriptor + 156, self._encoding)
        if root is None or not root.directory:
            raise IsoError("ISO 9660 root directory record is broken")
        self._root = root
        # The first record of the root shows a Rock Ridge tree, and how many bytes to skip in
        # every system use field (SUSP section 5.3).
        self._skip = 0
        first = next(self._raw_records(root.extent), None)
        if first is not None:
            use = _system_use(first[1])
            if use[:2] == b"SP" and len(use) >= 7 and use[4:6] == b"\xbe\xef":
                self._skip = use[6]

    def find(self, path: str) -> Extent:
        """Return the extent of the file at ``path``, by Rock Ridge or plain name, in any case.

        Raises `IsoNotFound` when there is no such file, `IsoError` for invalid structures.
        """
        extent = _joined([record.extent for record in self._records(path)], path)
        if extent.offset + extent.length > self._source.size:
            raise IsoError(
                f"truncated ISO image: {path!r} ends at byte {extent.offset + extent.length}, "
                f"the file has {self._source.size}"
            )
        return extent

    def record_offsets(self, path: str) -> tuple[int, ...]:
        """Return where the directory records of a file are, one for each of its sections.

        Raises as `find`.
        """
        return tuple(record.offset for record in self._records(path))

    def _records(self, path: str) -> list[_Record]:
        parts = [part for part in path.split("/") if part]
        if not parts or len(parts) > _MAX_DEPTH:
            raise IsoNotFound(f"no file {path!r} in the ISO image")
        directory = self._root
        for part in parts[:-1]:
            found = self._lookup(directory.extent, part)
            if not found or not found[0].directory:
                raise IsoNotFound(f"no file {path!r} in the ISO image")
            directory = found[0]
        found = self._lookup(directory.extent, parts[-1])
        if not found or found[0].directory:
            raise IsoNotFound(f"no file {path!r} in the ISO image")
        return found

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file; raise `IsoError` if it is longer than ``limit`` bytes."""
        extent = self.find(path)
        if extent.length > limit:
            raise IsoError(f"{path!r} has {extent.length} bytes, at most {limit} are expected")
        return self._source.read(extent.offset, extent.length)

    def _descriptor(self, joliet: bool) -> int:
        """Return the offset of the primary volume descriptor, or that of Joliet."""
        primary = False
        for number in range(_MAX_DESCRIPTORS):
            offset = SYSTEM_AREA + number * SECTOR
            if offset + SECTOR > self._source.size:
                break
            descriptor = self._source.read(offset, SECTOR)
            if descriptor[1:6] != b"CD001" or descriptor[0] == _END:
                break
            primary = primary or descriptor[0] == _PRIMARY
            if descriptor[0] == (_SUPPLEMENTARY if joliet else _PRIMARY) and (
                not joliet or descriptor[88:91] in _JOLIET
            ):
                return offset
        if joliet and primary:
            raise IsoNotFound("the ISO image has no Joliet volume")
        raise IsoError("not an ISO 9660 image (no primary volume descriptor)")

    def _lookup(self, directory: Extent, name: str) -> list[_Record]:
        """Return the records of ``name``: one, or one per section of a multi-extent file."""
        wanted = name.casefold()
        found: list[_Record] = []
        for offset, raw in self._raw_records(directory):
            record = _record(raw, offset, self._encoding, self._rock_ridge_name(raw))
            if record is None:
                raise IsoError("ISO 9660 directory record is broken")
            if found or wanted in record.names:
                found.append(record)
                if not record.continued:
                    return found
        return []

    def _raw_records(self, directory: Extent) -> Iterator[tuple[int, bytes]]:
        """Yield the records of a directory, each with its offset in the image."""
        if directory.length > _MAX_DIRECTORY:
            raise IsoError(f"implausible ISO 9660 directory of {directory.length} bytes")
        if directory.offset + directory.length > self._source.size:
            raise IsoError("truncated ISO image: a directory lies past its end")
        data = self._read(directory)
        position = 0
        while position < len(data):
            size = data[position]
            if size == 0:
                # Records do not cross sectors; the rest of the sector is zero (section 6.8.1.1).
                position = (position // SECTOR + 1) * SECTOR
                continue
            raw = data[position : position + size]
            if size < 34 or len(raw) < size or 33 + raw[32] > size:
                raise IsoError("ISO 9660 directory record is broken")
            yield directory.offset + position, raw
            position += size

    def _read(self, extent: Extent) -> bytes:
        """Read a part of the directory tree, within the limit for all of them."""
        self._left -= max(extent.length, SECTOR)
        if self._left < 0:
            raise IsoError("ISO 9660 directories need too many reads: the image is broken")
        return self._source.read(extent.offset, extent.length)

    def _rock_ridge_name(self, raw: bytes) -> str:
        """Return the ``NM`` name of a record (RRIP section 4.1.4), empty if it has none."""
        name = b""
        area = _system_use(raw)[self._skip :]
        for _ in range(_MAX_CONTINUATIONS):
            following: Extent | None = None
            position = 0
            while position + 4 <= len(area):
                tag, size = area[position : position + 2], area[position + 2]
                if size < 4 or position + size > len(area):
                    break
                entry = area[position : position + size]
                if tag == b"NM" and size >= 5:
                    name += entry[5:]
                elif tag == b"CE" and size >= 28:
                    following = Extent(
                        offset=_both32(entry, 4) * SECTOR + _both32(entry, 12),
                        length=_both32(entry, 20),
                    )
                elif tag == b"ST":
                    break
                position += size
            if following is None:
                break
            if following.length > SECTOR or following.offset + following.length > self._source.size:
                raise IsoError("ISO 9660 continuation area lies past the end of the image")
            area = self._read(following)
        return name.decode("utf-8", "replace")


def _system_use(raw: bytes) -> bytes:
    length = raw[32]
    return raw[33 + length + (1 - length % 2) :]


def _record(raw: bytes, offset: int, encoding: str, rock_ridge_name: str = "") -> _Record | None:
    if len(raw) < 34 or 33 + raw[32] > len(raw):
        return None
    identifier = raw[33 : 33 + raw[32]].decode(encoding, "replace")
    # "NAME.EXT;1": the version is not part of the name people use (section 7.5.1).
    plain = identifier.partition(";")[0].removesuffix(".")
    names = {plain.casefold(), rock_ridge_name.casefold()} - {""}
    flags = raw[25]
    return _Record(
        names=tuple(names),
        offset=offset,
        extent=Extent(offset=(_both32(raw, 2) + raw[1]) * SECTOR, length=_both32(raw, 10)),
        directory=bool(flags & _DIRECTORY_FLAG),
        continued=bool(flags & _MULTI_EXTENT_FLAG),
    )


def _joined(extents: list[Extent], path: str) -> Extent:
    """One extent from the sections of a file, which writers put one behind the other."""
    for before, after in pairwise(extents):
        if before.offset + before.length != after.offset:
            raise IsoError(f"{path!r} is scattered over the ISO image")
    return Extent(offset=extents[0].offset, length=sum(extent.length for extent in extents))


def _both32(data: bytes, offset: int) -> int:
    """Return a number recorded in both byte orders (ECMA-119 section 7.3.3)."""
    return int.from_bytes(data[offset : offset + 4], "little")


def _both16(data: bytes, offset: int) -> int:
    return int.from_bytes(data[offset : offset + 2], "little")

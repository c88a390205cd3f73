"""Find the boot loaders in a FAT file system: the image that UEFI boots from an ISO.

Reference: Microsoft, FAT: General Overview of On-Disk Format 1.03. Short names suffice: those that
UEFI looks for have 8.3 form. Images are untrusted: every number is checked, the work is bounded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mic.media.layout import Source

LOADERS: Final = {
    "BOOTX64.EFI": "x86_64",
    "BOOTAA64.EFI": "aarch64",
    "BOOTIA32.EFI": "i386",
    "BOOTARM.EFI": "arm",
    "BOOTRISCV64.EFI": "riscv64",
}
"""Names of boot loaders of removable media (UEFI 2.10 section 3.5.1.1) and their architectures."""

_BOOT_SECTOR: Final = 512
_ENTRY: Final = 32
_MAX_DIRECTORY: Final = 64 * 1024
_DIRECTORY: Final = 0x10
_VOLUME: Final = 0x08
_LONG_NAME: Final = 0x0F
_END: Final = 0
_DELETED: Final = 0xE5
_LAST_12: Final = 4085
"""Clusters from which a file system is FAT16."""
_LAST_16: Final = 65525
"""Clusters from which a file system is FAT32."""


class FatError(Exception):
    """The bytes are no usable FAT file system; the message has the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str
    is_directory: bool
    cluster: int


class Fat:
    """A FAT file system in a source; raises `FatError` when it is none or truncated."""

    def __init__(self, source: Source) -> None:
        self._source = source
        if source.size < _BOOT_SECTOR:
            raise FatError("not a FAT file system: it has less than a sector")
        boot = source.read(0, _BOOT_SECTOR)
        # A jump, and the signature; partitioned disks have the signature too.
        if boot[510:512] != b"\x55\xaa" or boot[0] not in (0xEB, 0xE9):
            raise FatError("not a FAT file system")
        self._sector, per_cluster, reserved, fats, roots, small, media, fat_16 = struct.unpack_from(
            "<HBHBHHBH", boot, 11
        )
        large, fat_32 = struct.unpack_from("<I", boot, 32)[0], struct.unpack_from("<I", boot, 36)[0]
        sizes_fit = self._sector in (512, 1024, 2048, 4096) and per_cluster in (
            *(1, 2, 4, 8, 16, 32, 64, 128),
        )
        if not (sizes_fit and reserved and fats in (1, 2) and media >= 0xF0):
            raise FatError("not a FAT file system")
        table = fat_16 or fat_32
        self._cluster = per_cluster * self._sector
        self._table = reserved * self._sector
        self._root = self._table + fats * table * self._sector
        self._root_size = roots * _ENTRY
        self._data = self._root + -(-self._root_size // self._sector) * self._sector
        sectors = small or large
        if sectors * self._sector > source.size:
            raise FatError(
                f"truncated FAT file system: it has {sectors * self._sector} bytes, "
                f"the file {source.size}"
            )
        self._clusters = (sectors * self._sector - self._data) // self._cluster
        if not table or self._clusters < 1:
            raise FatError("not a FAT file system")
        self._root_cluster = 0 if fat_16 else struct.unpack_from("<I", boot, 44)[0]

    def loaders(self) -> list[str]:
        """Return the names of the boot loaders in ``EFI/BOOT``, in upper case.

        Raises `FatError` when the file system is damaged on the way there.
        """
        directory: list[_Entry] = list(self._entries(self._root_directory()))
        for name in ("EFI", "BOOT"):
            found = next((e for e in directory if e.is_directory and e.name == name), None)
            if found is None:
                return []
            directory = list(self._entries(self._chain(found.cluster)))
        names = [entry.name for entry in directory if not entry.is_directory]
        return [name for name in names if name.startswith("BOOT") and name.endswith(".EFI")]

    def _root_directory(self) -> bytes:
        if self._root_cluster:
            return self._chain(self._root_cluster)
        return self._read(self._root, min(self._root_size, _MAX_DIRECTORY))

    def _chain(self, cluster: int) -> bytes:
        data = b""
        while 2 <= cluster < self._clusters + 2 and len(data) < _MAX_DIRECTORY:
            data += self._read(self._data + (cluster - 2) * self._cluster, self._cluster)
            cluster = self._next(cluster)
        return data

    def _next(self, cluster: int) -> int:
        if self._clusters < _LAST_12:
            (pair,) = struct.unpack("<H", self._read(self._table + cluster * 3 // 2, 2))
            return int(pair >> 4 if cluster % 2 else pair & 0xFFF)
        if self._clusters < _LAST_16:
            return int(struct.unpack("<H", self._read(self._table + cluster * 2, 2))[0])
        return int(struct.unpack("<I", self._read(self._table + cluster * 4, 4))[0] & 0x0FFFFFFF)

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self._source.size:
            raise FatError("damaged FAT file system: it leads past its end")
        return self._source.read(offset, length)

    def _entries(self, data: bytes) -> Iterator[_Entry]:
        for start in range(0, len(data) - _ENTRY + 1, _ENTRY):
            entry = data[start : start + _ENTRY]
            if entry[0] == _END:
                return
            if entry[0] == _DELETED or entry[11] & _LONG_NAME == _LONG_NAME or entry[11] & _VOLUME:
                continue
            stem, extension = (
                part.decode("ascii", "replace").rstrip().upper()
                for part in (entry[:8], entry[8:11])
            )
            high, low = (
                struct.unpack_from("<H", entry, 20)[0],
                struct.unpack_from("<H", entry, 26)[0],
            )
            yield _Entry(
                name=f"{stem}.{extension}" if extension else stem,
                is_directory=bool(entry[11] & _DIRECTORY),
                cluster=low | (high << 16 if self._root_cluster else 0),
            )

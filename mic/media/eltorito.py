"""Boot images of an ISO: the records by which firmware finds them.

References: "El Torito" Bootable CD-ROM Format Specification 1.0; UEFI 2.10 section 13.3.2.1 for the
platform of UEFI; the boot information table of ISOLINUX (mkisofs(8), ``-boot-info-table``).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from mic.media.iso9660 import SECTOR
from mic.media.layout import Layout, Patch, memory

_VIRTUAL_SECTOR: Final = 512
_INFO_OFFSET: Final = 8
_INFO_LENGTH: Final = 56
BOOT_INFO_END: Final = _INFO_OFFSET + _INFO_LENGTH
"""Bytes up to the end of a boot image's boot information table; the checksum is of the rest."""

_BIOS_LOADED: Final = 4
"""Virtual sectors that BIOS loads of a boot image: ISOLINUX reads the rest itself."""


class Platform(IntEnum):
    """Firmware that a boot image is for."""

    BIOS = 0
    UEFI = 0xEF


@dataclass(frozen=True, slots=True, kw_only=True)
class BootImage:
    """A file that firmware boots: machine code for BIOS, a FAT file system for UEFI.

    With ``boot_info`` the image learns its own place in the ISO, as ISOLINUX needs.
    """

    path: str
    platform: Platform
    boot_info: bool = False


def boot_record(catalog: int) -> bytes:
    """Return the volume descriptor that leads to the boot catalog in sector ``catalog``."""
    return b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0") + struct.pack("<I", catalog)


def boot_catalog(images: tuple[BootImage, ...], places: Mapping[str, tuple[int, int]]) -> bytes:
    """Return the boot catalog; ``places``: path to the file's first sector and its bytes.

    The first image is the default one; each other one has a section of its own.
    """
    first, *others = images
    entries = [_validation(first.platform), _entry(first, places)]
    for number, image in enumerate(others, 1):
        indicator = 0x91 if number == len(others) else 0x90
        entries.append(struct.pack("<BBH28x", indicator, image.platform, 1))
        entries.append(_entry(image, places))
    return b"".join(entries).ljust(SECTOR, b"\0")


def with_boot_info(image: Layout, descriptor: int, sector: int) -> Layout:
    """Return a boot image that knows where it is: ``descriptor`` and ``sector`` are sector numbers.

    Reads the image. Raises `ValueError` when it is too short to have the table.
    """
    if image.size < BOOT_INFO_END:
        raise ValueError(f"a boot image of {image.size} bytes has no boot information table")
    summed = image.read(BOOT_INFO_END, image.size - BOOT_INFO_END)
    summed += bytes(-len(summed) % 4)
    checksum = sum(struct.unpack(f"<{len(summed) // 4}I", summed)) & 0xFFFFFFFF
    table = struct.pack("<4I", descriptor, sector, image.size, checksum)
    piece = memory(table.ljust(_INFO_LENGTH, b"\0"))
    return image.patched([Patch(offset=_INFO_OFFSET, pieces=(piece,))])


def _validation(platform: Platform) -> bytes:
    entry = struct.pack("<BB28xH", 1, platform, 0xAA55)
    words = struct.unpack("<16H", entry)
    return entry[:28] + struct.pack("<H", -sum(words) & 0xFFFF) + entry[30:]


def _entry(image: BootImage, places: Mapping[str, tuple[int, int]]) -> bytes:
    sector, size = places[image.path]
    count = _BIOS_LOADED
    if image.platform is Platform.UEFI:
        count = -(-size // _VIRTUAL_SECTOR)
        # UEFI takes 0 for the rest of the medium; the field has 16 bits.
        count = count if count <= 0xFFFF else 0
    return struct.pack("<BBHBxHI20x", 0x88, 0, 0, 0, count, sector)

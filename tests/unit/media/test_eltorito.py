"""El Torito: firmware finds boot images, as xorriso and the specification read them."""

from __future__ import annotations

import struct

import pytest

from mic.media.eltorito import BootImage, Platform, boot_catalog, with_boot_info
from mic.media.iso9660 import SECTOR
from mic.media.isowriter import iso_layout
from mic.media.layout import Layout, memory

BIOS = BootImage(path="bios", platform=Platform.BIOS, boot_info=True)
UEFI = BootImage(path="uefi", platform=Platform.UEFI)


def test_the_validation_entry_sums_to_zero() -> None:
    catalog = boot_catalog((UEFI,), {"uefi": (40, 1024)})
    assert sum(struct.unpack("<16H", catalog[:32])) & 0xFFFF == 0
    assert catalog[1] == 0xEF
    assert len(catalog) == SECTOR


@pytest.mark.parametrize(
    ("size", "count"), [(1024, 2), (1025, 3), (0xFFFF * 512, 0xFFFF), (0xFFFF * 512 + 1, 0)]
)
def test_an_image_too_long_for_its_field_reaches_to_the_end(size: int, count: int) -> None:
    """UEFI 13.3.2.1: 0 means the rest of the medium."""
    entry = boot_catalog((UEFI,), {"uefi": (40, size)})[32:64]
    assert struct.unpack("<BBHBxHI", entry[:12]) == (0x88, 0, 0, 0, count, 40)


def test_boot_information() -> None:
    image = bytes(range(256)) * 2 + b"odd"
    told = with_boot_info(Layout([memory(image)]), 16, 99).read(0, len(image))
    checksum = sum(
        int.from_bytes(image[n : n + 4].ljust(4, b"\0"), "little") for n in range(64, len(image), 4)
    )
    assert told[8:24] == struct.pack("<4I", 16, 99, len(image), checksum & 0xFFFFFFFF)
    assert told[:8] == image[:8]
    assert told[24:64] == bytes(40)
    assert told[64:] == image[64:]


def test_a_boot_image_without_room_for_its_table_is_refused() -> None:
    with pytest.raises(ValueError, match="has no boot information table"):
        with_boot_info(Layout([memory(bytes(63))]), 16, 99)


def test_the_descriptor_leads_to_the_catalog() -> None:
    files = {"bios": Layout([memory(bytes(100))]), "uefi": Layout([memory(b"\1" * 5000)])}
    image = iso_layout(files, volume_id="x", publisher="p", boot=(BIOS, UEFI))
    data = image.read(0, image.size)
    record = data[17 * SECTOR : 18 * SECTOR]
    assert record[:39] == b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(32, b"\0")
    (place,) = struct.unpack_from("<I", record, 71)
    catalog = data[place * SECTOR : (place + 1) * SECTOR]
    (bios,) = struct.unpack_from("<I", catalog, 32 + 8)
    section, platform, entries = struct.unpack_from("<BBH", catalog, 64)
    (uefi,) = struct.unpack_from("<I", catalog, 96 + 8)
    assert (section, platform, entries) == (0x91, 0xEF, 1)
    assert data[uefi * SECTOR : uefi * SECTOR + 5000] == b"\1" * 5000
    assert struct.unpack_from("<I", data, bios * SECTOR + 12) == (bios,)
    assert data[16 * SECTOR + 318 : 16 * SECTOR + 446] == b"p".ljust(128)

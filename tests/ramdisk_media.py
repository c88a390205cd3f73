"""Base files of a ramdisk that is not CoreOS: small, and what mic takes them for."""

from __future__ import annotations

import struct
from pathlib import Path

from mic.media.cpio import Member, packed

KERNEL = b"MZ".ljust(0x202, b"\0") + b"HdrS" + b"the kernel" * 700
INITRAMFS = packed([Member("init", 0o100755, b"#!/bin/sh\n")]) + b"\0" * 3
ISOLINUX = b"\xeb\x3e".ljust(64, b"\x90") + b"ISOLINUX 6.04" + bytes(range(256)) * 8 + b"odd"
LINKER = b"\x7fELF the linker"


def fat(*loaders: str, sectors: int = 64) -> bytes:
    """A FAT12 file system with EFI/BOOT and empty files of these 8.3 names in it."""
    boot = bytearray(512)
    boot[0:3] = b"\xeb\x3c\x90"
    struct.pack_into("<HBHBHHBH", boot, 11, 512, 1, 1, 1, 16, sectors, 0xF8, 1)
    boot[510:512] = b"\x55\xaa"
    # Two directories of one cluster each: both entries end their chains.
    table = b"\xf8\xff\xff" + b"\xff\xff\xff"
    root = _entry("EFI", 0x10, 2)
    efi = _entry(".", 0x10, 2) + _entry("..", 0x10, 0) + _entry("BOOT", 0x10, 3)
    files = b"".join(_entry(name, 0x20, 0) for name in loaders)
    data = b"".join(each.ljust(512, b"\0") for each in (table, root, efi, files))
    return (bytes(boot) + data).ljust(sectors * 512, b"\0")


def _entry(name: str, attributes: int, cluster: int) -> bytes:
    stem, _, extension = (name, "", "") if name.startswith(".") else name.partition(".")
    short = f"{stem:<8}{extension:<3}".encode()
    return short + struct.pack("<B14xHI", attributes, cluster, 0)


def write(directory: Path, *, name: str = "ipa", loader: str = "BOOTX64.EFI") -> dict[str, str]:
    """Write the base files; return the environment that names them."""
    isolinux = directory / "isolinux"
    isolinux.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.kernel").write_bytes(KERNEL)
    (directory / f"{name}.initramfs").write_bytes(INITRAMFS)
    (directory / "esp.img").write_bytes(fat(loader))
    (isolinux / "isolinux.bin").write_bytes(ISOLINUX)
    (isolinux / "ldlinux.c32").write_bytes(LINKER)
    return {
        "MIC_RAMDISK": "ipa",
        "DEPLOY_KERNEL": str(directory / f"{name}.kernel"),
        "DEPLOY_INITRD": str(directory / f"{name}.initramfs"),
        "MIC_BOOTLOADER": str(directory / "esp.img"),
        "MIC_ISOLINUX": str(isolinux),
    }

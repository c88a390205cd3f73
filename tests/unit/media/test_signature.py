"""Identify files by their first bytes. Scope: mic.media.signature, on realistic data."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import INITRAMFS, Bytes, live_iso, without_bytes

from mic.media.cpio import archive
from mic.media.signature import Form, Signature, signature

CPIO = gzip.decompress(archive(b"{}"))
ARM64 = b"MZ" + bytes(54) + b"ARM\x64" + random.Random(1).randbytes(2000)
BZIMAGE = bytes(0x1FE) + b"\x55\xaa" + b"\xeb\x66HdrS" + bytes(100)
S390X = bytes.fromhex("00080000 80000200 02000018 60000050 02000068 60000050") + bytes(5000)


def pe(machine: int) -> bytes:
    return (
        b"MZ"
        + bytes(0x3A)
        + struct.pack("<I", 0x80)
        + bytes(64)
        + b"PE\0\0"
        + struct.pack("<H", machine)
    )


def elf(machine: int, *, big: bool = False) -> bytes:
    order = ">" if big else "<"
    return (
        b"\x7fELF"
        + bytes([2, 2 if big else 1, 1])
        + bytes(9)
        + struct.pack(f"{order}HH", 2, machine)
    )


def seen(data: bytes) -> Signature:
    return signature(Bytes(data))


@pytest.mark.parametrize(
    ("data", "form", "words"),
    [
        (
            bytes(510) + b"\x55\xaa" + bytes(9999) + b"conectix" + bytes(504),
            Form.UNKNOWN,
            "a VHD disk image (of fixed size)",
        ),
        (bytes(99) + b"conectix" + bytes(504), Form.UNKNOWN, "a VHD disk image (of fixed size)"),
        (b"conectix", Form.UNKNOWN, "a VHD disk image"),
        (b"root:x:0:0:root:/root:/bin/bash\n", Form.TEXT, "text"),
        ("# Überschrift\n".encode() * 1000, Form.TEXT, "text"),
        (b"<!DOCTYPE html><title>404", Form.TEXT, "an HTML page"),
        (b'{"message": "not found"}', Form.TEXT, "text"),
        (b"-----BEGIN CERTIFICATE-----", Form.TEXT, "text"),
        (live_iso(), Form.ISO, "an ISO 9660 image"),
        (CPIO, Form.CPIO, "a cpio archive"),
        (b"070707" + b"0" * 70, Form.CPIO, "a cpio archive"),
        (INITRAMFS, Form.CPIO, "a cpio archive, compressed with gzip"),
        (lzma.compress(CPIO), Form.CPIO, "a cpio archive, compressed with xz"),
        (lzma.compress(live_iso()), Form.ISO, "an ISO 9660 image, compressed with xz"),
        (bz2.compress(CPIO), Form.PACKED, "bzip2-compressed data"),
        (
            b"\x28\xb5\x2f\xfd" + bytes(100),
            Form.PACKED,
            "zstd-compressed data",
        ),
        (b"\x1f\x8b damaged", Form.PACKED, "gzip-compressed data"),
        (elf(62), Form.ELF, "an ELF file for x86_64"),
        (elf(22, big=True), Form.ELF, "an ELF file for s390x"),
        (elf(21), Form.ELF, "an ELF file for ppc64le"),
        (elf(9999), Form.ELF, "an ELF file"),
        (pe(0x8664), Form.KERNEL, "a kernel for x86_64"),
        (pe(0xAA64), Form.KERNEL, "a kernel for aarch64"),
        (b"MZ", Form.KERNEL, "a kernel"),
        (BZIMAGE, Form.KERNEL, "a kernel for x86_64"),
        (ARM64, Form.KERNEL, "a kernel for aarch64"),
        (gzip.compress(ARM64), Form.KERNEL, "a kernel for aarch64, compressed with gzip"),
        (S390X, Form.KERNEL, "a kernel for s390x"),
        (b"PK\x03\x04" + bytes(100), Form.UNKNOWN, "a zip archive"),
        (bytes(257) + b"ustar\0" + bytes(300), Form.UNKNOWN, "a tar archive"),
        (b"QFI\xfb" + bytes(100), Form.UNKNOWN, "a qcow2 disk image"),
        (b"KDMV" + bytes(100), Form.UNKNOWN, "a VMDK disk image"),
        (b"conectix" + bytes(100), Form.UNKNOWN, "a VHD disk image"),
        (b"vhdxfile" + bytes(100), Form.UNKNOWN, "a VHDX disk image"),
        (bytes(510) + b"\x55\xaa" + bytes(9), Form.UNKNOWN, "a raw disk image (with an MBR)"),
        (
            bytes(510) + b"\x55\xaaEFI PART" + bytes(9),
            Form.UNKNOWN,
            "a raw disk image (with a GPT)",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            Form.TEXT,
            "a Git LFS pointer",
        ),
        (b"hsqs" + bytes(100), Form.UNKNOWN, "a squashfs file system"),
        (bytes(10_000), Form.UNKNOWN, "no format that mic knows"),
    ],
    ids=without_bytes,
)
def test_names_known_formats(data: bytes, form: Form, words: str) -> None:
    assert (seen(data).form, seen(data).words) == (form, words)


@pytest.mark.parametrize(
    "data",
    [
        b"the kernel",
        b"070701 is not yet a header\0",
        b"CD001",
        "Ö\n".encode("latin-1"),
        b"a line\nand a zero \0",
        "half a character ä".encode()[:-1],
        b"",
    ],
    ids=without_bytes,
)
def test_does_not_guess(data: bytes) -> None:
    assert seen(data).form is Form.UNKNOWN


def test_knows_the_live_root_file_system() -> None:
    header = CPIO[:110]
    assert seen(header + b"root.squashfs\0" + bytes(100)).rootfs
    assert not seen(CPIO).rootfs


def test_inspects_a_part_of_a_file() -> None:
    data = b"\n" * 1000 + ARM64 + b"\n" * 1000
    assert signature(Bytes(data), 1000, 1000 + len(ARM64)).architecture == "aarch64"


def test_programs_of_this_machine_are_elf_files() -> None:
    data = Path(os.path.realpath(sys.executable)).read_bytes()
    assert seen(data).form is Form.ELF


def test_reads_and_unpacks_no_more_than_the_start() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    source = Bytes(bomb + bytes(10_000_000))
    assert signature(source).form is Form.PACKED
    assert source.reads == 1


@given(st.binary(max_size=300))
def test_never_fails_on_any_bytes(data: bytes) -> None:
    for start in (b"", b"\x1f\x8b\x08", b"\xfd7zXZ\x00", b"\x7fELF", b"MZ", b"07070"):
        assert seen(start + data).words

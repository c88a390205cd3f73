"""The writer: any files become an ISO that mic reads back, as ranges of their sources."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import Bytes

from mic.media.eltorito import BootImage, Platform
from mic.media.iso9660 import SECTOR, Iso
from mic.media.isowriter import MAX_FILE, iso_layout
from mic.media.layout import FileRange, Layout, memory

SIZES = (0, 1, 63, 64, SECTOR - 1, SECTOR, SECTOR + 1, 3 * SECTOR)
BOOT = (
    BootImage(path="isolinux/isolinux.bin", platform=Platform.BIOS, boot_info=True),
    BootImage(path="boot/grub/efiboot.img", platform=Platform.UEFI),
)


def _content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _layout(data: bytes) -> Layout:
    """The bytes in pieces: half of a source, half of memory."""
    half = len(data) // 2
    source = Bytes(b"before" + data[:half])
    return Layout([FileRange(source=source, start=6, stop=6 + half), memory(data[half:])])


@pytest.mark.parametrize(("kernel", "initrd"), list(itertools.product(SIZES, SIZES)))
def test_every_combination_of_small_sizes(kernel: int, initrd: int) -> None:
    files = {
        "vmlinuz": _content(kernel, 1),
        "initrd": _content(initrd, 2),
        "boot/grub/efiboot.img": _content(initrd, 3),
        "isolinux/isolinux.bin": _content(100, 4),
        "EFI/BOOT/grub.cfg": b"x",
    }
    image = iso_layout(
        {path: _layout(data) for path, data in files.items()}, volume_id="config-2", boot=BOOT
    )
    assert image.size % SECTOR == 0
    iso = Iso(image)
    assert iso.volume_size == image.size
    extents = [(iso.find(path), data) for path, data in files.items()]
    for (extent, data), path in zip(extents, files, strict=True):
        assert extent.offset % SECTOR == 0
        if path != BOOT[0].path:
            assert image.read(extent.offset, extent.length) == data
    places = sorted((e.offset, e.offset + e.length) for e, _ in extents if e.length)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(places))


@given(
    sizes=st.lists(st.integers(0, 3 * SECTOR), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 1 << 20), min_size=2, max_size=8),
)
def test_ranges_of_any_image_are_those_of_its_bytes(sizes: list[int], cuts: list[int]) -> None:
    files = {f"d{n % 5}/{n:03}.bin": _layout(_content(size, n)) for n, size in enumerate(sizes)}
    image = iso_layout(files, volume_id="x")
    data = image.read(0, image.size)
    assert len(data) == image.size
    for start, stop in itertools.pairwise(sorted(cut % (image.size + 1) for cut in cuts)):
        assert image.read(start, stop - start) == data[start:stop]
    iso = Iso(Bytes(data))
    for path, content in files.items():
        assert iso.read(path, 1 << 20) == content.read(0, content.size)


class Huge:
    """A source that has a size and no bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        raise AssertionError("an image is composed without reading its files")


@pytest.mark.parametrize("size", [MAX_FILE, MAX_FILE - 1])
def test_composes_large_files_without_reading_them(size: int) -> None:
    image = iso_layout({"initrd": Layout.of(Huge(size)), "z": _layout(b"z")}, volume_id="x")
    # Beyond 4 GiB in the image, behind the large file.
    assert Iso(image).find("initrd").length == size
    assert Iso(image).read("z", 10) == b"z"


def test_refuses_files_of_4_gib() -> None:
    with pytest.raises(ValueError, match="'initrd' has 4294967296 bytes"):
        iso_layout({"initrd": Layout.of(Huge(MAX_FILE + 1))}, volume_id="x")


def test_refuses_a_publisher_that_does_not_fit() -> None:
    iso_layout({}, volume_id="x", publisher="p" * 128)
    with pytest.raises(ValueError, match="128"):
        iso_layout({}, volume_id="x", publisher="p" * 129)


def test_every_process_writes_the_same(tmp_path: Path) -> None:
    program = (
        "import hashlib; from mic.media.isowriter import *; from mic.media.layout import *;"
        "i = iso_layout({n: Layout([memory(n.encode())]) for n in {'b/x', 'a', 'c/d/e'}},"
        " volume_id='v', publisher='p'); print(hashlib.sha256(i.read(0, i.size)).hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**environment, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1

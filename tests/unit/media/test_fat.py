"""FAT: which boot loaders an image has, and nothing but FatError for damaged ones."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest
import ramdisk_media
from hypothesis import given
from hypothesis import strategies as st
from toys import Bytes

from mic.media.fat import Fat, FatError

FAT = ramdisk_media.fat("BOOTX64.EFI", "GRUBX64.EFI", "BOOTAA64.EFI")


def test_lists_boot_loaders() -> None:
    assert Fat(Bytes(FAT)).loaders() == ["BOOTX64.EFI", "BOOTAA64.EFI"]


@pytest.mark.parametrize(("kibibytes", "bits"), [(1440, 12), (16384, 16), (65536, 32)])
def test_reads_what_mkfs_and_mtools_write(kibibytes: int, bits: int, tmp_path: Path) -> None:
    if not shutil.which("mcopy") or not Path("/usr/sbin/mkfs.vfat").exists():
        pytest.skip("no mkfs.vfat or mtools here")
    image, loader = tmp_path / "esp.img", tmp_path / "BOOTX64.EFI"
    loader.write_bytes(b"loader")
    for command in (
        ["/usr/sbin/mkfs.vfat", "-F", str(bits), "-C", str(image), str(kibibytes)],
        ["mmd", "-i", str(image), "::EFI", "::EFI/vendor with a long name", "::EFI/BOOT"],
        ["mcopy", "-i", str(image), str(loader), "::EFI/BOOT/"],
    ):
        subprocess.run(command, capture_output=True, check=True)
    assert Fat(Bytes(image.read_bytes())).loaders() == ["BOOTX64.EFI"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "less than a sector"),
        (b"\xeb\x3c\x90" + bytes(1000), "not a FAT"),
        (bytes(446).ljust(510, b"\0") + b"\x55\xaa" + bytes(4096), "not a FAT"),
        (FAT[:5000], "truncated FAT file system: it has 32768 bytes, the file 5000"),
    ],
)
def test_refuses_other_files(data: bytes, why: str) -> None:
    with pytest.raises(FatError, match=why):
        Fat(Bytes(data))


@pytest.mark.parametrize("loaders", [(), ("GRUBX64.EFI",)])
def test_an_image_may_have_no_loader(loaders: tuple[str, ...]) -> None:
    assert Fat(Bytes(ramdisk_media.fat(*loaders))).loaders() == []


@given(st.lists(st.tuples(st.integers(0, 2200), st.integers(0, 255)), max_size=6))
def test_damage_gives_an_answer_or_an_error(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(FAT)
    for place, value in changes:
        damaged[place] = value
    with contextlib.suppress(FatError):
        assert all(name.startswith("BOOT") for name in Fat(Bytes(bytes(damaged))).loaders())


def test_a_chain_that_leads_to_itself_ends() -> None:
    looped = bytearray(FAT)
    looped[512 + 3 : 512 + 6] = b"\x02\x20\x00"  # cluster 2 leads to 2
    assert Fat(Bytes(bytes(looped))).loaders()

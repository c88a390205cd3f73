"""A virtual ISO: its files, its identity, and what it refuses."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import ramdisk_media
from ramdisk_media import INITRAMFS, ISOLINUX, KERNEL, LINKER
from toys import put

from mic.common.errors import BaseUnavailable, BuildInvalid
from mic.media.base import Base, Kind, read_base
from mic.media.basefile import BaseFile, Version, open_base
from mic.media.customisation import Customisation
from mic.media.iso9660 import SECTOR, Iso
from mic.media.isolinux import Isolinux
from mic.media.kernel_arguments import ArgumentEdits
from mic.media.virtual_iso import VirtualIso, grub_config_problem, virtual_iso

CUSTOMISATION = Customisation(
    b"the archive",
    kernel_arguments=(ArgumentEdits(appended=("quiet",)), ArgumentEdits(appended=("a=b", "quiet"))),
    files=(("etc/ironic-python-agent.d/50-mic.conf", b"[DEFAULT]\n"),),
    owner="metal3/worker-0",
)


def base_of(path: Path, kind: Kind) -> Base:
    return read_base(open_base(str(path)), kind, inside_iso=False)


@pytest.fixture
def made(tmp_path: Path) -> VirtualIso:
    esp = put(tmp_path / "esp.img", ramdisk_media.fat("BOOTX64.EFI"))
    return virtual_iso(
        kernel=base_of(put(tmp_path / "k", KERNEL), Kind.KERNEL),
        initramfs=base_of(put(tmp_path / "i", INITRAMFS), Kind.INITRAMFS),
        boot_loader=base_of(esp, Kind.BOOT_LOADER),
        grub_config="EFI/BOOT/grub.cfg",
        isolinux=Isolinux(binary=ISOLINUX, linker=LINKER),
    )


def test_holds_every_file(made: VirtualIso) -> None:
    image = made.layout(CUSTOMISATION)
    iso = Iso(image)
    assert iso.volume_id == "config-2"
    assert iso.read("vmlinuz", 1 << 20) == KERNEL
    assert iso.read("initrd", 1 << 20) == INITRAMFS + b"the archive"
    assert iso.read("boot/grub/efiboot.img", 1 << 20) == ramdisk_media.fat("BOOTX64.EFI")
    assert iso.read("etc/ironic-python-agent.d/50-mic.conf", 100) == b"[DEFAULT]\n"
    assert iso.read("isolinux/ldlinux.c32", 1 << 20) == LINKER
    publisher = image.read(16 * SECTOR + 318, 128).decode().rstrip()
    assert uuid.UUID(publisher).version == 5
    arguments = f"boot_method=vmedia ir_pub_id={publisher} quiet a=b --"
    assert f"linux /vmlinuz {arguments}\n" in iso.read("EFI/BOOT/grub.cfg", 9999).decode()
    assert f" {arguments}\n" in iso.read("isolinux/isolinux.cfg", 9999).decode()


def test_has_no_bios_part_without_isolinux(made: VirtualIso) -> None:
    image = replace(made, isolinux=None).layout(CUSTOMISATION)
    assert b"ISOLINUX" not in image.read(0, image.size)


def test_equal_input_gives_equal_bytes(made: VirtualIso) -> None:
    one, other = made.layout(CUSTOMISATION), made.layout(CUSTOMISATION)
    assert one.read(0, one.size) == other.read(0, other.size)
    assert made.etag(CUSTOMISATION) == made.etag(replace(CUSTOMISATION))


@pytest.mark.parametrize(
    "changed",
    [
        lambda made: (made, replace(CUSTOMISATION, owner="metal3/worker-1")),
        lambda made: (made, replace(CUSTOMISATION, archive=b"another")),
        lambda made: (made, replace(CUSTOMISATION, files=())),
        lambda made: (made, replace(CUSTOMISATION, kernel_arguments=())),
        lambda made: (replace(made, grub_config="EFI/centos/grub.cfg"), CUSTOMISATION),
        lambda made: (replace(made, isolinux=None), CUSTOMISATION),
        lambda made: (replace(made, kernel=made.boot_loader), CUSTOMISATION),
        lambda made: (replace(made, file=made.kernel.file, stop=9), CUSTOMISATION),
        lambda made: (replace(made, boot_loader=made.kernel), CUSTOMISATION),
    ],
)
def test_every_input_is_part_of_tag_and_publisher(
    made: VirtualIso,
    changed: Callable[[VirtualIso], tuple[VirtualIso, Customisation]],
) -> None:
    other, customisation = changed(made)
    assert other.etag(customisation) != made.etag(CUSTOMISATION)
    place = (16 * SECTOR + 318, 128)
    assert other.layout(customisation).read(*place) != made.layout(CUSTOMISATION).read(*place)


def test_is_current_while_all_its_files_are(made: VirtualIso, tmp_path: Path) -> None:
    assert made.is_current()
    put(tmp_path / "k", b"MZ another kernel")
    assert not made.is_current()


def test_refuses_what_it_cannot_do(made: VirtualIso) -> None:
    removes = replace(CUSTOMISATION, kernel_arguments=(ArgumentEdits(removed=("quiet",)),))
    with pytest.raises(BuildInvalid, match="quiet cannot be taken away"):
        made.layout(removes)
    words = tuple(f"a{number}=b" for number in range(400))
    long = replace(CUSTOMISATION, kernel_arguments=(ArgumentEdits(appended=words),))
    with pytest.raises(BuildInvalid, match=r"the kernel arguments have \d+ characters"):
        made.layout(long)


def _sparse(path: Path, size: int) -> BaseFile:
    path.touch()
    os.truncate(path, size)
    fd = os.open(path, os.O_RDONLY)
    version = Version.of(os.fstat(fd))
    return BaseFile(path=str(path), fd=fd, size=size, version=version, digest=b"")


@pytest.mark.parametrize("kind", [Kind.KERNEL, Kind.INITRAMFS, Kind.BOOT_LOADER])
def test_refuses_files_of_4_gib(kind: Kind, made: VirtualIso, tmp_path: Path) -> None:
    bases = {
        Kind.KERNEL: made.kernel,
        Kind.INITRAMFS: made.initramfs,
        Kind.BOOT_LOADER: made.boot_loader,
    }
    file = _sparse(tmp_path / "large", 1 << 32)
    bases[kind] = Base(kind=kind, file=file, start=0, stop=file.size)
    with pytest.raises(BaseUnavailable, match=r"large has 4294967296 bytes.* less than 4 GiB"):
        virtual_iso(
            kernel=bases[Kind.KERNEL],
            initramfs=bases[Kind.INITRAMFS],
            boot_loader=bases[Kind.BOOT_LOADER],
            grub_config="EFI/BOOT/grub.cfg",
        )


def test_refuses_an_initramfs_that_has_4_gib_with_its_archive(
    made: VirtualIso, tmp_path: Path
) -> None:
    file = _sparse(tmp_path / "large", (1 << 32) - 11)
    large = replace(made, file=file, start=0, stop=file.size)
    with pytest.raises(BuildInvalid, match="large and its archive have 4294967296 bytes"):
        large.layout(CUSTOMISATION)
    assert large.layout(replace(CUSTOMISATION, archive=b"0123456789")).size > 1 << 32


@pytest.mark.parametrize("path", ["EFI/BOOT/grub.cfg", "EFI/centos/grub.cfg", "grub.cfg", "a/b/c"])
def test_accepts_paths_of_grubs_config(path: str) -> None:
    assert grub_config_problem(path) == ""


@pytest.mark.parametrize(
    "path",
    [
        *("", "/EFI/BOOT/grub.cfg", "EFI//grub.cfg", "EFI/../grub.cfg", "a/b/c/d/e/f/g/h", "a b"),
        *("vmlinuz", "VMLINUZ", "initrd/grub.cfg", "isolinux/isolinux.cfg", "boot", "a\n"),
        *("boot/grub/efiboot.imgx", "EFI/" + 65 * "x", "é"),
    ],
)
def test_refuses_other_paths(path: str) -> None:
    assert re.search("no path in an ISO|another file", grub_config_problem(path))

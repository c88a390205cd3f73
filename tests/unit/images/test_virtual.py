"""Bases of a ramdisk that is not CoreOS: virtual ISOs, and files that belong together."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
import ramdisk_media
from descriptors import open_files
from heldthreads import HeldThreads
from toys import put
from twisted.internet.defer import ensureDeferred

from mic.common.errors import BaseUnavailable
from mic.common.threads import Threads
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import Kind, Ramdisk
from mic.media.catalog import BasePaths
from mic.media.customisation import Customisation
from mic.media.iso9660 import Iso
from mic.media.virtual_iso import VirtualIso

ARCHIVE = Customisation(b"archive")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    ramdisk_media.write(tmp_path)
    return tmp_path


def paths(directory: Path, **more: str) -> BasePaths:
    given = {
        "initramfs": "ipa.initramfs",
        "kernel": "ipa.kernel",
        "boot_loader": "esp.img",
        "isolinux": "isolinux",
        **more,
    }
    full = {name: str(directory / file) for name, file in given.items() if file}
    return BasePaths(ramdisk=Ramdisk.IPA, **full)


@pytest.fixture
def bases(directory: Path, threads: Threads) -> Bases:
    return Bases(paths(directory), "x86_64", threads)


async def iso_of(bases: Bases, **which: str) -> Iso:
    base = await bases.load(Kind.ISO, **which)
    return Iso(base.layout(ARCHIVE))


@pytest_twisted.ensureDeferred
async def test_composes_an_iso_for_bios_and_uefi(bases: Bases) -> None:
    assert await bases.load_all() == []
    assert bases.health().not_ready == ()
    assert bases.kinds == (Kind.ISO, Kind.INITRAMFS)
    iso = await iso_of(bases)
    assert iso.read("initrd", 1 << 20) == ramdisk_media.INITRAMFS + b"archive"
    assert iso.find("isolinux/isolinux.bin").length == len(ramdisk_media.ISOLINUX)
    assert bases.loaded(Kind.ISO) is await bases.load(Kind.ISO)


@pytest_twisted.ensureDeferred
async def test_makes_no_iso_without_a_boot_loader(directory: Path, threads: Threads) -> None:
    bases = Bases(paths(directory, boot_loader="", isolinux=""), "x86_64", threads)
    await bases.load_all()
    assert bases.kinds == (Kind.INITRAMFS,)
    assert bases.supports("x86_64")
    assert not bases.has(Kind.ISO)
    with pytest.raises(BaseUnavailable, match=r"no base boot loader.*see MIC_BOOTLOADER"):
        await bases.load(Kind.ISO)


@pytest.mark.parametrize(
    "name", ["ipa.kernel", "ipa.initramfs", "esp.img", "isolinux/isolinux.bin"]
)
@pytest_twisted.ensureDeferred
async def test_takes_up_each_file_that_is_replaced(
    name: str, bases: Bases, directory: Path
) -> None:
    await bases.load_all()
    before = await bases.load(Kind.ISO)
    changed: list[str] = []
    bases.changed.append(lambda: changed.append("changed"))
    put(directory / name, (directory / name).read_bytes() + bytes(512))
    await bases.refresh()
    assert changed
    assert bases.loaded(Kind.ISO) is not before
    after = await bases.load(Kind.ISO)
    assert after.etag(ARCHIVE) != before.etag(ARCHIVE)
    await bases.refresh()
    assert bases.loaded(Kind.ISO) is after


@pytest.mark.parametrize("name", ["ipa.kernel", "ipa.initramfs", "esp.img"])
@pytest_twisted.ensureDeferred
async def test_closes_each_file_that_is_replaced(
    name: str, bases: Bases, directory: Path, started: Callable[[], None]
) -> None:
    images = Store(bases, lambda: 1000.0)
    images.publish("host.iso", Content(id=ImageId("", "host", Kind.ISO), customisation=ARCHIVE))
    entry = images.entry("host.iso")
    assert entry is not None
    await images.load(entry)
    with pytest.raises(BaseUnavailable):
        await bases.load(Kind.INS)
    started()
    content = (directory / name).read_bytes()
    for data in (content + bytes(512), b"", content):
        put(directory / name, data)
        await bases.refresh()
        if data:
            await images.load(entry)
        else:
            with pytest.raises(BaseUnavailable, match="is empty"):
                await images.load(entry)
        gc.collect()
        assert f"{directory / name} (deleted)" not in open_files()


@pytest_twisted.ensureDeferred
async def test_names_a_file_of_isolinux_that_went(bases: Bases, directory: Path) -> None:
    await bases.load_all()
    linker = directory / "isolinux/ldlinux.c32"
    content = linker.read_bytes()
    linker.unlink()
    await bases.refresh()
    (problem,) = bases.health().not_ready
    assert problem == f"MIC_ISOLINUX: {linker}: No such file or directory"
    with pytest.raises(BaseUnavailable, match="ldlinux"):
        await bases.load(Kind.ISO)
    await bases.load(Kind.INITRAMFS)
    put(linker, content)
    await bases.refresh()
    assert bases.health().not_ready == ()
    await bases.load(Kind.ISO)


@pytest.mark.parametrize("content", [b"ISOLINUX", b"ISOLINUX".ljust(200, b"\0"), bytes(200)])
@pytest_twisted.ensureDeferred
async def test_refuses_a_boot_image_that_is_not_isolinux(
    content: bytes, bases: Bases, directory: Path
) -> None:
    put(directory / "isolinux/isolinux.bin", content)
    await bases.load_all()
    (problem,) = bases.health().not_ready
    assert problem.endswith("isolinux.bin is not the boot image ISOLINUX")
    with pytest.raises(BaseUnavailable, match=r"isolinux\.bin is not"):
        await bases.load(Kind.ISO)


@pytest_twisted.ensureDeferred
async def test_an_initramfs_and_its_kernel_belong_together(
    directory: Path, threads: Threads
) -> None:
    put(directory / "ipa-el10.initramfs", ramdisk_media.INITRAMFS + b"\0")
    bases = Bases(paths(directory), "x86_64", threads)
    await bases.load_all()
    base = await bases.load(Kind.INITRAMFS, stream="el10")
    assert base.file.path == str(directory / "ipa.initramfs")
    (warning,) = bases.health().warnings
    assert warning == (
        f"base image {directory}/ipa-el10.initramfs is not used: the kernel of the same name is "
        "missing"
    )
    assert warning in [doubt.text for doubt in bases.doubts()]
    put(directory / "ipa-el10.kernel", ramdisk_media.KERNEL + b"10")
    await bases.refresh()
    assert bases.health().warnings == ()
    for kind in (Kind.INITRAMFS, Kind.KERNEL):
        assert "el10" in (await bases.load(kind, stream="el10")).file.path
    iso = await iso_of(bases, stream="el10")
    assert iso.read("vmlinuz", 1 << 20) == ramdisk_media.KERNEL + b"10"


@pytest_twisted.ensureDeferred
async def test_another_architecture_has_its_own_boot_loader_and_no_bios(
    directory: Path, threads: Threads
) -> None:
    bases = Bases(paths(directory), "x86_64", threads)
    for name in ("ipa_aarch64.initramfs", "ipa_aarch64.kernel"):
        put(directory / name, (directory / name.replace("_aarch64", "")).read_bytes())
    await bases.refresh()
    assert bases.supports("aarch64")
    assert not bases.has(Kind.ISO, architecture="aarch64")
    put(directory / "esp_aarch64.img", ramdisk_media.fat("BOOTAA64.EFI"))
    await bases.refresh()
    iso = await iso_of(bases, architecture="aarch64")
    assert iso.find("boot/grub/efiboot.img").length
    assert not bases.supports("ppc64le")
    with pytest.raises(Exception, match="isolinux"):
        iso.find("isolinux/isolinux.bin")


@pytest.mark.parametrize(
    ("loader", "doubt"),
    [
        ("GRUBX64.EFI", "esp.img has no EFI/BOOT/BOOTX64.EFI: UEFI will not boot virtual ISOs"),
        ("BOOTAA64.EFI", "esp.img looks made for aarch64"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_doubts_a_boot_loader_that_will_not_boot(
    loader: str, doubt: str, directory: Path, threads: Threads
) -> None:
    put(directory / "esp.img", ramdisk_media.fat(loader))
    bases = Bases(paths(directory), "x86_64", threads)
    assert await bases.load_all() == []
    assert [each for each in bases.doubts() if doubt in each.text]


@pytest_twisted.ensureDeferred
async def test_refuses_a_boot_loader_that_is_no_fat(directory: Path, threads: Threads) -> None:
    put(directory / "esp.img", b"MZ" + bytes(4096))
    bases = Bases(paths(directory), "x86_64", threads)
    (problem,) = await bases.load_all()
    assert "esp.img: not a FAT file system" in problem
    assert bases.health().not_ready == (problem,)
    assert await bases.load(Kind.INITRAMFS)


@pytest_twisted.ensureDeferred
async def test_names_a_file_that_is_too_large_for_an_iso(
    directory: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is 4 GiB; a file of that size would be read for its digest."""
    monkeypatch.setattr("mic.media.virtual_iso.MAX_FILE", len(ramdisk_media.INITRAMFS) - 1)
    (directory / "ipa.kernel").write_bytes(b"MZ")
    (directory / "esp.img").write_bytes(ramdisk_media.fat("BOOTX64.EFI"))
    bases = Bases(paths(directory), "x86_64", threads)
    found = await bases.load_all()
    assert any("ipa.initramfs has" in problem and "4 GiB" in problem for problem in found)
    assert set(found) <= set(bases.health().warnings)
    assert bases.health().not_ready == ()
    assert await bases.load(Kind.INITRAMFS)
    without_iso = Bases(paths(directory, boot_loader="", isolinux=""), "x86_64", threads)
    assert await without_iso.load_all() == []


@pytest_twisted.ensureDeferred
async def test_other_files_of_isolinux_are_news_to_those_who_follow(
    bases: Bases, directory: Path
) -> None:
    images = Store(bases, lambda: 1000.0)
    names = ("a.iso", "b.iso")
    entries = [
        images.publish(name, Content(id=ImageId("", name, Kind.ISO), customisation=ARCHIVE))
        for name in names
    ]
    before = [await images.load(entry) for entry in entries]
    path = directory / "isolinux/isolinux.bin"
    put(path, path.read_bytes() + bytes(512))
    await bases.load_all()
    # The fast lane serves what is composed, for as long as its files are current.
    assert [entry.composed for entry in entries] == [None, None]
    after = [await images.load(entry) for entry in entries]
    assert after[0].base is after[1].base is not before[0].base


@pytest_twisted.ensureDeferred
async def test_an_iso_is_of_a_kernel_and_an_initramfs_that_came_together(directory: Path) -> None:
    threads = HeldThreads("open_bases", str(directory / "ipa.initramfs"))
    threads.startService()
    bases = Bases(paths(directory), "x86_64", threads)
    loading = ensureDeferred(bases.load(Kind.ISO))
    # The kernel was read by then.
    await threads.has_run
    for name in ("kernel", "initramfs"):
        content = (directory / f"ipa.{name}").read_bytes()
        put(directory / f"ipa_x86_64.{name}", content + bytes(512))
    await bases.refresh()
    threads.let_go()
    base = await loading
    assert isinstance(base, VirtualIso)
    assert [each.file.path for each in (base.kernel, base.initramfs)] == [
        str(directory / f"ipa_x86_64.{name}") for name in ("kernel", "initramfs")
    ]
    assert bases.loaded(Kind.ISO) is base
    await threads.stopService()

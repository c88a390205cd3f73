"""A CoreOS-like release: a live ISO whose boot loaders, kernel and initramfs are real."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import miniso
from e2e import cache, debian, esp, kernel, parts

_MINUTE = 60.0
_EMBED_AREA = 256 * 1024

_ARGUMENTS = (
    f"console=ttyS0 quiet panic=-1 {kernel.NO_TIMER_CHECK} "
    "ignition.firstboot ignition.platform.id=metal coreos.liveiso=mic-e2e root=/dev/none"
)

_AREA = 1139
"""Size of an area for kernel arguments, as in Fedora CoreOS."""

_ISOLINUX = """\
SERIAL 0
DEFAULT coreos
LABEL coreos
  KERNEL /images/pxeboot/vmlinuz
  APPEND initrd=/images/pxeboot/initrd.img,/images/ignition.img \
"""

_GRUB_MEMORY = """\
search --no-floppy --set=root --file /images/pxeboot/vmlinuz
configfile ($root)/EFI/coreos/grub.cfg
"""
_GRUB = "linux /images/pxeboot/vmlinuz "
_GRUB_END = """\
initrd /images/pxeboot/initrd.img /images/ignition.img
boot
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What a CoreOS-like release brings: a live ISO, and its parts for network boot."""

    iso: Path
    kernel: Path
    initramfs: Path
    rootfs: Path


def made(name: str, key: str, write_initramfs: Callable[[Path], None]) -> Media:
    """A release for BIOS and UEFI, made once and kept in the cache.

    ``key`` says all that goes into its initramfs. Its ISO describes the minimal one.
    """
    vmlinuz = kernel.image()
    isolinux = parts.file("/usr/lib/ISOLINUX/isolinux.bin", "isolinux")
    loader = parts.file("/usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common")
    tools = esp.Tools()

    def make(place: Path) -> None:
        tree = place / "tree"
        for directory in ("coreos", "images/pxeboot", "isolinux", "EFI/coreos"):
            (tree / directory).mkdir(parents=True)
        shutil.copy(vmlinuz, tree / "images/pxeboot/vmlinuz")
        write_initramfs(tree / "images/pxeboot/initrd.img")
        (tree / "images/ignition.img").write_bytes(bytes(_EMBED_AREA))
        (tree / "coreos/igninfo.json").write_text('{"file": "images/ignition.img"}\n')
        shutil.copy(isolinux, tree / "isolinux/isolinux.bin")
        shutil.copy(loader, tree / "isolinux/ldlinux.c32")
        area = f"{_ARGUMENTS}\n".ljust(_AREA, "#")
        (tree / "isolinux/isolinux.cfg").write_text(f"{_ISOLINUX}{area}\n")
        (tree / "EFI/coreos/grub.cfg").write_text(f"{_GRUB}{area}\n{_GRUB_END}")
        kargs = {
            "default": _ARGUMENTS,
            "size": _AREA,
            "files": [
                {"path": "isolinux/isolinux.cfg", "offset": len(_ISOLINUX)},
                {"path": "EFI/coreos/grub.cfg", "offset": len(_GRUB)},
            ],
        }
        (tree / "coreos/kargs.json").write_text(json.dumps(kargs))
        (tree / "coreos/features.json").write_text('{"live-initrd-network": true}')

        (place / "grub.cfg").write_text(_GRUB_MEMORY)
        tools.write(tree / "images/efiboot.img", place, place / "grub.cfg")

        names = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()]
        minimal = _iso(tree, place / "minimal.iso")
        (tree / "coreos/miniso.dat").write_bytes(bytes(miniso.RESERVED))
        _write_rootfs(tree / "images/pxeboot/rootfs.img", place)
        full = _iso(tree, place / "live.iso")
        offset, data = miniso.described(full.read_bytes(), minimal.read_bytes(), names)
        with full.open("r+b") as file:
            file.seek(offset)
            file.write(data)
        minimal.unlink()

    texts = (_ISOLINUX, _GRUB_MEMORY, _GRUB, _GRUB_END, _ARGUMENTS, *esp.GRUB_MODULES)
    place = cache.kept(name, "\n".join([*texts, str(vmlinuz), key, "4"]), make)
    boot = place / "tree/images/pxeboot"
    return Media(
        iso=place / "live.iso",
        kernel=boot / "vmlinuz",
        initramfs=boot / "initrd.img",
        rootfs=boot / "rootfs.img",
    )


def _iso(tree: Path, target: Path) -> Path:
    command = [
        parts.program("xorriso", "xorriso"),
        *("-as", "mkisofs", "-quiet", "-R", "-J", "-V", "mic-e2e", "-o", target),
        *("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"),
        *("-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"),
        *("-eltorito-alt-boot", "-e", "images/efiboot.img", "-no-emul-boot"),
        tree,
    ]
    debian.run(command, _MINUTE)
    return target


def _write_rootfs(target: Path, work: Path) -> None:
    """What looks like a live root file system: noise in the place of its squashfs."""
    (work / "root.squashfs").write_bytes(random.Random(0).randbytes(1024 * 1024))
    with target.open("wb") as output:
        subprocess.run(
            [parts.program("cpio", "cpio"), "--quiet", "-o", "-H", "newc"],
            cwd=work,
            input=b"root.squashfs\n",
            stdout=output,
            timeout=_MINUTE,
            check=True,
        )

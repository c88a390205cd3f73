"""A machine that boots an image and tells which Ignition config it found: QEMU as the BMC.

The guest is Debian's kernel with an initramfs whose only program prints the SHA-256 of
``/config.ign``, which is where an archive of mic's puts the config, and switches the machine off.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e import cache, parts

_MINUTE = 60.0
_BOOT = 180.0
_DOWNLOAD = 600.0
_EMBED_AREA = 256 * 1024

_INIT = """\
#!/bin/busybox sh
echo
/bin/busybox sha256sum /config.ign
/bin/busybox poweroff -f
"""

_ARGUMENTS = "console=ttyS0 quiet panic=-1 ignition.firstboot ignition.platform.id=metal"

_ISOLINUX = f"""\
SERIAL 0
DEFAULT coreos
LABEL coreos
  KERNEL /images/pxeboot/vmlinuz
  APPEND initrd=/images/pxeboot/initrd.img,/images/ignition.img {_ARGUMENTS}
"""

_GRUB = f"""\
search --no-floppy --set=root --file /images/pxeboot/vmlinuz
linux /images/pxeboot/vmlinuz {_ARGUMENTS}
initrd /images/pxeboot/initrd.img /images/ignition.img
boot
"""
_GRUB_MODULES = ("iso9660", "fat", "part_gpt", "part_msdos", "search", "linux", "boot", "normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What a CoreOS-like release brings: a live ISO, and the parts for network boot."""

    iso: Path
    kernel: Path
    initramfs: Path


def media() -> Media:
    """The release that the guests boot, BIOS and UEFI, made once and kept in the cache."""
    kernel = _kernel()
    busybox = parts.file("/bin/busybox", "busybox-static")
    isolinux = parts.file("/usr/lib/ISOLINUX/isolinux.bin", "isolinux")
    loader = parts.file("/usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common")
    parts.file("/usr/lib/grub/x86_64-efi/linux.mod", "grub-efi-amd64-bin")
    xorriso = parts.program("xorriso", "xorriso")
    mkimage = parts.program("grub-mkimage", "grub-common")
    mkfs = parts.program("mkfs.vfat", "dosfstools")
    mcopy = parts.program("mcopy", "mtools")
    mmd = parts.program("mmd", "mtools")

    def make(place: Path) -> None:
        tree = place / "tree"
        for directory in ("coreos", "images/pxeboot", "isolinux"):
            (tree / directory).mkdir(parents=True)
        shutil.copy(kernel, tree / "images/pxeboot/vmlinuz")
        _write_initramfs(busybox, tree / "images/pxeboot/initrd.img", place)
        (tree / "images/pxeboot/rootfs.img").write_bytes(bytes(1024 * 1024))
        (tree / "images/ignition.img").write_bytes(bytes(_EMBED_AREA))
        (tree / "coreos/igninfo.json").write_text('{"file": "images/ignition.img"}\n')
        shutil.copy(isolinux, tree / "isolinux/isolinux.bin")
        shutil.copy(loader, tree / "isolinux/ldlinux.c32")
        (tree / "isolinux/isolinux.cfg").write_text(_ISOLINUX)

        (place / "grub.cfg").write_text(_GRUB)
        _run(
            mkimage,
            *("-O", "x86_64-efi", "-p", "/EFI/BOOT", "-c", place / "grub.cfg"),
            *("-o", place / "BOOTX64.EFI", *_GRUB_MODULES),
        )
        efi = tree / "images/efiboot.img"
        _run(mkfs, "-C", efi, "2880")
        _run(mmd, "-i", efi, "::EFI", "::EFI/BOOT")
        _run(mcopy, "-i", efi, place / "BOOTX64.EFI", "::EFI/BOOT/BOOTX64.EFI")

        _run(
            xorriso,
            *("-as", "mkisofs", "-quiet", "-R", "-V", "mic-e2e", "-o", place / "live.iso"),
            *("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"),
            *("-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"),
            *("-eltorito-alt-boot", "-e", "images/efiboot.img", "-no-emul-boot"),
            tree,
        )

    key = "\n".join([_INIT, _ISOLINUX, _GRUB, *_GRUB_MODULES, str(kernel), "1"])
    place = cache.kept("media", key, make)
    boot = place / "tree/images/pxeboot"
    return Media(iso=place / "live.iso", kernel=boot / "vmlinuz", initramfs=boot / "initrd.img")


def qemu(*arguments: str | os.PathLike[str], memory: int = 512) -> list[str | os.PathLike[str]]:
    """The command line of a machine with a serial console on its standard output.

    Never KVM: its device node is often there and useless, and then QEMU hangs.
    """
    return [
        parts.program("qemu-system-x86_64", "qemu-system-x86"),
        *("-machine", "q35,accel=tcg", "-m", str(memory)),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *arguments,
    ]


def uefi(directory: Path) -> list[str]:
    """Arguments that give a machine UEFI firmware in place of a BIOS."""
    code = parts.file("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")
    variables = directory / "OVMF_VARS_4M.fd"
    shutil.copy(parts.file("/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf"), variables)
    flash = "if=pflash,format=raw"
    return [
        *("-drive", f"{flash},readonly=on,file={code}"),
        *("-drive", f"{flash},file={variables}"),
    ]


def config_digest(command: list[str | os.PathLike[str]]) -> str:
    """Run a guest to its end: the SHA-256 it prints of the config it found."""
    try:
        run = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_BOOT,
            check=False,
        )
        output, end = run.stdout, f"status {run.returncode}"
    except subprocess.TimeoutExpired as error:
        output, end = error.stdout or b"", f"not done in {_BOOT:.0f} s"
    console = output.decode("utf-8", "replace")
    found = re.search(r"^([0-9a-f]{64})  /config\.ign\s*$", console, re.MULTILINE)
    assert found, f"the guest printed no digest ({end}):\n{console}"
    return found[1]


def _kernel() -> Path:
    """A kernel from Debian's archive: nothing is installed."""
    apt = parts.program("apt-get", "apt")
    dpkg = parts.program("dpkg-deb", "dpkg")

    def make(place: Path) -> None:
        place.mkdir()
        depends = _run(parts.program("apt-cache", "apt"), "depends", "linux-image-cloud-amd64")
        package = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", depends)
        assert package, depends
        place.chmod(0o777)  # apt downloads as a user of its own
        _run(apt, "-q", "download", package[1], cwd=place, seconds=_DOWNLOAD)
        (deb,) = place.glob("*.deb")
        _run(dpkg, "-x", deb, place / "root")
        (vmlinuz,) = (place / "root/boot").glob("vmlinuz-*")
        vmlinuz.rename(place / "vmlinuz")
        shutil.rmtree(place / "root")
        deb.unlink()
        place.chmod(0o755)

    return cache.kept("kernel", "linux-image-cloud-amd64", make) / "vmlinuz"


def _write_initramfs(busybox: Path, target: Path, work: Path) -> None:
    tree = work / "initramfs"
    (tree / "bin").mkdir(parents=True)
    (tree / "dev").mkdir()
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "init").write_text(_INIT)
    (tree / "init").chmod(stat.S_IRWXU)
    with target.open("wb") as output:
        subprocess.run(
            [busybox, "sh", "-c", "find . | busybox cpio -o -H newc | busybox gzip -9"],
            cwd=tree,
            stdout=output,
            timeout=_MINUTE,
            check=True,
        )


def _run(
    *command: str | os.PathLike[str], cwd: Path | None = None, seconds: float = _MINUTE
) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout

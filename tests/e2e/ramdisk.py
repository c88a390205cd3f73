"""A ramdisk that is not CoreOS, as diskimage-builder's: kernel, initramfs and boot loaders.

The guest is Debian's kernel. The only program of its initramfs looks for its medium as the agent's
ramdisk does, prints what mic put into the initramfs and onto the medium, and switches the machine
off.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e import cache, esp, guest, kernel, parts

_MINUTE = 60.0
_BOOT = 600.0

# udev reads label and publisher (ID_FS_LABEL, ID_FS_PUBLISHER_ID) from the same places:
# libblkid, iso9660.c.
_INIT = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /cd
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do /bin/busybox insmod $module; done
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/sr0 ] && break; /bin/busybox sleep 1; done
echo
/bin/busybox sed "s/^/arguments: /" /proc/cmdline
echo "label: $(/bin/busybox dd if=/dev/sr0 bs=1 skip=32808 count=32 2>/dev/null)"
echo "publisher: $(/bin/busybox dd if=/dev/sr0 bs=1 skip=33086 count=128 2>/dev/null)"
/bin/busybox mount -t iso9660 -o ro /dev/sr0 /cd
cd /cd
for file in $(/bin/busybox find etc openstack -type f 2>/dev/null); do
    echo "medium: $(/bin/busybox sha256sum $file)"
done
cd /
for file in $(/bin/busybox find etc mnt root usr -type f 2>/dev/null); do
    echo "file: $(/bin/busybox sha256sum $file)"
done
for mode in $(/bin/busybox find etc mnt root -name '*.nmconnection' 2>/dev/null); do
    echo "mode: $(/bin/busybox stat -c '%a %u' $mode)"
done
echo "links: $(/bin/busybox find etc -type l -exec /bin/busybox readlink {} ';')"
/bin/busybox poweroff -f
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramdisk:
    """The files that the settings of a mic for such ramdisks name."""

    kernel: Path
    initramfs: Path
    boot_loader: Path
    isolinux: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MIC_RAMDISK": "ipa",
            "DEPLOY_KERNEL": str(self.kernel),
            "DEPLOY_INITRD": str(self.initramfs),
            "MIC_BOOTLOADER": str(self.boot_loader),
            "MIC_ISOLINUX": str(self.isolinux),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the guest found: SHA-256 by path, of its initramfs and of its medium."""

    files: dict[str, str]
    medium: dict[str, str]
    arguments: str
    console: str

    def line(self, pattern: str) -> str:
        found = re.search(pattern, self.console, re.MULTILINE)
        assert found, f"no {pattern!r}:\n{self.console}"
        return found[1].strip()


def ramdisk() -> Ramdisk:
    """The ramdisk that the guests boot, BIOS and UEFI, made once and kept in the cache."""
    vmlinuz = kernel.image()
    busybox = parts.file("/bin/busybox", "busybox-static")
    isolinux = parts.file("/usr/lib/ISOLINUX/isolinux.bin", "isolinux")
    linker = parts.file("/usr/lib/syslinux/modules/bios/ldlinux.c32", "syslinux-common")
    tools = esp.Tools()

    def make(place: Path) -> None:
        (place / "isolinux").mkdir(parents=True)
        shutil.copy(vmlinuz, place / "ipa.kernel")
        shutil.copy(isolinux, place / "isolinux")
        shutil.copy(linker, place / "isolinux")
        _write_initramfs(busybox, place)
        tools.write(place / "esp.img", place)

    key = "\n".join([_INIT, str(vmlinuz), *esp.GRUB_MODULES, "1"])
    place = cache.kept("ramdisk", key, make)
    return Ramdisk(
        kernel=place / "ipa.kernel",
        initramfs=place / "ipa.initramfs",
        boot_loader=place / "esp.img",
        isolinux=place / "isolinux",
    )


def boot(url: str, *arguments: str) -> Found:
    """Boot the ISO at a URL, read by ranges, and return what the guest found."""
    parts.file("/usr/lib/x86_64-linux-gnu/qemu/block-curl.so", "qemu-block-extra")
    run = subprocess.run(
        guest.qemu(
            *arguments,
            *("-device", "virtio-scsi-pci,id=bus"),
            *("-drive", f"file={url},media=cdrom,readonly=on,if=none,id=cd,format=raw"),
            *("-device", "scsi-cd,drive=cd,bootindex=0"),
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_BOOT,
        check=False,
    )
    console = run.stdout.decode("utf-8", "replace").replace("\r", "")
    found = Found(
        files=_digests("file", console),
        medium=_digests("medium", console),
        arguments="",
        console=console,
    )
    return Found(
        files=found.files,
        medium=found.medium,
        arguments=found.line(r"^arguments: (.*)$"),
        console=console,
    )


def unpack(archive: bytes, directory: Path) -> dict[str, Path]:
    """Unpack mic's archive as cpio does; the files that are not links, by path."""
    directory.mkdir()
    subprocess.run(
        [parts.program("cpio", "cpio"), "--extract", "--quiet"],
        input=gzip.decompress(archive),
        cwd=directory,
        timeout=_MINUTE,
        check=True,
    )
    files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(directory)): path for path in files}


def _digests(what: str, console: str) -> dict[str, str]:
    pairs = re.findall(rf"^{what}: ([0-9a-f]{{64}})  (\S+)$", console, re.MULTILINE)
    return {path: digest for digest, path in pairs}


def _write_initramfs(busybox: Path, place: Path) -> None:
    tree = place / "tree"
    (tree / "bin").mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    kernel.copy_modules(kernel.MEDIUM, tree / "modules")
    (tree / "init").write_text(_INIT)
    (tree / "init").chmod(stat.S_IRWXU)
    packed = subprocess.run(
        [busybox, "sh", "-c", "find . | busybox cpio -o -H newc"],
        cwd=tree,
        capture_output=True,
        timeout=_MINUTE,
        check=True,
    ).stdout
    # Another compression than that of mic's archive, as DIB_IPA_COMPRESS_CMD allows.
    (place / "ipa.initramfs").write_bytes(lzma.compress(packed, check=lzma.CHECK_CRC32))

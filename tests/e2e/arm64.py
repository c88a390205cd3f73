"""A guest for aarch64: Debian's kernel and busybox, fetched without a change of this machine."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from e2e import cache, debian, parts

from mic.media.isowriter import coreos_files, write_iso

_DOWNLOAD = 600.0
_KERNEL = "linux-image-cloud-arm64"
_INIT = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo
/bin/busybox sed "s/^/arguments: /" /proc/cmdline
/bin/busybox uname -m
/bin/busybox sha256sum /config.ign
/bin/busybox poweroff -f
"""


def iso() -> Path:
    """A CoreOS-like ISO whose kernel is bare gzip, as in some releases for aarch64."""
    busybox = parts.file("/bin/busybox", "busybox-static")
    found = _packages()

    def make(place: Path) -> None:
        tree = place.parent / "tree"
        for directory in ("bin", "dev", "proc"):
            (tree / directory).mkdir(parents=True)
        shutil.copy(found / "busybox", tree / "bin")
        (tree / "init").write_text(_INIT)
        (tree / "init").chmod(stat.S_IRWXU)
        initramfs = subprocess.run(
            [busybox, "sh", "-c", "find . | busybox cpio -o -H newc | busybox gzip -9"],
            cwd=tree,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        ).stdout
        kernel = gzip.compress((found / "vmlinuz").read_bytes(), 1, mtime=0)
        files = coreos_files(kernel=kernel, initramfs=initramfs, rootfs=b"not fetched here")
        place.write_bytes(write_iso(files))

    return cache.kept("arm64.iso", f"{_INIT} {found}", make)


def qemu(kernel: Path, initramfs: Path, arguments: str) -> list[str | os.PathLike[str]]:
    """The command line of a machine that starts a kernel, with its console on standard output."""
    return [
        parts.program("qemu-system-aarch64", "qemu-system-arm"),
        *("-machine", "virt,accel=tcg", "-cpu", "cortex-a57", "-m", "512"),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", kernel, "-initrd", initramfs, "-append", arguments),
    ]


def _packages() -> Path:
    """A directory with ``vmlinuz`` and ``busybox``, of Debian's packages for arm64."""
    apt, apt_cache = parts.program("apt-get", "apt"), parts.program("apt-cache", "apt")
    dpkg = parts.program("dpkg-deb", "dpkg")

    def make(place: Path) -> None:
        lists, archives = place / "lists", place / "cache"
        (lists / "partial").mkdir(parents=True)
        (archives / "archives/partial").mkdir(parents=True)
        for directory in (place, lists, lists / "partial"):
            directory.chmod(0o777)  # apt downloads as a user of its own
        # Its own lists and cache: this machine's apt stays as it is.
        options = [f"Dir::State::Lists={lists}", f"Dir::Cache={archives}"]
        options += ["APT::Architecture=arm64", "APT::Architectures=arm64", "Acquire::Retries=3"]
        given = [word for option in options for word in ("-o", option)]
        debian.run([apt, "-q", *given, "update"], _DOWNLOAD)
        depends = debian.run([apt_cache, *given, "depends", _KERNEL], _DOWNLOAD)
        kernel = re.search(r"Depends: (\S+)", depends)
        assert kernel
        wanted = (kernel[1], "busybox-static")
        debian.run([apt, "-q", *given, "download", *wanted], _DOWNLOAD, cwd=place)
        for deb in place.glob("*.deb"):
            debian.run([dpkg, "-x", deb, place / "root"], _DOWNLOAD)
            deb.unlink()
        (vmlinuz,) = (place / "root/boot").glob("vmlinuz-*")
        vmlinuz.rename(place / "vmlinuz")
        (busybox,) = (path for path in (place / "root").rglob("bin/busybox") if path.is_file())
        shutil.copy(busybox, place / "busybox")
        for left in ("root", "lists", "cache"):
            shutil.rmtree(place / left)
        place.chmod(0o755)

    return cache.kept("arm64", _KERNEL, make)

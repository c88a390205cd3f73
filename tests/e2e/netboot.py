"""Network boot: a network of its own with dnsmasq, and a live system that fetches its root.

The initramfs does what that of CoreOS does (fedora-coreos-config, ``coreos-livepxe-rootfs.sh``),
with the real curl of this machine and in the same order: it asks for the head until that
connects, asks once more, downloads, and checks the digest that it carries. Not real: its init is a
shell script instead of systemd and dracut, and the root file system is a squashfs with busybox.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e import cache, debian, kernel, parts

from mic.media.cpio import live_rootfs
from mic.media.isowriter import coreos_files, write_iso

ADDRESS = "192.168.77.1"
"""Of the provisioning host, in the network of the guests."""

_MINUTE = 60.0
_PADDING = 24 * 1024 * 1024
"""Bytes that make the root file system large enough for several segments and ranges."""

_INIT = """\
#!/bin/busybox sh
export PATH=/bin
fail() { echo "failed: $1"; /bin/busybox poweroff -f; }
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo
sed "s/^/arguments: /" /proc/cmdline
sha256sum /config.ign
for module in /modules/*.ko; do insmod $module || fail $module; done
ip link set eth0 up
udhcpc -q -n -i eth0 -s /dhcp || fail DHCP
url=$(sed "s/.*coreos.live.rootfs_url=//; s/ .*//" /proc/cmdline)
until curl --head --silent --show-error --insecure --location "$url" > /dev/null; do sleep 5; done
curl --head --fail --retry 5 --silent --show-error --insecure --location "$url" || fail HEAD
curl --fail --retry 5 --silent --show-error --insecure --location "$url" > /rootfs.img || fail GET
sha256sum -c /rootfs.sha256 || fail digest
cpio -i < /rootfs.img || fail cpio
mount -t squashfs -o loop,ro /root.squashfs /sysroot || fail mount
exec chroot /sysroot /bin/busybox sh /hello
"""
_DHCP = """\
#!/bin/busybox sh
[ "$1" != bound ] || ip address add "$ip/$mask" dev "$interface"
"""
_HELLO = """\
echo "live system: $(/bin/busybox cat /release)"
/bin/busybox poweroff -f
"""
RELEASE = "end-to-end 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network namespace with one link to a guest; ``within`` starts a program in it."""

    within: tuple[str, ...]
    link: str


def iso() -> Path:
    """A CoreOS-like ISO: Debian's kernel, and an initramfs that fetches the root with curl."""
    vmlinuz = kernel.image()
    busybox = parts.file("/bin/busybox", "busybox-static")
    curl = parts.program("curl", "curl")
    mksquashfs = parts.program("mksquashfs", "squashfs-tools")

    def make(place: Path) -> None:
        work = place.parent / "work"
        root = work / "root"
        (root / "bin").mkdir(parents=True)
        shutil.copy(busybox, root / "bin/busybox")
        (root / "hello").write_text(_HELLO)
        (root / "release").write_text(RELEASE)
        (root / "padding").write_bytes(os.urandom(_PADDING))
        quick = ("-quiet", "-no-progress", "-noD")
        debian.run([mksquashfs, root, work / "squashfs", *quick], _MINUTE)
        rootfs = live_rootfs((work / "squashfs").read_bytes())
        files = coreos_files(
            kernel=vmlinuz.read_bytes(),
            initramfs=_initramfs(busybox, curl, rootfs, work / "initramfs"),
            rootfs=rootfs,
        )
        place.write_bytes(write_iso(files))
        shutil.rmtree(work)

    key = f"{_INIT} {_PADDING} {_DHCP} {_HELLO} {kernel.LIVE_SYSTEM} {vmlinuz} {curl}"
    return cache.kept("netboot.iso", key, make)


def _initramfs(busybox: Path, curl: str, rootfs: bytes, tree: Path) -> bytes:
    for directory in ("bin", "dev", "proc", "sys", "sysroot"):
        (tree / directory).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    shutil.copy(curl, tree / "bin/curl")
    for library in re.findall(r"(/\S+) \(0x", debian.run(["ldd", curl], _MINUTE)):
        target = tree / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    kernel.copy_modules(kernel.LIVE_SYSTEM, tree / "modules")
    for name, text in (("init", _INIT), ("dhcp", _DHCP)):
        (tree / name).write_text(text)
        (tree / name).chmod(stat.S_IRWXU)
    digest = hashlib.sha256(rootfs).hexdigest()
    (tree / "rootfs.sha256").write_text(f"{digest}  /rootfs.img\n")
    command = "find . | busybox cpio -o -H newc | busybox gzip -1"
    return subprocess.run(
        [busybox, "sh", "-c", command],
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=_MINUTE,
        check=True,
    ).stdout


@contextmanager
def network() -> Iterator[Network]:
    """A network of its own; this machine's address in it is `ADDRESS`."""
    parts.root("make a network")
    ip = parts.program("ip", "iproute2")
    name = f"mic-boot-{os.getpid()}"
    debian.run([ip, "netns", "add", name], _MINUTE)
    try:
        within = (ip, "netns", "exec", name)
        for arguments in (
            ("link", "set", "lo", "up"),
            ("tuntap", "add", "boot0", "mode", "tap"),
            ("address", "add", f"{ADDRESS}/24", "dev", "boot0"),
            ("link", "set", "boot0", "up"),
        ):
            debian.run([*within, ip, *arguments], _MINUTE)
        yield Network(within=within, link="boot0")
    finally:
        debian.run([ip, "netns", "delete", name], _MINUTE)


@contextmanager
def dnsmasq(network: Network, configuration: str, directory: Path) -> Iterator[Path]:
    """dnsmasq with a configuration; yields the path of its log."""
    program = parts.program("dnsmasq", "dnsmasq-base")
    (directory / "dnsmasq.conf").write_text(configuration)
    log = directory / "dnsmasq.log"
    command = [
        *(*network.within, program, f"--conf-file={directory / 'dnsmasq.conf'}"),
        *("--keep-in-foreground", f"--log-facility={log}", "--log-dhcp", "--user=root"),
        *("--leasefile-ro", "--pid-file="),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _MINUTE
        while not (log.exists() and "started" in log.read_text()):
            assert process.poll() is None, f"dnsmasq ended:\n{log.exists() and log.read_text()}"
            assert time.monotonic() < end, "dnsmasq does not start"
            time.sleep(0.05)
        yield log
    finally:
        process.terminate()
        process.wait(_MINUTE)

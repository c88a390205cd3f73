"""Debian's cloud kernel with some of its modules, for guests: nothing is installed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from e2e import cache, debian, parts

_DOWNLOAD = 600.0
_PACKAGE = "linux-image-cloud-amd64"

NO_TIMER_CHECK = "no_timer_check"
"""Kernel argument for guests: without it Linux compares timer interrupts with the processor's
clock, and panics if an emulated machine gets too little time ("IO-APIC + timer doesn't work")."""

VIRTIO = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")
DISK = (*VIRTIO, "virtio_blk", "cdrom", "isofs")
"""What reads an ISO image that the machine has as a disk."""
MEDIUM = (*(*VIRTIO, "scsi_common", "scsi_mod", "virtio_scsi", "cdrom", "sr_mod", "isofs"),)
"""What reads an ISO image in a CD drive of the machine."""
NETWORK = (*VIRTIO, "failover", "net_failover", "virtio_net")
LIVE_SYSTEM = (*NETWORK, "loop", "squashfs")
"""What fetches a live root file system and mounts it."""
AGENT = (*MEDIUM, *NETWORK, "fat", "vfat")
"""What a ramdisk with the agent loads by itself, as udev and the agent's unit ask for it."""
TYPES = (
    *("llc", "stp", "garp", "mrp", "tls", "8021q"),
    *("bridge", "bonding", "vrf", "veth"),
)
"""Types of interfaces."""


def image() -> Path:
    """The kernel."""
    return _kept() / "vmlinuz"


def modules() -> Path:
    """The directory of modules, as below ``/lib/modules``; its name is the kernel's release."""
    (found,) = (_kept() / "lib/modules").iterdir()
    return found


def copy_modules(names: Iterable[str], target: Path) -> None:
    """Put modules into a new directory, in the order of their names there."""
    target.mkdir(parents=True)
    for number, name in enumerate(names):
        (module,) = modules().rglob(f"{name}.ko")
        shutil.copy(module, target / f"{number:02}-{name}.ko")


def _kept() -> Path:
    apt = parts.program("apt-get", "apt")
    dpkg = parts.program("dpkg-deb", "dpkg")
    depmod = parts.program("depmod", "kmod")
    wanted = {*DISK, *MEDIUM, *LIVE_SYSTEM, *AGENT, *TYPES}

    def make(place: Path) -> None:
        place.mkdir()
        place.chmod(0o777)  # apt downloads as a user of its own
        apt_cache = parts.program("apt-cache", "apt")
        depends = debian.run([apt_cache, "depends", _PACKAGE], _DOWNLOAD)
        package = re.search(r"Depends: (linux-image-\S+-cloud-amd64)", depends)
        assert package, depends
        debian.run([apt, "-q", "download", package[1]], _DOWNLOAD, cwd=place)
        (deb,) = place.glob("*.deb")
        debian.run([dpkg, "-x", deb, place / "tree"], _DOWNLOAD)
        (vmlinuz,) = (place / "tree/boot").glob("vmlinuz-*")
        vmlinuz.rename(place / "vmlinuz")
        (place / "tree/lib").rename(place / "lib")
        for module in (place / "lib").rglob("*.ko"):
            if module.stem not in wanted:
                module.unlink()
        release = next((place / "lib/modules").iterdir()).name
        debian.run([depmod, "-b", place, release], _DOWNLOAD)
        shutil.rmtree(place / "tree")
        deb.unlink()
        place.chmod(0o755)

    return cache.kept("debian-kernel", " ".join([_PACKAGE, *sorted(wanted)]), make)

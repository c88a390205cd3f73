"""Static mode's scripts by name and by MAC address: which there are, and complaints.

Scope: mic.hosts.boot_scripts over a real base. What scripts say is tested with mic.media.netboot.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from toys import KERNEL, live_iso, put

from mic.common.threads import Threads
from mic.hosts.archive import HostArchive
from mic.hosts.boot_files import BootFiles
from mic.hosts.boot_scripts import BootScripts
from mic.hosts.publish import Publisher
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import Kind
from mic.media.catalog import BasePaths
from mic.media.customisation import Customisation
from mic.media.isowriter import coreos_files, write_iso

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
SCRIPT_A, SCRIPT_B = "52-54-00-00-00-0a.ipxe", "52-54-00-00-00-0b.ipxe"


def host(*macs: str) -> HostArchive:
    return HostArchive(data=b"archive", iso_data=b"archive", mac_addresses=macs)


class Site:
    """Scripts over one base image."""

    def __init__(self, folder: Path, threads: Threads, *, url: str = "http://mic") -> None:
        self.iso = put(folder / "ipa.iso", live_iso())
        self.bases = Bases(BasePaths(iso=str(self.iso)), "x86_64", threads)
        self.images = Store(self.bases, lambda: 1e9)
        publisher = Publisher(self.images, publish_url="https://mic", http_publish_url=url)
        files = BootFiles(
            images=self.images, bases=self.bases, publisher=publisher, per_architecture=False
        )
        self.scripts = BootScripts(
            images=self.images,
            bases=self.bases,
            publisher=publisher,
            boot_files=files,
            threads=threads,
            rootfs_url="",
        )

    @property
    def names(self) -> set[str]:
        return {entry.name for entry in self.images} - {"rootfs.img"}

    async def text(self, name: str) -> str:
        entry = self.images.entry(name)
        assert entry is not None, self.names
        layout = (await self.images.load(entry)).layout
        return layout.read(0, layout.size).decode()


@pytest_twisted.ensureDeferred
async def test_a_host_has_scripts_by_name_and_by_every_mac(
    tmp_path: Path, threads: Threads
) -> None:
    site = Site(tmp_path, threads)
    await site.scripts.update({"w0": host(A, B), "w 1": host()})
    assert site.names == {"boot.ipxe", "w0.ipxe", SCRIPT_A, SCRIPT_B, "w 1.ipxe"}
    assert site.scripts.complaints() == ()
    by_name = await site.text("w0.ipxe")
    assert await site.text(SCRIPT_A) == await site.text(SCRIPT_B) == by_name
    assert "initrd --name main http://mic/w0.initramfs ||" in by_name
    assert "kernel http://mic/kernel.img initrd=main " in by_name
    assert "coreos.live.rootfs_url=http://mic/rootfs.img " in by_name
    assert "http://mic/w%201.initramfs" in await site.text("w 1.ipxe")
    assert "chain --autofree http://mic/${mac:hexhyp}.ipxe ||" in await site.text("boot.ipxe")
    await site.scripts.update({"w0": host(B)})
    assert site.names == {"boot.ipxe", "w0.ipxe", SCRIPT_B}


@pytest_twisted.ensureDeferred
async def test_hosts_with_one_mac_have_no_script_by_it(tmp_path: Path, threads: Threads) -> None:
    site = Site(tmp_path, threads)
    await site.scripts.update({"w0": host(A), "w1": host(A, B)})
    assert site.names == {"boot.ipxe", "w0.ipxe", "w1.ipxe", SCRIPT_B}
    assert site.scripts.complaint("w0") == (
        f"w0: the MAC address {A} is that of w1, too: no script is served for it"
    )
    assert f"w1: the MAC address {A} is that of w0, too" in site.scripts.complaint("w1")
    await site.scripts.update({"w0": host(A), "w1": host(B)})
    assert SCRIPT_A in site.names
    assert site.scripts.complaints() == ()


@pytest_twisted.ensureDeferred
async def test_shared_names_win_over_names_of_hosts(tmp_path: Path, threads: Threads) -> None:
    site = Site(tmp_path, threads)
    own, other = "52-54-00-00-00-0a", "52-54-00-00-00-0b"
    await site.scripts.update({"boot": host(), own: host(A), other: host(), "w": host(B)})
    assert site.names == {"boot.ipxe", SCRIPT_A, SCRIPT_B, "w.ipxe"}
    assert "${mac:hexhyp}" in await site.text("boot.ipxe")
    assert f"/{own}.initramfs" in await site.text(SCRIPT_A)
    assert "/w.initramfs" in await site.text(SCRIPT_B)
    assert site.scripts.complaint(own) == ""
    assert site.scripts.complaint("boot").endswith(
        "it has no script under its name: boot.ipxe leads all hosts to theirs"
    )
    assert site.scripts.complaint(other).endswith(
        f"{SCRIPT_B} is the script of w by its MAC address"
    )


@pytest_twisted.ensureDeferred
async def test_another_architecture_has_files_of_its_own(tmp_path: Path, threads: Threads) -> None:
    put(tmp_path / "ipa_aarch64.iso", live_iso(kernel=bytes(56) + b"ARM\x64" + bytes(64)))
    put(tmp_path / "ipa_s390x.iso", live_iso())
    site = Site(tmp_path, threads)
    await site.bases.load_all()
    await site.scripts.update({"w0": host(A), "w1": host(), "w1.aarch64": host()})
    assert site.names == {
        *("boot.ipxe", "w0.ipxe", SCRIPT_A, "w1.ipxe", "w1.aarch64.ipxe"),
        *("w0.aarch64.ipxe", "w0.aarch64.initramfs"),
        *("w1.aarch64.aarch64.ipxe", "w1.aarch64.aarch64.initramfs"),
    }
    script = await site.text(SCRIPT_A)
    assert "iseq ${buildarch} arm64 && goto aarch64 ||\n" in script
    assert ":aarch64\nchain --autofree http://mic/w0.aarch64.ipxe || sleep" in script
    assert "goto aarch64" not in await site.text("w1.ipxe")
    other = await site.text("w0.aarch64.ipxe")
    assert "kernel http://mic/kernel-aarch64.img " in other
    assert "coreos.live.rootfs_url=http://mic/rootfs-aarch64.img " in other
    assert "initrd --name main http://mic/w0.aarch64.initramfs " in other
    assert "iseq ${buildarch} arm64 && goto boot ||\n" in other


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("part", ["vmlinuz", "rootfs.img"])
async def test_another_architecture_without_a_part_has_no_files(
    tmp_path: Path, threads: Threads, part: str
) -> None:
    arm64 = bytes(56) + b"ARM\x64" + bytes(64)
    files = coreos_files(kernel=arm64, initramfs=b"initramfs", rootfs=b"rootfs")
    del files[f"/images/pxeboot/{part}"]
    put(tmp_path / "ipa_aarch64.iso", write_iso(files))
    site = Site(tmp_path, threads)
    await site.bases.load_all()
    await site.scripts.update({"w0": host()})
    assert site.names == {"boot.ipxe", "w0.ipxe"}
    assert "goto aarch64" not in await site.text("w0.ipxe")


@pytest_twisted.ensureDeferred
async def test_a_new_host_keeps_its_image_under_a_name_that_was_ours(
    tmp_path: Path, threads: Threads
) -> None:
    put(tmp_path / "ipa_aarch64.iso", live_iso(kernel=bytes(56) + b"ARM\x64" + bytes(64)))
    site = Site(tmp_path, threads)
    await site.bases.load_all()
    await site.scripts.update({"w": host()})
    name = "w.aarch64.initramfs"
    assert name in site.names
    own = Content(
        id=ImageId("", "w.aarch64", Kind.INITRAMFS), customisation=Customisation(b"its own")
    )
    site.images.publish(name, own)
    await site.scripts.update({"w": host(), "w.aarch64": host()})
    entry = site.images.entry(name)
    assert entry is not None
    assert entry.content == own


@pytest_twisted.ensureDeferred
async def test_s390x(tmp_path: Path, threads: Threads) -> None:
    files = coreos_files(kernel=KERNEL, initramfs=b"initramfs", rootfs=b"rootfs")
    files["/generic.ins"] = b"images/pxeboot/initrd.img 0x02000000\n"
    files["/images/initrd.addrsize"] = bytes(16)
    site = Site(tmp_path, threads)
    put(site.iso, write_iso(files))
    await site.bases.load_all()
    await site.scripts.update({"w0": host()})
    assert site.names == {
        *("boot.ipxe", "w0.ipxe", "w0.ins", "w0.prm", "w0.addrsize"),
        *("generic.ins", "generic.prm", "generic.addrsize", "generic.initramfs"),
    }
    assert await site.text("w0.ins") == "w0.initramfs 0x02000000\n"
    assert (await site.text("w0.addrsize"))[-1] == chr(len(b"initramfs" + b"archive"))
    assert await site.text("generic.ins") == "generic.initramfs 0x02000000\n"
    assert await site.text("generic.initramfs") == "initramfs"
    assert (await site.text("generic.addrsize"))[-1] == chr(len(b"initramfs"))


@pytest_twisted.ensureDeferred
async def test_a_host_whose_name_cannot_stand_in_a_load_list(
    tmp_path: Path, threads: Threads
) -> None:
    files = coreos_files(kernel=KERNEL, initramfs=b"initramfs", rootfs=b"rootfs")
    files["/generic.ins"] = b"images/pxeboot/initrd.img 0x02000000\n"
    files["/images/initrd.addrsize"] = bytes(16)
    site = Site(tmp_path, threads)
    put(site.iso, write_iso(files))
    await site.bases.load_all()
    await site.scripts.update({"büro": host(), "w0": host()})
    assert "w0.ins" in site.names
    assert {"büro.ipxe", "büro.prm", "büro.addrsize"} < site.names
    assert "büro.ins" not in site.names
    assert site.scripts.complaints() == (
        "büro: no .ins file: the host's name 'büro' is not ASCII: rename the host's file",
    )


@pytest_twisted.ensureDeferred
async def test_a_base_without_a_rootfs_has_no_scripts(tmp_path: Path, threads: Threads) -> None:
    site = Site(tmp_path, threads)
    await site.scripts.update({"w0": host(A)})
    files = coreos_files(kernel=KERNEL, initramfs=b"initramfs", rootfs=b"")
    del files["/images/pxeboot/rootfs.img"]
    put(site.iso, write_iso(files))
    await site.scripts.update({"w0": host(A)})
    assert site.names == set()
    assert site.scripts.complaints() == ()
    put(site.iso, live_iso())
    await site.scripts.update({"w0": host(A)})
    assert SCRIPT_A in site.names


@pytest_twisted.ensureDeferred
async def test_a_url_that_ipxe_would_interpret(tmp_path: Path, threads: Threads) -> None:
    site = Site(tmp_path, threads, url="http://mic/${x}")
    await site.scripts.update({"w0": host()})
    assert site.names == set()
    assert site.scripts.complaints() == ()  # one line in the log, not one for each host

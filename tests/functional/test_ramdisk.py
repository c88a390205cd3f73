"""A mic that serves a ramdisk that is not CoreOS: images over HTTP, and what commands say."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import forkserver
import pytest
import ramdisk_media
from functional.daemon import Daemon, eventually
from functional.media import tcp_client
from functional.wire import Answer, Wire
from toys import Bytes, put

from mic.media.iso9660 import SECTOR, Iso

NETWORK_DATA = b"""\
{"links": [{"id": "port0", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"}],
 "networks": [{"id": "n0", "link": "port0", "type": "ipv4", "network_id": "n0",
               "ip_address": "192.0.2.11", "netmask": "255.255.255.0",
               "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}]}],
 "services": [{"type": "dns", "address": "192.0.2.53"}]}
"""
UNKNOWN = "X-Keeps-Off: the fast lane"


class Served:
    """A running mic with one host, and its base files."""

    def __init__(self, directory: Path) -> None:
        self.bases = directory / "bases"
        self.environment = {
            **ramdisk_media.write(self.bases),
            "IRONIC_BASE_URL": "http://192.0.2.2:6385",
            "MIC_KERNEL_ARGUMENTS": "console=ttyS0",
        }
        # Larger than what is answered at once, so that sendfile has something to do.
        kernel = ramdisk_media.KERNEL + random.Random(1).randbytes(3 << 20)
        (self.bases / "ipa.kernel").write_bytes(kernel)
        self.hosts = directory / "hosts"
        self.hosts.mkdir()
        (self.hosts / "worker-0.json").write_bytes(NETWORK_DATA)
        flags = ["static", "-images-bind-addr=127.0.0.1:0", f"-nmstate-dir={self.hosts}"]
        self.daemon = Daemon(directory / "log", flags, self.environment)
        self.client = tcp_client(*self.daemon.tcp)

    def get(self, target: str, *fields: str, method: str = "GET") -> Answer:
        with Wire(self.client()) as wire:
            wire.ask(target, *fields, "Connection: close", method=method)
            return wire.answer(method)

    def run(self, *arguments: str) -> str:
        done = forkserver.run(*arguments, environment=self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("ramdisk"))
    try:
        yield served
        served.daemon.stop()
    finally:
        served.daemon.kill()


@pytest.fixture(scope="module")
def iso(served: Served) -> bytes:
    return served.get("/worker-0.iso").body


def test_random_ranges_are_those_of_the_whole_image(served: Served, iso: bytes) -> None:
    """Both lanes; across the borders of files, and over 64 KiB."""
    random_number = random.Random(3)
    with Wire(served.client()) as plain, Wire(served.client()) as other:
        for _ in range(150):
            first = random_number.randrange(len(iso))
            last = min(len(iso) - 1, first + random_number.choice((0, 1, 2047, 65535, 1 << 20)))
            for wire, more in ((plain, ()), (other, (UNKNOWN,))):
                wire.ask("/worker-0.iso", f"Range: bytes={first}-{last}", *more)
                answer = wire.answer("GET")
                assert answer.status == 206
                assert answer.body == iso[first : last + 1]


def test_the_image_is_what_mic_build_writes(served: Served, iso: bytes, tmp_path: Path) -> None:
    host = str(served.hosts / "worker-0.json")
    for kind, data in (("iso", iso), ("initramfs", served.get("/worker-0.initramfs").body)):
        output = tmp_path / f"worker-0.{kind}"
        served.run("build", host, "-output", str(output))
        assert output.read_bytes() == data


def test_the_initramfs_in_the_iso_is_the_one_for_network_boot(served: Served, iso: bytes) -> None:
    initramfs = served.get("/worker-0.initramfs").body
    assert initramfs.startswith(ramdisk_media.INITRAMFS)
    assert Iso(Bytes(iso)).read("initrd", 1 << 20) == initramfs
    assert Iso(Bytes(iso)).read("openstack/latest/network_data.json", 9999) == NETWORK_DATA


def test_network_boot_has_a_kernel_and_a_script_without_a_root_file_system(
    served: Served,
) -> None:
    kernel = (served.bases / "ipa.kernel").read_bytes()
    assert served.get("/kernel.img").body == kernel
    script = served.get("/worker-0.ipxe").body.decode()
    assert re.search(r"^kernel \S+/kernel\.img initrd=main console=ttyS0 \|\| ", script, re.M)
    assert re.search(r"^initrd --name main \S+/worker-0\.initramfs ", script, re.M)
    assert served.get("/rootfs.img").status == 404


def test_conditions(served: Served, iso: bytes) -> None:
    head = served.get("/worker-0.iso", method="HEAD")
    assert head.header("content-length") == str(len(iso))
    etag = head.header("etag")
    assert served.get("/worker-0.iso", f"If-None-Match: {etag}").status == 304
    part = served.get("/worker-0.iso", "Range: bytes=0-9", f"If-Range: {etag}")
    assert (part.status, part.body) == (206, iso[:10])


def _printed(program: str, *arguments: str) -> str:
    """What a program for ISOs prints; skips the test where it is not."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"no {program} program here")
    done = subprocess.run([path, *arguments], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def file(iso: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ISO as a file."""
    return put(tmp_path_factory.mktemp("iso") / "worker-0.iso", iso)


@pytest.fixture(scope="module")
def publisher(iso: bytes) -> str:
    """What the agent finds its medium by."""
    config = Iso(Bytes(iso)).read("EFI/BOOT/grub.cfg", 9999).decode()
    found = re.search(r" ir_pub_id=(\S+) ", config)
    assert found
    return found[1]


def test_blkid_finds_label_and_publisher_as_udev_does(file: Path, publisher: str) -> None:
    """With the library that udev has them from, for ironic-agent-resolve-config-drive."""
    found = _printed("blkid", "-p", "-o", "udev", str(file)).splitlines()
    wanted = {"TYPE": "iso9660", "LABEL": "config-2", "PUBLISHER_ID": publisher}
    assert {f"ID_FS_{name}={value}" for name, value in wanted.items()} <= set(found)


def test_isoinfo_reads_descriptors_and_files(file: Path, publisher: str) -> None:
    said = _printed("isoinfo", "-d", "-i", str(file))
    for line in (
        *("Volume id: config-2", f"Publisher id: {publisher}", "Rock Ridge signatures version 1"),
        *("NO Joliet present", "Bootid 88 (bootable)", f"Volume size is: {_sectors(file)}"),
    ):
        assert line in said
    names = _printed("isoinfo", "-R", "-f", "-i", str(file)).splitlines()
    files = {name for name in names if "." in name or name in ("/vmlinuz", "/initrd")}
    assert files == {
        *("/vmlinuz", "/initrd", "/boot/grub/efiboot.img", "/EFI/BOOT/grub.cfg"),
        *(f"/isolinux/{name}" for name in ("isolinux.bin", "isolinux.cfg", "ldlinux.c32")),
        *("/etc/ironic-python-agent.d", "/etc/ironic-python-agent.d/50-mic.conf"),
        "/openstack/latest/network_data.json",
    }
    data = _printed("isoinfo", "-R", "-x", "/openstack/latest/network_data.json", "-i", str(file))
    assert data.encode() == NETWORK_DATA


def _sectors(file: Path) -> int:
    return file.stat().st_size // SECTOR


def test_7_zip_finds_no_fault_and_unpacks_it(served: Served, file: Path, tmp_path: Path) -> None:
    said = _printed("7zz", "x", f"-o{tmp_path}", str(file))
    assert "Everything is Ok" in said
    # It warns of bytes that no file has, and of files that are cut off.
    assert not re.search("warning|error", said, re.IGNORECASE)
    assert (tmp_path / "initrd").read_bytes() == served.get("/worker-0.initramfs").body
    efi = (served.bases / "esp.img").read_bytes()
    boot = tmp_path / "[BOOT]"
    assert (boot / "2-Boot-NoEmul.img").read_bytes() == efi
    assert (tmp_path / "boot/grub/efiboot.img").read_bytes() == efi


def test_xorriso_reads_the_image_back(served: Served, file: Path, tmp_path: Path) -> None:
    run = ["-abort_on", "WARNING", "-osirrox", "on", "-indev", str(file)]
    run += ["-report_el_torito", "plain", "-extract", "/", str(tmp_path / "out")]
    said = _printed("xorriso", *run)
    assert "isolinux/isolinux.bin" in said
    assert "boot-info-table" in said
    assert "UEFI" in said
    out = tmp_path / "out"
    assert (out / "vmlinuz").read_bytes() == (served.bases / "ipa.kernel").read_bytes()
    assert (out / "initrd").read_bytes() == served.get("/worker-0.initramfs").body
    efi = (served.bases / "esp.img").read_bytes()
    assert (out / "boot/grub/efiboot.img").read_bytes() == efi


def test_show_prints_what_the_image_carries(served: Served) -> None:
    url = f"http://{':'.join(map(str, served.daemon.tcp))}"
    iso = served.run("show", f"{url}/worker-0.iso")
    initramfs = served.run("show", f"{url}/worker-0.initramfs")
    head, _, rest = iso.partition("\n\n")
    assert head.startswith("ramdisk with 7 files of mic\nkernel arguments: boot_method=vmedia ir_")
    assert head.endswith(" console=ttyS0")
    assert rest == initramfs.partition("\n\n")[2]
    assert "api_url = http://192.0.2.2:6385" in rest
    assert "file /etc/NetworkManager/system-connections/port0.nmconnection 0600" in rest


def test_check_and_status(served: Served) -> None:
    assert (
        served.run("check", "-nmstate-dir", str(served.hosts)) == "1 host: 0 errors, 0 warnings\n"
    )
    status = served.run("status", "-pid", str(served.daemon.pid))
    for text in ("esp.img: boot loader", "ipa.kernel: kernel", "worker-0.iso"):
        assert text in status


def test_a_replaced_kernel_is_another_image(tmp_path: Path) -> None:
    served = Served(tmp_path)
    try:
        before = served.get("/worker-0.iso", method="HEAD").header("etag")
        kernel = ramdisk_media.KERNEL + b"new"
        put(served.bases / "ipa.kernel", kernel)
        # Asked at once: what is served is what is on disk.
        after = served.get("/worker-0.iso")
        assert after.header("etag") != before
        assert Iso(Bytes(after.body)).read("vmlinuz", 1 << 20) == kernel
        (served.hosts / "worker-0.json").write_bytes(NETWORK_DATA.replace(b".11", b".12"))
        (served.hosts / "worker-1.yaml").write_bytes(b"")
        eventually(lambda: "worker-0: rebuilt: " in served.daemon.log, "the host is rebuilt")
        assert "network_data.json" in served.daemon.log
        served.daemon.stop()
    finally:
        served.daemon.kill()

"""A machine boots the virtual ISO of a ramdisk that is not CoreOS, by ranges, from mic.

What the guest finds is compared with what cpio and isoinfo read from the same images here.
"""

from __future__ import annotations

import hashlib
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e import daemon, guest, kernel
from e2e import ramdisk as ramdisks
from e2e.daemon import Daemon
from e2e.hosts import PEM
from e2e.ramdisk import Ramdisk

_HOST = "worker-0"
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUpqzEbDbUoUcyYr1fuVYnPNFlmNFVmUM0bVTrDRrvh test"
_ARGUMENTS = (
    *("console=ttyS0", "quiet", "panic=-1", kernel.NO_TIMER_CHECK),
    "mic.odd=!%()*+,-./:=?@[]^_~",
)
_MINUTE = 60.0
_NETWORK_DATA = """\
{"links": [{"id": "port0", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"}],
 "networks": [{"id": "n0", "link": "port0", "type": "ipv4", "network_id": "n0",
               "ip_address": "192.0.2.11", "netmask": "255.255.255.0"}],
 "services": []}
"""


@pytest.fixture
def ramdisk() -> Ramdisk:
    return ramdisks.ramdisk()


@pytest.fixture
def mic(ramdisk: Ramdisk, tmp_path: Path) -> Iterator[Daemon]:
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    (hosts / f"{_HOST}.json").write_text(_NETWORK_DATA)
    (tmp_path / "ironic.pem").write_bytes(PEM)
    environment = {
        **ramdisk.environment,
        "IRONIC_BASE_URL": "https://192.0.2.2:6385",
        "IRONIC_CA_BUNDLE": str(tmp_path / "ironic.pem"),
        "IRONIC_RAMDISK_SSH_KEY": _KEY,
        "MIC_KERNEL_ARGUMENTS": " ".join(_ARGUMENTS),
    }
    with daemon.running(hosts, environment) as running:
        yield running


@pytest.mark.parametrize("firmware", ["BIOS", "UEFI"])
def test_a_machine_boots_a_virtual_iso(
    firmware: str, mic: Daemon, ramdisk: Ramdisk, tmp_path: Path
) -> None:
    found = ramdisks.boot(
        f"{mic.url}/{_HOST}.iso", *(guest.uefi(tmp_path) if firmware == "UEFI" else ())
    )
    assert found.files == _unpacked(mic, ramdisk, tmp_path)
    assert found.line(r"^label: (.*)$") == "config-2"
    words = found.arguments.partition(" --")[0].split()
    assert words[-len(_ARGUMENTS) :] == list(_ARGUMENTS)
    assert "boot_method=vmedia" in words
    # As ironic-agent-resolve-config-drive compares them.
    publisher = found.line(r"^publisher: (.*)$")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f-]{17}", publisher)
    assert f"ir_pub_id={publisher}" in words
    conf, data = "etc/ironic-python-agent.d/50-mic.conf", "openstack/latest/network_data.json"
    assert found.medium == {conf: found.files[conf], data: found.files[f"mnt/config/{data}"]}
    assert found.medium[data] == hashlib.sha256(_NETWORK_DATA.encode()).hexdigest()
    assert set(re.findall(r"^mode: (.*)$", found.console, re.MULTILINE)) == {"600 0"}


def _unpacked(mic: Daemon, ramdisk: Ramdisk, tmp_path: Path) -> dict[str, str]:
    """The SHA-256 of each file that the archive of the host's initramfs holds, by path."""
    with urllib.request.urlopen(f"{mic.url}/{_HOST}.initramfs", timeout=_MINUTE) as answer:
        served = answer.read()
    base = ramdisk.initramfs.read_bytes()
    assert served.startswith(base)
    files = ramdisks.unpack(served[len(base) :], tmp_path / "tree")
    assert len(files) > 4
    return {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items()}

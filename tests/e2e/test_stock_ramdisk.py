"""Debian as the stock elements make it a ramdisk boots what mic serves, with glean and networkd.

By its initramfs as from the network, where nothing is mounted at glean's place, and by its virtual
ISO. The one with NetworkManager boots what the controller serves: test_upstream_metal3.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from e2e import agent, daemon, stock_ramdisk
from e2e import ramdisk as ramdisks
from e2e.daemon import Daemon
from e2e.ramdisk import Ramdisk
from e2e.stock_ramdisk import ARGUMENTS, NETWORK, NETWORK_DATA, Report

_HOST = "worker-0"
_URL = "https://192.0.2.2:6385"
_CONF = "etc/ironic-python-agent.d/50-mic.conf"
_DATA = "openstack/latest/network_data.json"
_RESOLVE = "ironic-agent-resolve-config-drive.service"
_DHCP = "dhcp-interface@enp0s1.service"


@pytest.fixture(scope="module")
def ramdisk() -> Ramdisk:
    return stock_ramdisk.ramdisk("glean", "gzip")


def _environment(ramdisk: Ramdisk, network: str) -> dict[str, str]:
    return {
        **ramdisk.environment,
        "IRONIC_BASE_URL": _URL,
        "MIC_KERNEL_ARGUMENTS": ARGUMENTS,
        "MIC_RAMDISK_NETWORK": network,
    }


def _hosts(directory: Path) -> Path:
    hosts = directory / "hosts"
    hosts.mkdir()
    (hosts / f"{_HOST}.json").write_text(NETWORK_DATA)
    return hosts


def _files(mic: Daemon, ramdisk: Ramdisk, directory: Path) -> dict[str, Path]:
    """The files of the host's archive."""
    return ramdisks.unpack(
        mic.get(f"{_HOST}.initramfs")[ramdisk.initramfs.stat().st_size :], directory / "tree"
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_glean_takes_the_network_data_that_is_in_the_initramfs(
    ramdisk: Ramdisk, tmp_path: Path
) -> None:
    with daemon.running(_hosts(tmp_path), _environment(ramdisk, "auto")) as mic:
        files = _files(mic, ramdisk, tmp_path)
        report = stock_ramdisk.boot_initramfs(
            mic.get(f"{_HOST}.initramfs"), ramdisk.kernel, ARGUMENTS, tmp_path
        )
    assert report.network == NETWORK
    assert report["clients"] == ""
    # A boot from the network: the config drive is not looked for.
    assert report["failed"].split() == [_RESOLVE]
    assert report["mounts"] == ""
    # Its interface has a config: the stock unit has nothing left to do.
    assert report.unit(_DHCP)["ActiveState"] == "active"
    assert report.files == {
        _CONF: _sha256(files[_CONF]),
        f"mnt/config/{_DATA}": _sha256(files[f"mnt/config/{_DATA}"]),
    }
    assert agent.options(files[_CONF]) == {"api_url": _URL}


def test_the_stock_search_finds_the_medium_and_glean_its_network_data(
    ramdisk: Ramdisk, tmp_path: Path
) -> None:
    with daemon.running(_hosts(tmp_path), _environment(ramdisk, "glean")) as mic:
        files = _files(mic, ramdisk, tmp_path)
        report = stock_ramdisk.boot_iso(f"{mic.url}/{_HOST}.iso", tmp_path)
    assert report.network == NETWORK
    assert report["clients"] == ""
    assert report["failed"] == ""
    assert report.unit(_RESOLVE)["ActiveState"] == "active"
    assert report.unit(_DHCP)["LoadState"] == "masked"
    publisher = _publisher(report)
    assert report.medium["ID_FS_TYPE"] == "iso9660"
    assert report.medium["ID_FS_LABEL"] == "config-2"
    assert report.medium["ID_FS_PUBLISHER_ID"] == publisher
    assert report["mounts"].startswith("/dev/sr0 /mnt/config iso9660 ro,")
    # The medium hides what the initramfs has at that place.
    assert report.files == {
        _CONF: _sha256(files[_CONF]),
        f"mnt/config/{_CONF}": _sha256(files[_CONF]),
        f"mnt/config/{_DATA}": hashlib.sha256(NETWORK_DATA.encode()).hexdigest(),
    }


def _publisher(report: Report) -> str:
    found = re.search(r"\bir_pub_id=(\S+)", report["arguments"])
    assert found, report["arguments"]
    return found[1]

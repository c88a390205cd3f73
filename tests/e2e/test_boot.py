"""A machine boots what mic serves, and finds the config that mic made for it.

As virtual media, by HTTP ranges, with QEMU's curl block driver in the place of the BMC. For network
boot see test_network_boot.py.
"""

from __future__ import annotations

import hashlib
import json
import random
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e import daemon, guest, parts
from e2e.daemon import Daemon
from e2e.guest import Media
from e2e.hosts import ETHERNET, NMSTATE
from toys import Bytes

from mic.ignition import Agent, Host, config
from mic.media.iso9660 import Iso

_HOST = "worker-0"
_ENVIRONMENT = {
    "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
    "IRONIC_BASE_URL": "http://192.0.2.2:6385",
    "HTTP_PROXY": "http://user:100%25@proxy.example:3128",
}
_AGENT = Agent(
    image=_ENVIRONMENT["IRONIC_AGENT_IMAGE"],
    ironic_urls=(_ENVIRONMENT["IRONIC_BASE_URL"],),
    http_proxy=_ENVIRONMENT["HTTP_PROXY"],
)
_CONFIG = config(_AGENT, Host(name=_HOST, keyfiles=(ETHERNET,), network_data=True))


_CUSTOM = "worker-1"
_WORDS = ("mic.all=!%()*+,-./:=?@[]^_~09AZaz", "mic.glob=*", "mic.set=[a-z]?", "console=ttyS0,9600")
"""Kernel arguments of every character that is allowed."""

_ARGUMENTS = f"-quiet mic.medium {' '.join(_WORDS)}"


def _extra(seed: int) -> bytes:
    """An Ignition config of nearly a mebibyte that compresses to half of that."""
    noise = random.Random(seed).randbytes(510 * 1024).hex()
    return json.dumps({"ignition": {"version": "3.2.0"}, "noise": noise}).encode()


@pytest.fixture
def media() -> Media:
    return guest.media()


@pytest.fixture
def mic(media: Media, tmp_path: Path) -> Iterator[Daemon]:
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    (hosts / f"{_HOST}.yaml").write_bytes(NMSTATE)
    (hosts / "another.yaml").touch()
    with daemon.running(hosts, {"DEPLOY_ISO": str(media.iso), **_ENVIRONMENT}) as running:
        yield running


@pytest.mark.parametrize("firmware", ["BIOS", "UEFI"])
def test_a_machine_boots_the_iso_by_http_ranges(firmware: str, mic: Daemon, tmp_path: Path) -> None:
    parts.program("qemu-system-x86_64", "qemu-system-x86")
    parts.file("/usr/lib/x86_64-linux-gnu/qemu/block-curl.so", "qemu-block-extra")
    url = f"{mic.url}/{_HOST}.iso"
    digest = guest.config_digest(
        guest.qemu(
            *(guest.uefi(tmp_path) if firmware == "UEFI" else []),
            *("-boot", "d"),
            *("-drive", f"file={url},media=cdrom,readonly=on,if=ide,format=raw"),
        )
    )
    assert digest == hashlib.sha256(_CONFIG).hexdigest()
    assert daemon.show(url) == _CONFIG


@pytest.fixture
def customising(media: Media, tmp_path: Path) -> Iterator[Daemon]:
    """A mic with a host that has kernel arguments and more than a mebibyte of Ignition."""
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    (hosts / f"{_CUSTOM}.yaml").write_bytes(NMSTATE)
    (hosts / f"{_CUSTOM}.kargs").write_text(_ARGUMENTS)
    (hosts / f"{_CUSTOM}.ign").write_bytes(_extra(1))
    common = tmp_path / "common.ign"
    common.write_bytes(_extra(2))
    environment = {**_ENVIRONMENT, "DEPLOY_ISO": str(media.iso), "MIC_IGNITION": str(common)}
    with daemon.running(hosts, environment) as running:
        yield running


@pytest.mark.parametrize("firmware", ["BIOS", "UEFI"])
def test_a_machine_gets_its_kernel_arguments_and_an_archive_beyond_the_embed_area(
    firmware: str, customising: Daemon, media: Media, tmp_path: Path
) -> None:
    url = f"{customising.url}/{_CUSTOM}.iso"
    booted = guest.boot(
        guest.qemu(
            *(guest.uefi(tmp_path) if firmware == "UEFI" else []),
            *("-boot", "d"),
            *("-drive", f"file={url},media=cdrom,readonly=on,if=ide,format=raw"),
            # The same once more: Debian's cloud kernel has no driver for that drive.
            *("-drive", f"file={url},readonly=on,if=virtio,format=raw"),
        )
    )
    words = booted.arguments.split()
    assert words[-len(_WORDS) :] == list(_WORDS)
    assert "quiet" not in words
    assert "ignition.firstboot" in words
    shown = daemon.show(url)
    assert booted.digest == hashlib.sha256(shown).hexdigest()
    with urllib.request.urlopen(url, timeout=60) as answer:
        image = answer.read()
    place = Iso(Bytes(image)).find("/images/ignition.img")
    assert place.offset >= media.iso.stat().st_size
    assert place.length > 1024 * 1024
    archive = image[place.offset : place.offset + place.length]
    assert booted.medium == (hashlib.sha256(archive).hexdigest(),) * 3

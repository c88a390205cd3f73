"""A machine boots what mic serves, and finds the config that mic made for it.

As virtual media, by HTTP ranges, with QEMU's curl block driver in the place of the BMC; and over
the network, by iPXE, with QEMU's own kernel server in the place of Ironic's.
"""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from e2e import daemon, guest, parts
from e2e.daemon import Daemon
from e2e.guest import Media
from e2e.hosts import ETHERNET, NMSTATE

from mic.ignition import Agent, Host, config

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


@pytest.mark.parametrize("firmware", ["BIOS", "UEFI"])
def test_a_machine_boots_the_initramfs_from_the_network(
    firmware: str, mic: Daemon, media: Media, tmp_path: Path
) -> None:
    parts.file("/usr/lib/ipxe/qemu/efi-virtio.rom", "ipxe-qemu")
    url = f"{mic.url}/{_HOST}.initramfs"
    tftp = tmp_path / "tftp"
    tftp.mkdir()
    with _files_served(media.kernel.parent) as port:
        # The guest sees this machine's loopback as 10.0.2.2.
        (tftp / "boot.ipxe").write_text(
            "#!ipxe\n"
            f"kernel http://10.0.2.2:{port}/vmlinuz console=ttyS0 quiet panic=-1 initrd=initramfs\n"
            f"initrd --name initramfs http://10.0.2.2:{mic.port}/{_HOST}.initramfs\n"
            "boot\n"
        )
        digest = guest.config_digest(
            guest.qemu(
                *(guest.uefi(tmp_path) if firmware == "UEFI" else []),
                *("-boot", "n"),
                *("-netdev", f"user,id=n0,tftp={tftp},bootfile=boot.ipxe"),
                *("-device", "virtio-net-pci,netdev=n0"),
            )
        )
    assert digest == hashlib.sha256(_CONFIG).hexdigest()
    assert daemon.show(url) == _CONFIG


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _files_served(directory: Path) -> Iterator[int]:
    """The port of a plain HTTP server: mic in static mode has no kernel to serve."""
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(_Quiet, directory=str(directory))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()

"""A machine boots over the network from mic alone, BIOS and UEFI.

dnsmasq, with the configuration of docs/network-boot.md, is the DHCP and TFTP server. QEMU's BIOS
machine has iPXE on its network card and goes to ``boot.ipxe`` at once; its UEFI machine loads iPXE
by TFTP first, as hardware does. All the rest comes from mic. A kernel for aarch64 starts as it is
served.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import urllib.request
from pathlib import Path

import pytest
from e2e import arm64, daemon, guest, kernel, netboot, parts

_DOCS = Path(__file__).resolve().parents[2] / "docs/network-boot.md"
_HOST = "worker-0"
_MAC = "52:54:00:12:34:56"
_NMSTATE = f"""\
interfaces:
- name: eth0
  type: ethernet
  state: up
  mac-address: {_MAC}
  ipv4: {{enabled: true, dhcp: true}}
"""
_ARGUMENTS = ("console=ttyS0", "panic=-1", "quiet", kernel.NO_TIMER_CHECK)
_ENVIRONMENT = {
    "IRONIC_AGENT_IMAGE": "quay.io/metal3-io/ironic-python-agent",
    "IRONIC_BASE_URL": "http://192.0.2.2:6385",
}


def _documented(tftp: Path, link: str) -> str:
    """The configuration of dnsmasq in the documentation, for the network of the test."""
    (text,) = re.findall(r"```ini\n(.*?)```", _DOCS.read_text(), re.DOTALL)
    places = {"/srv/tftp": str(tftp), "=eth1": f"={link}", "192.0.2.": "192.168.77."}
    for documented, real in places.items():
        assert documented in text
        text = text.replace(documented, real)
    return text


@pytest.mark.parametrize("firmware", ["BIOS", "UEFI"])
def test_a_machine_boots_from_mic_alone(firmware: str, tmp_path: Path) -> None:
    parts.file("/usr/lib/ipxe/qemu/efi-virtio.rom", "ipxe-qemu")
    hosts, tftp = tmp_path / "hosts", tmp_path / "tftp"
    hosts.mkdir()
    tftp.mkdir()
    shutil.copy(parts.file("/usr/lib/ipxe/ipxe.efi", "ipxe"), tftp)
    (hosts / f"{_HOST}.yaml").write_text(_NMSTATE)
    (hosts / f"{_HOST}.kargs").write_text(" ".join(_ARGUMENTS))
    environment = {**_ENVIRONMENT, "DEPLOY_ISO": str(netboot.iso())}
    url = f"http://{netboot.ADDRESS}:8084"
    flags = ("-images-bind-addr", f"{netboot.ADDRESS}:8084", "-images-publish-addr", url)
    with (
        netboot.network() as network,
        daemon.running(hosts, environment, flags=flags, within=network.within) as mic,
        netboot.dnsmasq(network, _documented(tftp, network.link), tmp_path) as log,
    ):
        rom = "" if firmware == "BIOS" else ",romfile="
        booted = guest.boot(
            [
                *network.within,
                *guest.qemu(
                    *(guest.uefi(tmp_path) if firmware == "UEFI" else []),
                    *("-boot", "n"),
                    *("-netdev", f"tap,id=n0,ifname={network.link},script=no,downscript=no"),
                    *("-device", f"virtio-net-pci,netdev=n0,mac={_MAC}{rom}"),
                    memory=1024,
                ),
            ]
        )
        served = daemon.show(f"{url}/{_HOST}.initramfs", within=network.within)
        assert booted.digest == hashlib.sha256(served).hexdigest()
        assert "/rootfs.img: OK" in booted.console
        assert f"live system: {netboot.RELEASE}" in booted.console
        # Firmware adds a word of its own before them.
        assert booted.arguments.split()[-8:] == [
            *("initrd=main", "ignition.firstboot", "ignition.platform.id=metal"),
            f"coreos.live.rootfs_url={url}/rootfs.img",
            *_ARGUMENTS,
        ]
        # Some firmware asks twice: for the size first.
        by_tftp = set(re.findall(r"sent \S*/(\S+) to", log.read_text()))
        assert by_tftp == (set() if firmware == "BIOS" else {"ipxe.efi"})
        for name in ("boot.ipxe", f"{_HOST}.ipxe", f"{_HOST}.initramfs", "kernel", "rootfs"):
            mic.wait_for(rf" {re.escape(name)}: \S+ completed the download: ", 10)


def test_a_kernel_for_aarch64_boots_as_served(tmp_path: Path) -> None:
    """Bare gzip in the ISO, unpacked by mic; QEMU's own loader in the place of iPXE."""
    hosts = tmp_path / "hosts"
    hosts.mkdir()
    (hosts / f"{_HOST}.yaml").write_text(_NMSTATE)
    (hosts / f"{_HOST}.kargs").write_text("console=ttyAMA0 panic=-1 quiet\n")
    environment = {**_ENVIRONMENT, "DEPLOY_ISO": str(arm64.iso())}
    with daemon.running(hosts, environment) as mic:
        for name in ("kernel.img", f"{_HOST}.initramfs", f"{_HOST}.ipxe"):
            with urllib.request.urlopen(f"{mic.url}/{name}", timeout=60) as answer:
                (tmp_path / name).write_bytes(answer.read())
    assert (tmp_path / "kernel.img").read_bytes()[56:60] == b"ARM\x64"
    script = (tmp_path / f"{_HOST}.ipxe").read_text()
    assert "iseq ${buildarch} arm64 && goto boot ||" in script
    found = re.search(r"^kernel \S+ initrd=main (.*) \|\| goto retry$", script, re.MULTILINE)
    assert found
    files = (tmp_path / "kernel.img", tmp_path / f"{_HOST}.initramfs")
    booted = guest.boot(arm64.qemu(*files, found[1]))
    assert booted.arguments == found[1]
    assert re.search(r"^aarch64\s*$", booted.console, re.MULTILINE)
    config = daemon.show(str(tmp_path / f"{_HOST}.initramfs"))
    assert booted.digest == hashlib.sha256(config).hexdigest()

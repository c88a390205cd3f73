"""The controller for an upstream baremetal-operator: from the Secret to the files in the images.

The images are read as others read them: cpio the archive, xorriso the ISO; and a Debian with
NetworkManager boots them. Ramdisks that are not CoreOS, and CoreOS with the same Secret.
"""

from __future__ import annotations

import hashlib
import re
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import forkserver
import pytest
import ramdisk_media
import urllib3
from e2e import agent, parts, stock_ramdisk
from e2e import ramdisk as ramdisks
from e2e.controller import served, start
from e2e.ramdisk import Ramdisk
from e2e.stock_ramdisk import NETWORK, Report
from functional.daemon import Daemon, eventually
from kube_samples import bmo_verdict, image_body, secret_body
from kubeserver import KubeServer
from toys import KERNEL, Bytes

from mic.cli.show import read_image
from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json

_MINUTE = 60.0
_RESOLVE = "ironic-agent-resolve-config-drive.service"
_PUBLISHED = "http://mic.example:8084"
_ARGUMENTS = "console=ttyS0 mic.example=1"
_NETWORK_DATA = stock_ramdisk.NETWORK_DATA.encode()
_CONF = "etc/ironic-python-agent.d/50-mic.conf"
_DATA = "openstack/latest/network_data.json"
_KEYFILE = "etc/NetworkManager/system-connections/port0.nmconnection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mic:
    """A controller for a namespace in which a Secret ``net`` has OpenStack network data."""

    daemon: Daemon
    kube: KubeServer
    namespace: str

    def status(self, name: str, *formats: str) -> Json:
        """The status of a new object, once baremetal-operator would use it."""
        body = image_body(name, secret="net", namespace=self.namespace, formats=formats)
        self.kube.create(PREPROVISIONING_IMAGES, body)

        def usable() -> Json:
            image = self.kube.find(PREPROVISIONING_IMAGES, self.namespace, name)
            secret = self.kube.find(SECRETS, self.namespace, "net")
            assert image is not None
            verdict = bmo_verdict(image, secret)
            assert not verdict.startswith("error "), verdict
            return image["status"] if verdict.startswith("image ") else {}

        return eventually(usable, f"the image of {name}")

    def get(self, url: str) -> bytes:
        """What is served of a URL in a status."""
        assert url.startswith(f"{_PUBLISHED}/")
        answer = urllib3.request("GET", served(self.daemon, url))
        assert answer.status == 200
        return answer.data


@contextmanager
def _running(
    kube: KubeServer, folder: Path, namespace: str, environment: Mapping[str, str]
) -> Iterator[Mic]:
    kube.create_namespace(namespace)
    # The key that baremetal-operator reads.
    secret = secret_body("net", _NETWORK_DATA, key="networkData", namespace=namespace)
    kube.create(SECRETS, secret)
    config = kube.kubeconfig(folder / "config")
    published = ("-images-publish-addr", _PUBLISHED)
    daemon = start(folder, config, namespace, *published, environment=environment)
    try:
        yield Mic(daemon=daemon, kube=kube, namespace=namespace)
        objects = "preprovisioningimage,secret"
        kube.kubectl("delete", "-n", namespace, objects, "--all", "--timeout=30s")
        daemon.stop()
    finally:
        daemon.kill()


@pytest.fixture(scope="module")
def ramdisk(kube: KubeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mic]:
    """A controller for ramdisks that are not CoreOS."""
    folder = tmp_path_factory.mktemp("ramdisk")
    environment = {
        **ramdisk_media.write(folder / "bases"),
        # What the environment of a controller has for CoreOS.
        "DEPLOY_ISO": "",
        "IRONIC_AGENT_IMAGE": "",
        "IRONIC_BASE_URL": "https://192.0.2.2:6385",
        "MIC_KERNEL_ARGUMENTS": _ARGUMENTS,
    }
    with _running(kube, folder, "upstream-metal3", environment) as mic:
        yield mic


@dataclass(frozen=True, slots=True, kw_only=True)
class Initrd:
    """The object of a host without virtual media: its status, and the unpacked archive."""

    status: Json
    image: bytes
    tree: Path
    files: Mapping[str, Path]


@pytest.fixture(scope="module")
def initrd(ramdisk: Mic, tmp_path_factory: pytest.TempPathFactory) -> Initrd:
    status = ramdisk.status("without-media", "initrd")
    image = ramdisk.get(status["imageUrl"])
    assert image.startswith(ramdisk_media.INITRAMFS)
    tree = tmp_path_factory.mktemp("initrd") / "tree"
    files = ramdisks.unpack(image.removeprefix(ramdisk_media.INITRAMFS), tree)
    return Initrd(status=status, image=image, tree=tree, files=files)


def test_the_status_for_an_initramfs(ramdisk: Mic, initrd: Initrd) -> None:
    secret = ramdisk.kube.find(SECRETS, ramdisk.namespace, "net")
    assert secret is not None
    status = dict(initrd.status)
    url, kernel = status.pop("imageUrl"), status.pop("kernelUrl")
    assert url.endswith(".initramfs")
    assert ramdisk.get(kernel) == ramdisk_media.KERNEL
    (ready,) = [each for each in status.pop("conditions") if each["type"] == "Ready"]
    assert ready["message"] == "Generated image", "no warning"
    assert status == {
        "format": "initrd",
        "architecture": "x86_64",
        "extraKernelParams": _ARGUMENTS,
        "networkData": {"name": "net", "version": secret["metadata"]["resourceVersion"]},
    }


def test_the_archive_after_the_initramfs(initrd: Initrd) -> None:
    assert set(initrd.files) == {_CONF, f"mnt/config/{_DATA}", _KEYFILE} | {
        f"etc/systemd/system/{unit}@.service.d/50-mic.conf" for unit in ("glean", "dhcp-interface")
    }
    conf = initrd.files[_CONF].read_text()
    assert "api_url = https://192.0.2.2:6385\n" in conf
    assert "insecure" not in conf
    assert initrd.files[f"mnt/config/{_DATA}"].read_bytes() == _NETWORK_DATA
    keyfile = initrd.files[_KEYFILE]
    assert stat.S_IMODE(keyfile.stat().st_mode) == 0o600
    lines = keyfile.read_text().splitlines()
    assert {"mac-address=52:54:00:12:34:56", "address0=192.0.2.11/24", "method=manual"} < set(lines)


def test_a_host_with_virtual_media_gets_an_iso_with_the_same_files(
    ramdisk: Mic, initrd: Initrd, tmp_path: Path
) -> None:
    status = ramdisk.status("with-media", "iso", "initrd")
    assert status["format"] == "iso"
    assert status["imageUrl"].endswith(".iso")
    # baremetal-operator uses neither for an ISO.
    assert not {"kernelUrl", "extraKernelParams"} & set(status)
    image = tmp_path / "image.iso"
    image.write_bytes(ramdisk.get(status["imageUrl"]))
    out = tmp_path / "out"
    said = _xorriso("-osirrox", "on", "-indev", image, "-pvd_info", "-extract", "/", out)
    assert re.search(r"^Volume Id *: config-2$", said, re.MULTILINE)
    publisher = re.search(r"^Publisher Id *: (\S+)$", said, re.MULTILINE)
    assert publisher

    # What differs between the two hosts is the name alone, and that is in neither archive.
    assert (out / "initrd").read_bytes() == initrd.image
    assert (out / "vmlinuz").read_bytes() == ramdisk_media.KERNEL
    assert (out / "boot/grub/efiboot.img").read_bytes() == ramdisk_media.fat("BOOTX64.EFI")
    assert (out / _DATA).read_bytes() == _NETWORK_DATA
    assert (out / _CONF).read_bytes() == initrd.files[_CONF].read_bytes()
    arguments = f"boot_method=vmedia ir_pub_id={publisher[1]} {_ARGUMENTS} --"
    for path in ("EFI/BOOT/grub.cfg", "isolinux/isolinux.cfg"):
        assert arguments in (out / path).read_text()


@pytest.fixture(scope="module")
def stock() -> Ramdisk:
    """A whole system with NetworkManager."""
    return stock_ramdisk.ramdisk("NetworkManager", "zstd")


@pytest.fixture(scope="module")
def booting(
    stock: Ramdisk, kube: KubeServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mic]:
    """A controller for that system."""
    environment = {
        **stock.environment,
        "DEPLOY_ISO": "",
        "IRONIC_AGENT_IMAGE": "",
        "IRONIC_BASE_URL": "https://192.0.2.2:6385",
        "MIC_KERNEL_ARGUMENTS": stock_ramdisk.ARGUMENTS,
    }
    folder = tmp_path_factory.mktemp("booting")
    with _running(kube, folder, "upstream-booting", environment) as mic:
        yield mic


def test_networkmanager_of_a_booted_initramfs_takes_the_network_of_the_secret(
    booting: Mic, stock: Ramdisk, tmp_path: Path
) -> None:
    status = booting.status("without-media", "initrd")
    image = booting.get(status["imageUrl"])
    vmlinuz = tmp_path / "vmlinuz"
    vmlinuz.write_bytes(booting.get(status["kernelUrl"]))
    arguments = status["extraKernelParams"]
    report = stock_ramdisk.boot_initramfs(image, vmlinuz, arguments, tmp_path)
    _check_network(report)
    # A boot from the network: the config drive is not looked for.
    assert report["failed"].split() == [_RESOLVE]
    files = ramdisks.unpack(image[stock.initramfs.stat().st_size :], tmp_path / "tree")
    assert report.files[_CONF] == _sha256(files[_CONF])
    assert agent.options(files[_CONF]) == {"api_url": "https://192.0.2.2:6385"}


def test_networkmanager_of_a_booted_iso_takes_the_network_of_the_secret(
    booting: Mic, tmp_path: Path
) -> None:
    status = booting.status("with-media", "iso", "initrd")
    assert status["format"] == "iso"
    report = stock_ramdisk.boot_iso(served(booting.daemon, status["imageUrl"]), tmp_path)
    _check_network(report)
    assert report["failed"] == ""
    assert report.unit(_RESOLVE)["ActiveState"] == "active"


def _check_network(report: Report) -> None:
    assert report.network == NETWORK
    assert set(report["connections"].split()) == {"port0:enp0s1:activated", "lo:lo:activated"}
    # Neither a second profile nor a DHCP client.
    assert report["clients"] == ""
    for unit in ("glean@enp0s1.service", "dhcp-interface@enp0s1.service"):
        found = report.unit(unit)
        assert (found["ActiveState"], found["ConditionResult"]) == ("inactive", "no")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_coreos_takes_the_same_secret(kube: KubeServer, tmp_path: Path) -> None:
    with _running(kube, tmp_path, "upstream-coreos", {}) as mic:
        status = mic.status("host", "iso", "initrd")
        assert status["format"] == "iso"
        config, _ = read_image(Bytes(mic.get(status["imageUrl"])))
        assert f'"/{_KEYFILE}"'.encode() in config
        # Network data is for glean, which CoreOS does not have.
        assert b"network_data.json" not in config


def test_a_script_for_network_boot_by_its_secret_name(kube: KubeServer, tmp_path: Path) -> None:
    with _running(kube, tmp_path, "upstream-ipxe", {"MIC_IPXE": "true"}) as mic:
        status = mic.status("host", "initrd")
        image = status["imageUrl"]
        events = f"/api/v1/namespaces/{mic.namespace}/events?fieldSelector=involvedObject.name=host"

        def event() -> str:
            found = kube.ask("GET", events)[1]["items"]
            return next((e["message"] for e in found if e["reason"] == "NetworkBootScript"), "")

        url = eventually(event, f"an Event: {mic.daemon.log}").removeprefix("iPXE script: ")
        assert url == f"{image.removesuffix('.initramfs')}.ipxe"

        def reported() -> bool:
            said = forkserver.run("status", f"-pid={mic.daemon.pid}").stdout
            return f"iPXE scripts:\n  {mic.namespace}/host: {url}\n" in said

        eventually(reported, "the script in mic status")
        script = mic.get(url).decode()
        assert script.startswith("#!ipxe\n")
        assert f"initrd --name main {image} ||" in script
        (kernel,) = re.findall(r"^kernel (\S+) initrd=main ", script, re.MULTILINE)
        (rootfs,) = re.findall(r" coreos\.live\.rootfs_url=(\S+) ", script)
        assert kernel == f"{_PUBLISHED}/kernel-x86_64.img"
        assert rootfs == f"{_PUBLISHED}/rootfs-x86_64.img"
        assert mic.get(kernel) == KERNEL
        assert mic.get(rootfs)
        assert urllib3.request("GET", served(mic.daemon, "/boot.ipxe")).status == 404
        secret = image.rpartition("/")[2].removesuffix(".initramfs")
        assert secret not in mic.daemon.whole_log


def _xorriso(*arguments: str | Path) -> str:
    """What xorriso says; fails the test if it warns."""
    program = parts.program("xorriso", "xorriso")
    done = subprocess.run(
        [program, "-abort_on", "WARNING", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_MINUTE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout

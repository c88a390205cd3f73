"""Ironic's own virtual media for a host, as the measure of what is in the virtual ISO of mic.

Ironic's code builds it with mkisofs of what it downloads from mic, once for BIOS and once for UEFI,
and xorriso reads all of them.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import ramdisk_media
from e2e import daemon, parts, venv
from e2e import ramdisk as ramdisks
from e2e.daemon import Daemon
from e2e.hosts import PEM
from e2e.ramdisk import Ramdisk

_IRONIC = "ironic==39.0.0"
_HOST = "worker-0"
_URL = "https://192.0.2.2:6385"
_MINUTE = 60.0
_ARGUMENTS = "nofb vga=normal"
"""What Ironic has by default for every node: [redfish]kernel_append_params."""
_NETWORK_DATA = {
    "links": [{"id": "port0", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"}],
    "networks": [
        {
            "id": "n0",
            "link": "port0",
            "type": "ipv4",
            "network_id": "n0",
            "ip_address": "192.0.2.11",
            "netmask": "255.255.255.0",
        }
    ],
    "services": [],
}
_CONF = "etc/ironic-python-agent.d/50-mic.conf"
_DATA = "openstack/latest/network_data.json"

# As the conductor does for a node with virtual media; the node and its driver are values.
_BUILD = """\
import json, os, sys
from types import SimpleNamespace
from oslo_concurrency import lockutils
from ironic.common import states
from ironic.conf import CONF
from ironic.drivers import base
from ironic.drivers.modules import deploy_utils, image_utils
given = json.loads(sys.argv[1])
work = given["work"]
CONF([], project="ironic", default_config_files=[])
lockutils.set_defaults(work)
CONF.set_override("tempdir", work)
CONF.set_override("isolinux_bin", os.path.join(given["isolinux"], "isolinux.bin"))
CONF.set_override("ldlinux_c32", os.path.join(given["isolinux"], "ldlinux.c32"))
CONF.set_override("file_url_allowed_paths", [os.path.dirname(given["esp"])], "conductor")
CONF.set_override("api_ca_file", given["ca"], "agent")
CONF.set_override("http_url", "http://192.0.2.2", "deploy")
CONF.set_override("http_root", work, "deploy")
driver_info = {
    "deploy_kernel": given["kernel"],
    "deploy_ramdisk": given["initramfs"],
    "bootloader": "file://" + given["esp"],
}
node = SimpleNamespace(
    uuid="8ae2e4b4-2b0a-4d5a-9c0b-1d1d1d1d1d1d", driver="redfish", boot_mode=None,
    provision_state=states.INSPECTING, instance_info={}, driver_internal_info={},
    properties={"capabilities": "boot_mode:" + given["mode"], "cpu_arch": "x86_64"},
    driver_info=driver_info,
)
publisher = base.ImagePublisherSettings(
    swift_enabled=False, container="", timeout=0, image_subdir="", file_permission=0o644,
    kernel_params=CONF.redfish.kernel_append_params,
)
task = SimpleNamespace(node=node, context=None, driver=SimpleNamespace(
    boot=SimpleNamespace(image_publisher_settings=publisher),
    network=SimpleNamespace(get_node_network_data=lambda task: given["network_data"]),
))
parameters = {
    "ipa-api-url": given["url"], "ipa-agent-token": "token", "boot_method": "vmedia"
}
url = image_utils.prepare_deploy_iso(task, parameters, "deploy", dict(driver_info))
print(os.path.join(work, os.path.basename(url)))
"""

_FETCH = """\
import os, sys
from oslo_concurrency import lockutils
from ironic.conf import CONF
from ironic.common import images
work, *urls = sys.argv[1:]
CONF([], project="ironic", default_config_files=[])
lockutils.set_defaults(work)
for url in urls:
    images.fetch(None, url, os.path.join(work, os.path.basename(url)))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Iso:
    """What xorriso finds in an ISO: its files by path, and its boot catalogue as words."""

    files: Mapping[str, bytes]
    volume: str
    publisher: str
    boot: tuple[tuple[str, str, str], ...]
    """Platform, load size in sectors of 512 bytes, and path."""
    joliet: bool

    def text(self, path: str) -> str:
        return self.files[path].decode()

    def arguments(self, path: str) -> list[str]:
        """Kernel arguments in the config of a boot loader."""
        pattern = r"^ *(?:linux /vmlinuz|append initrd=/initrd text) (.*) --$"
        found = re.search(pattern, self.text(path), re.MULTILINE)
        assert found, self.text(path)
        return found[1].split()

    def without_arguments(self, path: str) -> list[str]:
        """The other words there."""
        return self.text(path).replace(" ".join(self.arguments(path)), "").split()


@pytest.fixture(scope="module")
def ramdisk() -> Ramdisk:
    return ramdisks.ramdisk()


@pytest.fixture(scope="module")
def mic(ramdisk: Ramdisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    work = tmp_path_factory.mktemp("mic")
    (work / "hosts").mkdir()
    (work / "hosts" / f"{_HOST}.json").write_text(json.dumps(_NETWORK_DATA))
    (work / "ironic.pem").write_bytes(PEM)
    environment = {
        **ramdisk.environment,
        "IRONIC_BASE_URL": _URL,
        "IRONIC_CA_BUNDLE": str(work / "ironic.pem"),
        "MIC_KERNEL_ARGUMENTS": _ARGUMENTS,
    }
    with daemon.running(work / "hosts", environment) as running:
        yield running


@pytest.fixture(scope="module")
def ours(mic: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iso:
    work = tmp_path_factory.mktemp("ours")
    (work / "ours.iso").write_bytes(mic.get(f"{_HOST}.iso"))
    return _read(work / "ours.iso", work)


@pytest.fixture(scope="module", params=["bios", "uefi"])
def theirs(
    request: pytest.FixtureRequest,
    mic: Daemon,
    ramdisk: Ramdisk,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iso:
    """Ironic's, for one firmware."""
    python = venv.python_with(_IRONIC)
    parts.program("mkisofs", "genisoimage")
    work = tmp_path_factory.mktemp("theirs")
    (work / "ca.pem").write_bytes(PEM)
    given = {
        "work": str(work),
        "mode": request.param,
        "kernel": f"{mic.url}/kernel.img",
        "initramfs": f"{mic.url}/{_HOST}.initramfs",
        "esp": str(ramdisk.boot_loader),
        "isolinux": str(ramdisk.isolinux),
        "ca": str(work / "ca.pem"),
        "network_data": _NETWORK_DATA,
        "url": _URL,
    }
    return _read(Path(venv.run(python, _BUILD, json.dumps(given)).strip()), work)


_ONLY_THEIRS = {
    "boot.catalog": "mkisofs shows the boot catalogue as a file",
    "etc/ironic-python-agent/ironic.crt": "mic has it in the archive, where 50-mic.conf says",
    "etc/ironic-python-agent.d/ironic-tls.conf": "mic has it all in 50-mic.conf",
}
_ONLY_OURS = {
    _CONF: "Ironic has the agent's settings in kernel arguments, which ironic-tls.conf completes",
    # Ironic knows which firmware its node has; an image of mic is for either.
    "boot/grub/efiboot.img": "of the other firmware",
    "EFI/BOOT/grub.cfg": "of the other firmware",
    "isolinux/isolinux.bin": "of the other firmware",
    "isolinux/isolinux.cfg": "of the other firmware",
    "isolinux/ldlinux.c32": "of the other firmware",
}
_OTHER_CONTENT = {
    _DATA: "Ironic indents it",
    "isolinux/isolinux.bin": "where the boot loader is and its checksum: 56 bytes",
    "isolinux/isolinux.cfg": "arguments",
    "EFI/BOOT/grub.cfg": "arguments, and the words of the menu",
}
_ARGUMENTS_ONLY_THEIRS = {
    "ipa-api-url": "mic has it in 50-mic.conf",
    "ipa-agent-token": "with mic the agent gets it when it looks up its node",
}


def test_differences_in_files(ours: Iso, theirs: Iso) -> None:
    assert set(theirs.files) - set(ours.files) <= set(_ONLY_THEIRS)
    assert set(_ONLY_THEIRS) <= set(theirs.files)
    assert set(ours.files) - set(theirs.files) <= set(_ONLY_OURS)
    both = set(ours.files) & set(theirs.files)
    assert {"vmlinuz", "initrd", _DATA} < both
    different = {path for path in both if ours.files[path] != theirs.files[path]}
    assert different == both & set(_OTHER_CONTENT)


def test_same_content_in_other_words(ours: Iso, theirs: Iso) -> None:
    assert json.loads(ours.files[_DATA]) == json.loads(theirs.files[_DATA]) == _NETWORK_DATA
    if "isolinux/isolinux.bin" in theirs.files:
        our, their = (iso.files["isolinux/isolinux.bin"] for iso in (ours, theirs))
        assert (our[:8], our[64:]) == (their[:8], their[64:])
        # The first two words are where things are; length and checksum are of the file.
        assert our[16:64] == their[16:64]
    our_words, their_words = (iso.without_arguments(_config_of(theirs)) for iso in (ours, theirs))
    if "EFI/BOOT/grub.cfg" in theirs.files:
        # The machine of an ISO boots by itself: there is nothing to choose, and no need to wait.
        assert {"timeout=0"} == {word for word in our_words if word.startswith("timeout")}
        assert {"timeout=5"} == {word for word in their_words if word.startswith("timeout")}
        our_words, their_words = (
            re.sub(r'timeout=\d|"[^"]+"', "", " ".join(words)).split()
            for words in (our_words, their_words)
        )
    assert our_words == their_words


def test_trees_of_names(ours: Iso, theirs: Iso) -> None:
    """Rock Ridge in each, by which the files above are read; Joliet in Ironic's for BIOS."""
    assert not ours.joliet
    assert theirs.joliet == ("isolinux/isolinux.bin" in theirs.files)


def test_label_and_publisher(ours: Iso, theirs: Iso) -> None:
    assert ours.volume == theirs.volume == "config-2"
    for iso in (ours, theirs):
        assert f"ir_pub_id={iso.publisher}" in iso.arguments(_config_of(theirs))


def test_arguments(ours: Iso, theirs: Iso) -> None:
    our, their = (iso.arguments(_config_of(theirs)) for iso in (ours, theirs))
    assert set(_ARGUMENTS.split()) < set(our)
    # The publisher is of the ISO.
    our, their = ({w for w in words if "ir_pub_id" not in w} for words in (our, their))
    assert our - their == set()
    assert {word.partition("=")[0] for word in their - our} == set(_ARGUMENTS_ONLY_THEIRS)


def test_boot_catalogue(ours: Iso, theirs: Iso) -> None:
    """Both firmwares in one, and each as in Ironic's."""
    assert len(ours.boot) == 2
    assert set(theirs.boot) < set(ours.boot)


def test_ironic_unpacks_initramfs_images_of_zstd(tmp_path: Path) -> None:
    """It has zstd unpack what begins as such, to the last byte, or cannot use the image."""
    python = venv.python_with(_IRONIC)
    zstd = parts.program("zstd", "zstd")
    environment = {**ramdisk_media.write(tmp_path / "bases"), "IRONIC_BASE_URL": _URL}
    base = zlib.decompressobj(wbits=31).decompress(ramdisk_media.INITRAMFS)
    packed = subprocess.run([zstd, "-c"], input=base, stdout=subprocess.PIPE, check=True).stdout
    Path(environment["DEPLOY_INITRD"]).write_bytes(packed)
    hosts = [f"worker-{number}" for number in range(4)]
    (tmp_path / "hosts").mkdir()
    for number, host in enumerate(hosts):
        # Archives of any length.
        document = {**_NETWORK_DATA, "note": "x" * number}
        (tmp_path / "hosts" / f"{host}.json").write_text(json.dumps(document))
    with daemon.running(tmp_path / "hosts", environment) as mic:
        names = [f"{host}.initramfs" for host in hosts]
        venv.run(python, _FETCH, tmp_path, *(f"{mic.url}/{name}" for name in names))
        for name in names:
            archive = mic.get(name)[len(packed) :]
            assert (tmp_path / name).read_bytes() == base + gzip.decompress(archive)


def _config_of(iso: Iso) -> str:
    """The config of the boot loader that Ironic gave one ISO."""
    (path,) = {"EFI/BOOT/grub.cfg", "isolinux/isolinux.cfg"} & set(iso.files)
    return path


def _read(image: Path, work: Path) -> Iso:
    out = work / "files"
    said = _xorriso("-osirrox", "on", "-indev", image, "-pvd_info", "-extract", "/", out)
    boot = _xorriso("-indev", image, "-report_el_torito", "plain")
    entries = re.findall(
        r"^El Torito boot img : +(\d+) +(\S+) +y +none +0x0000 +0x00 +(\d+) ", boot, re.MULTILINE
    )
    paths = dict(re.findall(r"^El Torito img path : +(\d+) +/(\S+)$", boot, re.MULTILINE))
    files = (path for path in out.rglob("*") if path.is_file())
    return Iso(
        files={str(path.relative_to(out)): path.read_bytes() for path in files},
        volume=_field("Volume Id", said),
        publisher=_field("Publisher Id", said),
        boot=tuple((platform, size, paths[number]) for number, platform, size in entries),
        # A supplementary volume descriptor (ECMA-119, type 2) with the escape of Joliet.
        joliet=re.search(rb"\x02CD001\x01.{81}%/[@CE]", image.read_bytes(), re.DOTALL) is not None,
    )


def _field(name: str, said: str) -> str:
    found = re.search(rf"^{name} *: (.*)$", said, re.MULTILINE)
    assert found, said
    return found[1].strip()


def _xorriso(*arguments: str | Path) -> str:
    return subprocess.run(
        [parts.program("xorriso", "xorriso"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_MINUTE,
        check=True,
    ).stdout

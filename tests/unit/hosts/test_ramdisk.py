"""Hosts whose ramdisk is not CoreOS: what is built of their data, and what objects are told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
import ramdisk_media
from toys import put

from mic.common.errors import BaseUnavailable, BuildInvalid
from mic.common.host_data import HostData
from mic.common.threads import Threads
from mic.hosts.agent_files import AgentFiles
from mic.hosts.archive import ForAllHosts, HostArchive
from mic.hosts.build import Builder
from mic.hosts.changes import changes
from mic.hosts.provider import Provider
from mic.hosts.publish import Publisher
from mic.ignition import Agent
from mic.images.bases import Bases
from mic.images.store import Store
from mic.kube.builds import BuildRequest
from mic.media.base import Kind, Ramdisk
from mic.media.catalog import BasePaths
from mic.media.cpio import members_of
from mic.media.kernel_arguments import parse
from mic.ramdisk.archive import RamdiskNetwork
from mic.settings.model import AgentSettings

AGENT = Agent(image="")
NETWORK_DATA = json.dumps(
    {
        "links": [{"id": "port0", "type": "phy", "ethernet_mac_address": "52:54:00:12:34:56"}],
        "networks": [{"id": "n", "link": "port0", "type": "ipv4_dhcp", "network_id": "n"}],
        "services": [],
    }
).encode()
NMSTATE = b"interfaces: [{name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}]"
FOR_ALL = ForAllHosts(
    kernel_arguments=parse("console=ttyS0", "x"), ramdisk_network=RamdiskNetwork.AUTO
)
JSON_PATH = "mnt/config/openstack/latest/network_data.json"
REQUEST = BuildRequest(
    namespace="metal3",
    name="worker-0",
    uid="uid-1",
    created=1_700_000_000,
    hostname="worker-0",
    format="initrd",
    architecture="x86_64",
    stream="",
    data=HostData(network=NETWORK_DATA, kernel_arguments=b"quiet"),
)


async def built(threads: Threads, for_all: ForAllHosts = FOR_ALL, **given: bytes) -> HostArchive:
    return await Builder(threads, for_all=for_all).archive(
        AGENT, "worker-0", HostData(**given), owner="metal3"
    )


def files(archive: HostArchive) -> dict[str, bytes]:
    return {member.path: member.data for member in members_of(archive.data)}


@pytest_twisted.ensureDeferred
async def test_needs_no_ironic_and_no_image(threads: Threads) -> None:
    archive = await built(threads)
    assert archive.iso_data == archive.data
    conf = files(archive)["etc/ironic-python-agent.d/50-mic.conf"]
    assert conf == b"[DEFAULT]\nenable_vlan_interfaces = all\n"
    assert archive.customisation(Kind.ISO).owner == "metal3/worker-0"
    assert archive.customisation(Kind.INITRAMFS).files == ()


@pytest.mark.parametrize(
    ("document", "verbatim"), [(NETWORK_DATA, True), (NMSTATE, False), (b" \n", None)]
)
@pytest_twisted.ensureDeferred
async def test_network_data_goes_to_glean_as_it_is(
    threads: Threads, document: bytes, verbatim: bool | None
) -> None:
    found = files(await built(threads, network=document))
    assert found.get(JSON_PATH) == (document if verbatim else None)
    keyfiles = [path for path in found if path.endswith(".nmconnection")]
    assert len(keyfiles) == (verbatim is not None)


@pytest_twisted.ensureDeferred
async def test_network_data_in_yaml_becomes_json(threads: Threads) -> None:
    text = b"links: []\nnetworks: []\nservices: [{type: dns, address: 192.0.2.53}]\n"
    found = files(await built(threads, network=text))
    assert json.loads(found[JSON_PATH])["services"] == [{"type": "dns", "address": "192.0.2.53"}]


@pytest_twisted.ensureDeferred
async def test_warns_of_an_ignition_config(threads: Threads) -> None:
    archive = await built(threads, ignition=b'{"ignition": {"version": "3.2.0"}}')
    (warning,) = archive.warnings
    assert str(warning).startswith("ignition: an Ignition config means nothing to a ramdisk")


@pytest.mark.parametrize("arguments", [b"-quiet", b"boot_method=x"])
@pytest_twisted.ensureDeferred
async def test_refuses_arguments_that_cannot_be(threads: Threads, arguments: bytes) -> None:
    with pytest.raises(BuildInvalid, match="the kernel argument"):
        await built(threads, kernel_arguments=arguments)


@pytest_twisted.ensureDeferred
async def test_changes_are_named(threads: Threads) -> None:
    one = (await built(threads, network=NETWORK_DATA)).customisation(Kind.ISO)
    renamed = NETWORK_DATA.replace(b"port0", b"port1")
    other = (await built(threads, network=renamed)).customisation(Kind.ISO)
    assert changes(one, other) == (
        "keyfiles port0.nmconnection, port1.nmconnection, "
        "/mnt/config/openstack/latest/network_data.json"
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    ramdisk_media.write(tmp_path)
    return tmp_path


def provider(directory: Path, threads: Threads, key: bytes = b"") -> Provider:
    paths = BasePaths(
        initramfs=str(directory / "ipa.initramfs"),
        kernel=str(directory / "ipa.kernel"),
        boot_loader=str(directory / "esp.img"),
        ramdisk=Ramdisk.IPA,
    )
    bases = Bases(paths, "x86_64", threads)
    images = Store(bases, lambda: 1e9)
    return Provider(
        rootfs_url="",
        host_architecture="x86_64",
        url_key=key,
        images=images,
        bases=bases,
        agent_files=AgentFiles(AgentSettings(agent=AGENT, pull_secret_file=""), threads),
        builder=Builder(threads, for_all=FOR_ALL),
        publisher=Publisher(images, publish_url="http://images.example"),
    )


@pytest_twisted.ensureDeferred
async def test_an_initrd_comes_with_its_kernel_and_arguments(
    directory: Path, threads: Threads
) -> None:
    made = await provider(directory, threads).build(REQUEST)
    assert made.image_url.endswith(".initramfs")
    assert made.kernel_url == "http://images.example/kernel-x86_64"
    assert made.extra_kernel_params == "console=ttyS0 quiet"


@pytest_twisted.ensureDeferred
async def test_an_iso_has_the_same_name_and_tag_in_every_process(
    directory: Path, threads: Threads
) -> None:
    request = replace(REQUEST, format="iso")
    one, other = (provider(directory, threads, b"0" * 32) for _ in range(2))
    made = await one.build(request)
    assert made.image_url.endswith(".iso")
    assert (made.kernel_url, made.extra_kernel_params) == ("", "")
    assert await other.build(request) == made
    put(directory / "ipa.kernel", ramdisk_media.KERNEL + b"new")
    assert not one.serves(made.image_url)


@pytest_twisted.ensureDeferred
async def test_never_leaves_the_kernel_to_ironic(directory: Path, threads: Threads) -> None:
    """Ironic's own kernel lacks the modules of this initramfs."""
    (directory / "ipa.kernel").unlink()
    with pytest.raises(BaseUnavailable, match=r"ipa\.kernel: No such file"):
        await provider(directory, threads).build(REQUEST)

"""Kernels and root file systems that all hosts share: their names, URLs and bytes, in both modes.

Scope: mic.hosts.boot_files and how both sources of hosts use it; HTTP is tested elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from miniso import with_minimal
from toys import INITRAMFS, KERNEL, ROOTFS, live_iso, put

from mic.common.errors import BaseUnavailable
from mic.common.host_data import HostData
from mic.common.threads import Threads
from mic.hosts.agent_files import AgentFiles
from mic.hosts.boot_files import BootFiles
from mic.hosts.build import Builder
from mic.hosts.provider import Provider
from mic.hosts.publish import Publisher
from mic.ignition import Agent
from mic.images.bases import Bases
from mic.images.store import Store
from mic.kube.builds import BuildRequest
from mic.media.base import Kind
from mic.media.catalog import BasePaths
from mic.media.cpio import live_rootfs
from mic.media.isowriter import coreos_files, write_iso
from mic.settings.model import OWN_ROOTFS, AgentSettings

PLAIN = "http://mic:8085"
REQUEST = BuildRequest(
    namespace="hosts",
    name="worker-0",
    uid="uid-1",
    created=1_700_000_000,
    hostname="worker-0",
    format="initrd",
    architecture="x86_64",
    stream="",
    data=HostData(network=b"", kernel_arguments=b"quiet"),
)


def without_rootfs() -> bytes:
    files = coreos_files(kernel=KERNEL, initramfs=INITRAMFS, rootfs=b"")
    del files["/images/pxeboot/rootfs.img"]
    return write_iso(files)


class Process:
    """One process in controller mode, over the base images in a directory."""

    def __init__(
        self,
        folder: Path,
        threads: Threads,
        *,
        rootfs: str = "",
        path: str = "",
        ipxe: bool = False,
        minimal: bool = False,
    ) -> None:
        paths = BasePaths(iso=str(folder / "ipa.iso"), rootfs=path)
        self.bases = Bases(paths, "x86_64", threads, minimal=minimal)
        self.images = Store(self.bases, lambda: 1e9)
        publisher = Publisher(self.images, publish_url="https://mic", http_publish_url=PLAIN)
        agent = Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",))
        self.provider = Provider(
            rootfs_url=rootfs,
            host_architecture="x86_64",
            url_key=b"",
            images=self.images,
            bases=self.bases,
            agent_files=AgentFiles(AgentSettings(agent=agent), threads),
            builder=Builder(threads),
            publisher=publisher,
            ipxe=ipxe,
        )
        self.static = BootFiles(
            images=self.images, bases=self.bases, publisher=publisher, per_architecture=False
        )

    @property
    def names(self) -> set[str]:
        return {entry.name for entry in self.images}

    async def bytes_of(self, name: str) -> bytes:
        entry = self.images.entry(name)
        assert entry is not None, self.names
        layout = (await self.images.load(entry)).layout
        return layout.read(0, layout.size)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "ipa.iso", live_iso())
    return tmp_path


@pytest_twisted.ensureDeferred
async def test_known_bases_are_served_before_any_host_is_built(
    folder: Path, threads: Threads
) -> None:
    put(folder / "ipa-rhel-9_aarch64.iso", live_iso(kernel=b"another"))
    process = Process(folder, threads)
    await process.bases.load_all()
    process.provider.boot_files.publish_known()
    assert process.names == {
        *("kernel-x86_64.img", "rootfs-x86_64.img"),
        *("kernel-rhel-9-aarch64.img", "rootfs-rhel-9-aarch64.img"),
    }
    assert await process.bytes_of("rootfs-x86_64.img") == ROOTFS
    assert await process.bytes_of("kernel-rhel-9-aarch64.img") == b"another"


@pytest_twisted.ensureDeferred
async def test_static_mode_has_one_of_each_kind(folder: Path, threads: Threads) -> None:
    process = Process(folder, threads)
    await process.bases.load_all()
    process.static.publish_known()
    assert process.names == {"kernel.img", "rootfs.img"}
    assert await process.bytes_of("kernel.img") == KERNEL


@pytest_twisted.ensureDeferred
async def test_a_separate_rootfs_wins(folder: Path, threads: Threads) -> None:
    data = live_rootfs(b"another one")
    process = Process(folder, threads, path=str(put(folder / "rootfs.img", data)))
    assert await process.static.rootfs_url() == f"{PLAIN}/rootfs.img"
    assert await process.bytes_of("rootfs.img") == data


@pytest_twisted.ensureDeferred
async def test_the_rootfs_follows_the_base(folder: Path, threads: Threads) -> None:
    process = Process(folder, threads)
    await process.bases.load_all()
    process.static.publish_known()
    entry = process.images.entry("rootfs.img")
    assert entry is not None
    before = (await process.images.load(entry)).etag
    put(folder / "ipa.iso", live_iso(kernel=b"of another release"))
    assert (await process.images.load(entry)).etag != before
    put(folder / "ipa.iso", without_rootfs())
    await process.bases.refresh()
    assert process.names == {"kernel.img"}
    put(folder / "ipa.iso", live_iso())
    await process.bases.refresh()
    assert process.names == {"kernel.img", "rootfs.img"}


@pytest.mark.parametrize(
    ("configured", "words"),
    [
        ("", "quiet"),
        (OWN_ROOTFS, f"coreos.live.rootfs_url={PLAIN}/rootfs-x86_64.img quiet"),
        ("http://other/r.img", "coreos.live.rootfs_url=http://other/r.img quiet"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_url_in_kernel_parameters(
    folder: Path, threads: Threads, configured: str, words: str
) -> None:
    process = Process(folder, threads, rootfs=configured)
    built = await process.provider.build(REQUEST)
    assert built.extra_kernel_params == words
    assert built.kernel_url == f"{PLAIN}/kernel-x86_64"
    assert await process.bytes_of("kernel-x86_64.img") == KERNEL


@pytest_twisted.ensureDeferred
async def test_the_name_has_stream_and_architecture(folder: Path, threads: Threads) -> None:
    put(folder / "ipa-rhel-9_aarch64.iso", live_iso())
    process = Process(folder, threads, rootfs=OWN_ROOTFS)
    request = replace(REQUEST, stream="rhel-9", architecture="aarch64")
    words = (await process.provider.build(request)).extra_kernel_params.split()
    assert words[0] == f"coreos.live.rootfs_url={PLAIN}/rootfs-rhel-9-aarch64.img"


@pytest_twisted.ensureDeferred
async def test_says_what_to_do_without_a_rootfs(folder: Path, threads: Threads) -> None:
    put(folder / "ipa.iso", without_rootfs())
    process = Process(folder, threads, rootfs=OWN_ROOTFS)
    assert await process.bases.load_all() == []
    with pytest.raises(BaseUnavailable) as error:
        await process.provider.build(REQUEST)
    text = str(error.value)
    assert text.startswith(f"no root file system to serve: base image {folder / 'ipa.iso'}")
    assert text.endswith("give DEPLOY_ROOTFS, or the URL of another server as IRONIC_ROOTFS_URL")
    assert (await process.provider.build(replace(REQUEST, format="iso"))).image_url
    assert not process.bases.can_serve(Kind.ROOTFS)


@pytest.mark.parametrize(
    ("configured", "url"),
    [
        ("", f"{PLAIN}/rootfs-x86_64.img"),
        (OWN_ROOTFS, f"{PLAIN}/rootfs-x86_64.img"),
        ("http://other/r.img", "http://other/r.img"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_minimal_iso_fetches_the_rootfs_from_mic_unless_told_otherwise(
    folder: Path, threads: Threads, configured: str, url: str
) -> None:
    files = coreos_files(kernel=KERNEL, initramfs=INITRAMFS, rootfs=ROOTFS)
    put(folder / "ipa.iso", with_minimal(files))
    process = Process(folder, threads, rootfs=configured, minimal=True)
    built = await process.provider.build(replace(REQUEST, format="iso"))
    image = await process.bytes_of(built.image_url.rpartition("/")[2])
    assert f" coreos.live.rootfs_url={url} quiet\n".encode() in image
    assert ROOTFS not in image
    assert ("rootfs-x86_64.img" in process.names) == (PLAIN in url)


@pytest_twisted.ensureDeferred
async def test_a_script_has_the_secret_name_of_its_image(folder: Path, threads: Threads) -> None:
    process = Process(folder, threads, ipxe=True)
    built = await process.provider.build(REQUEST)
    assert built.script_url == built.image_url.removesuffix("initramfs") + "ipxe"
    assert built.script_url not in repr(built)
    assert process.provider.script_url(built.image_url) == built.script_url
    script = await process.bytes_of(built.script_url.rpartition("/")[2])
    assert f"initrd --name main {built.image_url} ||".encode() in script
    assert (
        f"kernel {PLAIN}/kernel-x86_64.img initrd=main ignition.firstboot "
        f"ignition.platform.id=metal coreos.live.rootfs_url={PLAIN}/rootfs-x86_64.img quiet ||"
    ).encode() in script
    assert built.extra_kernel_params == "quiet"
    changed = replace(REQUEST, data=HostData(network=b"", kernel_arguments=b"noquiet"))
    process.provider.discard("hosts", "worker-0", keep=[])
    assert process.provider.script_url(built.image_url) == ""
    assert (await process.provider.build(changed)).script_url != built.script_url
    iso = await process.provider.build(replace(REQUEST, format="iso"))
    assert iso.script_url == ""


@pytest_twisted.ensureDeferred
async def test_there_is_no_script_unless_asked_for(folder: Path, threads: Threads) -> None:
    process = Process(folder, threads)
    built = await process.provider.build(REQUEST)
    assert built.script_url == process.provider.script_url(built.image_url) == ""

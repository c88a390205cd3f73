"""Under which URLs controller mode publishes images, and what it knows again of them.

Scope: mic.provider, with real files, threads and bases. What becomes of the URLs is in
tests/unit/kube and tests/e2e.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from toys import INITRAMFS, KERNEL, live_iso, put
from twisted.internet import reactor

from mic.bases import Bases
from mic.build import Builder
from mic.config import AgentSettings
from mic.ignition import Agent
from mic.image.base import BasePaths
from mic.images import Images
from mic.kube.images import GeneratedImage, ImageRequest
from mic.nmstate import Keyfile
from mic.provider import PublishedImages
from mic.threads import Threads

HTTPS = "https://mic.example:8084/a"
HTTP = "http://mic.example:8085/b"


async def no_keyfiles(_document: bytes) -> tuple[Keyfile, ...]:
    return ()


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(reactor)
    threads.startService()
    yield threads
    pytest_twisted.blockon(threads.stopService())


def provider(directory: Path, threads: Threads, http_publish_url: str) -> PublishedImages:
    paths = BasePaths(
        iso=str(put(directory / "ipa.iso", live_iso())),
        initramfs=str(put(directory / "ipa.initramfs", INITRAMFS)),
        kernel=str(put(directory / "ipa.kernel", KERNEL)),
    )
    bases = Bases(paths, "x86_64", threads)
    agent = Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",))
    settings = AgentSettings(agent=agent, pull_secret_file=str(directory / "none"))
    return PublishedImages(
        publish_url=HTTPS,
        http_publish_url=http_publish_url,
        rootfs_url="",
        host_architecture="x86_64",
        images=Images(bases, lambda: 1000.0),
        bases=bases,
        builder=Builder(settings, no_keyfiles, threads),
    )


async def build(images: PublishedImages, format: str, hostname: str = "host") -> GeneratedImage:
    return await images.build(
        ImageRequest(
            namespace="metal3",
            name="host-0",
            uid="1",
            format=format,
            architecture="x86_64",
            stream="",
            hostname=hostname,
            nmstate=None,
        )
    )


@pytest.mark.parametrize("http", ["", HTTP])
@pytest_twisted.ensureDeferred
async def test_what_network_boot_reads_is_published_as_plain_http_if_there_is_any(
    tmp_path: Path, threads: Threads, http: str
) -> None:
    images = provider(tmp_path, threads, http)
    iso, initrd = await build(images, "iso"), await build(images, "initrd")
    assert iso.image_url.startswith(f"{HTTPS}/")
    assert iso.image_url.endswith(".iso")
    assert iso.kernel_url == ""
    assert initrd.image_url.startswith(f"{http or HTTPS}/")
    assert initrd.image_url.endswith(".initramfs")
    assert initrd.kernel_url == f"{http or HTTPS}/kernel-x86_64"
    for url in (iso.image_url, initrd.image_url, initrd.kernel_url):
        assert images.serves(url)


@pytest_twisted.ensureDeferred
async def test_a_url_counts_as_it_is_published_now(tmp_path: Path, threads: Threads) -> None:
    """One of before the flag was given is to be written anew."""
    images = provider(tmp_path, threads, HTTP)
    iso, initrd = await build(images, "iso"), await build(images, "initrd")
    assert not images.serves(iso.image_url.replace(HTTPS, HTTP))
    assert not images.serves(initrd.image_url.replace(HTTP, HTTPS))
    assert not images.serves(f"{initrd.kernel_url}x")


@pytest.mark.parametrize("format", ["iso", "initrd"])
@pytest_twisted.ensureDeferred
async def test_the_url_to_keep_is_kept_and_others_are_not(
    tmp_path: Path, threads: Threads, format: str
) -> None:
    images = provider(tmp_path, threads, HTTP)
    old, new = await build(images, format, "old"), await build(images, format, "new")
    assert old.image_url != new.image_url
    images.discard("metal3", "host-0", keep_url=new.image_url)
    assert images.serves(new.image_url)
    assert not images.serves(old.image_url)
    assert (await build(images, format, "new")).image_url == new.image_url
    images.discard("metal3", "host-0")
    assert not images.serves(new.image_url)

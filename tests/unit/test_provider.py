"""Names of controller mode's images, random or derived from a key, and their URLs.

Scope: mic.provider over real bases and archives; what HTTP clients get is tested elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from toys import live_iso, put
from twisted.internet import reactor

from mic.bases import Bases
from mic.build import Builder
from mic.config import AgentSettings
from mic.errors import BaseUnavailable
from mic.ignition import Agent
from mic.image.base import BasePaths
from mic.image.store import Image
from mic.images import Images
from mic.kube.images import ImageRequest
from mic.nmstate import Keyfile
from mic.provider import PublishedImages
from mic.threads import Threads

KEY = b"0123456789abcdef0123456789abcdef"
NEW = live_iso(kernel=b"MZ another kernel")
AGENT = Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",))
CREATED = 1_700_000_000
REQUEST = ImageRequest(
    namespace="hosts",
    name="worker-0",
    uid="uid-1",
    created=CREATED,
    hostname="worker-0",
    format="iso",
    architecture="x86_64",
    stream="",
    nmstate=b"interfaces: []",
)


async def keyfile(document: bytes) -> tuple[Keyfile, ...]:
    return (Keyfile(name="x.nmconnection", content=document.decode()),)


class Process:
    """What one process serves, over the base images in a directory."""

    def __init__(
        self, iso: Path, threads: Threads, key: bytes, *, started: float = 1e9, http: str = ""
    ) -> None:
        self.bases = Bases(BasePaths(iso=str(iso)), "x86_64", threads)
        self.images = Images(self.bases, lambda: started)
        self.published = PublishedImages(
            publish_url="http://images.example",
            http_publish_url=http,
            rootfs_url="",
            host_architecture="x86_64",
            url_key=key,
            images=self.images,
            bases=self.bases,
            builder=Builder(AgentSettings(agent=AGENT), keyfile, threads),
        )

    async def url(self, request: ImageRequest = REQUEST) -> str:
        return (await self.published.build(request)).image_url

    async def image(self, url: str) -> Image:
        entry = self.images.entry(url.rpartition("/")[2])
        assert entry is not None
        return await self.images.image(entry)


@pytest_twisted.async_yield_fixture
async def threads() -> AsyncIterator[Threads]:
    pool = Threads(reactor)
    pool.startService()
    yield pool
    await pool.stopService()


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    return put(tmp_path / "ipa.iso", live_iso())


@pytest_twisted.ensureDeferred
async def test_without_a_key_names_are_random_and_stay_with_their_content(
    iso: Path, threads: Threads
) -> None:
    one, other = Process(iso, threads, b""), Process(iso, threads, b"")
    url = await one.url()
    assert re.fullmatch(r"http://images\.example/[0-9a-f-]{36}\.iso", url)
    assert await one.url() == url
    assert await other.url() != url


@pytest_twisted.ensureDeferred
async def test_with_a_key_every_process_gives_the_same_name_bytes_tag_and_date(
    iso: Path, threads: Threads
) -> None:
    one, other = Process(iso, threads, KEY), Process(iso, threads, KEY, started=2e9)
    url = await one.url()
    assert re.fullmatch(r"http://images\.example/[a-z2-7]{32}\.iso", url)
    assert await other.url() == url
    first, second = await one.image(url), await other.image(url)
    assert first.etag == second.etag
    assert first.last_modified == second.last_modified == CREATED
    assert first.layout.read(0, first.size) == second.layout.read(0, second.size)


@pytest_twisted.ensureDeferred
async def test_a_kernel_is_the_same_in_every_process_but_for_its_date(
    iso: Path, threads: Threads
) -> None:
    one, other = Process(iso, threads, KEY), Process(iso, threads, KEY, started=2e9)
    boot = [await each.published.build(replace(REQUEST, format="initrd")) for each in (one, other)]
    assert boot[0] == boot[1]
    first, second = await one.image(boot[0].kernel_url), await other.image(boot[1].kernel_url)
    assert first.etag == second.etag
    assert (first.last_modified, second.last_modified) == (1e9, 2e9)


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "others"},
        {"name": "worker-1"},
        {"uid": "uid-2"},
        {"format": "initrd"},
        {"nmstate": b"interfaces: [] # other"},
        {"nmstate": None},
        {"hostname": "elsewhere"},
    ],
)
@pytest_twisted.ensureDeferred
async def test_another_object_or_other_bytes_have_another_name(
    iso: Path, threads: Threads, change: dict[str, str]
) -> None:
    process = Process(iso, threads, KEY)
    assert await process.url(replace(REQUEST, **change)) != await process.url()  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_another_key_gives_another_name(iso: Path, threads: Threads) -> None:
    one, other = Process(iso, threads, KEY), Process(iso, threads, KEY[::-1])
    assert await one.url() != await other.url()


@pytest_twisted.ensureDeferred
async def test_a_derived_name_never_stands_for_other_bytes(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, KEY)
    old = await process.url()
    put(iso, NEW)
    await process.bases.refresh()
    with pytest.raises(BaseUnavailable, match="another one than it was made on"):
        await process.image(old)
    new = await process.url()
    assert new != old
    assert (await process.image(new)).size == len(NEW)
    put(iso, live_iso())
    await process.bases.refresh()
    assert await process.url() == old


@pytest_twisted.ensureDeferred
async def test_a_random_name_goes_over_to_a_new_base(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, b"")
    url = await process.url()
    before = await process.image(url)
    put(iso, NEW)
    await process.bases.refresh()
    after = await process.image(url)
    assert after.etag != before.etag
    assert after.last_modified > before.last_modified
    assert await process.url() == url


@pytest_twisted.ensureDeferred
async def test_only_what_is_kept_is_served_on(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, KEY)
    urls = [
        await process.url(replace(REQUEST, nmstate=b"interfaces: [] # %d" % each))
        for each in range(3)
    ]
    process.published.discard("hosts", "other")
    process.published.discard("hosts", "worker-0", keep=[urls[1], "http://elsewhere/x.iso"])
    assert [process.published.serves(url) for url in urls] == [False, True, False]
    process.published.discard("hosts", "worker-0")
    assert len(process.images) == 0


@pytest_twisted.ensureDeferred
async def test_the_key_is_in_no_repr(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, KEY)
    url = await process.url()
    entry = process.images.entry(url.rpartition("/")[2])
    assert entry is not None
    name = url.rpartition("/")[2]
    for shown in (repr(process.published), repr(entry), repr(entry.content), repr(REQUEST)):
        assert KEY.decode() not in shown
        assert name not in shown


@pytest_twisted.ensureDeferred
async def test_a_label_leads_to_its_object_for_as_long_as_an_image_has_it(
    iso: Path, threads: Threads
) -> None:
    published = Process(iso, threads, b"").published
    label = "hosts/worker-0 iso"
    old = (await published.build(REQUEST)).image_url
    again = replace(REQUEST, uid="uid-2", nmstate=b"other: {}")
    new = (await published.build(again)).image_url
    published.discard("hosts", "worker-0", keep=[new])
    assert old != new
    subject = published.subject(label)
    assert subject is not None
    assert (subject.namespace, subject.name, subject.uid) == ("hosts", "worker-0", "uid-2")
    assert published.subject("kernel") is None
    published.discard("hosts", "worker-0")
    assert published.subject(label) is None


HTTP = "http://boot.example:8085/b"


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize("http", ["", HTTP])
@pytest_twisted.ensureDeferred
async def test_what_network_boot_reads_is_published_as_plain_http_if_there_is_any(
    iso: Path, threads: Threads, http: str, key: bytes
) -> None:
    process = Process(iso, threads, key, http=http)
    medium = await process.published.build(REQUEST)
    boot = await process.published.build(replace(REQUEST, format="initrd"))
    assert re.fullmatch(r"http://images\.example/[^/]+\.iso", medium.image_url)
    assert medium.kernel_url == ""
    where = re.escape(http or "http://images.example")
    assert re.fullmatch(rf"{where}/[^/]+\.initramfs", boot.image_url)
    assert re.fullmatch(rf"{where}/kernel-x86_64", boot.kernel_url)
    for url in (medium.image_url, boot.image_url, boot.kernel_url):
        assert process.published.serves(url)


@pytest_twisted.ensureDeferred
async def test_a_url_of_before_there_was_plain_http_is_none_of_ours(
    iso: Path, threads: Threads
) -> None:
    """So that the new one is written into the status."""
    before, process = Process(iso, threads, KEY), Process(iso, threads, KEY, http=HTTP)
    request = replace(REQUEST, format="initrd")
    old, new = await before.url(request), await process.url(request)
    assert old.rpartition("/")[2] == new.rpartition("/")[2]
    assert process.published.serves(new)
    assert not process.published.serves(old)
    medium = await process.url()
    assert not process.published.serves(medium.replace("http://images.example", HTTP))


@pytest_twisted.ensureDeferred
async def test_only_what_is_kept_is_served_on_over_plain_http_too(
    iso: Path, threads: Threads
) -> None:
    process = Process(iso, threads, b"", http=HTTP)
    request = replace(REQUEST, format="initrd")
    old, new = await process.url(replace(request, hostname="old")), await process.url(request)
    process.published.discard("hosts", "worker-0", keep=[new])
    assert [process.published.serves(url) for url in (old, new)] == [False, True]


@pytest_twisted.ensureDeferred
async def test_a_derived_name_on_another_base_counts_as_not_served(
    iso: Path, threads: Threads
) -> None:
    """So that an object on its way out, too, gets one that leads to an image."""
    process = Process(iso, threads, KEY)
    old = await process.url()
    assert process.published.serves(old)
    put(iso, NEW)
    await process.bases.refresh()
    assert not process.published.serves(old)
    new = await process.url()
    assert process.published.serves(new)
    put(iso, live_iso())
    await process.bases.refresh()
    await process.url()
    assert process.published.serves(old)

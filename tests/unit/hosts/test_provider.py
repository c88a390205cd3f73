"""Names of controller mode's images, random or derived from a key, and their URLs.

Scope: mic.hosts.provider over real bases and archives; what HTTP clients get is tested elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from toys import INITRAMFS, KERNEL, lack_of_descriptors, live_iso, put

from mic.common.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.common.generated import Generated
from mic.common.host_data import HostData
from mic.common.keyfile import Keyfile
from mic.common.threads import Threads
from mic.common.warning import HostWarning
from mic.hosts.agent_files import AgentFiles
from mic.hosts.build import Builder
from mic.hosts.provider import Provider
from mic.hosts.publish import Publisher
from mic.ignition import Agent
from mic.images.bases import Bases
from mic.images.store import Image, ImageId, Store
from mic.kube.builds import BuildRequest
from mic.media.base import Kind
from mic.media.catalog import BasePaths
from mic.media.isowriter import coreos_files, write_iso
from mic.settings.model import AgentSettings

KEY = b"0123456789abcdef0123456789abcdef"
NEW = live_iso(kernel=b"MZ another kernel")
AGENT = Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",))
SETTINGS = AgentSettings(agent=AGENT)
CREATED = 1_700_000_000
REQUEST = BuildRequest(
    namespace="hosts",
    name="worker-0",
    uid="uid-1",
    created=CREATED,
    hostname="worker-0",
    format="iso",
    architecture="x86_64",
    stream="",
    data=HostData(network=b"interfaces: []"),
)


async def keyfile(document: bytes) -> Generated:
    return Generated(keyfiles=(Keyfile(name="x.nmconnection", content=document.decode()),))


class Process:
    """The images that one process serves, over the base images in a directory."""

    def __init__(
        self,
        iso: Path,
        threads: Threads,
        key: bytes,
        *,
        started: float = 1e9,
        http: str = "",
        rootfs: str = "",
        settings: AgentSettings = SETTINGS,
    ) -> None:
        self.bases = Bases(BasePaths(iso=str(iso)), "x86_64", threads)
        self.images = Store(self.bases, lambda: started)
        self.provider = Provider(
            rootfs_url=rootfs,
            host_architecture="x86_64",
            url_key=key,
            images=self.images,
            bases=self.bases,
            agent_files=AgentFiles(settings, threads),
            builder=Builder(threads, external=self.converted),
            publisher=Publisher(
                self.images, publish_url="http://images.example", http_publish_url=http
            ),
        )
        self.conversions = 0
        self.warnings: tuple[HostWarning, ...] = ()

    async def converted(self, document: bytes) -> Generated:
        self.conversions += 1
        return replace(await keyfile(document), warnings=self.warnings, network="eno1 192.0.2.1/24")

    async def url(self, request: BuildRequest = REQUEST) -> str:
        return (await self.provider.build(request)).image_url

    async def image(self, url: str) -> Image:
        entry = self.images.entry(url.rpartition("/")[2])
        assert entry is not None
        return await self.images.load(entry)


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
async def test_a_kernel_differs_between_processes_only_in_its_date(
    iso: Path, threads: Threads
) -> None:
    one, other = Process(iso, threads, KEY), Process(iso, threads, KEY, started=2e9)
    boot = [await each.provider.build(replace(REQUEST, format="initrd")) for each in (one, other)]
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
        {"data": HostData(network=b"interfaces: [] # other")},
        {"data": HostData()},
        {"data": HostData(network=b"interfaces: []", kernel_arguments=b"quiet")},
        {"data": HostData(network=b"interfaces: []", ignition=b'{"ignition":{"version":"3.0.0"}}')},
        {"hostname": "elsewhere"},
    ],
)
@pytest_twisted.ensureDeferred
async def test_other_objects_and_other_bytes_get_other_names(
    iso: Path, threads: Threads, change: dict[str, Any]
) -> None:
    process = Process(iso, threads, KEY)
    assert await process.url(replace(REQUEST, **change)) != await process.url()


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
    with pytest.raises(BaseUnavailable, match="has changed since this image was built"):
        await process.image(old)
    new = await process.url()
    assert new != old
    assert (await process.image(new)).size == len(NEW)
    put(iso, live_iso())
    await process.bases.refresh()
    assert await process.url() == old


@pytest_twisted.ensureDeferred
async def test_a_random_name_moves_to_a_new_base_image(iso: Path, threads: Threads) -> None:
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
async def test_discards_all_but_the_kept_urls(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, KEY)
    urls = [
        await process.url(replace(REQUEST, data=HostData(network=b"interfaces: [] # %d" % each)))
        for each in range(3)
    ]
    process.provider.discard("hosts", "other")
    process.provider.discard("hosts", "worker-0", keep=[urls[1], "http://elsewhere/x.iso"])
    assert [process.provider.serves(url) for url in urls] == [False, True, False]
    process.provider.discard("hosts", "worker-0")
    assert len(process.images) == 0


@pytest_twisted.ensureDeferred
async def test_the_key_is_in_no_repr(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, KEY)
    url = await process.url()
    entry = process.images.entry(url.rpartition("/")[2])
    assert entry is not None
    name = url.rpartition("/")[2]
    for shown in (repr(process.provider), repr(entry), repr(entry.content), repr(REQUEST)):
        assert KEY.decode() not in shown
        assert name not in shown


@pytest_twisted.ensureDeferred
async def test_knows_the_object_of_an_image_until_the_last_one_is_discarded(
    iso: Path, threads: Threads
) -> None:
    provider = Process(iso, threads, b"").provider
    id = ImageId("hosts", "worker-0", Kind.ISO)
    old = (await provider.build(REQUEST)).image_url
    again = replace(REQUEST, uid="uid-2", data=HostData(network=b"other: {}"))
    new = (await provider.build(again)).image_url
    provider.discard("hosts", "worker-0", keep=[new])
    assert old != new
    subject = provider.subject(id)
    assert subject is not None
    assert (subject.namespace, subject.name, subject.uid) == ("hosts", "worker-0", "uid-2")
    assert provider.subject(ImageId("", "kernel", Kind.KERNEL)) is None
    provider.discard("hosts", "worker-0")
    assert provider.subject(id) is None


@pytest_twisted.ensureDeferred
async def test_knows_warnings_and_network_of_a_served_image(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, b"")
    process.warnings = (HostWarning("interfaces[0]", "no address", "no address"),)
    for _ in range(2):
        built = await process.provider.build(REQUEST)
        assert built.warnings == ("interfaces[0]: no address",)
        assert built.network == "eno1 192.0.2.1/24"
    about = process.provider.about("hosts", "worker-0", built.image_url)
    assert about is not None
    assert (about.warnings, about.network) == (process.warnings, "eno1 192.0.2.1/24")
    assert process.conversions == 1
    assert process.provider.about("hosts", "worker-1", built.image_url) is None
    assert process.provider.about("hosts", "worker-0", "") is None
    process.provider.discard("hosts", "worker-0")
    assert process.provider.about("hosts", "worker-0", built.image_url) is None


@pytest_twisted.ensureDeferred
async def test_names_what_differs_from_the_image_before(iso: Path, threads: Threads) -> None:
    provider = Process(iso, threads, b"").provider
    assert (await provider.build(REQUEST)).changes == ""
    assert (await provider.build(REQUEST)).changes == ""
    other = replace(REQUEST, data=HostData(network=b"other: {}"))
    assert (await provider.build(other)).changes == "keyfiles x.nmconnection"


@pytest.mark.parametrize("key", [b"", KEY])
@pytest_twisted.ensureDeferred
async def test_does_not_convert_a_published_document_again(
    iso: Path, threads: Threads, key: bytes
) -> None:
    process = Process(iso, threads, key)
    first = await process.url()
    assert await process.url() == first
    assert process.conversions == 1
    other = await process.url(replace(REQUEST, data=HostData(network=b"interfaces: [] # other")))
    assert await process.url() == first
    assert process.conversions == 2, "both documents are published"
    await process.url(replace(REQUEST, name="worker-1"))
    assert process.conversions == 3, "objects do not share archives"
    process.provider.discard("hosts", "worker-0", keep=[other])
    assert await process.url() != first or key
    assert process.conversions == 4
    image = await process.image(await process.url())
    assert image.etag


@pytest_twisted.ensureDeferred
async def test_rebuilds_after_a_change_of_base_image_or_settings(
    iso: Path, threads: Threads, tmp_path: Path
) -> None:
    registries = put(tmp_path / "registries.conf", b"# one\n")
    settings = AgentSettings(agent=AGENT, registries_conf=str(registries))
    process = Process(iso, threads, KEY, settings=settings)
    urls = [await process.url()]
    put(iso, NEW)
    await process.bases.refresh()
    urls.append(await process.url())
    put(registries, b"# two\n")
    await process.provider.poll()
    urls.append(await process.url())
    assert len(set(urls)) == 3
    assert (await process.image(urls[2])).etag != (await process.image(urls[1])).etag


@pytest_twisted.ensureDeferred
async def test_a_lack_of_descriptors_is_no_change_and_makes_no_object_invalid(
    iso: Path, threads: Threads, tmp_path: Path
) -> None:
    bundle = put(tmp_path / "ca.pem", b"-----BEGIN CERTIFICATE-----")
    settings = AgentSettings(agent=AGENT, ca_bundle=str(bundle))
    process = Process(iso, threads, b"", settings=settings)
    changes: list[str] = []
    process.provider.on_change(lambda: changes.append("changed"))
    await process.url()
    await process.provider.poll()
    changes.clear()
    with lack_of_descriptors():
        await process.provider.poll()
        with pytest.raises(NotReady, match="Too many open files"):
            await process.url()
    await process.provider.poll()
    assert changes == []
    await process.url()
    put(bundle, b"-----BEGIN CERTIFICATE----- another")
    await process.provider.poll()
    assert changes == ["changed"]


@pytest_twisted.ensureDeferred
async def test_kernel_arguments_are_in_the_iso_or_in_the_parameters(
    iso: Path, threads: Threads
) -> None:
    process = Process(iso, threads, KEY)
    request = replace(REQUEST, data=HostData(kernel_arguments=b"console=ttyS0 quiet"))
    medium = await process.provider.build(request)
    boot = await process.provider.build(replace(request, format="initrd"))
    assert medium.extra_kernel_params == ""
    assert boot.extra_kernel_params == "console=ttyS0 quiet"
    entry = process.images.entry(medium.image_url.rpartition("/")[2])
    assert entry is not None
    image = await process.images.load(entry)
    assert b" console=ttyS0 quiet\n" in image.layout.read(0, image.size)


@pytest.mark.parametrize(
    ("stream", "rootfs"), [("", "rootfs_s390x.img"), ("rhel-10", "rootfs-rhel-10_s390x.img")]
)
@pytest_twisted.ensureDeferred
async def test_another_architecture_gets_its_rootfs_and_its_arguments(
    stream: str, rootfs: str, iso: Path, threads: Threads
) -> None:
    put(iso.with_name("ipa_s390x.iso"), live_iso(kernel=b"the kernel of s390x"))
    process = Process(iso, threads, KEY, rootfs="http://192.0.2.1/rootfs.img")
    words = "rd.znet=qeth,0.0.f500,0.0.f501,0.0.f502,layer2=1 console=ttysclp0"
    request = replace(
        REQUEST,
        format="initrd",
        architecture="s390x",
        stream=stream,
        data=HostData(kernel_arguments=words.encode()),
    )
    built = await process.provider.build(request)
    url = f"coreos.live.rootfs_url=http://192.0.2.1/{rootfs}"
    assert built.extra_kernel_params == f"{url} {words}"
    kernel = await process.image(built.kernel_url)
    assert kernel.layout.read(0, kernel.size) == b"the kernel of s390x"


@pytest_twisted.ensureDeferred
async def test_only_this_architecture_may_have_an_initramfs_without_a_kernel(
    iso: Path, threads: Threads
) -> None:
    """Ironic boots it with a kernel of its own, which is for this architecture."""
    files = coreos_files(kernel=KERNEL, initramfs=INITRAMFS, rootfs=b"rootfs")
    del files["/images/pxeboot/vmlinuz"]
    for name in ("ipa.iso", "ipa_aarch64.iso"):
        put(iso.with_name(name), write_iso(files))
    process = Process(iso, threads, KEY)
    request = replace(REQUEST, format="initrd")
    built = await process.provider.build(request)
    assert built.image_url
    assert built.kernel_url == ""
    with pytest.raises(BuildInvalid, match=r"no kernel for architecture aarch64: .*aarch64\.iso"):
        await process.provider.build(replace(request, architecture="aarch64"))


@pytest_twisted.ensureDeferred
async def test_refuses_more_arguments_than_a_kernel_reads(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, KEY, rootfs="http://192.0.2.1/rootfs.img")
    url = "coreos.live.rootfs_url=http://192.0.2.1/rootfs.img "
    longest = "x" * (2047 - len(url))
    request = replace(REQUEST, format="initrd", data=HostData(kernel_arguments=longest.encode()))
    built = await process.provider.build(request)
    assert built.extra_kernel_params == url + longest
    more = HostData(kernel_arguments=f"{longest}x".encode())
    with pytest.raises(
        BuildInvalid, match=r"have 2048 bytes, a kernel for x86_64 reads at most 2047"
    ):
        await process.provider.build(replace(request, data=more))


@pytest_twisted.ensureDeferred
async def test_refuses_to_remove_arguments_of_network_boot(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, KEY)
    request = replace(REQUEST, data=HostData(kernel_arguments=b"-key=hunter2"))
    assert await process.url(request)
    with pytest.raises(BuildInvalid, match="argument key cannot be taken away from network boot"):
        await process.url(replace(request, format="initrd"))


HTTP = "http://boot.example:8085/b"


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize("http", ["", HTTP])
@pytest_twisted.ensureDeferred
async def test_publishes_network_boot_files_over_plain_http_if_there_is_any(
    iso: Path, threads: Threads, http: str, key: bytes
) -> None:
    process = Process(iso, threads, key, http=http)
    medium = await process.provider.build(REQUEST)
    boot = await process.provider.build(replace(REQUEST, format="initrd"))
    assert re.fullmatch(r"http://images\.example/[^/]+\.iso", medium.image_url)
    assert medium.kernel_url == ""
    where = re.escape(http or "http://images.example")
    assert re.fullmatch(rf"{where}/[^/]+\.initramfs", boot.image_url)
    assert re.fullmatch(rf"{where}/kernel-x86_64", boot.kernel_url)
    for url in (medium.image_url, boot.image_url, boot.kernel_url):
        assert process.provider.serves(url)


@pytest_twisted.ensureDeferred
async def test_does_not_recognise_urls_from_before_plain_http(iso: Path, threads: Threads) -> None:
    """So that the controller writes the new one into the status."""
    before, process = Process(iso, threads, KEY), Process(iso, threads, KEY, http=HTTP)
    request = replace(REQUEST, format="initrd")
    old, new = await before.url(request), await process.url(request)
    assert old.rpartition("/")[2] == new.rpartition("/")[2]
    assert process.provider.serves(new)
    assert not process.provider.serves(old)
    medium = await process.url()
    assert not process.provider.serves(medium.replace("http://images.example", HTTP))


@pytest_twisted.ensureDeferred
async def test_discards_all_but_the_kept_urls_over_plain_http(iso: Path, threads: Threads) -> None:
    process = Process(iso, threads, b"", http=HTTP)
    request = replace(REQUEST, format="initrd")
    old, new = await process.url(replace(request, hostname="old")), await process.url(request)
    process.provider.discard("hosts", "worker-0", keep=[new])
    assert [process.provider.serves(url) for url in (old, new)] == [False, True]


@pytest_twisted.ensureDeferred
async def test_does_not_serve_a_derived_name_on_another_base_image(
    iso: Path, threads: Threads
) -> None:
    """So that an object being deleted, too, gets a URL that works."""
    process = Process(iso, threads, KEY)
    old = await process.url()
    assert process.provider.serves(old)
    put(iso, NEW)
    await process.bases.refresh()
    assert not process.provider.serves(old)
    new = await process.url()
    assert process.provider.serves(new)
    put(iso, live_iso())
    await process.bases.refresh()
    await process.url()
    assert process.provider.serves(old)

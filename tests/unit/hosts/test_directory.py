"""Static mode: how images follow files that are added, changed, broken and removed.

Scope: mic.hosts.directory and mic.hosts.build, with real files, threads and bases; NMState
conversion is a function of the test.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_twisted
from miniso import with_minimal
from toys import EMBED_LENGTH, lack_of_descriptors, live_iso, put
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.common.errors import BuildInvalid, NotReady
from mic.common.generated import Generated
from mic.common.health import Health
from mic.common.keyfile import Keyfile
from mic.common.threads import Threads
from mic.hosts.agent_files import AgentFiles
from mic.hosts.build import Builder
from mic.hosts.directory import StaticHosts
from mic.hosts.publish import Publisher
from mic.hosts.status import HostState, HostStatus
from mic.ignition import Agent
from mic.images.bases import Bases
from mic.images.store import Entry, Store
from mic.media.base import IMAGES
from mic.media.catalog import BasePaths
from mic.media.coreos import ROOTFS
from mic.media.cpio import config_of
from mic.media.isowriter import coreos_files
from mic.nmstate import generate
from mic.settings.model import AgentSettings

TWO_DOUBTS = b"""\
interfaces:
- {name: eth0, type: ethernet, state: up, ipv4: {enabled: false, dhcp: true}}
- {name: eth1, type: ethernet, state: up, ipv4: {enabled: true}}
"""


class Site:
    """Static mode without its HTTP server."""

    def __init__(
        self, folder: Path, threads: Threads, *, minimal: bool = False, built_in: bool = False
    ) -> None:
        self.folder = folder
        self.directory = folder / "hosts"
        self.directory.mkdir()
        self.iso = put(folder / "ipa.iso", live_iso())
        self.now = 1000.0
        self.converted: list[bytes] = []
        self.answer: Callable[[bytes], Awaitable[Generated]] = self.convert
        self.bases = Bases(BasePaths(iso=str(self.iso)), "x86_64", threads, minimal=minimal)
        self.images = Store(self.bases, lambda: self.now)
        settings = AgentSettings(
            agent=Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",)),
            pull_secret_file=str(folder / "pull-secret"),
            registries_conf=str(put(folder / "registries.conf", b"[registries]")),
            ca_bundle=str(put(folder / "ca.pem", b"-----BEGIN CERTIFICATE-----")),
        )
        self.builder = Builder(threads, external=None if built_in else self.ask)
        self.hosts = StaticHosts(
            directory=str(self.directory),
            images=self.images,
            bases=self.bases,
            agent_files=AgentFiles(settings, threads),
            builder=self.builder,
            publisher=Publisher(self.images, publish_url="http://mic"),
            threads=threads,
            reactor=reactor,
        )

    def ask(self, document: bytes) -> Awaitable[Generated]:
        return self.answer(document)

    async def convert(self, document: bytes) -> Generated:
        """Return one keyfile with the document; fail for ``bad``, ``later`` and ``bug``."""
        self.converted.append(document)
        if document.startswith(b"bad"):
            raise BuildInvalid("interfaces[0]: bad")
        if document.startswith(b"later"):
            raise NotReady("not now")
        if document.startswith(b"bug"):
            raise RuntimeError("a fault of ours")
        return Generated(keyfiles=(Keyfile(name="eth0.nmconnection", content=document.decode()),))

    async def generate(self, document: bytes) -> Generated:
        """Convert with the built-in generator."""
        return generate(document)

    def put(self, name: str, content: bytes = b"a: b") -> Path:
        return put(self.directory / name, content)

    async def poll(self) -> None:
        """Poll as the service does."""
        await self.bases.refresh()
        await self.hosts.poll()

    def entry(self, name: str) -> Entry:
        entry = self.images.entry(name)
        assert entry is not None, f"{name} is not published"
        return entry

    def config(self, name: str = "w.iso") -> dict[str, Any]:
        value: dict[str, Any] = json.loads(
            config_of(self.entry(name).content.customisation.archive)
        )
        return value

    def network(self, name: str = "w.iso") -> list[str]:
        """The contents of the keyfiles of an image."""
        return [
            unquote(file["contents"]["source"].removeprefix("data:,"))
            for file in self.config(name)["storage"]["files"]
            if "system-connections" in file["path"]
        ]

    @property
    def names(self) -> set[str]:
        """What is published of hosts, without boot files and scripts."""
        return {entry.name for entry in self.images if entry.content.kind in IMAGES}


@pytest_twisted.async_yield_fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    threads = Threads(reactor)
    threads.startService()
    yield Site(tmp_path, threads)
    await threads.stopService()


@pytest_twisted.async_yield_fixture
async def minimal_site(tmp_path: Path) -> AsyncIterator[Site]:
    threads = Threads(reactor)
    threads.startService()
    yield Site(tmp_path, threads, minimal=True)
    await threads.stopService()


@pytest_twisted.async_yield_fixture
async def batch_site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site with the built-in generator, which builds small hosts in batches."""
    threads = Threads(reactor)
    threads.startService()
    yield Site(tmp_path, threads, built_in=True)
    await threads.stopService()


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """Errors logged during the test."""
    seen: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "error":
            seen.append(str(event.get("text", event.get("error"))))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


class TestFiles:
    @pytest_twisted.ensureDeferred
    async def test_publishes_an_iso_and_an_initramfs_per_file(self, site: Site) -> None:
        for name in ("a.yaml", "b.yml", "c.json"):
            site.put(name)
        await site.poll()
        assert site.names == {f"{host}.{kind}" for host in "abc" for kind in ("iso", "initramfs")}
        unit = site.config("b.initramfs")["systemd"]["units"][0]["contents"]
        assert "IPA_DEFAULT_HOSTNAME=b " in unit

    @pytest_twisted.ensureDeferred
    async def test_an_empty_file_is_a_host_without_network_configuration(self, site: Site) -> None:
        site.put("w.yaml", b"")
        site.put("x.yaml", b" \n\n")
        await site.poll()
        assert site.network("w.iso") == site.network("x.iso") == []
        assert site.converted == []

    @pytest_twisted.ensureDeferred
    async def test_ignores_files_that_are_not_hosts(self, site: Site, errors: list[str]) -> None:
        for name in (".hidden.yaml", "README", "x.yaml~", "x.yaml.bak", "x.YAML", "yaml", ".yaml"):
            site.put(name)
        (site.directory / "directory.yaml").mkdir()
        os.mkfifo(site.directory / "fifo.yaml")
        (site.directory / "dangling.yaml").symlink_to("nowhere")
        (site.directory / "device.yaml").symlink_to("/dev/zero")
        await site.poll()
        assert site.names == set()
        assert errors == []

    @pytest_twisted.ensureDeferred
    async def test_polling_leaks_no_descriptors(self, site: Site) -> None:
        (site.directory / "directory.yaml").mkdir()
        os.mkfifo(site.directory / "fifo.yaml")
        site.put("w.yaml")
        await site.poll()
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await site.poll()
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before

    @pytest_twisted.ensureDeferred
    async def test_follows_added_changed_and_removed_files(self, site: Site) -> None:
        site.put("w.yaml", b"one")
        site.put("other.yaml")
        await site.poll()
        other = site.entry("other.iso")
        assert site.network() == ["one"]
        site.put("w.yaml", b"two")
        site.put("new.yaml")
        await site.poll()
        assert site.network() == ["two"]
        assert "new.iso" in site.names
        (site.directory / "w.yaml").unlink()
        await site.poll()
        assert site.names == {f"{h}.{k}" for h in ("other", "new") for k in ("iso", "initramfs")}
        # Unchanged hosts keep their images.
        assert site.entry("other.iso") is other
        assert sorted(site.converted) == [b"a: b", b"a: b", b"one", b"two"]

    @pytest_twisted.ensureDeferred
    async def test_polling_again_changes_nothing(self, site: Site) -> None:
        site.put("w.yaml")
        await site.poll()
        entry = site.entry("w.iso")
        site.now = 5000
        os.utime(site.directory / "w.yaml", (1, 1))
        await site.poll()
        assert site.entry("w.iso") is entry
        assert entry.date == 1000
        assert len(site.converted) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_new_image_has_a_later_date_and_the_old_one_stays_readable(
        self, site: Site
    ) -> None:
        site.put("w.yaml", b"one")
        await site.poll()
        before = await site.images.load(site.entry("w.iso"))
        old = before.layout.read(0, before.size)
        site.put("w.yaml", b"two")
        await site.poll()
        after = await site.images.load(site.entry("w.iso"))
        assert after.last_modified > before.last_modified
        assert after.etag != before.etag
        assert before.layout.read(0, before.size) == old

    @pytest_twisted.ensureDeferred
    async def test_of_two_files_for_one_host_the_first_suffix_wins(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.json", b"json")
        site.put("w.yml", b"yml")
        await site.poll()
        assert site.network() == ["yml"]
        assert "w.yml: w.json names the same host and is ignored" in errors[0]
        site.put("w.yaml", b"yaml")
        await site.poll()
        assert site.network() == ["yaml"]
        for name in ("w.yml", "w.json"):
            assert name in errors[-1]
            (site.directory / name).unlink()
        await site.poll()
        assert site.hosts.health().warnings == ()
        (site.directory / "w.yaml").unlink()
        site.put("w.json", b"json")
        await site.poll()
        assert site.network() == ["json"], "the next file takes over the host"

    @pytest_twisted.ensureDeferred
    async def test_accepts_any_printable_name(self, site: Site, errors: list[str]) -> None:
        site.put("a b%2F?é.yaml")
        site.put("x.y.z.yaml")
        (site.directory / os.fsdecode(b"bad\xff.yaml")).write_bytes(b"")
        site.put("new\nline.yaml")
        await site.poll()
        assert {name for name in site.names if name.endswith(".iso")} == {
            "a b%2F?é.iso",
            "x.y.z.iso",
        }
        assert len(errors) == 2
        assert all("is not a host name" in error and "\n" not in error for error in errors)

    @pytest_twisted.ensureDeferred
    async def test_rejects_a_file_that_is_too_large(self, site: Site, errors: list[str]) -> None:
        site.put("w.yaml", bytes(5_000_000))
        await site.poll()
        assert site.names == set()
        (error,) = errors
        assert error.endswith("w.yaml: the file has more than 4194304 bytes; w has no image")

    @pytest_twisted.ensureDeferred
    async def test_keeps_the_image_of_a_file_that_cannot_be_read(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.yaml")
        site.put("other.yaml")
        await site.poll()
        path = site.directory / "w.yaml"
        path.unlink()
        path.symlink_to("w.yaml")
        await site.poll()
        (error,) = errors
        assert error == f"{path}: Too many levels of symbolic links; its last good image stays"
        assert site.network() == ["a: b"]
        path.unlink()
        site.put("w.yaml", b"new")
        await site.poll()
        assert site.network() == ["new"]
        assert site.hosts.health().warnings == ()

    @pytest_twisted.ensureDeferred
    async def test_keeps_images_while_the_directory_is_missing(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.yaml")
        await site.poll()
        site.directory.rename(site.folder / "away")
        await site.poll()
        await site.poll()
        assert errors == [f"-nmstate-dir: {site.directory}: No such file or directory"]
        assert "w.iso" in site.names
        (site.folder / "away").rename(site.directory)
        site.put("new.yaml")
        await site.poll()
        assert "new.iso" in site.names
        assert site.hosts.health().warnings == ()


class TestConfigMap:
    """A ConfigMap volume: files link to ..data/, which links to a dated directory."""

    def swap(self, site: Site, version: str, files: dict[str, bytes]) -> None:
        folder = site.directory / f"..{version}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        beside = site.directory / "..data_tmp"
        beside.symlink_to(folder.name)
        beside.rename(site.directory / "..data")
        for name in files:
            link = site.directory / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")

    @pytest_twisted.ensureDeferred
    async def test_follows_an_atomic_swap(self, site: Site, errors: list[str]) -> None:
        self.swap(site, "2024_1", {"w.yaml": b"one", "x.yaml": b"same"})
        await site.poll()
        assert {name for name in site.names if name.endswith(".iso")} == {"w.iso", "x.iso"}
        same = site.entry("x.iso")
        self.swap(site, "2024_2", {"w.yaml": b"two", "x.yaml": b"same", "y.yaml": b""})
        await site.poll()
        assert site.network() == ["two"]
        assert site.entry("x.iso") is same
        assert "y.iso" in site.names
        # A key was removed: its link dangles until the kubelet removes it.
        self.swap(site, "2024_3", {"w.yaml": b"two"})
        await site.poll()
        assert {name for name in site.names if name.endswith(".iso")} == {"w.iso"}
        assert errors == []


class TestBadDocuments:
    @pytest_twisted.ensureDeferred
    async def test_keeps_the_last_good_image_and_leaves_others_alone(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.yaml", b"good")
        site.put("x.yaml", b"good")
        await site.poll()
        kept, other = site.entry("w.iso"), site.entry("x.iso")
        path = site.put("w.yaml", b"bad")
        site.put("y.yaml", b"new")
        for _ in range(3):
            await site.poll()
        assert site.entry("w.iso") is kept
        assert site.entry("x.iso") is other
        assert site.network("y.iso") == ["new"]
        assert errors == [f"{path}: interfaces[0]: bad; its last good image stays"]
        assert site.converted.count(b"bad") == 1
        site.put("w.yaml", b"good again")
        await site.poll()
        assert site.network() == ["good again"]
        assert site.hosts.health().warnings == ()

    @pytest_twisted.ensureDeferred
    async def test_publishes_nothing_for_a_bad_document(
        self, site: Site, errors: list[str]
    ) -> None:
        path = site.put("w.yaml", b"bad")
        await site.poll()
        assert site.names == set()
        assert errors == [f"{path}: interfaces[0]: bad; w has no image"]

    @pytest_twisted.ensureDeferred
    async def test_retries_what_may_succeed_later(self, site: Site, errors: list[str]) -> None:
        site.put("w.yaml", b"later")
        await site.poll()
        await site.poll()
        assert site.converted == [b"later"] * 2
        assert len(errors) == 1

        async def now(_: bytes) -> Generated:
            return Generated(keyfiles=())

        site.answer = now
        await site.poll()
        assert "w.iso" in site.names
        assert site.hosts.health().warnings == ()

    @pytest_twisted.ensureDeferred
    async def test_a_defect_affects_one_host(
        self, site: Site, logged_failures: list[LogEvent]
    ) -> None:
        site.put("a.yaml", b"bug")
        site.put("b.yaml", b"fine")
        await site.poll()
        assert {name for name in site.names if name.endswith(".iso")} == {"b.iso"}
        assert [event["path"] for event in logged_failures] == [str(site.directory / "a.yaml")]
        logged_failures.clear()

    @pytest.mark.parametrize("lack", [MemoryError(), OSError(errno.EAGAIN, "no more processes")])
    @pytest_twisted.ensureDeferred
    async def test_retries_after_a_lack_of_memory_or_processes(
        self, site: Site, errors: list[str], lack: Exception
    ) -> None:
        async def lacking(_: bytes) -> Generated:
            raise lack

        site.answer = lacking
        site.put("w.yaml")
        await site.poll()
        await site.poll()
        assert site.names == set()
        assert len(errors) == 1
        site.answer = site.convert
        await site.poll()
        assert "w.iso" in site.names
        assert site.hosts.health().warnings == ()

    @pytest_twisted.ensureDeferred
    async def test_keeps_the_iso_when_a_config_exceeds_the_embed_area(
        self, site: Site, errors: list[str]
    ) -> None:
        put(site.iso, live_iso(fixed=True))
        site.put("w.yaml", b"small")
        await site.poll()
        kept = site.entry("w.iso")
        noise = random.Random(1).randbytes(EMBED_LENGTH).hex().encode()
        site.put("w.yaml", noise)
        await site.poll()
        (error,) = errors
        assert "the Ignition config needs " in error
        assert (
            f"has {EMBED_LENGTH} and cannot be moved to the end of the image; its last good"
            in error
        )
        assert site.entry("w.iso") is kept
        assert site.network("w.initramfs") == [noise.decode()]
        # A base image with more room; the host's file is unchanged.
        put(site.iso, live_iso(4 * EMBED_LENGTH))
        await site.poll()
        assert site.network() == [noise.decode()]
        assert site.hosts.health().warnings == ()


class TestFilesElsewhere:
    """A link may lead to any file that mic can read: no message may show its content."""

    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> Path:
        (tmp_path / "elsewhere").mkdir()
        return tmp_path / "elsewhere"

    @pytest_twisted.ensureDeferred
    async def test_does_not_quote_a_bad_document(
        self, site: Site, errors: list[str], elsewhere: Path
    ) -> None:
        site.answer = site.generate
        for number, content in enumerate(
            [
                b"root:hunter2:0:0:root:/root:/bin/bash\n",
                b"hunter2: 1\n",
                b"hunter2: hunter2: hunter2\n",
                b"interfaces: [{name: eth0, type: hunter2, mtu: hunter2, hunter2: 1}]\n",
                b"interfaces: [{name: hunter2/, type: dummy, state: up, profile-name: hunter2/}]\n",
                b"interfaces: [{name: eth0, type: bond, hunter2: 1, hunter2: 2}]\n",
                b"hunter2 \xff\n",
                b'{"hunter2": hunter2',
                b"- &hunter2 *hunter3",
            ]
        ):
            target = put(elsewhere / f"{number}", content)
            (site.directory / f"w{number}.yaml").symlink_to(target)
        await site.poll()
        assert len(errors) == 9
        errors.sort()  # hosts are built in any order
        for said in (*errors, *site.hosts.health().warnings):
            assert "hunter" not in said
            assert (
                "; not quoted: the link leads out of -nmstate-dir; mic keyfiles FILE says more"
                in said
            )
        assert "w0.yaml: document: expected a mapping; not quoted" in errors[0]
        assert "w2.yaml: document: line 1 column 17: a second" in errors[2]
        assert "w6.yaml: document: byte 8: cannot be used; not quoted" in errors[6]

    @pytest.mark.parametrize("way", ["relative", "a chain", "a directory", "up and down", "/proc"])
    @pytest_twisted.ensureDeferred
    async def test_detects_every_link_that_leads_out(
        self, site: Site, errors: list[str], elsewhere: Path, way: str
    ) -> None:
        site.answer = site.generate
        target = put(elsewhere / "secret", b"hunter2: 1\n")
        link = site.directory / "w.yaml"
        with target.open() as opened:
            if way == "relative":
                link.symlink_to("../elsewhere/secret")
            elif way == "a chain":
                (elsewhere / "link").symlink_to(target)
                (site.directory / "link").symlink_to(elsewhere / "link")
                link.symlink_to("link")
            elif way == "a directory":
                (site.directory / "sub").symlink_to(elsewhere)
                link.symlink_to("sub/secret")
            elif way == "up and down":
                (site.directory / "sub").mkdir()
                link.symlink_to("sub/../../elsewhere/secret")
            else:
                link.symlink_to(f"/proc/self/fd/{opened.fileno()}")
            await site.poll()
        (said,) = errors
        assert "hunter" not in said
        assert "leads out of -nmstate-dir" in said

    @pytest_twisted.ensureDeferred
    async def test_a_sibling_directory_with_a_longer_name_is_elsewhere(
        self, site: Site, errors: list[str]
    ) -> None:
        site.answer = site.generate
        beside = site.directory.with_name("hosts-of-others")
        beside.mkdir()
        (site.directory / "w.yaml").symlink_to(put(beside / "w.yaml", b"hunter2: 1\n"))
        await site.poll()
        assert "hunter" not in errors[0]

    @pytest.mark.parametrize("way", ["a link", "ConfigMap", "a directory", "back in", "deleted"])
    @pytest_twisted.ensureDeferred
    async def test_quotes_documents_behind_links_within_the_directory(
        self, site: Site, errors: list[str], way: str
    ) -> None:
        site.answer = site.generate
        link = site.directory / "w.yaml"
        (site.directory / "..data").mkdir()
        put(site.directory / "..data" / "w.yaml", b"hunter2: 1\n")
        if way == "a link":
            put(site.directory / "w.txt", b"hunter2: 1\n")
            link.symlink_to(site.directory / "w.txt")
        elif way == "ConfigMap":
            link.symlink_to("..data/w.yaml")
        elif way == "a directory":
            (site.directory / "sub").symlink_to(site.directory / "..data")
            link.symlink_to("sub/w.yaml")
        elif way == "back in":
            link.symlink_to("../hosts/..data/w.yaml")
        else:
            path = site.directory / "..data" / "w.yaml"
            with path.open() as opened:
                path.unlink()
                link.symlink_to(f"/proc/self/fd/{opened.fileno()}")
                await site.poll()
        await site.poll()
        assert "hunter2: unknown member 'hunter2'" in errors[0]

    @pytest_twisted.ensureDeferred
    async def test_the_directory_itself_may_be_a_link(
        self, site: Site, errors: list[str], tmp_path: Path
    ) -> None:
        """git-sync changes such a link with each revision."""
        site.answer = site.generate
        site.directory.rename(tmp_path / "revision")
        site.directory.symlink_to("revision")
        site.put("w.yaml", b"hunter2: 1\n")
        await site.poll()
        assert "hunter2: unknown member 'hunter2'" in errors[0]

    @pytest_twisted.ensureDeferred
    async def test_publishes_a_good_document(self, site: Site, elsewhere: Path) -> None:
        link = site.directory / "w.yaml"
        link.symlink_to(put(elsewhere / "w", b"one"))
        await site.poll()
        assert site.network() == ["one"]

    @pytest_twisted.ensureDeferred
    async def test_the_opened_file_counts_when_a_link_changes(
        self, site: Site, errors: list[str], elsewhere: Path
    ) -> None:
        """The location of the file that was read decides."""
        site.answer = site.generate
        inside = put(site.directory / "inside", b"known2: 1\n")
        outside = put(elsewhere / "outside", b"hunter2: 1\n")
        link, other = site.directory / "w.yaml", site.directory / "other"
        link.symlink_to(inside)
        changing = True

        def change() -> None:
            while changing:
                for target in (outside, inside):
                    other.symlink_to(target)
                    other.rename(link)

        thread = Thread(target=change)
        thread.start()
        try:
            for _ in range(200):
                await site.poll()
        finally:
            changing = False
            thread.join()
        assert not any("hunter" in said for said in errors)
        assert all(("known2" in said) != ("leads out" in said) for said in errors)

    @pytest_twisted.ensureDeferred
    async def test_quotes_again_when_the_link_is_replaced(
        self, site: Site, errors: list[str], elsewhere: Path
    ) -> None:
        site.answer = site.generate
        link = site.directory / "w.yaml"
        link.symlink_to(put(elsewhere / "w", b"hunter2: 1\n"))
        await site.poll()
        link.unlink()
        site.put("w.yaml", b"hunter2: 1\n")
        await site.poll()
        assert "hunter2" not in errors[0]
        assert "hunter2" in errors[1]

    @pytest_twisted.ensureDeferred
    async def test_does_not_quote_a_defects_message(
        self, site: Site, errors: list[str], elsewhere: Path, logged_failures: list[Any]
    ) -> None:
        async def fail(document: bytes) -> Generated:
            raise ValueError(document.decode())

        site.answer = fail
        (site.directory / "w.yaml").symlink_to(put(elsewhere / "w", b"hunter2"))
        await site.poll()
        assert logged_failures == []
        (said,) = errors
        assert said == f"{site.directory}/w.yaml: cannot be built: ValueError; w has no image"

    @pytest_twisted.ensureDeferred
    async def test_reports_errors_that_do_not_quote_the_file(
        self, site: Site, errors: list[str], elsewhere: Path
    ) -> None:
        (site.directory / "w.yaml").symlink_to(put(elsewhere / "w", b"later"))
        await site.poll()
        assert "not now" in errors[0]


class TestWhileBuilding:
    @pytest_twisted.ensureDeferred
    async def test_builds_a_file_again_that_changed_during_its_build(self, site: Site) -> None:
        asked: Deferred[None] = Deferred()
        answer: Deferred[Generated] = Deferred()

        def slow(_: bytes) -> Awaitable[Generated]:
            asked.callback(None)
            return answer

        site.answer = slow
        site.put("w.yaml", b"one")
        first = Deferred.fromCoroutine(site.hosts.poll())
        await asked
        site.put("w.yaml", b"two")
        site.answer = site.convert
        second = Deferred.fromCoroutine(site.hosts.poll())
        assert not second.called
        answer.callback(Generated(keyfiles=(Keyfile(name="x", content="one"),)))
        await first
        assert site.network() == ["one"]
        await second
        assert site.network() == ["two"]

    @pytest_twisted.ensureDeferred
    async def test_discards_a_host_whose_file_was_removed_during_its_build(
        self, site: Site
    ) -> None:
        asked: Deferred[None] = Deferred()
        answer: Deferred[Generated] = Deferred()

        def slow(_: bytes) -> Awaitable[Generated]:
            asked.callback(None)
            return answer

        site.answer = slow
        path = site.put("w.yaml", b"one")
        first = Deferred.fromCoroutine(site.hosts.poll())
        await asked
        path.unlink()
        second = Deferred.fromCoroutine(site.hosts.poll())
        answer.callback(Generated(keyfiles=()))
        await first
        await second
        assert site.names == set()


class TestAgentFiles:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("pull-secret", b'{"auths": {}}'),
            ("registries.conf", b"[other]"),
            ("ca.pem", b"-----BEGIN CERTIFICATE----- other"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_change_rebuilds_every_host(
        self, site: Site, name: str, content: bytes
    ) -> None:
        hosts = [f"w{number}" for number in range(9)]
        for host in hosts:
            site.put(f"{host}.yaml")
        await site.poll()
        before = {host: site.entry(f"{host}.iso") for host in hosts}
        put(site.folder / name, content)
        await site.poll()
        after = {host: site.entry(f"{host}.iso") for host in hosts}
        for host in hosts:
            assert after[host] is not before[host]
            assert after[host].date > before[host].date
        assert len(site.converted) == 2 * len(hosts)

    @pytest_twisted.ensureDeferred
    async def test_is_not_settled_before_each_host_could_be_built_once(self, site: Site) -> None:
        site.put("w.yaml")
        (site.folder / "ca.pem").unlink()
        await site.bases.load_all()
        await site.hosts.start()
        assert not site.hosts.settled()
        assert site.hosts.health().not_ready == ("the hosts' images are still being built",)
        (problem,) = site.hosts.health().warnings
        assert "ca.pem" in problem
        put(site.folder / "ca.pem", b"-----BEGIN CERTIFICATE-----")
        await site.poll()
        assert site.hosts.settled()
        assert site.hosts.health() == Health()
        assert "w.iso" in site.names

    @pytest_twisted.ensureDeferred
    async def test_keeps_images_while_a_shared_file_is_unusable(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.yaml")
        gone = site.put("gone.yaml")
        await site.poll()
        kept = site.entry("w.iso")
        put(site.folder / "pull-secret", b"hunter2")
        gone.unlink()
        site.put("new.yaml")
        await site.poll()
        await site.poll()
        (error,) = errors
        assert str(site.folder / "pull-secret") in error
        assert "hunter2" not in error
        assert site.entry("w.iso") is kept
        assert "gone.iso" not in site.names, "removed hosts are discarded anyway"
        assert "new.iso" not in site.names
        put(site.folder / "pull-secret", b'{"auths": {}}')
        await site.poll()
        assert site.entry("w.iso") is not kept
        assert "new.iso" in site.names
        assert site.hosts.health().warnings == ()


class TestBases:
    @pytest_twisted.ensureDeferred
    async def test_publishes_hosts_while_the_base_image_is_missing(
        self, site: Site, errors: list[str]
    ) -> None:
        site.iso.unlink()
        site.put("w.yaml")
        await site.poll()
        assert site.names == {"w.iso", "w.initramfs"}
        assert any("ipa.iso: No such file or directory" in error for error in errors)
        put(site.iso, live_iso())
        await site.poll()
        image = await site.images.load(site.entry("w.iso"))
        assert image.size == len(live_iso())
        assert site.hosts.health().warnings == (), "the problem is over"
        assert image.last_modified == 1000

    @pytest_twisted.ensureDeferred
    async def test_keeps_images_during_a_lack_of_descriptors(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.yaml")
        await site.poll()
        kept = site.entry("w.iso")
        site.put("new.yaml")
        with lack_of_descriptors():
            await site.poll()
        assert site.entry("w.iso") is kept
        assert any("Too many open files" in error for error in errors)
        await site.poll()
        assert site.names == {"w.iso", "w.initramfs", "new.iso", "new.initramfs"}
        assert site.entry("w.iso") is kept
        assert site.hosts.health().warnings == ()


@pytest_twisted.ensureDeferred
async def test_builds_small_files_before_large_ones(site: Site) -> None:
    site.put("a.yaml", b"a: " + b"x" * 500_000)
    site.put("b.yaml", b"a: " + b"x" * 900_000)
    for name in "cdefgh":
        site.put(f"{name}.yaml", f"a: {name}".encode())
    await site.poll()
    sizes = [len(document) for document in site.converted]
    assert sizes == sorted(sizes)


class TestBatches:
    """Many small hosts, which are built together."""

    def document(self, name: str) -> bytes:
        return f"interfaces: [{{name: {name}, type: dummy, state: up}}]".encode()

    @pytest_twisted.ensureDeferred
    async def test_a_bad_host_does_not_affect_the_others(
        self, batch_site: Site, errors: list[str]
    ) -> None:
        names = [f"w{number}" for number in range(40)]
        for name in names:
            batch_site.put(f"{name}.yaml", self.document(name))
        large = "\n".join(f"# {number}" for number in range(20_000)).encode()
        batch_site.put("large.yaml", self.document("large") + b"\n" + large)
        batch_site.put("w7.yaml", b"interfaces: 1")
        batch_site.put("unusable.yaml", bytes(5 << 20))
        await batch_site.poll()
        good = {*names, "large"} - {"w7"}
        kinds = ("iso", "initramfs")
        assert batch_site.names == {f"{name}.{kind}" for name in good for kind in kinds}
        for name in good:
            assert [f"id={name}" in text for text in batch_site.network(f"{name}.iso")] == [True]
        assert len(errors) == 2
        assert any(
            "w7.yaml: interfaces: found a string, expected a list" in error for error in errors
        )
        assert any("unusable.yaml: the file has more than" in error for error in errors)
        builds = batch_site.builder.builds
        assert builds.failures["invalid_input"] == builds.failures.total() == 2
        assert builds.seconds.count == 42

    @pytest_twisted.ensureDeferred
    async def test_only_changed_hosts_are_built_again(self, batch_site: Site) -> None:
        for name in "abcde":
            batch_site.put(f"{name}.yaml", self.document(name))
        await batch_site.poll()
        kept = {name: batch_site.entry(f"{name}.iso") for name in "abcde"}
        batch_site.put("b.yaml", self.document("x"))
        batch_site.put("d.yaml", b"interfaces: 1")
        await batch_site.poll()
        changed = {name for name in "abcde" if batch_site.entry(f"{name}.iso") is not kept[name]}
        assert changed == {"b"}
        assert batch_site.builder.builds.seconds.count == 7

    @pytest_twisted.ensureDeferred
    async def test_other_events_have_their_turn_while_a_batch_is_published(
        self, batch_site: Site
    ) -> None:
        for number in range(14):
            batch_site.put(f"w{number}.yaml", b"")
        seen = []
        watch = LoopingCall(lambda: seen.append(len(batch_site.names) // 2))
        watch.start(0)
        await batch_site.poll()
        watch.stop()
        # Whether the end is seen as well depends on what comes first.
        assert [count for count in dict.fromkeys(seen) if 0 < count < 14] == [4, 8, 12]


@pytest.fixture
def news() -> Iterator[list[str]]:
    """The texts of log lines about hosts that changed."""
    texts: list[str] = []

    def observe(event: LogEvent) -> None:
        text = formatEvent(event)
        if "log_namespace" in event and "mic.hosts.directory" in event["log_namespace"]:
            texts.append(text)

    globalLogPublisher.addObserver(observe)
    yield texts
    globalLogPublisher.removeObserver(observe)


class TestStatuses:
    """What is reported about each host."""

    def of(self, site: Site, name: str = "w") -> HostStatus:
        return next(status for status in site.hosts.statuses() if status.name == name)

    @pytest_twisted.ensureDeferred
    async def test_distinguishes_served_kept_and_failed_hosts(self, site: Site) -> None:
        site.put("good.yaml")
        site.put("w.yaml")
        site.put("bad.yaml", b"bad")
        await site.poll()
        site.put("w.yaml", b"bad")
        await site.poll()
        states = {status.name: status.state for status in site.hosts.statuses()}
        assert states == {
            "good": HostState.READY,
            "w": HostState.KEPT,
            "bad": HostState.FAILED,
        }
        assert self.of(site).reason == self.of(site, "bad").reason == "interfaces[0]: bad"
        assert self.of(site).since > 0

    @pytest_twisted.ensureDeferred
    async def test_files_of_another_host_are_none_of_its_own(self, site: Site) -> None:
        """Of an image for another architecture, whose name may be that of a host."""
        other = live_iso(kernel=bytes(56) + b"ARM\x64" + bytes(64))
        put(site.folder / "ipa_aarch64.iso", other)
        await site.bases.load_all()
        site.put("w.yaml")
        await site.poll()
        assert "w.aarch64.initramfs" in site.names
        site.put("w.aarch64.yaml", b"bad")
        await site.poll()
        assert self.of(site, "w.aarch64").state is HostState.FAILED
        assert site.names == {"w.iso", "w.initramfs"}, "no config of w for w.aarch64"
        (site.directory / "w.aarch64.yaml").unlink()
        await site.poll()
        assert "w.aarch64.initramfs" in site.names

    @pytest_twisted.ensureDeferred
    async def test_a_warning_of_a_host_does_not_begin_with_its_name(self, site: Site) -> None:
        site.put("boot.yaml")
        await site.poll()
        assert self.of(site, "boot").warnings == (
            "it has no script under its name: boot.ipxe leads all hosts to theirs",
        )

    @pytest_twisted.ensureDeferred
    async def test_keeps_each_warning_apart_and_those_of_the_image_served(self, site: Site) -> None:
        site.answer = site.generate
        site.put("w.yaml", TWO_DOUBTS)
        await site.poll()
        warnings = self.of(site).warnings
        places = [each.partition(":")[0] for each in warnings]
        assert places[:2] == ["interfaces[0].ipv4", "interfaces[1].ipv4"]
        site.put("w.yaml", b"bad: [")
        await site.poll()
        assert self.of(site).state is HostState.KEPT
        assert self.of(site).warnings == warnings
        site.put("w.yaml", b"")
        await site.poll()
        assert self.of(site).warnings == ()

    @pytest_twisted.ensureDeferred
    async def test_a_host_that_goes_away_does_not_disturb_a_reader(self, site: Site) -> None:
        site.put("v.yaml")
        site.put("w.yaml").unlink()
        site.put("x.yaml")
        await site.poll()
        reader = site.hosts.statuses()
        first = next(reader).name
        (site.directory / "x.yaml").unlink()
        await site.poll()
        assert len({first, *(status.name for status in reader)}) == 2

    @pytest_twisted.ensureDeferred
    async def test_forgets_a_removed_host(self, site: Site) -> None:
        site.put("w.yaml", b"bad").unlink()
        site.put("v.yaml", b"bad")
        await site.poll()
        (site.directory / "v.yaml").unlink()
        await site.poll()
        assert list(site.hosts.statuses()) == []

    @pytest_twisted.ensureDeferred
    async def test_waits_before_the_first_build(self, site: Site) -> None:
        assert list(site.hosts.statuses()) == []
        assert not site.hosts.has_no_image("w.iso")
        site.put("w.yaml", b"bad")
        await site.poll()
        assert site.hosts.has_no_image("w.iso")
        assert not site.hosts.has_no_image("w.txt")
        assert not site.hosts.has_no_image("v.iso")

    @pytest_twisted.ensureDeferred
    async def test_a_defect_keeps_the_image_and_is_reported(
        self, site: Site, logged_failures: list[str]
    ) -> None:
        site.put("w.yaml")
        await site.poll()
        site.put("w.yaml", b"bug")
        await site.poll()
        assert len(logged_failures) == 1
        logged_failures.clear()
        assert (self.of(site).state, self.of(site).reason) == (
            HostState.KEPT,
            "cannot be built: see the log",
        )
        assert any("cannot be built" in text for text in site.hosts.health().warnings)

    @pytest_twisted.ensureDeferred
    async def test_says_a_reason_once_and_waits_without_a_base(
        self, site: Site, news: list[str]
    ) -> None:
        site.iso.unlink()
        site.put("w.yaml")
        site.put("bad.yaml", b"bad")
        await site.poll()
        status = self.of(site)
        assert status.state is HostState.WAITING
        assert status.reason.count("No such file") == 1
        assert "2 hosts: 0 with images, 2 without" in news

    @pytest_twisted.ensureDeferred
    async def test_its_time_moves_with_its_image_only(self, site: Site) -> None:
        site.put("w.yaml")
        await site.poll()
        since = self.of(site).since
        put(site.iso, live_iso(kernel=b"MZ another"))
        await site.poll()
        assert self.of(site).since == since
        site.put("w.yaml", b"other")
        await site.poll()
        assert self.of(site).since > since

    @pytest_twisted.ensureDeferred
    async def test_its_time_stays_while_it_fails_for_the_same_reason(self, site: Site) -> None:
        site.put("w.yaml", b"later")
        await site.poll()
        since = self.of(site).since
        await site.poll()
        assert site.converted == [b"later"] * 2
        assert self.of(site).since == since


class TestNews:
    """Changes that took effect, and files that are ignored."""

    @pytest_twisted.ensureDeferred
    async def test_names_what_changed(self, site: Site, news: list[str]) -> None:
        site.put("w.yaml", b"one")
        await site.poll()
        assert not [text for text in news if "rebuilt" in text]
        site.put("w.yaml", b"two")
        await site.poll()
        assert "w: rebuilt: keyfiles eth0.nmconnection" in news

    @pytest_twisted.ensureDeferred
    async def test_a_new_host_is_not_rebuilt_from_files_of_another_one(
        self, site: Site, news: list[str]
    ) -> None:
        other = live_iso(kernel=bytes(56) + b"ARM\x64" + bytes(64))
        put(site.folder / "ipa_aarch64.iso", other)
        await site.bases.load_all()
        site.put("w.yaml", b"one")
        await site.poll()
        assert "w.aarch64.initramfs" in site.names
        site.put("w.aarch64.yaml", b"two")
        await site.poll()
        assert not [text for text in news if "rebuilt" in text]

    @pytest_twisted.ensureDeferred
    async def test_says_when_a_host_is_fixed(self, site: Site, news: list[str]) -> None:
        site.put("w.yaml", b"bad")
        await site.poll()
        site.put("w.yaml", b"good")
        await site.poll()
        assert "w: fixed" in news

    @pytest_twisted.ensureDeferred
    async def test_says_what_a_fix_changed(self, site: Site, news: list[str]) -> None:
        for document in (b"one", b"bad", b"two"):
            site.put("w.yaml", document)
            await site.poll()
        assert "w: fixed: keyfiles eth0.nmconnection" in news

    @pytest_twisted.ensureDeferred
    async def test_counts_hosts_without_an_image_at_the_start(
        self, site: Site, news: list[str]
    ) -> None:
        site.put("v.yaml")
        site.put("w.yaml", b"bad")
        await site.poll()
        await site.poll()
        assert news.count("2 hosts: 1 with images, 1 without") == 1

    @pytest_twisted.ensureDeferred
    async def test_warns_once_of_an_empty_directory_and_of_other_files(
        self, site: Site, news: list[str]
    ) -> None:
        site.put("notes.txt")
        site.put("w.kargs", b"quiet")
        site.put(".hidden")
        await site.poll()
        await site.poll()
        (text,) = [text for text in news if "-nmstate-dir" in text]
        assert f"no host files (*.yaml, *.yml, *.json) in {site.directory}" in text
        assert "ignored: notes.txt, w.kargs; host files are" in text


class TestCompanions:
    """Kernel arguments and Ignition configs next to a host's file."""

    CONFIG = b'{"ignition": {"version": "3.2.0"}}'

    @pytest_twisted.ensureDeferred
    async def test_lays_them_over_the_image(self, site: Site, news: list[str]) -> None:
        site.put("w.yaml")
        await site.poll()
        site.put("w.kargs", b"quiet")
        site.put("w.ign", self.CONFIG)
        await site.poll()
        (edits,) = site.entry("w.iso").content.customisation.kernel_arguments
        assert edits.appended == ("quiet",)
        assert len(site.config()["ignition"]["config"]["merge"]) == 1
        assert "w: rebuilt: Ignition, kernel arguments" in news
        (site.directory / "w.kargs").unlink()
        (site.directory / "w.ign").unlink()
        await site.poll()
        assert site.entry("w.iso").content.customisation.kernel_arguments == ()
        assert "config" not in site.config()["ignition"]

    @pytest.mark.parametrize("name", ["w.kargs", "w.ign"])
    @pytest.mark.parametrize("kind", ["directory", "pipe", "link"])
    @pytest_twisted.ensureDeferred
    async def test_does_not_build_without_one_that_is_no_file(
        self, site: Site, errors: list[str], name: str, kind: str
    ) -> None:
        path = site.directory / name
        if kind == "directory":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("nowhere")
        site.put("w.yaml")
        await site.poll()
        (error,) = errors
        reason = "is a link that leads nowhere" if kind == "link" else "is not a regular file"
        assert error.endswith(f"w.yaml: {name}: {reason}; w has no image")

    @pytest_twisted.ensureDeferred
    async def test_does_not_quote_kernel_arguments_of_a_file_elsewhere(
        self, site: Site, errors: list[str]
    ) -> None:
        elsewhere = put(site.directory.parent / "shadow", b"root:$y$hunter2:\nok")
        site.put("w.yaml")
        (site.directory / "w.kargs").symlink_to(elsewhere)
        await site.poll()
        (error,) = errors
        assert "hunter2" not in error
        assert (
            "w.yaml: w.kargs: line 1: has a word that cannot be used; not quoted: the link leads "
            "out of -nmstate-dir; mic check says more" in error
        )

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("w.kargs", b"root=/dev/sda", "w.kargs: line 1: 'root=/dev/sda'"),
            ("w.ign", b"variant: fcos", "w.ign: is YAML, not JSON: run butane first"),
            ("w.ign", b"", "w.ign: is empty"),
            ("w.ign", bytes(5_000_000), "w.ign: has more than 4194304 bytes"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_keeps_the_last_good_image_when_one_cannot_be_used(
        self, site: Site, errors: list[str], name: str, content: bytes, reason: str
    ) -> None:
        site.put("w.yaml")
        await site.poll()
        good = site.entry("w.iso").content
        site.put(name, content)
        await site.poll()
        (error,) = errors
        assert reason in error
        assert error.endswith("; its last good image stays")
        assert site.entry("w.iso").content == good


class TestMinimalIsos:
    @staticmethod
    def iso(*, has_rootfs: bool) -> bytes:
        files = coreos_files(kernel=b"k", initramfs=b"i" * 99, rootfs=b"r" * 99)
        if not has_rootfs:
            del files[ROOTFS]
        return with_minimal(files)

    @pytest_twisted.ensureDeferred
    async def test_fetch_the_rootfs_from_mic(self, minimal_site: Site) -> None:
        put(minimal_site.iso, self.iso(has_rootfs=True))
        minimal_site.put("w.yaml", b"")
        await minimal_site.poll()
        layout = (await minimal_site.images.load(minimal_site.entry("w.iso"))).layout
        text = layout.read(0, layout.size)
        assert b" coreos.live.rootfs_url=http://mic/rootfs.img" in text

    @pytest_twisted.ensureDeferred
    async def test_are_refused_when_mic_has_no_rootfs(
        self, minimal_site: Site, errors: list[str]
    ) -> None:
        put(minimal_site.iso, self.iso(has_rootfs=False))
        path = minimal_site.put("w.yaml", b"")
        await minimal_site.poll()
        (error,) = errors
        assert error.startswith(f"{path}: no root file system to serve: ")
        assert error.endswith("as IRONIC_ROOTFS_URL; w has no image")
        assert minimal_site.images.entry("w.iso") is None

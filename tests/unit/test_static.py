"""Static mode: what happens to the images when files come, change, break and go.

Scope: mic.static and mic.build, with real files, threads and bases; NMState conversion is a
function of the test.
"""

from __future__ import annotations

import gc
import json
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_twisted
from toys import EMBED_LENGTH, live_iso, put
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, globalLogPublisher

from mic.bases import Bases
from mic.build import Builder
from mic.config import AgentSettings
from mic.errors import BuildInvalid, NotReady
from mic.ignition import Agent
from mic.image.base import BasePaths
from mic.image.cpio import config_of
from mic.image.store import Entry
from mic.images import Images
from mic.nmstate import Keyfile
from mic.static import StaticHosts
from mic.threads import Threads


class Site:
    """Static mode without its HTTP server."""

    def __init__(self, folder: Path, threads: Threads) -> None:
        self.folder = folder
        self.directory = folder / "hosts"
        self.directory.mkdir()
        self.iso = put(folder / "ipa.iso", live_iso())
        self.now = 1000.0
        self.converted: list[bytes] = []
        self.answer: Callable[[bytes], Awaitable[tuple[Keyfile, ...]]] = self.convert
        self.bases = Bases(BasePaths(iso=str(self.iso)), "x86_64", threads)
        self.images = Images(self.bases, lambda: self.now)
        settings = AgentSettings(
            agent=Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",)),
            pull_secret_file=str(folder / "pull-secret"),
            registries_conf=str(put(folder / "registries.conf", b"[registries]")),
            ca_bundle=str(put(folder / "ca.pem", b"-----BEGIN CERTIFICATE-----")),
        )
        self.hosts = StaticHosts(
            directory=str(self.directory),
            publish_url="http://mic",
            images=self.images,
            bases=self.bases,
            builder=Builder(settings, self.ask, threads),
            threads=threads,
        )

    def ask(self, document: bytes) -> Awaitable[tuple[Keyfile, ...]]:
        return self.answer(document)

    async def convert(self, document: bytes) -> tuple[Keyfile, ...]:
        """One keyfile that holds the document; ``bad`` and ``later`` are refused."""
        self.converted.append(document)
        if document.startswith(b"bad"):
            raise BuildInvalid("interfaces[0]: bad")
        if document.startswith(b"later"):
            raise NotReady("not now")
        if document.startswith(b"bug"):
            raise RuntimeError("a fault of ours")
        return (Keyfile(name="eth0.nmconnection", content=document.decode()),)

    def put(self, name: str, content: bytes = b"a: b") -> Path:
        return put(self.directory / name, content)

    async def look(self) -> None:
        """What the service does every two seconds and on SIGHUP."""
        await self.bases.refresh()
        await self.hosts.refresh()

    def entry(self, name: str) -> Entry:
        entry = self.images.entry(name)
        assert entry is not None, f"{name} is not published"
        return entry

    def config(self, name: str = "w.iso") -> dict[str, Any]:
        value: dict[str, Any] = json.loads(config_of(self.entry(name).content.archive))
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
        return {entry.name for entry in self.images._store}


@pytest_twisted.async_yield_fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    threads = Threads(reactor)
    threads.startService()
    yield Site(tmp_path, threads)
    await threads.stopService()


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """What is logged as an error meanwhile."""
    seen: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "error":
            seen.append(str(event.get("text", event.get("error"))))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


class TestFiles:
    @pytest_twisted.ensureDeferred
    async def test_each_file_is_an_iso_and_an_initramfs(self, site: Site) -> None:
        for name in ("a.yaml", "b.yml", "c.json"):
            site.put(name)
        await site.look()
        assert site.names == {f"{host}.{kind}" for host in "abc" for kind in ("iso", "initramfs")}
        unit = site.config("b.initramfs")["systemd"]["units"][0]["contents"]
        assert "IPA_DEFAULT_HOSTNAME=b " in unit

    @pytest_twisted.ensureDeferred
    async def test_an_empty_file_is_a_host_without_network_configuration(self, site: Site) -> None:
        site.put("w.yaml", b"")
        site.put("x.yaml", b" \n\n")
        await site.look()
        assert site.network("w.iso") == site.network("x.iso") == []
        assert site.converted == []

    @pytest_twisted.ensureDeferred
    async def test_what_is_no_host(self, site: Site, errors: list[str]) -> None:
        for name in (".hidden.yaml", "README", "x.yaml~", "x.yaml.bak", "x.YAML", "yaml", ".yaml"):
            site.put(name)
        (site.directory / "directory.yaml").mkdir()
        os.mkfifo(site.directory / "fifo.yaml")
        (site.directory / "dangling.yaml").symlink_to("nowhere")
        (site.directory / "device.yaml").symlink_to("/dev/zero")
        await site.look()
        assert site.names == set()
        assert errors == []

    @pytest_twisted.ensureDeferred
    async def test_looking_leaves_no_descriptors_behind(self, site: Site) -> None:
        (site.directory / "directory.yaml").mkdir()
        os.mkfifo(site.directory / "fifo.yaml")
        site.put("w.yaml")
        await site.look()
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await site.look()
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before

    @pytest_twisted.ensureDeferred
    async def test_added_changed_and_removed(self, site: Site) -> None:
        site.put("w.yaml", b"one")
        site.put("other.yaml")
        await site.look()
        other = site.entry("other.iso")
        assert site.network() == ["one"]
        site.put("w.yaml", b"two")
        site.put("new.yaml")
        await site.look()
        assert site.network() == ["two"]
        assert "new.iso" in site.names
        (site.directory / "w.yaml").unlink()
        await site.look()
        assert site.names == {f"{h}.{k}" for h in ("other", "new") for k in ("iso", "initramfs")}
        # Whoever did not change was not touched.
        assert site.entry("other.iso") is other
        assert site.converted == [b"a: b", b"one", b"a: b", b"two"]

    @pytest_twisted.ensureDeferred
    async def test_looking_again_changes_nothing(self, site: Site) -> None:
        site.put("w.yaml")
        await site.look()
        entry = site.entry("w.iso")
        site.now = 5000
        os.utime(site.directory / "w.yaml", (1, 1))
        await site.look()
        assert site.entry("w.iso") is entry
        assert entry.date == 1000
        assert len(site.converted) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_new_image_has_a_later_date_and_the_old_one_goes_on(self, site: Site) -> None:
        site.put("w.yaml", b"one")
        await site.look()
        before = await site.images.image(site.entry("w.iso"))
        old = before.layout.read(0, before.size)
        site.put("w.yaml", b"two")
        await site.look()
        after = await site.images.image(site.entry("w.iso"))
        assert after.last_modified > before.last_modified
        assert after.etag != before.etag
        assert before.layout.read(0, before.size) == old

    @pytest_twisted.ensureDeferred
    async def test_two_files_for_one_host(self, site: Site, errors: list[str]) -> None:
        site.put("w.json", b"json")
        site.put("w.yml", b"yml")
        await site.look()
        assert site.network() == ["yml"]
        assert "w.yml: w.json names the same host and is ignored" in errors[0]
        site.put("w.yaml", b"yaml")
        await site.look()
        assert site.network() == ["yaml"]
        for name in ("w.yml", "w.json"):
            assert name in errors[-1]
            (site.directory / name).unlink()
        await site.look()
        assert site.hosts.problems() == []
        (site.directory / "w.yaml").unlink()
        site.put("w.json", b"json")
        await site.look()
        assert site.network() == ["json"], "the host was taken over, not lost"

    @pytest_twisted.ensureDeferred
    async def test_names_of_all_kinds(self, site: Site, errors: list[str]) -> None:
        site.put("a b%2F?é.yaml")
        site.put("x.y.z.yaml")
        (site.directory / os.fsdecode(b"bad\xff.yaml")).write_bytes(b"")
        site.put("new\nline.yaml")
        await site.look()
        assert {name for name in site.names if name.endswith(".iso")} == {
            "a b%2F?é.iso",
            "x.y.z.iso",
        }
        assert len(errors) == 2
        assert all("is no host name" in error and "\n" not in error for error in errors)

    @pytest_twisted.ensureDeferred
    async def test_a_file_that_is_too_large(self, site: Site, errors: list[str]) -> None:
        site.put("w.yaml", bytes(5_000_000))
        await site.look()
        assert site.names == set()
        (error,) = errors
        assert error.endswith("w.yaml: it has more than 4194304 bytes")

    @pytest_twisted.ensureDeferred
    async def test_a_file_that_cannot_be_read(self, site: Site, errors: list[str]) -> None:
        site.put("w.yaml")
        site.put("other.yaml")
        await site.look()
        path = site.directory / "w.yaml"
        path.unlink()
        path.symlink_to("w.yaml")
        await site.look()
        (error,) = errors
        assert error == f"{path}: Too many levels of symbolic links; its last good image stays"
        assert site.network() == ["a: b"]
        path.unlink()
        site.put("w.yaml", b"new")
        await site.look()
        assert site.network() == ["new"]
        assert site.hosts.problems() == []

    @pytest_twisted.ensureDeferred
    async def test_the_directory_is_away_for_a_while(self, site: Site, errors: list[str]) -> None:
        site.put("w.yaml")
        await site.look()
        site.directory.rename(site.folder / "away")
        await site.look()
        await site.look()
        assert errors == [f"-nmstate-dir: {site.directory}: No such file or directory"]
        assert "w.iso" in site.names
        (site.folder / "away").rename(site.directory)
        site.put("new.yaml")
        await site.look()
        assert "new.iso" in site.names
        assert site.hosts.problems() == []


class TestConfigMap:
    """A volume as the kubelet makes it: files link to ..data/, which links to a dated folder."""

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
    async def test_an_atomic_swap(self, site: Site, errors: list[str]) -> None:
        self.swap(site, "2024_1", {"w.yaml": b"one", "x.yaml": b"same"})
        await site.look()
        assert {name for name in site.names if name.endswith(".iso")} == {"w.iso", "x.iso"}
        same = site.entry("x.iso")
        self.swap(site, "2024_2", {"w.yaml": b"two", "x.yaml": b"same", "y.yaml": b""})
        await site.look()
        assert site.network() == ["two"]
        assert site.entry("x.iso") is same
        assert "y.iso" in site.names
        # A key is taken away: the link dangles until the kubelet removes it.
        self.swap(site, "2024_3", {"w.yaml": b"two"})
        await site.look()
        assert {name for name in site.names if name.endswith(".iso")} == {"w.iso"}
        assert errors == []


class TestBadDocuments:
    @pytest_twisted.ensureDeferred
    async def test_the_last_good_image_stays_and_others_are_untouched(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.yaml", b"good")
        site.put("x.yaml", b"good")
        await site.look()
        kept, other = site.entry("w.iso"), site.entry("x.iso")
        path = site.put("w.yaml", b"bad")
        site.put("y.yaml", b"new")
        for _ in range(3):
            await site.look()
        assert site.entry("w.iso") is kept
        assert site.entry("x.iso") is other
        assert site.network("y.iso") == ["new"]
        assert errors == [f"{path}: interfaces[0]: bad; its last good image stays"]
        assert site.converted.count(b"bad") == 1
        site.put("w.yaml", b"good again")
        await site.look()
        assert site.network() == ["good again"]
        assert site.hosts.problems() == []

    @pytest_twisted.ensureDeferred
    async def test_bad_from_the_start(self, site: Site, errors: list[str]) -> None:
        path = site.put("w.yaml", b"bad")
        await site.look()
        assert site.names == set()
        assert errors == [f"{path}: interfaces[0]: bad"]

    @pytest_twisted.ensureDeferred
    async def test_what_may_succeed_later_is_tried_again(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.yaml", b"later")
        await site.look()
        await site.look()
        assert site.converted == [b"later"] * 2
        assert len(errors) == 1

        async def now(_: bytes) -> tuple[Keyfile, ...]:
            return ()

        site.answer = now
        await site.look()
        assert "w.iso" in site.names
        assert site.hosts.problems() == []

    @pytest_twisted.ensureDeferred
    async def test_a_fault_of_ours_concerns_one_host(
        self, site: Site, logged_failures: list[LogEvent]
    ) -> None:
        site.put("a.yaml", b"bug")
        site.put("b.yaml", b"fine")
        await site.look()
        assert {name for name in site.names if name.endswith(".iso")} == {"b.iso"}
        assert [event["path"] for event in logged_failures] == [str(site.directory / "a.yaml")]
        logged_failures.clear()

    @pytest_twisted.ensureDeferred
    async def test_a_config_too_large_for_the_embed_area(
        self, site: Site, errors: list[str]
    ) -> None:
        site.put("w.yaml", b"small")
        await site.look()
        kept = site.entry("w.iso")
        noise = random.Random(1).randbytes(EMBED_LENGTH).hex().encode()
        site.put("w.yaml", noise)
        await site.look()
        (error,) = errors
        assert "the Ignition config needs " in error
        assert f"has {EMBED_LENGTH}; its last good image stays" in error
        assert site.entry("w.iso") is kept
        assert site.network("w.initramfs") == [noise.decode()]
        # A base with more room: nobody touched the host's file.
        put(site.iso, live_iso(4 * EMBED_LENGTH))
        await site.look()
        assert site.network() == [noise.decode()]
        assert site.hosts.problems() == []


class TestWhileBuilding:
    @pytest_twisted.ensureDeferred
    async def test_a_file_that_changes_while_it_is_built(self, site: Site) -> None:
        asked: Deferred[None] = Deferred()
        answer: Deferred[tuple[Keyfile, ...]] = Deferred()

        def slow(_: bytes) -> Awaitable[tuple[Keyfile, ...]]:
            asked.callback(None)
            return answer

        site.answer = slow
        site.put("w.yaml", b"one")
        first = site.hosts.refresh()
        await asked
        site.put("w.yaml", b"two")
        site.answer = site.convert
        second = site.hosts.refresh()
        assert not second.called
        answer.callback((Keyfile(name="x", content="one"),))
        await first
        assert site.network() == ["one"]
        await second
        assert site.network() == ["two"]

    @pytest_twisted.ensureDeferred
    async def test_a_file_that_goes_while_it_is_built(self, site: Site) -> None:
        asked: Deferred[None] = Deferred()
        answer: Deferred[tuple[Keyfile, ...]] = Deferred()

        def slow(_: bytes) -> Awaitable[tuple[Keyfile, ...]]:
            asked.callback(None)
            return answer

        site.answer = slow
        path = site.put("w.yaml", b"one")
        first = site.hosts.refresh()
        await asked
        path.unlink()
        second = site.hosts.refresh()
        answer.callback(())
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
        await site.look()
        before = {host: site.entry(f"{host}.iso") for host in hosts}
        put(site.folder / name, content)
        await site.look()
        after = {host: site.entry(f"{host}.iso") for host in hosts}
        for host in hosts:
            assert after[host] is not before[host]
            assert after[host].date > before[host].date
        assert len(site.converted) == 2 * len(hosts)

    @pytest_twisted.ensureDeferred
    async def test_no_host_is_called_missing_before_they_could_be_built_once(
        self, site: Site
    ) -> None:
        site.put("w.yaml")
        (site.folder / "ca.pem").unlink()
        await site.bases.load_all()
        await site.hosts.start()
        assert not site.hosts.settled()
        assert site.hosts.missing() == ["the hosts' images are still being built"]
        (problem,) = site.hosts.problems()
        assert "ca.pem" in problem
        put(site.folder / "ca.pem", b"-----BEGIN CERTIFICATE-----")
        await site.look()
        assert site.hosts.settled()
        assert site.hosts.missing() == site.hosts.problems() == []
        assert "w.iso" in site.names

    @pytest_twisted.ensureDeferred
    async def test_a_bad_one_keeps_what_there_is(self, site: Site, errors: list[str]) -> None:
        site.put("w.yaml")
        gone = site.put("gone.yaml")
        await site.look()
        kept = site.entry("w.iso")
        put(site.folder / "pull-secret", b"hunter2")
        gone.unlink()
        site.put("new.yaml")
        await site.look()
        await site.look()
        (error,) = errors
        assert str(site.folder / "pull-secret") in error
        assert "hunter2" not in error
        assert site.entry("w.iso") is kept
        assert "gone.iso" not in site.names, "a host that is gone is gone all the same"
        assert "new.iso" not in site.names
        put(site.folder / "pull-secret", b'{"auths": {}}')
        await site.look()
        assert site.entry("w.iso") is not kept
        assert "new.iso" in site.names
        assert site.hosts.problems() == []


class TestBases:
    @pytest_twisted.ensureDeferred
    async def test_hosts_are_published_while_the_base_is_away(
        self, site: Site, errors: list[str]
    ) -> None:
        site.iso.unlink()
        site.put("w.yaml")
        await site.look()
        assert site.names == {"w.iso", "w.initramfs"}
        assert any("ipa.iso: No such file or directory" in error for error in errors)
        put(site.iso, live_iso())
        await site.look()
        image = await site.images.image(site.entry("w.iso"))
        assert image.size == len(live_iso())
        assert site.hosts.problems() == [], "it is mended: nothing to complain of"
        assert image.last_modified == 1000

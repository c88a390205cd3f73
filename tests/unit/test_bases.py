"""Base images in force: loaded once, exchanged when files change, and the images on them.

Scope: mic.bases and mic.images, on real files and threads.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from descriptors import open_files
from toys import INITRAMFS, KERNEL, live_iso, put
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import LogEvent, globalLogPublisher

from mic.bases import Bases
from mic.errors import BaseUnavailable, BuildInvalid
from mic.image.base import Base, BasePaths, Kind
from mic.image.basefile import BaseChanged
from mic.image.store import Content
from mic.images import Images
from mic.threads import Threads

NEW = live_iso(kernel=b"MZ another kernel")


class CountingThreads(Threads):
    """Threads that count what they are asked for."""

    def __init__(self) -> None:
        super().__init__(reactor)
        self.calls: list[str] = []

    def run(self, call: Any, *args: Any, **kwargs: Any) -> Deferred[Any]:
        self.calls.append(call.__name__)
        return super().run(call, *args, **kwargs)


@pytest_twisted.async_yield_fixture
async def threads() -> AsyncIterator[CountingThreads]:
    pool = CountingThreads()
    pool.startService()
    yield pool
    await pool.stopService()


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    return put(tmp_path / "ipa.iso", live_iso())


@pytest.fixture
def bases(threads: CountingThreads, iso: Path) -> Bases:
    return Bases(BasePaths(iso=str(iso)), "x86_64", threads)


@pytest.fixture
def told(bases: Bases) -> list[str]:
    """Grows by one with each word of a change."""
    words: list[str] = []
    bases.changed.append(lambda: words.append("changed"))
    return words


@pytest.fixture
def errors() -> Any:
    """What is logged as an error meanwhile."""
    seen: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "error":
            seen.append(str(event.get("error", event.get("log_format"))))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def whole(base: Base) -> bytes:
    layout = base.layout(b"")
    return layout.read(0, layout.size)


@pytest_twisted.ensureDeferred
async def test_a_base_is_loaded_when_it_is_first_asked_for(bases: Bases) -> None:
    assert bases.current(Kind.ISO) is None
    base = await bases.base(Kind.ISO)
    assert bases.current(Kind.ISO) is base
    assert whole(await bases.base(Kind.KERNEL)) == KERNEL
    assert whole(await bases.base(Kind.INITRAMFS)) == INITRAMFS


@pytest_twisted.ensureDeferred
async def test_a_file_is_opened_once_however_many_wait(
    bases: Bases, threads: CountingThreads
) -> None:
    kinds = [Kind.ISO, Kind.INITRAMFS, Kind.KERNEL] * 5
    found = await gatherResults([Deferred.fromCoroutine(bases.base(kind)) for kind in kinds])
    assert threads.calls.count("_open") == 1
    assert len({id(base.file) for base in found}) == 1


@pytest_twisted.ensureDeferred
async def test_a_base_replaced_by_rename(bases: Bases, iso: Path, told: list[str]) -> None:
    """Old bodies stay whole, new requests get the new base with a new tag."""
    old = await bases.base(Kind.ISO)
    put(iso, NEW)
    assert bases.current(Kind.ISO) is None
    new = await bases.base(Kind.ISO)
    assert whole(old) == live_iso()
    assert whole(new) == NEW
    assert old.etag(b"") != new.etag(b"")
    assert told, "whoever holds the old base keeps its disk space until the next request"


@pytest_twisted.ensureDeferred
async def test_a_replaced_base_is_noticed_without_a_request(
    bases: Bases, iso: Path, told: list[str]
) -> None:
    old = await bases.base(Kind.ISO)
    await bases.refresh()
    assert told == []
    put(iso, NEW)
    await bases.refresh()
    assert told
    new = await bases.base(Kind.ISO)
    assert new is not old
    told.clear()
    await bases.refresh()
    assert told == []


@pytest_twisted.ensureDeferred
async def test_a_base_with_a_new_date_and_the_same_bytes(bases: Bases, iso: Path) -> None:
    old = await bases.base(Kind.ISO)
    os.utime(iso, (1, 1))
    new = await bases.base(Kind.ISO)
    assert new is not old
    assert new.etag(b"") == old.etag(b"")


@pytest_twisted.ensureDeferred
async def test_a_base_overwritten_in_place(bases: Bases, iso: Path) -> None:
    old = await bases.base(Kind.ISO)
    iso.write_bytes(NEW)
    with pytest.raises(BaseChanged):
        whole(old)
    assert whole(await bases.base(Kind.ISO)) == NEW


def cut(path: Path) -> None:
    os.truncate(path, 60_000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scribble(path: Path) -> None:
    path.write_bytes(b"no iso" * 20_000)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (Path.unlink, "No such file or directory"),
        (cut, "truncated ISO image"),
        (empty, "not an ISO 9660 image"),
        (scribble, "not an ISO 9660 image"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_base_that_breaks_and_comes_back(
    bases: Bases,
    iso: Path,
    told: list[str],
    errors: list[str],
    harm: Callable[[Path], None],
    reason: str,
) -> None:
    await bases.base(Kind.ISO)
    harm(iso)
    assert bases.current(Kind.ISO) is None
    for kind in Kind:
        with pytest.raises(BaseUnavailable, match=reason) as caught:
            await bases.base(kind)
        assert str(iso) in str(caught.value)
    await bases.refresh()
    await bases.refresh()
    assert len(errors) == 1, "said once, until it changes"
    told.clear()
    put(iso, NEW)
    await bases.refresh()
    assert told
    assert whole(await bases.base(Kind.ISO)) == NEW


@pytest_twisted.ensureDeferred
async def test_a_base_that_is_missing_at_first(tmp_path: Path, threads: CountingThreads) -> None:
    path = tmp_path / "later" / "ipa.iso"
    bases = Bases(BasePaths(iso=str(path)), "x86_64", threads)
    (problem,) = await bases.load_all()
    assert str(path) in problem
    assert "No such file" in problem
    put(path, live_iso())
    assert whole(await bases.base(Kind.ISO)) == live_iso()
    assert await bases.load_all() == []


@pytest_twisted.ensureDeferred
async def test_files_of_other_architectures_come_and_go(
    bases: Bases, tmp_path: Path, told: list[str]
) -> None:
    with pytest.raises(BaseUnavailable, match=r"no base iso for architecture aarch64.*DEPLOY_ISO"):
        await bases.base(Kind.ISO, architecture="aarch64")
    assert not bases.supports("aarch64")
    put(tmp_path / "real.iso", NEW)
    link = tmp_path / "ipa-rhel-9_aarch64.iso"
    link.symlink_to("real.iso")
    await bases.refresh()
    assert told
    assert bases.supports("aarch64", "rhel-9")
    assert not bases.supports("aarch64")
    base = await bases.base(Kind.ISO, stream="rhel-9", architecture="aarch64")
    assert whole(base) == NEW
    link.unlink()
    told.clear()
    await bases.refresh()
    assert told
    assert bases.current(Kind.ISO, stream="rhel-9", architecture="aarch64") is None
    assert not bases.supports("aarch64", "rhel-9")


@pytest_twisted.ensureDeferred
async def test_a_new_file_is_found_by_the_request_that_needs_it(
    bases: Bases, tmp_path: Path, told: list[str]
) -> None:
    put(tmp_path / "ipa_aarch64.iso", NEW)
    assert whole(await bases.base(Kind.ISO, architecture="aarch64")) == NEW
    assert told, "hosts that wait for this architecture hear of it too"


@pytest_twisted.ensureDeferred
async def test_the_directory_is_away_for_a_while(
    bases: Bases, iso: Path, tmp_path: Path, threads: CountingThreads
) -> None:
    paths = BasePaths(iso=str(iso), shared_dir=str(tmp_path / "nowhere"))
    bases = Bases(paths, "x86_64", threads)
    await bases.refresh()
    assert whole(await bases.base(Kind.ISO)) == live_iso()


@pytest_twisted.ensureDeferred
async def test_one_file_given_as_iso_and_as_initramfs(iso: Path, threads: CountingThreads) -> None:
    """A slip of the pen with a good outcome: the ISO's own initramfs serves."""
    paths = BasePaths(iso=str(iso), initramfs=str(iso), kernel=str(iso))
    bases = Bases(paths, "x86_64", threads)
    assert whole(await bases.base(Kind.INITRAMFS)) == INITRAMFS
    assert whole(await bases.base(Kind.KERNEL)) == KERNEL


@pytest_twisted.ensureDeferred
async def test_one_file_given_as_initramfs_and_as_kernel(
    iso: Path, tmp_path: Path, threads: CountingThreads
) -> None:
    one = str(put(tmp_path / "one", b"bytes"))
    bases = Bases(BasePaths(iso=str(iso), initramfs=one, kernel=one), "x86_64", threads)
    assert whole(await bases.base(Kind.INITRAMFS)) == b"bytes"
    assert whole(await bases.base(Kind.KERNEL)) == b"bytes"


def content(kind: Kind = Kind.ISO, archive: bytes = b"archive") -> Content:
    return Content(label="host.iso", kind=kind, archive=archive)


class TestImages:
    @pytest_twisted.ensureDeferred
    async def test_from_published_to_discarded(self, bases: Bases) -> None:
        images = Images(bases, lambda: 1000.0)
        assert images.entry("host.iso") is None
        images.publish("host.iso", content())
        entry = images.entry("host.iso")
        assert entry is not None
        assert images.current(entry) is None
        image = await images.image(entry)
        assert images.current(entry) is image
        images.discard("host.iso")
        assert images.entry("host.iso") is None
        assert len(images) == 0
        # Whoever has it goes on with it.
        assert image.layout.read(0, 5) == live_iso()[:5]

    @pytest_twisted.ensureDeferred
    async def test_a_new_base_gives_a_new_tag_and_a_later_date(
        self, bases: Bases, iso: Path
    ) -> None:
        images = Images(bases, lambda: 1000.0)
        images.publish("host.iso", content())
        entry = images.entry("host.iso")
        assert entry is not None
        before = await images.image(entry)
        put(iso, NEW)
        assert images.current(entry) is None
        after = await images.image(entry)
        assert before.etag != after.etag
        assert (before.last_modified, after.last_modified) == (1000, 1001)

    @pytest_twisted.ensureDeferred
    async def test_a_replaced_base_is_let_go_of(self, bases: Bases, iso: Path) -> None:
        """A deleted ISO takes its gigabyte of disk until the last descriptor is closed."""
        images = Images(bases, lambda: 1000.0)
        for name in ("a.iso", "b.iso"):
            images.publish(name, content())
            entry = images.entry(name)
            assert entry is not None
            await images.image(entry)
        put(iso, NEW)
        # One image is asked for before anybody looks at the files.
        entry = images.entry("a.iso")
        assert entry is not None
        await images.image(entry)
        await bases.refresh()
        gc.collect()
        fds = open_files()
        assert fds.count(str(iso)) == 1
        assert f"{iso} (deleted)" not in fds

    @pytest_twisted.ensureDeferred
    async def test_what_cannot_be_served_has_no_tag_but_a_reason(
        self, bases: Bases, iso: Path
    ) -> None:
        images = Images(bases, lambda: 1000.0)
        await images.etag(content())
        with pytest.raises(BuildInvalid, match="needs 100000 bytes"):
            await images.etag(content(archive=bytes(100_000)))
        iso.unlink()
        with pytest.raises(BaseUnavailable):
            await images.etag(content())

"""Base images in force: loaded once, replaced when files change, and the images on them.

Scope: mic.images (bases, opening, store), on real files and threads.
"""

from __future__ import annotations

import gc
import gzip
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from descriptors import open_files
from heldthreads import HeldThreads
from miniso import with_minimal
from toys import (
    INITRAMFS,
    KERNEL,
    lack_of_descriptors,
    live_iso,
    put,
    put_keeping_dates,
    without_bytes,
)
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, gatherResults
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.common.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.common.threads import Threads
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import SERVED, Base, Kind
from mic.media.basefile import BaseChanged
from mic.media.catalog import BasePaths
from mic.media.customisation import Customisation
from mic.media.isowriter import coreos_files

NEW = live_iso(kernel=b"MZ another kernel")


class CountingThreads(Threads):
    """Threads that record their calls."""

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
def changes(bases: Bases) -> list[str]:
    """Return a list that grows with each notification of a change."""
    words: list[str] = []
    bases.changed.append(lambda: words.append("changed"))
    return words


@pytest.fixture
def errors() -> Any:
    """Return what is logged as an error."""
    seen: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "error":
            seen.append(str(event.get("error", event.get("log_format"))))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """Return what is logged as a warning."""
    seen: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name == "warn":
            seen.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield seen
    globalLogPublisher.removeObserver(observe)


def whole(base: Base) -> bytes:
    layout = base.layout(Customisation())
    return layout.read(0, layout.size)


@pytest_twisted.ensureDeferred
async def test_loads_a_base_at_its_first_request(bases: Bases) -> None:
    assert bases.loaded(Kind.ISO) is None
    base = await bases.load(Kind.ISO)
    assert bases.loaded(Kind.ISO) is base
    assert whole(await bases.load(Kind.KERNEL)) == KERNEL
    assert whole(await bases.load(Kind.INITRAMFS)) == INITRAMFS


@pytest_twisted.ensureDeferred
async def test_opens_a_file_once_for_concurrent_requests(
    bases: Bases, threads: CountingThreads
) -> None:
    kinds = [Kind.ISO, Kind.INITRAMFS, Kind.KERNEL] * 5
    found = await gatherResults([Deferred.fromCoroutine(bases.load(kind)) for kind in kinds])
    assert threads.calls.count("open_bases") == 1
    assert len({id(base.file) for base in found}) == 1


@pytest_twisted.ensureDeferred
async def test_uses_a_base_replaced_by_rename(bases: Bases, iso: Path, changes: list[str]) -> None:
    """Open bodies continue with the old base; new requests get the new one with a new ETag."""
    old = await bases.load(Kind.ISO)
    put(iso, NEW)
    assert bases.loaded(Kind.ISO) is None
    new = await bases.load(Kind.ISO)
    assert whole(old) == live_iso()
    assert whole(new) == NEW
    assert old.etag(Customisation()) != new.etag(Customisation())
    assert changes, "else the old base keeps its disk space until the next request"


@pytest_twisted.ensureDeferred
async def test_finds_a_replaced_base_by_polling(
    bases: Bases, iso: Path, changes: list[str]
) -> None:
    old = await bases.load(Kind.ISO)
    await bases.refresh()
    assert changes == []
    put(iso, NEW)
    await bases.refresh()
    assert changes
    new = await bases.load(Kind.ISO)
    assert new is not old
    changes.clear()
    await bases.refresh()
    assert changes == []


@pytest_twisted.ensureDeferred
async def test_new_date_with_the_same_bytes_keeps_the_etag(bases: Bases, iso: Path) -> None:
    old = await bases.load(Kind.ISO)
    os.utime(iso, (1, 1))
    new = await bases.load(Kind.ISO)
    assert new is not old
    assert new.etag(Customisation()) == old.etag(Customisation())


@pytest_twisted.ensureDeferred
async def test_uses_a_base_overwritten_in_place(bases: Bases, iso: Path) -> None:
    old = await bases.load(Kind.ISO)
    iso.write_bytes(NEW)
    with pytest.raises(BaseChanged):
        whole(old)
    assert whole(await bases.load(Kind.ISO)) == NEW


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
async def test_recovers_a_base_that_was_broken(
    bases: Bases,
    iso: Path,
    changes: list[str],
    errors: list[str],
    harm: Callable[[Path], None],
    reason: str,
) -> None:
    await bases.load(Kind.ISO)
    harm(iso)
    assert bases.loaded(Kind.ISO) is None
    for kind in SERVED:
        with pytest.raises(BaseUnavailable, match=reason) as caught:
            await bases.load(kind)
        assert str(iso) in str(caught.value)
    await bases.refresh()
    await bases.refresh()
    assert len(errors) == 1, "logged once until it changes"
    changes.clear()
    put(iso, NEW)
    await bases.refresh()
    assert changes
    assert whole(await bases.load(Kind.ISO)) == NEW


@pytest_twisted.ensureDeferred
async def test_finds_a_base_that_was_missing_at_first(
    tmp_path: Path, threads: CountingThreads
) -> None:
    path = tmp_path / "later" / "ipa.iso"
    bases = Bases(BasePaths(iso=str(path)), "x86_64", threads)
    (problem,) = await bases.load_all()
    assert str(path) in problem
    assert "No such file" in problem
    put(path, live_iso())
    assert whole(await bases.load(Kind.ISO)) == live_iso()
    assert await bases.load_all() == []


@pytest_twisted.ensureDeferred
async def test_follows_files_of_other_architectures(
    bases: Bases, tmp_path: Path, changes: list[str]
) -> None:
    with pytest.raises(BaseUnavailable, match=r"no base iso for architecture aarch64.*DEPLOY_ISO"):
        await bases.load(Kind.ISO, architecture="aarch64")
    assert not bases.supports("aarch64")
    put(tmp_path / "real.iso", NEW)
    link = tmp_path / "ipa-rhel-9_aarch64.iso"
    link.symlink_to("real.iso")
    await bases.refresh()
    assert changes
    assert bases.supports("aarch64", "rhel-9")
    assert not bases.supports("aarch64")
    base = await bases.load(Kind.ISO, stream="rhel-9", architecture="aarch64")
    assert whole(base) == NEW
    link.unlink()
    changes.clear()
    await bases.refresh()
    assert changes
    assert bases.loaded(Kind.ISO, stream="rhel-9", architecture="aarch64") is None
    assert not bases.supports("aarch64", "rhel-9")


@pytest_twisted.ensureDeferred
async def test_request_finds_a_new_file(bases: Bases, tmp_path: Path, changes: list[str]) -> None:
    put(tmp_path / "ipa_aarch64.iso", NEW)
    assert whole(await bases.load(Kind.ISO, architecture="aarch64")) == NEW
    assert changes, "hosts that wait for this architecture are notified"


@pytest_twisted.ensureDeferred
async def test_recovers_from_a_missing_directory(
    bases: Bases, iso: Path, tmp_path: Path, threads: CountingThreads
) -> None:
    paths = BasePaths(iso=str(iso), shared_dir=str(tmp_path / "nowhere"))
    bases = Bases(paths, "x86_64", threads)
    await bases.refresh()
    assert whole(await bases.load(Kind.ISO)) == live_iso()


@pytest_twisted.ensureDeferred
async def test_accepts_one_file_as_iso_and_initramfs(iso: Path, threads: CountingThreads) -> None:
    """A configuration error without harm: mic serves the ISO's own initramfs."""
    paths = BasePaths(iso=str(iso), initramfs=str(iso), kernel=str(iso))
    bases = Bases(paths, "x86_64", threads)
    assert whole(await bases.load(Kind.INITRAMFS)) == INITRAMFS
    assert whole(await bases.load(Kind.KERNEL)) == KERNEL


@pytest_twisted.ensureDeferred
async def test_accepts_one_file_as_initramfs_and_kernel(
    iso: Path, tmp_path: Path, threads: CountingThreads
) -> None:
    one = str(put(tmp_path / "one", b"bytes"))
    bases = Bases(BasePaths(iso=str(iso), initramfs=one, kernel=one), "x86_64", threads)
    assert whole(await bases.load(Kind.INITRAMFS)) == b"bytes"
    assert whole(await bases.load(Kind.KERNEL)) == b"bytes"


class TestErrorsThatPass:
    """Temporary errors: retried after a delay, and at once on SIGHUP."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def bases(self, threads: CountingThreads, iso: Path, clock: Clock) -> Bases:
        return Bases(BasePaths(iso=str(iso)), "x86_64", threads, clock.seconds)

    async def fail(self, bases: Bases) -> None:
        with lack_of_descriptors(), pytest.raises(NotReady, match="Too many open files"):
            await bases.load(Kind.ISO)

    @pytest_twisted.ensureDeferred
    async def test_are_retried_after_a_delay(
        self, bases: Bases, clock: Clock, changes: list[str]
    ) -> None:
        await self.fail(bases)
        assert "Too many open files" in bases.health().not_ready[0]
        with pytest.raises(NotReady):
            await bases.load(Kind.ISO)
        clock.advance(1)
        assert whole(await bases.load(Kind.ISO)) == live_iso()
        assert changes, "hosts that wait for it are notified"
        assert bases.health().not_ready == ()

    @pytest_twisted.ensureDeferred
    async def test_are_retried_by_polling(
        self, bases: Bases, clock: Clock, threads: CountingThreads
    ) -> None:
        await self.fail(bases)
        for seconds, opened in ((0.5, 1), (0.5, 2), (1.5, 2), (0.5, 3)):
            clock.advance(seconds)
            with lack_of_descriptors():
                await bases.refresh()
            assert threads.calls.count("open_bases") == opened
        clock.advance(4)
        await bases.refresh()
        assert bases.health().not_ready == ()

    @pytest_twisted.ensureDeferred
    async def test_are_retried_at_once_on_request(self, bases: Bases) -> None:
        await self.fail(bases)
        await bases.refresh()
        assert bases.health().not_ready
        bases.retry()
        await bases.refresh()
        assert bases.health().not_ready == ()

    @pytest_twisted.ensureDeferred
    async def test_while_a_base_is_replaced(self, bases: Bases, iso: Path, clock: Clock) -> None:
        await bases.load(Kind.ISO)
        put(iso, NEW)
        await self.fail(bases)
        clock.advance(1)
        await bases.refresh()
        assert whole(await bases.load(Kind.ISO)) == NEW

    @pytest_twisted.ensureDeferred
    async def test_while_a_directory_is_listed(
        self, bases: Bases, tmp_path: Path, changes: list[str], errors: list[str]
    ) -> None:
        put(tmp_path / "ipa_aarch64.iso", NEW)
        await bases.refresh()
        changes.clear()
        with lack_of_descriptors():
            await bases.refresh()
            await bases.refresh()
        assert bases.supports("aarch64"), "a lack of descriptors does not remove files"
        assert changes == []
        assert len([error for error in errors if str(tmp_path) in error]) == 1
        (tmp_path / "ipa_aarch64.iso").unlink()
        await bases.refresh()
        assert not bases.supports("aarch64")

    @pytest_twisted.ensureDeferred
    async def test_permanent_errors_are_retried_on_request(
        self, bases: Bases, iso: Path, threads: CountingThreads, clock: Clock
    ) -> None:
        put(iso, b"no iso" * 20_000)
        await bases.load_all()
        clock.advance(1000)
        await bases.refresh()
        assert threads.calls.count("open_bases") == 1
        bases.retry()
        await bases.refresh()
        assert threads.calls.count("open_bases") == 2

    @pytest_twisted.ensureDeferred
    async def test_retries_a_file_after_new_permissions(
        self, bases: Bases, iso: Path, threads: CountingThreads
    ) -> None:
        put(iso, b"no iso" * 20_000)
        await bases.load_all()
        iso.chmod(0o600)
        await bases.refresh()
        assert threads.calls.count("open_bases") == 2


class TestDoubt:
    """Only the change time moved: nothing is served before a new digest."""

    @pytest_twisted.ensureDeferred
    async def test_writes_that_keep_the_dates_make_a_new_base(
        self, bases: Bases, iso: Path, changes: list[str], warned: list[str]
    ) -> None:
        old = await bases.load(Kind.ISO)
        put_keeping_dates(iso, NEW)
        assert bases.loaded(Kind.ISO) is None
        new = await bases.load(Kind.ISO)
        assert whole(new) == NEW
        assert new.etag(Customisation()) != old.etag(Customisation())
        with pytest.raises(BaseChanged):
            whole(old)
        assert changes
        assert any("overwritten in place" in line for line in warned)

    @pytest_twisted.ensureDeferred
    async def test_finds_such_writes_by_polling(
        self, bases: Bases, iso: Path, changes: list[str]
    ) -> None:
        await bases.load(Kind.ISO)
        put_keeping_dates(iso, NEW)
        await bases.refresh()
        assert changes
        assert bases.loaded(Kind.ISO) is None
        assert whole(await bases.load(Kind.ISO)) == NEW

    @pytest.mark.parametrize("kind", [Kind.INITRAMFS, Kind.KERNEL])
    @pytest_twisted.ensureDeferred
    async def test_finds_such_writes_to_separate_files(
        self, iso: Path, tmp_path: Path, threads: CountingThreads, kind: Kind
    ) -> None:
        path = put(tmp_path / "separate", b"MZ old")
        bases = Bases(
            BasePaths(iso=str(iso), initramfs=str(path), kernel=str(path)), "x86_64", threads
        )
        old = await bases.load(kind)
        put_keeping_dates(path, b"MZ new")
        new = await bases.load(kind)
        assert whole(new) == b"MZ new"
        assert new.etag(Customisation()) != old.etag(Customisation())

    @pytest_twisted.ensureDeferred
    async def test_attribute_changes_keep_the_base(
        self, bases: Bases, iso: Path, changes: list[str], warned: list[str]
    ) -> None:
        old = await bases.load(Kind.ISO)
        iso.chmod(0o600)
        assert bases.loaded(Kind.ISO) is None
        found = await gatherResults([Deferred.fromCoroutine(bases.load(Kind.ISO)) for _ in "abc"])
        assert all(base is old for base in found)
        assert bases.loaded(Kind.ISO) is old
        assert changes == [], "no image is built again"
        assert warned == []

    @pytest_twisted.ensureDeferred
    async def test_computes_the_digest_once_for_concurrent_requests(
        self, bases: Bases, iso: Path, threads: CountingThreads
    ) -> None:
        base = await bases.load(Kind.ISO)
        iso.chmod(0o600)
        requests = [Deferred.fromCoroutine(bases.load(Kind.ISO)) for _ in range(5)]
        bodies = [Deferred.fromCoroutine(bases.verify(base.file)) for _ in range(5)]
        polls = [Deferred.fromCoroutine(bases.refresh())]
        await gatherResults([*requests, *bodies, *polls])  # type: ignore[list-item]
        assert threads.calls.count("verify") == 1

    @pytest_twisted.ensureDeferred
    async def test_cancelling_a_request_does_not_affect_others(
        self, bases: Bases, iso: Path
    ) -> None:
        base = await bases.load(Kind.ISO)
        iso.chmod(0o600)
        leaves, stays = (Deferred.fromCoroutine(bases.load(Kind.ISO)) for _ in range(2))
        leaves.cancel()
        with pytest.raises(CancelledError):
            await leaves
        assert await stays is base

    @pytest_twisted.ensureDeferred
    async def test_follows_a_link_that_is_switched_and_back(
        self, tmp_path: Path, threads: CountingThreads
    ) -> None:
        for name, data in (("one", live_iso()), ("two", NEW)):
            put(tmp_path / name / "coreos.iso", data)
        link = tmp_path / "ipa.iso"
        link.symlink_to("one/coreos.iso")
        bases = Bases(BasePaths(iso=str(link)), "x86_64", threads)
        tags = []
        for name in ("one", "two", "one"):
            new = tmp_path / "new"
            new.symlink_to(f"{name}/coreos.iso")
            new.rename(link)
            tags.append((await bases.load(Kind.ISO)).etag(Customisation()))
        assert tags[0] == tags[2] != tags[1]

    @pytest_twisted.ensureDeferred
    async def test_loop_of_chmod_costs_few_digests_and_blocks_no_request(
        self, bases: Bases, iso: Path, warned: list[str]
    ) -> None:
        base = await bases.load(Kind.ISO)
        over = threading.Event()

        def change_modes() -> None:
            while not over.is_set():
                iso.chmod(0o600)

        thread = threading.Thread(target=change_modes)
        thread.start()
        try:
            end = time.monotonic() + 30
            while not any("attributes" in line for line in warned):
                # The thread may wait for the interpreter: only it knows when it changes a mode.
                assert time.monotonic() < end, "no warning"
                assert await bases.load(Kind.ISO) is base
            for _ in range(200):
                assert await bases.load(Kind.ISO) is base
            assert bases.loaded(Kind.ISO) is base, "trusted for a while"
        finally:
            over.set()
            thread.join()
        (line,) = [line for line in warned if "attributes" in line]
        assert str(iso) in line

    @pytest_twisted.ensureDeferred
    async def test_verifies_a_deleted_file_for_open_bodies(self, bases: Bases, iso: Path) -> None:
        base = await bases.load(Kind.ISO)
        put(iso, NEW)
        assert base.file.in_doubt()
        await bases.verify(base.file)
        assert not base.file.in_doubt()


class TestKernels:
    """Kernels are served unchanged, except bare gzip, which is unpacked."""

    PLAIN = b"MZ" + bytes(54) + b"ARM\x64" + os.urandom(100_000)

    @pytest_twisted.ensureDeferred
    async def test_serves_a_gzipped_kernel_unpacked(self, tmp_path: Path, threads: Threads) -> None:
        path = put(tmp_path / "ipa.iso", live_iso(kernel=gzip.compress(self.PLAIN, mtime=0)))
        bases = Bases(BasePaths(iso=str(path)), "aarch64", threads)
        base = await bases.load(Kind.KERNEL)
        assert whole(base) == self.PLAIN
        assert bases.loaded(Kind.KERNEL) is base
        assert await bases.load(Kind.KERNEL) is base
        other = Bases(BasePaths(iso=str(path)), "aarch64", threads)
        assert (await other.load(Kind.KERNEL)).etag(Customisation()) == base.etag(Customisation())

    @pytest_twisted.ensureDeferred
    async def test_unpacks_a_kernel_once(self, tmp_path: Path, threads: CountingThreads) -> None:
        path = put(tmp_path / "k", gzip.compress(self.PLAIN))
        bases = Bases(BasePaths(kernel=str(path)), "aarch64", threads)
        await gatherResults([Deferred.fromCoroutine(bases.load(Kind.KERNEL)) for _ in range(5)])
        await bases.load(Kind.KERNEL)
        assert threads.calls.count("unpacked") == 1

    @pytest_twisted.ensureDeferred
    async def test_kernel_etag_follows_the_base(self, tmp_path: Path, threads: Threads) -> None:
        path = put(tmp_path / "k", gzip.compress(self.PLAIN))
        bases = Bases(BasePaths(kernel=str(path)), "aarch64", threads)
        old = await bases.load(Kind.KERNEL)
        put(path, gzip.compress(self.PLAIN + b"!"))
        assert bases.loaded(Kind.KERNEL) is None
        new = await bases.load(Kind.KERNEL)
        assert whole(new) == self.PLAIN + b"!"
        assert whole(old) == self.PLAIN
        assert new.etag(Customisation()) != old.etag(Customisation())

    @pytest_twisted.ensureDeferred
    async def test_reports_a_damaged_kernel_and_serves_the_iso(
        self, tmp_path: Path, threads: Threads, errors: list[str]
    ) -> None:
        packed = gzip.compress(self.PLAIN)[:-50_000]
        path = put(tmp_path / "ipa.iso", live_iso(kernel=packed))
        bases = Bases(BasePaths(iso=str(path)), "aarch64", threads)
        for _ in range(2):
            with pytest.raises(BaseUnavailable, match=r"ipa\.iso: its kernel is truncated gzip"):
                await bases.load(Kind.KERNEL)
        assert len(errors) == 1
        assert await bases.load(Kind.ISO)

    @pytest_twisted.ensureDeferred
    async def test_closes_an_iso_with_a_damaged_kernel(
        self, tmp_path: Path, threads: Threads, started: Callable[[], None]
    ) -> None:
        packed = gzip.compress(self.PLAIN)[:-50_000]
        path = put(tmp_path / "ipa.iso", live_iso(kernel=packed))
        bases = Bases(BasePaths(iso=str(path)), "aarch64", threads)
        for _ in range(2):
            with pytest.raises(BaseUnavailable, match="truncated gzip"):
                await bases.load(Kind.KERNEL)
        await bases.refresh()  # ends the call that raised
        started()
        put(path, NEW)
        await bases.refresh()
        gc.collect()
        assert f"{path} (deleted)" not in open_files()

    @pytest_twisted.ensureDeferred
    async def test_leaves_a_gzipped_initramfs_packed(
        self, iso: Path, tmp_path: Path, threads: Threads
    ) -> None:
        path = put(tmp_path / "i", gzip.compress(b"070701" + b"0" * 104))
        bases = Bases(BasePaths(iso=str(iso), initramfs=str(path)), "x86_64", threads)
        assert whole(await bases.load(Kind.INITRAMFS)) == path.read_bytes()


class TestErrors:
    """A base that cannot be used, for as long as it is there."""

    @pytest_twisted.ensureDeferred
    async def test_do_not_grow_with_each_request(self, tmp_path: Path, threads: Threads) -> None:
        path = put(tmp_path / "ipa.iso", b"")
        bases = Bases(BasePaths(iso=str(path)), "x86_64", threads)
        frames = []
        for _ in range(3):
            with pytest.raises(BaseUnavailable) as caught:
                await bases.load(Kind.ISO)
            frames.append(len(caught.traceback))
        assert len(set(frames)) == 1, frames

    @pytest_twisted.ensureDeferred
    async def test_close_the_file_when_it_is_replaced(
        self, bases: Bases, iso: Path, started: Callable[[], None]
    ) -> None:
        with pytest.raises(BaseUnavailable, match=r"generic\.ins"):
            await bases.load(Kind.INS)
        started()
        put(iso, NEW)
        await bases.refresh()
        gc.collect()
        assert f"{iso} (deleted)" not in open_files()


class TestOtherFiles:
    """Files that are certainly wrong are refused; doubtful ones are served with a warning."""

    @pytest.mark.parametrize(
        ("kind", "data", "what"),
        [
            (Kind.INITRAMFS, b"root:x:0:0\nbin:x:1:1\n", "is text, not an initramfs"),
            (Kind.INITRAMFS, b"\x7fELF\2\1\1" + bytes(100), "is an ELF file, not an initramfs"),
            (Kind.INITRAMFS, live_iso(), "is an ISO 9660 image, not an initramfs"),
            (Kind.KERNEL, live_iso(), "is an ISO 9660 image, not a kernel"),
            (Kind.KERNEL, INITRAMFS, "is a cpio archive, compressed with gzip, not a kernel"),
        ],
        ids=without_bytes,
    )
    @pytest_twisted.ensureDeferred
    async def test_wrong_replacement_is_unavailable_until_it_is_fixed(
        self,
        iso: Path,
        tmp_path: Path,
        threads: Threads,
        errors: list[str],
        kind: Kind,
        data: bytes,
        what: str,
    ) -> None:
        good = INITRAMFS if kind is Kind.INITRAMFS else b"MZ kernel"
        path = put(tmp_path / "boot", good)
        named = {"initramfs": str(path)} if kind is Kind.INITRAMFS else {"kernel": str(path)}
        bases = Bases(BasePaths(iso=str(iso), **named), "x86_64", threads)
        await bases.load(kind)
        put(path, data)
        assert bases.loaded(kind) is None
        for _ in range(2):
            with pytest.raises(BaseUnavailable) as caught:
                await bases.load(kind)
        assert f"base image {path} {what}: " in str(caught.value)
        assert len(errors) == 1
        assert bases.health().not_ready == (
            f"base image {iso} has not been read yet",
            *errors,
        )
        put(path, good)
        assert whole(await bases.load(kind)) == good

    @pytest_twisted.ensureDeferred
    async def test_warns_once_of_a_doubtful_file(
        self, tmp_path: Path, threads: Threads, warned: list[str]
    ) -> None:
        path = put(tmp_path / "ipa.iso", live_iso(kernel=b"the kernel\n"))
        bases = Bases(BasePaths(iso=str(path)), "x86_64", threads)
        assert await bases.load_all() == []
        await bases.refresh()
        put(path, live_iso(kernel=b"the kernel\n"))
        await bases.refresh()
        assert warned == [
            f"base image {path}: its kernel looks like text, not like a kernel: "
            "hosts that boot it will probably fail"
        ]
        assert [doubt.text for doubt in bases.doubts()] == warned
        assert whole(await bases.load(Kind.KERNEL)) == b"the kernel\n"

    @pytest_twisted.ensureDeferred
    async def test_warns_of_a_base_of_another_architecture(
        self, tmp_path: Path, threads: Threads, warned: list[str]
    ) -> None:
        arm = live_iso(kernel=b"MZ" + bytes(54) + b"ARM\x64")
        for name in ("ipa.iso", "ipa_aarch64.iso"):
            put(tmp_path / name, arm)
        bases = Bases(BasePaths(iso=str(tmp_path / "ipa.iso")), "x86_64", threads)
        await bases.load_all()
        (line,) = warned
        assert line.startswith(f"base image {tmp_path}/ipa.iso looks made for aarch64, but is ")
        assert "hosts of x86_64" in line


class TestOtherFilesWhileOneIsRead:
    """A base file of a gigabyte is read for seconds, and the directory may change meanwhile."""

    @pytest_twisted.async_yield_fixture
    async def threads(self) -> AsyncIterator[HeldThreads]:
        pool = HeldThreads("open_bases")
        pool.startService()
        yield pool
        await pool.stopService()

    @pytest_twisted.ensureDeferred
    async def test_a_file_that_comes_into_force_meanwhile_is_used(
        self, bases: Bases, tmp_path: Path, threads: HeldThreads
    ) -> None:
        loading = ensureDeferred(bases.load(Kind.ISO))
        await threads.has_run
        put(tmp_path / "ipa_x86_64.iso", NEW)
        await bases.refresh()
        threads.let_go()
        base = await loading
        assert whole(base) == NEW
        assert bases.loaded(Kind.ISO) is base

    @pytest_twisted.ensureDeferred
    async def test_a_file_that_went_meanwhile_is_given_up(
        self, bases: Bases, tmp_path: Path, threads: HeldThreads
    ) -> None:
        path = put(tmp_path / "ipa_x86_64.iso", NEW)
        await bases.refresh()
        loading = ensureDeferred(bases.load(Kind.ISO))
        await threads.has_run
        path.unlink()
        await bases.refresh()
        threads.let_go()
        assert whole(await loading) == live_iso()
        await bases.refresh()
        assert [state.path for state in bases.states()] == [str(tmp_path / "ipa.iso")]
        gc.collect()
        assert f"{path} (deleted)" not in open_files()


def content(kind: Kind = Kind.ISO, archive: bytes = b"archive") -> Content:
    return Content(id=ImageId("", "host", kind), customisation=Customisation(archive))


class TestImages:
    @pytest_twisted.ensureDeferred
    async def test_serves_a_name_from_publish_to_discard(self, bases: Bases) -> None:
        images = Store(bases, lambda: 1000.0)
        assert images.entry("host.iso") is None
        images.publish("host.iso", content())
        entry = images.entry("host.iso")
        assert entry is not None
        assert images.loaded(entry) is None
        image = await images.load(entry)
        assert images.loaded(entry) is image
        images.discard("host.iso")
        assert images.entry("host.iso") is None
        assert len(images) == 0
        # Open bodies keep it.
        assert image.layout.read(0, 5) == live_iso()[:5]

    @pytest_twisted.ensureDeferred
    async def test_new_base_gives_a_new_etag_and_a_later_date(
        self, bases: Bases, iso: Path
    ) -> None:
        images = Store(bases, lambda: 1000.0)
        images.publish("host.iso", content())
        entry = images.entry("host.iso")
        assert entry is not None
        before = await images.load(entry)
        put(iso, NEW)
        assert images.loaded(entry) is None
        after = await images.load(entry)
        assert before.etag != after.etag
        assert (before.last_modified, after.last_modified) == (1000, 1001)

    @pytest_twisted.ensureDeferred
    async def test_closes_a_replaced_base(self, bases: Bases, iso: Path) -> None:
        """A deleted ISO takes disk space until its last descriptor is closed."""
        images = Store(bases, lambda: 1000.0)
        for name in ("a.iso", "b.iso"):
            images.publish(name, content())
            entry = images.entry(name)
            assert entry is not None
            await images.load(entry)
        put(iso, NEW)
        # One image is requested before the next poll.
        entry = images.entry("a.iso")
        assert entry is not None
        await images.load(entry)
        await bases.refresh()
        gc.collect()
        fds = open_files()
        assert fds.count(str(iso)) == 1
        assert f"{iso} (deleted)" not in fds

    @pytest_twisted.ensureDeferred
    async def test_closes_a_replaced_base_of_minimal_isos(
        self, tmp_path: Path, threads: Threads
    ) -> None:
        path = tmp_path / "full.iso"
        bases = Bases(BasePaths(iso=str(path)), "x86_64", threads, minimal=True)
        images = Store(bases, lambda: 1000.0)
        fetching = Customisation(b"archive", rootfs_url="http://mic/rootfs.img")
        entry = images.publish(
            "a.iso", Content(id=ImageId("", "a", Kind.ISO), customisation=fetching)
        )
        for kernel in (KERNEL, KERNEL + b"new", KERNEL):
            files = coreos_files(kernel=kernel, initramfs=INITRAMFS, rootfs=b"root" * 1000)
            put(path, with_minimal(files))
            bases.retry()
            await bases.refresh()
            image = await images.load(entry)
            assert image.size < path.stat().st_size
            del image
            gc.collect()
            assert f"{path} (deleted)" not in open_files()

    @pytest_twisted.ensureDeferred
    async def test_check_reports_why_content_cannot_be_served(
        self, bases: Bases, iso: Path
    ) -> None:
        put(iso, live_iso(fixed=True))
        images = Store(bases, lambda: 1000.0)
        await images.check(content())
        with pytest.raises(BuildInvalid, match="needs 100000 bytes"):
            await images.check(content(archive=bytes(100_000)))
        iso.unlink()
        with pytest.raises(BaseUnavailable):
            await images.check(content())

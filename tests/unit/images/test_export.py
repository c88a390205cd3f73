"""Images as files: the same bytes, with holes, and all or nothing."""

from __future__ import annotations

import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from toys import put, put_keeping_dates

from mic.images.export import ExportError, check_target, write_file, write_stream
from mic.media.basefile import BaseChanged, BaseFile, open_base
from mic.media.catalog import BasePaths
from mic.media.layout import FileRange, Layout, Patch, memory, zeros

MIB = 1 << 20
NOISE = random.Random(0).randbytes(3 * MIB)
BASE = NOISE[:MIB] + bytes(2 * MIB) + NOISE[MIB:] + b"end"


def ignore(done: int, size: int) -> None:
    pass


@pytest.fixture
def base(tmp_path: Path) -> BaseFile:
    return open_base(str(put(tmp_path / "base.iso", BASE)))


@pytest.fixture
def layout(base: BaseFile) -> Layout:
    """An image with an archive in its zeros, between and across blocks."""
    pieces = (memory(b"\0archive" * 1000), *zeros(300_001))
    return Layout.of(base).patched([Patch(offset=MIB + 1000, pieces=pieces)])


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file that is there already, for everyone to read."""
    target = put(tmp_path / "out/worker-0.iso", b"before")
    target.chmod(0o644)
    return target


def content_of(layout: Layout) -> bytes:
    return layout.read(0, layout.size)


def assert_untouched(target: Path) -> None:
    assert target.read_bytes() == b"before"
    assert os.listdir(target.parent) == [target.name]


def test_writes_the_bytes_for_its_owner_only(layout: Layout, target: Path) -> None:
    write_file(layout, str(target), ignore)
    assert target.read_bytes() == content_of(layout)
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(target.parent) == [target.name]


def test_runs_of_zeros_are_holes(layout: Layout, target: Path) -> None:
    write_file(layout, str(target), ignore)
    allocated = target.stat().st_blocks * 512
    assert allocated < layout.size - 3 * MIB // 2
    with target.open("rb") as file:
        hole = os.lseek(file.fileno(), MIB, os.SEEK_HOLE)
        data = os.lseek(file.fileno(), hole, os.SEEK_DATA)
    assert MIB < hole < data == 3 * MIB


@pytest.mark.parametrize("length", [0, 1, 4095, 4096, 4097, MIB, MIB + 1])
@pytest.mark.parametrize("fill", [b"\0", b"x"])
def test_any_length(tmp_path: Path, length: int, fill: bytes) -> None:
    target = tmp_path / "image"
    layout = Layout([memory(fill * length), memory(b"1"), *zeros(length)])
    write_file(layout, str(target), ignore)
    assert target.read_bytes() == fill * length + b"1" + bytes(length)


def test_data_after_zeros_of_a_base(tmp_path: Path) -> None:
    """From the middle of a base file, to other offsets than those there."""
    content = bytes(10_000) + NOISE[:5000] + bytes(10_000) + NOISE[5000:12_000]
    base = open_base(str(put(tmp_path / "base", content)))
    part = FileRange(source=base, start=777, stop=base.size)
    for before in (b"", b"before"):
        write_file(Layout([memory(before), part]), str(tmp_path / "image"), ignore)
        assert (tmp_path / "image").read_bytes() == before + content[777:]


def test_copies_from_another_file_system(layout: Layout) -> None:
    """There the kernel may refuse to copy."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or not os.access(shm, os.W_OK):
        pytest.skip("needs /dev/shm")
    target = shm / f"mic-test-{os.getpid()}"
    try:
        write_file(layout, str(target), ignore)
        assert target.read_bytes() == content_of(layout)
    finally:
        target.unlink(missing_ok=True)


def test_reports_progress_to_the_end(layout: Layout, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_file(layout, str(target), lambda *progress: seen.append(progress))
    assert seen == sorted(seen)
    assert len(seen) > 4
    assert seen[-1] == (layout.size, layout.size)


def replace_base(path: Path) -> None:
    put(path, BASE)


def remove_base(path: Path) -> None:
    path.unlink()


def overwrite_base(path: Path) -> None:
    path.write_bytes(BASE)


def overwrite_keeping_dates(path: Path) -> None:
    put_keeping_dates(path, b"other")


@pytest.mark.parametrize(
    "change", [replace_base, remove_base, overwrite_base, overwrite_keeping_dates]
)
@pytest.mark.parametrize("at_the_end", [False, True])
def test_refuses_a_base_that_changes_meanwhile(
    layout: Layout, target: Path, tmp_path: Path, change: Callable[[Path], None], at_the_end: bool
) -> None:
    changed: list[int] = []

    def progress(done: int, size: int) -> None:
        if not changed and (done == size or not at_the_end):
            changed.append(done)
            change(tmp_path / "base.iso")

    with pytest.raises(BaseChanged, match=r"/base\.iso "):
        write_file(layout, str(target), progress)
    assert_untouched(target)


def test_new_attributes_of_the_base_are_no_change(
    layout: Layout, target: Path, tmp_path: Path
) -> None:
    write_file(layout, str(target), lambda *_: (tmp_path / "base.iso").chmod(0o600))
    assert target.read_bytes() == content_of(layout)


def test_an_interrupt_leaves_nothing(layout: Layout, target: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_file(layout, str(target), lambda *_: os.kill(os.getpid(), signal.SIGINT))
    assert_untouched(target)


@contextmanager
def limited_files(length: int) -> Iterator[None]:
    """Let this process write no file longer than that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_file_that_cannot_grow_leaves_nothing(layout: Layout, target: Path) -> None:
    with limited_files(MIB), pytest.raises(ExportError, match="File too large"):
        write_file(layout, str(target), ignore)
    assert_untouched(target)


def test_a_full_disk_in_the_middle_leaves_nothing(layout: Layout, target: Path) -> None:
    limits: list[object] = []

    def fill_up(done: int, size: int) -> None:
        if not limits:
            limit = limited_files(done + 1)
            limit.__enter__()
            limits.append(limit)

    try:
        with pytest.raises(ExportError, match=r"worker-0\.iso: File too large"):
            write_file(layout, str(target), fill_up)
    finally:
        for limit in limits:
            limit.__exit__(None, None, None)  # type: ignore[attr-defined]
    assert_untouched(target)


def test_a_directory_without_room_for_files(layout: Layout) -> None:
    with pytest.raises(ExportError, match=r"^/proc/worker-0\.iso: "):
        write_file(layout, "/proc/worker-0.iso", ignore)


def test_writes_a_stream(layout: Layout, tmp_path: Path) -> None:
    with (tmp_path / "stream").open("wb") as file:
        write_stream(layout, file.fileno(), "standard output", ignore)
    assert (tmp_path / "stream").read_bytes() == content_of(layout)


def test_a_stream_that_is_full_or_closed(layout: Layout) -> None:
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(ExportError, match=r"^standard output: No space left on device$"),
    ):
        write_stream(layout, full.fileno(), "standard output", ignore)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(ExportError, match=r"^standard output: Broken pipe$"):
            write_stream(layout, writing, "standard output", ignore)
    finally:
        os.close(writing)


def test_a_pipe_that_does_not_block(layout: Layout) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb") as pipe, ThreadPoolExecutor(1) as pool:
        received = pool.submit(pipe.read)
        try:
            write_stream(layout, writing, "standard output", ignore)
        finally:
            os.close(writing)
        assert received.result() == content_of(layout)


def test_a_stream_into_the_base(layout: Layout, tmp_path: Path) -> None:
    with (tmp_path / "base.iso").open("ab") as file, pytest.raises(ExportError):
        write_stream(layout, file.fileno(), "standard output", ignore)
    assert (tmp_path / "base.iso").read_bytes() == BASE


class TestTarget:
    """Where an image may be written."""

    @pytest.fixture
    def check(self, tmp_path: Path, base: BaseFile) -> Callable[..., str]:
        host = put(tmp_path / "hosts/worker-0.yaml", b"")

        def check(path: Path | str, *, shared: str = "") -> str:
            paths = BasePaths(iso=str(tmp_path / "base.iso"), shared_dir=shared)
            return check_target(str(path), paths, "x86_64", [str(host)])

        return check

    def test_a_free_name_and_a_file(self, check: Callable[..., str], target: Path) -> None:
        assert check(target) == str(target)
        assert check(target.with_name("new.iso")) == str(target.with_name("new.iso"))

    def test_a_link_is_followed(
        self, check: Callable[..., str], target: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "link.img").symlink_to("out/worker-0.iso")
        (tmp_path / "free.img").symlink_to("out/new.iso")
        assert check(tmp_path / "link.img") == str(target)
        assert check(tmp_path / "free.img") == str(target.with_name("new.iso"))

    def test_the_base_by_any_name(
        self,
        check: Callable[..., str],
        target: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        base = tmp_path / "base.iso"
        (target.parent / "soft.iso").symlink_to(base)
        (target.parent / "hard.iso").hardlink_to(base)
        (tmp_path / "hosts/link").symlink_to(tmp_path)
        monkeypatch.chdir(tmp_path)
        for path in (
            base,
            target.parent / "soft.iso",
            target.parent / "hard.iso",
            "base.iso",
            "hosts/link/base.iso",
            "out/../base.iso",
        ):
            with pytest.raises(ExportError, match="base image of mic"):
                check(path)

    def test_the_name_of_a_base_of_another_stream(
        self, check: Callable[..., str], tmp_path: Path
    ) -> None:
        """Mic would serve what is written there."""
        assert check(tmp_path / "worker-0.iso")
        for name in ("base-worker-0.iso", "base_aarch64.iso"):
            with pytest.raises(ExportError, match="would be, a base image"):
                check(tmp_path / name)

    def test_a_base_of_another_architecture_by_link(
        self, check: Callable[..., str], target: Path, tmp_path: Path
    ) -> None:
        shared = put(tmp_path / "shared/base_aarch64.iso", b"")
        (target.parent / "link.iso").symlink_to(shared)
        with pytest.raises(ExportError, match="base image of mic"):
            check(target.parent / "link.iso", shared=str(shared.parent))

    def test_a_host_file(self, check: Callable[..., str], tmp_path: Path) -> None:
        with pytest.raises(ExportError, match="built from"):
            check(tmp_path / "hosts/worker-0.yaml")

    def test_no_file(self, check: Callable[..., str], target: Path, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "loop").symlink_to("loop")
        for path, why in (
            (tmp_path, "is a directory"),
            (f"{tmp_path}/new/", "is a directory"),
            (tmp_path / "fifo", "is not a regular file"),
            ("/dev/null", "is not a regular file"),
            (tmp_path / "none/worker-0.iso", "No such file or directory"),
            (target / "worker-0.iso", "Not a directory"),
            (tmp_path / "loop", "is not a regular file"),
        ):
            with pytest.raises(ExportError, match=why):
                check(path)

    def test_a_directory_of_another_user(self, check: Callable[..., str]) -> None:
        with as_a_user(), pytest.raises(ExportError, match=r"^/worker-0\.iso: Permission denied$"):
            check("/worker-0.iso")


@contextmanager
def as_a_user() -> Iterator[None]:
    """Run as a user without rights of its own; root may write everywhere."""
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)

"""One version of a base file: opened, read, replaced, overwritten, truncated; block devices too."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from descriptors import open_files
from toys import lack_of_descriptors, live_iso, put, put_keeping_dates

from mic.common.errors import BaseUnavailable, NotReady
from mic.media.base import SERVED, Kind, read_base
from mic.media.basefile import BaseChanged, BaseFile, open_base, peek, version_of

ISO = live_iso()


def open_descriptors(path: Path) -> int:
    """Return the number of descriptors of this process on a path or its deleted file."""
    gc.collect()
    return [name.removesuffix(" (deleted)") for name in open_files()].count(str(path))


def test_digest_depends_only_on_bytes(tmp_path: Path) -> None:
    one, other = put(tmp_path / "one", ISO), put(tmp_path / "other", ISO)
    os.utime(other, (1, 1))
    assert open_base(str(one)).digest == open_base(str(other)).digest
    put(other, ISO[:-1] + b"!")
    assert open_base(str(one)).digest != open_base(str(other)).digest


def test_reads_a_file_replaced_by_rename_to_its_end(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", b"old" * 1000)
    base = open_base(str(path))
    assert base.is_current()
    put(path, b"new" * 1000)
    assert not base.is_current()
    assert base.read(0, 3000) == b"old" * 1000


def test_reads_a_removed_file_to_its_end(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", b"old")
    base = open_base(str(path))
    path.unlink()
    assert not base.is_current()
    assert base.read(0, 3) == b"old"


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"NEW")


def truncate(path: Path) -> None:
    os.truncate(path, 2)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [overwrite, truncate, append])
def test_never_reads_a_file_changed_in_place(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """Written right after it was opened: within one tick of the kernel's file times."""
    path = put(tmp_path / "base.iso", b"old" * 1000)
    base = open_base(str(path))
    change(path)
    assert not base.is_current()
    with pytest.raises(BaseChanged):
        base.read(0, 3)
    with pytest.raises(BaseChanged):
        base.check()


def test_read_past_the_end_raises(tmp_path: Path) -> None:
    base = open_base(str(put(tmp_path / "base.iso", b"12345")))
    with pytest.raises(BaseChanged, match="ends before byte 6"):
        base.read(4, 2)


def test_closes_the_descriptor_with_its_base(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", b"data")
    base = open_base(str(path))
    assert open_descriptors(path) == 1
    del base
    assert open_descriptors(path) == 0


def test_follows_links(tmp_path: Path) -> None:
    put(tmp_path / "1", b"one")
    put(tmp_path / "2", b"two")
    link = tmp_path / "base.iso"
    link.symlink_to("1")
    base = open_base(str(link))
    link.unlink()
    link.symlink_to("2")
    assert not base.is_current()
    assert (base.read(0, 3), open_base(str(link)).read(0, 3)) == (b"one", b"two")


def make_nothing(path: Path) -> None:
    del path


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_nothing, "No such file"),
        (Path.touch, "is empty"),
        (Path.mkdir, "neither a file nor a block device"),
        (os.mkfifo, "neither a file nor a block device"),
        (make_socket, "No such device or address"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (lambda path: path.symlink_to("/dev/zero"), "neither a file nor a block device"),
    ],
)
def test_refuses_unusable_files(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    path = tmp_path / "base.iso"
    make(path)
    with pytest.raises(BaseUnavailable, match=reason) as caught:
        open_base(str(path))
    assert str(path) in str(caught.value)
    assert open_descriptors(path) == 0


def test_file_that_grows_during_its_digest_is_not_ready(tmp_path: Path) -> None:
    """A thread appends while the digest is computed."""
    path = put(tmp_path / "base.iso", bytes(200_000_000))
    stop = threading.Event()

    def grow() -> None:
        while not stop.is_set():
            append(path)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        with pytest.raises(NotReady, match="is being written"):
            open_base(str(path))
    finally:
        stop.set()
        thread.join()


def test_file_that_changes_before_it_is_read_is_not_ready(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", ISO)
    file = open_base(str(path))
    overwrite(path)
    for kind in SERVED:
        with pytest.raises(NotReady, match="is being written"):
            read_base(file, kind, inside_iso=kind is not Kind.ISO)


def test_reports_read_errors(tmp_path: Path) -> None:
    """Reads of a write-only descriptor fail, as those of a scratched disc."""
    path = put(tmp_path / "base.iso", ISO)
    version = version_of(str(path))
    assert version is not None
    file = BaseFile(
        path=str(path), fd=os.open(path, os.O_WRONLY), size=len(ISO), version=version, digest=b""
    )
    with pytest.raises(BaseUnavailable, match=r"base\.iso: Bad file descriptor"):
        read_base(file, Kind.ISO, inside_iso=False)


def test_peek_never_returns_a_short_read(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", b"12345")
    with peek(str(path)) as source:
        assert (source.size, source.read(1, 4)) == (5, b"2345")
        os.truncate(path, 3)
        with pytest.raises(OSError, match="was truncated"):
            source.read(1, 4)
    assert open_descriptors(path) == 0


def test_peek_refuses_a_directory(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), peek(str(tmp_path)):
        pass


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Return a function that puts a medium into a loop device; called again, it replaces it."""
    if not shutil.which("losetup") or os.geteuid() != 0:
        pytest.skip("loop devices need losetup and root")
    device = ""
    number = 0

    def insert(data: bytes) -> Path:
        nonlocal device, number
        number += 1
        medium = tmp_path / f"medium-{number}"
        medium.write_bytes(data + bytes(-len(data) % 4096))
        if device:
            subprocess.run(["losetup", "-d", device], check=True)
        where = [device] if device else ["-f", "--show"]
        run = ["losetup", "-r", *where, str(medium)]
        done = subprocess.run(run, capture_output=True, check=False, text=True)
        if done.returncode:
            pytest.skip(f"no loop devices here: {done.stderr.strip()}")
        device = device or done.stdout.strip()
        return Path(device)

    yield insert
    if device:
        gc.collect()
        subprocess.run(["losetup", "-d", device], check=False)


def test_accepts_a_block_device(loop_device: Callable[[bytes], Path]) -> None:
    device = loop_device(ISO)
    file = open_base(str(device))
    assert file.size >= len(ISO)
    assert file.read(0, len(ISO)) == ISO
    assert file.is_current()
    assert file.same_medium()
    base = read_base(file, Kind.INITRAMFS, inside_iso=True)
    assert base.stop > base.start


def test_detects_another_medium(loop_device: Callable[[bytes], Path]) -> None:
    file = open_base(str(loop_device(ISO)))
    digest = file.digest
    path = file.path
    del file
    gc.collect()
    loop_device(live_iso(kernel=b"another"))
    assert open_base(path).digest != digest


class TestDoubt:
    """After a new change time the bytes may differ, but need not."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return put(tmp_path / "base.iso", b"old" * 1000)

    @pytest.fixture
    def base(self, path: Path) -> BaseFile:
        return open_base(str(path))

    def test_untouched_file_is_not_in_doubt(self, base: BaseFile) -> None:
        assert (base.in_doubt(), base.is_current(), base.intact()) == (False, True, True)
        assert base.verify()

    def test_detects_writes_that_keep_the_dates(self, base: BaseFile, path: Path) -> None:
        put_keeping_dates(path, b"NEW")
        assert (base.in_doubt(), base.is_current(), base.intact()) == (True, False, True)
        assert base.may_be_current()
        assert not base.verify()
        assert not base.intact()
        assert not base.may_be_current()
        with pytest.raises(BaseChanged):
            base.read(0, 3)

    def test_changed_file_stays_changed_after_a_restore(self, base: BaseFile, path: Path) -> None:
        put_keeping_dates(path, b"NEW")
        assert not base.verify()
        put_keeping_dates(path, b"old")
        assert not base.verify()
        assert not base.is_current()

    def test_remembers_a_changed_date_that_is_set_back(self, base: BaseFile, path: Path) -> None:
        status = path.stat()
        path.write_bytes(b"NEW" * 1000)
        assert not base.intact()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert not base.intact()

    @pytest.mark.parametrize(
        "change",
        [
            lambda path: path.chmod(0o600),
            lambda path: os.link(path, path.with_suffix(".link")),
            lambda path: path.rename(path.with_suffix(".away")).rename(path),
        ],
        ids=["chmod", "link", "rename"],
    )
    def test_attribute_changes_cost_only_a_digest(
        self, base: BaseFile, path: Path, change: Callable[[Path], None]
    ) -> None:
        change(path)
        assert base.in_doubt()
        assert base.read(0, 3) == b"old"
        assert base.verify()
        assert (base.in_doubt(), base.is_current(), base.intact()) == (False, True, True)
        assert base.trusted_for == 0

    def test_verifies_a_deleted_file(self, base: BaseFile, path: Path) -> None:
        path.unlink()
        assert base.in_doubt()
        assert base.verify()
        assert not base.in_doubt()

    def test_trusts_a_file_whose_attributes_change_repeatedly(self, path: Path) -> None:
        now = 100.0
        base = open_base(str(path), clock=lambda: now)
        over = threading.Event()

        def change_modes() -> None:
            while not over.is_set():
                path.chmod(0o600)

        thread = threading.Thread(target=change_modes)
        thread.start()
        try:
            while not base.trusted_for:
                assert base.verify()
        finally:
            over.set()
            thread.join()
        path.chmod(0o644)
        assert base.is_current()
        now += base.trusted_for
        assert not base.is_current()
        put_keeping_dates(path, b"NEW")
        assert not base.verify()

    def test_unreadable_file_stays_in_doubt(self, base: BaseFile, path: Path) -> None:
        unreadable = BaseFile(
            path=str(path),
            fd=os.open(path, os.O_WRONLY),
            size=base.size,
            version=base.version,
            digest=base.digest,
        )
        path.chmod(0o600)
        with pytest.raises(OSError, match="Bad file descriptor"):
            unreadable.verify()
        assert unreadable.in_doubt()
        assert unreadable.intact()


def test_lack_of_descriptors_is_temporary(tmp_path: Path) -> None:
    path = str(put(tmp_path / "base.iso", ISO))
    with lack_of_descriptors(), pytest.raises(NotReady, match="Too many open files"):
        open_base(path)


def test_lack_of_descriptors_is_not_another_medium(
    loop_device: Callable[[bytes], Path],
) -> None:
    file = open_base(str(loop_device(ISO)))
    with lack_of_descriptors():
        assert file.same_medium()

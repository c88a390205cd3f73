"""One version of a base file: opened, read, replaced, overwritten, cut off; block devices too."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from descriptors import open_files
from toys import live_iso, put

from mic.errors import BaseUnavailable, NotReady
from mic.image.base import Kind, read_base
from mic.image.basefile import BaseChanged, BaseFile, open_base, peek, version_of

ISO = live_iso()


def open_descriptors(path: Path) -> int:
    """How many descriptors of this process lead to a path, or to what was there."""
    gc.collect()
    return [name.removesuffix(" (deleted)") for name in open_files()].count(str(path))


def test_the_same_bytes_have_the_same_digest_whatever_their_date(tmp_path: Path) -> None:
    one, other = put(tmp_path / "one", ISO), put(tmp_path / "other", ISO)
    os.utime(other, (1, 1))
    assert open_base(str(one)).digest == open_base(str(other)).digest
    put(other, ISO[:-1] + b"!")
    assert open_base(str(one)).digest != open_base(str(other)).digest


def test_a_file_replaced_by_rename_is_read_to_its_end(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", b"old" * 1000)
    base = open_base(str(path))
    assert base.is_current()
    put(path, b"new" * 1000)
    assert not base.is_current()
    assert base.read(0, 3000) == b"old" * 1000


def test_a_removed_file_is_read_to_its_end(tmp_path: Path) -> None:
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
def test_a_file_changed_in_place_is_never_read_again(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """Written at once after it was opened: within one tick of the kernel's file times."""
    path = put(tmp_path / "base.iso", b"old" * 1000)
    base = open_base(str(path))
    change(path)
    assert not base.is_current()
    with pytest.raises(BaseChanged):
        base.read(0, 3)
    with pytest.raises(BaseChanged):
        base.check()


def test_a_read_past_the_end_is_not_a_short_read(tmp_path: Path) -> None:
    base = open_base(str(put(tmp_path / "base.iso", b"12345")))
    with pytest.raises(BaseChanged, match="ends before byte 6"):
        base.read(4, 2)


def test_a_descriptor_lives_as_long_as_its_base(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", b"data")
    base = open_base(str(path))
    assert open_descriptors(path) == 1
    del base
    assert open_descriptors(path) == 0


def test_a_link_leads_to_the_file_of_the_moment(tmp_path: Path) -> None:
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
def test_what_cannot_be_a_base_is_told_so(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "base.iso"
    make(path)
    with pytest.raises(BaseUnavailable, match=reason) as caught:
        open_base(str(path))
    assert str(path) in str(caught.value)
    assert open_descriptors(path) == 0


def test_a_file_that_grows_while_its_digest_is_taken_is_not_ready(tmp_path: Path) -> None:
    """A FUSE of one: the digest reads through a thread that appends meanwhile."""
    import threading

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


def test_a_base_that_changes_between_opening_and_reading_is_not_ready(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", ISO)
    file = open_base(str(path))
    overwrite(path)
    for kind in Kind:
        with pytest.raises(NotReady, match="is being written"):
            read_base(file, kind, inside_iso=kind is not Kind.ISO)


def test_a_medium_that_cannot_be_read_is_told_so(tmp_path: Path) -> None:
    """A descriptor that is open for writing alone fails as a scratched disc does."""
    path = put(tmp_path / "base.iso", ISO)
    version = version_of(str(path))
    assert version is not None
    file = BaseFile(
        path=str(path), fd=os.open(path, os.O_WRONLY), size=len(ISO), version=version, digest=b""
    )
    with pytest.raises(BaseUnavailable, match=r"base\.iso: Bad file descriptor"):
        read_base(file, Kind.ISO, inside_iso=False)


def test_peeking_never_gives_less_than_was_asked_for(tmp_path: Path) -> None:
    path = put(tmp_path / "base.iso", b"12345")
    with peek(str(path)) as source:
        assert (source.size, source.read(1, 4)) == (5, b"2345")
        os.truncate(path, 3)
        with pytest.raises(OSError, match="became shorter"):
            source.read(1, 4)
    assert open_descriptors(path) == 0


def test_peeking_at_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), peek(str(tmp_path)):
        pass


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """Puts a medium into one loop device; called again, exchanges it."""
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


def test_a_block_device_is_a_base(loop_device: Callable[[bytes], Path]) -> None:
    device = loop_device(ISO)
    file = open_base(str(device))
    assert file.size >= len(ISO)
    assert file.read(0, len(ISO)) == ISO
    assert file.is_current()
    assert file.same_medium()
    base = read_base(file, Kind.INITRAMFS, inside_iso=True)
    assert base.stop > base.start


def test_another_medium_in_the_drive_is_noticed(loop_device: Callable[[bytes], Path]) -> None:
    file = open_base(str(loop_device(ISO)))
    digest = file.digest
    path = file.path
    del file
    gc.collect()
    loop_device(live_iso(kernel=b"another"))
    assert open_base(path).digest != digest

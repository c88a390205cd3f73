"""What of a file is in memory: found out without waiting, on real files that are and are not.

Scope: mic.image.pagecache and the reads of mic.image.basefile that use it.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mic.image.basefile import BaseChanged, open_base
from mic.image.pagecache import WINDOW, PageCache

DATA = random.Random(0).randbytes(4 * WINDOW + 12345)
MEMORY = Path("/dev/shm")
"""Linux's file system in memory, which does not know RWF_NOWAIT."""


class Clock:
    """Time that passes when it is looked at."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def forget(fd: int) -> None:
    """Have the kernel drop what it holds of a file."""
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A file on a disk of which nothing is in memory."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDONLY)
    try:
        try:
            os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            pytest.skip("the file system of temporary files does not know RWF_NOWAIT")
        forget(fd)
        yield fd
    finally:
        os.close(fd)


@pytest.fixture
def fd_in_memory() -> Iterator[int]:
    if not MEMORY.is_dir():
        pytest.skip("there is no /dev/shm")
    path = MEMORY / f"mic-test-{os.getpid()}"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDONLY)
    path.unlink()
    yield fd
    os.close(fd)


def read(cache: PageCache, start: int, length: int) -> bytes | None:
    buffer = bytearray(length)
    return bytes(buffer) if cache.readinto(memoryview(buffer), start) else None


def test_what_is_not_in_memory_is_not_read(fd: int) -> None:
    cache = PageCache(fd, len(DATA))
    assert read(cache, 3 * WINDOW, 100) is None
    assert cache.held(3 * WINDOW, 4 * WINDOW) == 3 * WINDOW


def test_what_was_filled_is_there(fd: int) -> None:
    cache = PageCache(fd, len(DATA))
    cache.fill(1000, WINDOW + 1)
    assert read(cache, 1000, WINDOW - 999) == DATA[1000 : WINDOW + 1]


def test_a_filled_file_is_held_to_its_end(fd: int) -> None:
    cache = PageCache(fd, len(DATA))
    cache.fill(0, len(DATA))
    assert cache.held(0, len(DATA)) == len(DATA)
    assert cache.held(len(DATA) - 1, len(DATA)) == len(DATA)


def test_what_is_held_ends_before_what_is_not(fd: int) -> None:
    # The kernel reads ahead on disks: only what was never near a read is surely not there.
    cache = PageCache(fd, len(DATA))
    cache.fill(0, len(DATA))
    os.posix_fadvise(fd, 2 * WINDOW, WINDOW, os.POSIX_FADV_DONTNEED)
    assert cache.held(10, len(DATA)) == 2 * WINDOW
    assert cache.held(2 * WINDOW + 5, len(DATA)) == 2 * WINDOW + 5


def test_a_window_that_was_seen_is_trusted_for_seconds(fd: int) -> None:
    clock = Clock()
    cache = PageCache(fd, len(DATA), clock)
    cache.fill(0, len(DATA))
    assert cache.held(0, WINDOW) == WINDOW
    forget(fd)
    assert cache.held(0, WINDOW) == WINDOW
    clock.now = 60
    assert cache.held(0, WINDOW) == 0


def test_a_read_past_the_end_is_no_read(fd: int) -> None:
    cache = PageCache(fd, len(DATA))
    cache.fill(0, len(DATA))
    assert read(cache, len(DATA) - 10, 11) is None
    assert read(cache, len(DATA) - 10, 10) == DATA[-10:]


def test_where_the_file_system_cannot_tell_a_file_is_trusted(fd_in_memory: int) -> None:
    cache = PageCache(fd_in_memory, len(DATA), Clock())
    assert read(cache, 5, 1000) == DATA[5:1005]
    assert cache.held(0, len(DATA)) == len(DATA)


def test_a_file_that_was_slow_is_left_alone_for_a_while(fd_in_memory: int) -> None:
    clock = Clock(step=0.1)
    cache = PageCache(fd_in_memory, len(DATA), clock)
    assert read(cache, 5, 1000) == DATA[5:1005]
    # That took a tenth of a second, by this clock.
    assert read(cache, 5, 1000) is None
    assert cache.held(0, WINDOW) == 0
    clock.step = 0
    clock.now += 60
    assert read(cache, 5, 1000) == DATA[5:1005]
    assert cache.held(0, WINDOW) == WINDOW


def test_slow_reads_in_a_thread_keep_a_file_left_alone(fd_in_memory: int) -> None:
    clock = Clock(step=0.1)
    cache = PageCache(fd_in_memory, len(DATA), clock)
    read(cache, 0, 1)
    for _ in range(10):
        clock.now += 8
        cache.fill(0, 1000)
        assert read(cache, 0, 1) is None


def test_a_base_file_reads_from_memory_what_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "base"
    path.write_bytes(DATA)
    base = open_base(str(path))
    buffer = bytearray(1000)
    assert base.readinto_cached(memoryview(buffer), 77)
    assert buffer == DATA[77:1077]
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))
    with pytest.raises(BaseChanged):
        base.readinto_cached(memoryview(buffer), 77)
    assert not base.is_current()

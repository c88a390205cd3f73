"""Find out without waiting what is cached of a file, on real cached and uncached files.

Scope: mic.media.pagecache and the reads of mic.media.basefile that use it.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from mic.media.basefile import BaseChanged, open_base
from mic.media.pagecache import WINDOW, PageCache

DATA = random.Random(0).randbytes(4 * WINDOW + 12345)
MEMORY = Path("/dev/shm")
"""tmpfs, which does not support RWF_NOWAIT."""


class Clock:
    """A clock that advances with each call."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def forget(fd: int) -> None:
    """Make the kernel drop the cached pages of a file."""
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """Return an uncached file on a disk."""
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


def test_does_not_read_uncached_bytes(fd: int) -> None:
    cache = PageCache(fd, len(DATA))
    assert read(cache, 3 * WINDOW, 100) is None
    assert cache.held(3 * WINDOW, 4 * WINDOW) == 3 * WINDOW


def test_reads_bytes_after_fill(fd: int) -> None:
    cache = PageCache(fd, len(DATA))
    cache.fill(1000, WINDOW + 1)
    assert read(cache, 1000, WINDOW - 999) == DATA[1000 : WINDOW + 1]


def test_held_reaches_the_end_of_a_filled_file(fd: int) -> None:
    cache = PageCache(fd, len(DATA))
    cache.fill(0, len(DATA))
    assert cache.held(0, len(DATA)) == len(DATA)
    assert cache.held(len(DATA) - 1, len(DATA)) == len(DATA)


def test_held_ends_before_uncached_bytes(fd: int) -> None:
    # The kernel reads ahead: only bytes far from every read are certainly uncached.
    cache = PageCache(fd, len(DATA))
    cache.fill(0, len(DATA))
    os.posix_fadvise(fd, 2 * WINDOW, WINDOW, os.POSIX_FADV_DONTNEED)
    assert cache.held(10, len(DATA)) == 2 * WINDOW
    assert cache.held(2 * WINDOW + 5, len(DATA)) == 2 * WINDOW + 5


def test_trusts_a_window_for_seconds(fd: int) -> None:
    clock = Clock()
    cache = PageCache(fd, len(DATA), clock)
    cache.fill(0, len(DATA))
    assert cache.held(0, WINDOW) == WINDOW
    forget(fd)
    assert cache.held(0, WINDOW) == WINDOW
    clock.now = 60
    assert cache.held(0, WINDOW) == 0


def test_read_past_the_end_fails(fd: int) -> None:
    cache = PageCache(fd, len(DATA))
    cache.fill(0, len(DATA))
    assert read(cache, len(DATA) - 10, 11) is None
    assert read(cache, len(DATA) - 10, 10) == DATA[-10:]


def test_reads_directly_without_nowait_support(fd_in_memory: int) -> None:
    cache = PageCache(fd_in_memory, len(DATA), Clock())
    assert read(cache, 5, 1000) == DATA[5:1005]
    assert cache.held(0, len(DATA)) == len(DATA)


def test_avoids_a_slow_file_for_a_while(fd_in_memory: int) -> None:
    clock = Clock(step=0.1)
    cache = PageCache(fd_in_memory, len(DATA), clock)
    assert read(cache, 5, 1000) == DATA[5:1005]
    # That took 0.1 s on this clock.
    assert read(cache, 5, 1000) is None
    assert cache.held(0, WINDOW) == 0
    clock.step = 0
    clock.now += 60
    assert read(cache, 5, 1000) == DATA[5:1005]
    assert cache.held(0, WINDOW) == WINDOW


def test_slow_reads_in_a_thread_count_too(fd_in_memory: int) -> None:
    clock = Clock(step=0.1)
    cache = PageCache(fd_in_memory, len(DATA), clock)
    read(cache, 0, 1)
    for _ in range(10):
        clock.now += 8
        cache.fill(0, 1000)
        assert read(cache, 0, 1) is None


def test_base_file_reads_cached_bytes_only_while_unchanged(tmp_path: Path) -> None:
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

"""Which errors of files are temporary. Scope: mic.common.files."""

from __future__ import annotations

import errno
import os
import tracemalloc
from pathlib import Path

import pytest

from mic.common.files import can_pass, is_shortage, read_regular


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    "name",
    "EMFILE ENFILE EIO ENOMEM ESTALE EAGAIN EINTR ETIMEDOUT EHOSTDOWN ENOTCONN EREMOTEIO "
    "ENOMEDIUM EBUSY".split(),
)
def test_shortages_and_storage_errors_are_temporary(name: str) -> None:
    assert can_pass(error(getattr(errno, name)))


@pytest.mark.parametrize("name", "ENOENT ENOTDIR EISDIR ELOOP EACCES EPERM EINVAL ENXIO".split())
def test_path_errors_are_permanent(name: str) -> None:
    assert not can_pass(error(getattr(errno, name)))


def test_only_shortages_are_independent_of_the_file() -> None:
    assert is_shortage(error(errno.EMFILE))
    assert not is_shortage(error(errno.EIO))


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 9999, 10_000])
def test_reads_a_whole_file_up_to_the_limit(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    assert read_regular(str(path), 10_000) == path.read_bytes()


def test_reads_one_byte_more_than_the_limit_of_a_longer_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(50_000))
    assert read_regular(str(path), 10_000) == path.read_bytes()[:10_001]


def test_reads_files_whose_size_is_unknown() -> None:
    assert len(read_regular("/proc/self/smaps", 1 << 20)) > 4096


def test_takes_memory_for_the_file_and_not_for_the_limit(tmp_path: Path) -> None:
    """Each poll reads each file of each host."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    tracemalloc.start()
    try:
        read_regular(str(path), 4 << 20)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()

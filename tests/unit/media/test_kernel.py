"""Kernels that are bare gzip, unpacked. Scope: mic.media.kernel."""

from __future__ import annotations

import gc
import gzip
import os
import random
from pathlib import Path

import pytest
from descriptors import open_files
from toys import live_iso, put, without_bytes

from mic.common.errors import BaseUnavailable, NotReady
from mic.media.base import Base, Kind, read_base
from mic.media.basefile import open_base
from mic.media.customisation import Customisation
from mic.media.kernel import unpacked

KERNEL = random.Random(1).randbytes(3_000_000)


def base_of(path: Path) -> Base:
    return read_base(open_base(str(path)), Kind.KERNEL, inside_iso=path.suffix == ".iso")


def kernel(directory: Path, data: bytes) -> Base:
    return base_of(put(directory / "kernel", data))


def whole(base: Base) -> bytes:
    layout = base.layout(Customisation())
    return layout.read(0, layout.size)


def in_memory() -> int:
    """Return the number of unpacked kernels of this process, including those of other tests."""
    gc.collect()
    return len([name for name in open_files() if "mic-kernel" in name])


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(KERNEL),
        gzip.compress(KERNEL) + bytes(1000),
        gzip.compress(KERNEL) + b"a device tree behind it",
        gzip.compress(KERNEL[:1_000_001]) + gzip.compress(KERNEL[1_000_001:]),
    ],
    ids=["plain", "padded", "followed", "two members"],
)
def test_serves_the_unpacked_bytes(tmp_path: Path, data: bytes) -> None:
    packed = kernel(tmp_path, data)
    assert packed.gzipped
    base = unpacked(packed)
    assert whole(base) == KERNEL
    assert not base.gzipped


def test_finds_it_in_an_iso(tmp_path: Path) -> None:
    iso = put(tmp_path / "a.iso", live_iso(kernel=gzip.compress(KERNEL, mtime=0)))
    assert whole(unpacked(base_of(iso))) == KERNEL


@pytest.mark.parametrize(
    "data",
    [b"MZ" + KERNEL, b"\x1f", KERNEL],
    ids=without_bytes,
)
def test_leaves_other_kernels_unchanged(tmp_path: Path, data: bytes) -> None:
    base = kernel(tmp_path, data)
    assert not base.gzipped
    assert whole(base) == data


def test_an_initramfs_is_never_unpacked(tmp_path: Path) -> None:
    path = put(tmp_path / "i", gzip.compress(b"cpio"))
    assert not read_base(open_base(str(path)), Kind.INITRAMFS, inside_iso=False).gzipped


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(KERNEL)[:-100], "truncated gzip"),
        (gzip.compress(KERNEL)[:-100] + bytes(100), "damaged gzip"),
        (b"\x1f\x8b and no more", "damaged gzip"),
        (gzip.compress(bytes(20_000_000)), "unpacks to more than 10000000 bytes"),
    ],
    ids=without_bytes,
)
def test_refuses_damaged_gzip(tmp_path: Path, data: bytes, reason: str) -> None:
    base = kernel(tmp_path, data)
    before = in_memory()
    with pytest.raises(BaseUnavailable, match=reason) as caught:
        unpacked(base, limit=10_000_000)
    assert base.file.path in str(caught.value)
    assert in_memory() == before


def test_file_that_is_being_written_is_not_ready(tmp_path: Path) -> None:
    base = kernel(tmp_path, gzip.compress(KERNEL))
    with Path(base.file.path).open("ab") as file:
        file.write(b"more")
    with pytest.raises(NotReady, match="being written"):
        unpacked(base)


def test_etag_is_derived_from_the_base(tmp_path: Path) -> None:
    data = gzip.compress(KERNEL, mtime=0)
    one, same = (unpacked(kernel(tmp_path / name, data)) for name in "ab")
    other = unpacked(kernel(tmp_path / "c", gzip.compress(KERNEL, mtime=1)))
    assert one.etag(Customisation()) == same.etag(Customisation()) != other.etag(Customisation())


def test_is_current_while_its_file_is(tmp_path: Path) -> None:
    base = unpacked(kernel(tmp_path, gzip.compress(KERNEL)))
    path = Path(base.file.path)
    assert base.file.is_current()
    path.write_bytes(b"MZ")
    assert not base.file.is_current()
    assert whole(base) == KERNEL, "open bodies continue from memory"


def test_is_sealed_and_freed(tmp_path: Path) -> None:
    before = in_memory()
    base = unpacked(kernel(tmp_path, gzip.compress(KERNEL)))
    with pytest.raises(PermissionError):
        os.pwrite(base.file.fd, b"!", 0)
    assert in_memory() == before + 1
    del base
    assert in_memory() == before

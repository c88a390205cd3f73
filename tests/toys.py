"""Small things that unit tests build on: bytes as a source, a live ISO, bad luck with files."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from mic.media.cpio import archive
from mic.media.isowriter import coreos_files, write_iso

KERNEL = b"MZ the kernel"
INITRAMFS = archive(b"the initramfs")
ROOTFS = b"hsqs the rootfs"
EMBED_LENGTH = 8192


class Bytes:
    """A source in memory, as strict as an open base file: it never reads past its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length >= 0
        assert offset + length <= len(self.data), f"{offset}+{length} is past {len(self.data)}"
        self.reads += 1
        return self.data[offset : offset + length]


@cache
def live_iso(
    embed_length: int = EMBED_LENGTH, kernel: bytes = KERNEL, *, fixed: bool = False
) -> bytes:
    """A CoreOS-like live ISO of some tens of KiB; a ``fixed`` embed area cannot be relocated."""
    files = coreos_files(
        kernel=kernel, initramfs=INITRAMFS, rootfs=ROOTFS, embed_length=embed_length
    )
    if fixed:
        info = {"file": "images/ignition.img", "offset": 0, "length": embed_length}
        files["/coreos/igninfo.json"] = json.dumps(info).encode()
    return write_iso(files)


def put(path: Path, data: bytes) -> Path:
    """Replace a file as careful people do: the new one beside it, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(data)
    beside.rename(path)
    return path


def put_keeping_dates(path: Path, data: bytes) -> None:
    """Write other bytes into the same file and set its dates back, as ``cp -p`` does."""
    status = path.stat()
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def lack_of_descriptors() -> Iterator[None]:
    """Have this process open no file meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def without_bytes(value: object) -> str | None:
    """For ``ids``: bytes make names of tests that differ between the processes that run them."""
    return "bytes" if isinstance(value, bytes) else None

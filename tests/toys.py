"""Small things that unit tests build on: bytes as a source, a whole CoreOS-like ISO in memory."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mic.image.cpio import archive
from mic.image.isowriter import coreos_files, write_iso

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
def live_iso(embed_length: int = EMBED_LENGTH, kernel: bytes = KERNEL) -> bytes:
    """A CoreOS-like live ISO of some tens of KiB."""
    files = coreos_files(
        kernel=kernel, initramfs=INITRAMFS, rootfs=ROOTFS, embed_length=embed_length
    )
    return write_iso(files)


def put(path: Path, data: bytes) -> Path:
    """Replace a file as careful people do: the new one beside it, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(data)
    beside.rename(path)
    return path

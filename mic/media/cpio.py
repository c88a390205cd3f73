"""The archive that carries a config or other files into the initramfs.

Format: ``Documentation/driver-api/early-userspace/buffer-format.rst`` of Linux. The kernel unpacks
consecutive gzip'd newc archives and skips zero bytes between them.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

GZIP_MAGIC = b"\x1f\x8b"
_GZIP_HEADER = 10
_NAMED = 0x08
"""The flag of a gzip header that has a name."""
CONFIG_NAME = "config.ign"
_TRAILER = "TRAILER!!!"
_REGULAR_0644 = 0o100644
# Level 9 takes nearly twice the time of 6 and saves 1.5 % of a typical config.
_LEVEL = 6
_HEADER = 110
_ENTRY = b"070701" + b"%08X" * 13
_LIMIT = 64 * 1024 * 1024
# Only hexadecimal digits: a negative size would make the reader loop forever.
_NEWC = re.compile(rb"07070[12][0-9A-Fa-f]{104}")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive; ``mode`` has the type and the permissions (stat(2)).

    ``data`` is the content of a file, the target of a symbolic link, and empty for a directory.

    A directory must come before what it contains: the kernel drops files without one.
    """

    path: str
    mode: int
    data: bytes = field(default=b"", repr=False)


class ArchiveError(Exception):
    """The bytes are not a gzip'd newc archive with a config."""


def _entry(name: str, data: bytes, *, inode: int, mode: int, links: int) -> bytes:
    path = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(path), 0)
    header = _ENTRY % fields
    return _padded(header + path) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def archive(config: bytes, members: Sequence[Member] = ()) -> bytes:
    """Return a gzip'd newc cpio with ``config`` and then ``members``, zero-padded to 4 bytes.

    The config comes first: readers stop there. Equal input gives equal bytes.
    """
    # Not as `packed`: CoreOS images and their entity tags would change for those who upgrade.
    return _padded(_compressed((Member(CONFIG_NAME, _REGULAR_0644, config), *members)))


def packed(members: Sequence[Member]) -> bytes:
    """Return a gzip'd newc cpio with ``members``, a multiple of 4 bytes, up to the last one.

    Equal input gives equal bytes.
    """
    return _aligned(_compressed(members))


def _compressed(members: Sequence[Member]) -> bytes:
    """Return a gzip'd newc cpio; it has no time, owner or inode of this machine."""
    cpio = b"".join(
        _entry(member.path, member.data, inode=inode, mode=member.mode, links=1)
        for inode, member in enumerate(members, 1)
    )
    cpio += _entry(_TRAILER, b"", inode=0, mode=0, links=1)
    return gzip.compress(cpio, _LEVEL, mtime=0)


def _aligned(stream: bytes) -> bytes:
    """Return a gzip stream with a name of the length that makes it a multiple of 4 bytes.

    Zeros after it would do for the kernel, but zstd does not unpack a file that has them, and
    Ironic has it unpack each initramfs that begins as zstd's.
    """
    missing = -len(stream) % 4
    if not missing:
        return stream
    # RFC 1952: a name up to a zero byte follows the header. Linux skips it (decompress_inflate.c).
    name = b"mic"[: missing - 1] + b"\0"
    return (
        stream[:3]
        + bytes([stream[3] | _NAMED])
        + stream[4:_GZIP_HEADER]
        + name
        + stream[_GZIP_HEADER:]
    )


def live_rootfs(squashfs: bytes) -> bytes:
    """Return a live root file system: a newc cpio whose first member is ``root.squashfs``."""
    cpio = _entry("root.squashfs", squashfs, inode=1, mode=_REGULAR_0644, links=1)
    return cpio + _entry(_TRAILER, b"", inode=0, mode=0, links=1)


def config_of(data: bytes, limit: int = _LIMIT) -> bytes:
    """Return the config in an archive; ignore bytes after the archive.

    Raises `ArchiveError` when there is none, or when the archive unpacks to more than ``limit``
    bytes.
    """
    for member in members_of(data, limit):
        if member.path == CONFIG_NAME:
            return member.data
    raise ArchiveError(f"the archive contains no {CONFIG_NAME}")


def members_of(data: bytes, limit: int = _LIMIT) -> Iterator[Member]:
    """Yield the members of an archive; ignore bytes after the archive.

    Raises `ArchiveError` for anything else, and when it unpacks to more than ``limit`` bytes.
    """
    if not data.startswith(GZIP_MAGIC):
        raise ArchiveError("no archive: the gzip magic is missing")
    stream = zlib.decompressobj(wbits=31)
    try:
        cpio = stream.decompress(data, limit)
    except zlib.error as error:
        raise ArchiveError(f"the archive is not valid gzip: {error}") from None
    if not stream.eof:
        raise ArchiveError(f"the archive is truncated, or unpacks to more than {limit} bytes")
    position = 0
    while position + _HEADER <= len(cpio):
        header = cpio[position : position + _HEADER]
        if not _NEWC.fullmatch(header):
            raise ArchiveError("the archive is not a newc cpio")
        mode, size, name_size = (int(header[at : at + 8], 16) for at in (14, 54, 94))
        start = position + _HEADER
        name = cpio[start : start + name_size].rstrip(b"\0").decode("utf-8", "replace")
        if name == _TRAILER:
            return
        body = start + name_size
        body += -body % 4
        if body + size > len(cpio):
            raise ArchiveError("the archive is truncated within a member")
        yield Member(name, mode, cpio[body : body + size])
        position = body + size
        position += -position % 4

"""One version of a base file: an open descriptor, what it was when it was opened, its digest.

The descriptor stays open as long as anything refers to the object, so a file that is replaced
by rename is served to its end from the old inode. A file that is overwritten in place cannot
be: every read checks that the file is still the version that was opened, and fails otherwise,
so that no body is ever mixed from two files.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mic.errors import BaseUnavailable, NotReady
from mic.image.layout import Source
from mic.image.pagecache import PageCache

_CHUNK = 1024 * 1024
_DEVICE_SAMPLE = 1024 * 1024
# A kernel's file times move in ticks of up to 10 ms: a write in the tick of the last one would
# go unseen, so a file that has just been written is given time to leave that tick.
_TICK = 0.05


class BaseChanged(Exception):
    """The file is not any more what it was when it was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """What tells one version of a file from another, without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int
    block_device: int

    @classmethod
    def of(cls, status: os.stat_result) -> Version:
        """The version that a ``stat`` shows."""
        if stat.S_ISBLK(status.st_mode):
            # Neither the node's times nor its size say anything about the medium.
            return cls(device=0, inode=0, size=0, modified_ns=0, block_device=status.st_rdev)
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            block_device=0,
        )

    def matches(self, status: os.stat_result) -> bool:
        """Whether a ``stat`` shows this version: ``Version.of(status) == self``, but cheap."""
        if self.block_device:
            return status.st_rdev == self.block_device and stat.S_ISBLK(status.st_mode)
        return (
            status.st_mtime_ns == self.modified_ns
            and status.st_size == self.size
            and status.st_ino == self.inode
            and status.st_dev == self.device
        )


def version_of(path: str) -> Version | None:
    """What ``path`` leads to now, to be compared with an earlier answer; None for nothing.

    All media of a block device look the same here.
    """
    try:
        return Version.of(os.stat(path))
    except OSError:
        return None


class BaseFile:
    """An open base file. Make it with `open_base`; it is closed when nothing refers to it."""

    __slots__ = ("__weakref__", "cache", "digest", "fd", "path", "size", "version")

    def __init__(self, *, path: str, fd: int, size: int, version: Version, digest: bytes) -> None:
        self.path = path
        self.fd = fd
        self.size = size
        self.digest = digest
        self.version = version
        self.cache = PageCache(fd, size)
        weakref.finalize(self, os.close, fd)

    def __repr__(self) -> str:
        return f"<BaseFile {self.path!r}, {self.size} bytes, {self.digest.hex()[:12]}>"

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``.

        Raises `BaseChanged` when the file was changed or cut short since it was opened, and
        `OSError` as the medium does.
        """
        data = os.pread(self.fd, length, offset)
        while len(data) < length:
            more = os.pread(self.fd, length - len(data), offset + len(data))
            if not more:
                raise BaseChanged(f"{self.path} ends before byte {offset + length}")
            data += more
        self.check()
        return data

    def readinto_cached(self, buffer: memoryview, offset: int) -> bool:
        """Fill ``buffer`` from ``offset`` as `read` would, if that needs no wait for the medium;
        tell whether it did."""
        if not self.cache.readinto(buffer, offset):
            return False
        self.check()
        return True

    def intact(self) -> bool:
        """Whether the open file is still what it was when it was opened; costs one ``fstat``."""
        return self.version.matches(os.fstat(self.fd))

    def check(self) -> None:
        """Raise `BaseChanged` when the open file was written to since it was opened."""
        if not self.intact():
            raise BaseChanged(f"{self.path} was changed while it was open")

    def is_current(self) -> bool:
        """Whether the path still leads to this version; costs one ``stat``.

        For a block device this says only that it is the same device: see `same_medium`.
        """
        try:
            return self.version.matches(os.stat(self.path))
        except OSError:
            return False

    def same_medium(self) -> bool:
        """For a block device: whether it still holds the same medium, by reading its start."""
        if not self.version.block_device:
            return True
        try:
            fd, size = _open(self.path)
        except OSError:
            return False
        try:
            return size == self.size and _sample(fd, size) == self.digest
        except OSError:
            return False
        finally:
            os.close(fd)


class _Peek:
    """A file that is only looked at: no digest, no version."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly the bytes there; raises `OSError` when the file ends before them."""
        data = b""
        while len(data) < length:
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                raise OSError(errno.EIO, "it became shorter while it was read")
            data += more
        return data


@contextmanager
def peek(path: str) -> Iterator[Source]:
    """A base file to look at, without the cost of reading it whole; raises `OSError`."""
    fd, size = _open(path)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise OSError(errno.EINVAL, "it is neither a file nor a block device")
        yield _Peek(fd, size)
    finally:
        os.close(fd)


def open_base(path: str) -> BaseFile:
    """Open a base file and take its digest; blocks for as long as it takes to read it once.

    The digest of a regular file covers every byte, so two processes with the same file agree
    on it whatever its dates. Of a block device (a DVD drive, read at a few MB/s, with a medium
    that nobody edits) it covers the first MiB, where the volume descriptors with their dates
    are, and the size.

    Raises `BaseUnavailable` when the file cannot be used, `NotReady` while it is being written.
    """
    try:
        fd, size = _open(path)
    except OSError as error:
        raise BaseUnavailable(f"base image {path}: {error.strerror or error}") from None
    try:
        status = os.fstat(fd)
        version = Version.of(status)
        if stat.S_ISBLK(status.st_mode):
            digest = _sample(fd, size)
        elif stat.S_ISREG(status.st_mode):
            settle = status.st_mtime + _TICK - time.time()
            if 0 < settle <= _TICK:
                time.sleep(settle)
            digest = _whole(fd)
        else:
            raise BaseUnavailable(f"base image {path} is neither a file nor a block device")
        if size == 0:
            raise BaseUnavailable(f"base image {path} is empty")
        if Version.of(os.fstat(fd)) != version:
            raise NotReady(f"base image {path} is being written")
    except OSError as error:
        os.close(fd)
        raise BaseUnavailable(f"base image {path}: {error.strerror or error}") from None
    except BaseException:
        os.close(fd)
        raise
    return BaseFile(path=path, fd=fd, size=size, version=version, digest=digest)


def _open(path: str) -> tuple[int, int]:
    # O_NONBLOCK: opening a FIFO must not hang; it means nothing for files and disks.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return fd, os.lseek(fd, 0, os.SEEK_END)
    except OSError:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise
        return fd, 0


def _whole(fd: int) -> bytes:
    digest = hashlib.blake2b(digest_size=20)
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    offset = 0
    while count := os.preadv(fd, [buffer], offset):
        digest.update(view[:count])
        offset += count
    return digest.digest()


def _sample(fd: int, size: int) -> bytes:
    digest = hashlib.blake2b(size.to_bytes(8, "big"), digest_size=20)
    offset = 0
    while offset < _DEVICE_SAMPLE and (data := os.pread(fd, _DEVICE_SAMPLE - offset, offset)):
        digest.update(data)
        offset += len(data)
    return digest.digest()

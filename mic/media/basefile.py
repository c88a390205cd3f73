"""One version of a base file: an open descriptor, its metadata when opened, and its digest.

The descriptor stays open while anything refers to the object, so downloads of a file that was
replaced by rename continue from the old inode. That is impossible for a file that is overwritten in
place: every read checks that the file is still the version that was opened, and fails otherwise, so
that no body mixes two files.

Size and modification time do not show every write: ``cp -p`` sets the time back. Only the inode's
change time (ctime) cannot be set, but renames, links, ``chmod`` and relabelling move it too. So a
file whose ctime moved is in doubt until `BaseFile.verify` has computed its digest again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mic.common.errors import BaseUnavailable, NotReady
from mic.common.files import can_pass, is_shortage, os_reason
from mic.media.layout import Source
from mic.media.pagecache import PageCache
from mic.media.trust import Trust

_CHUNK = 1024 * 1024
_DEVICE_SAMPLE = 1024 * 1024
# File times advance in ticks of up to 10 ms. A second write within one tick would not show, so wait
# until the tick of the last write is over.
_TICK = 0.05


class BaseChanged(Exception):
    """The file has changed since it was opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Metadata that identifies a version of a file without reading it.

    Without the change time: see `BaseFile.in_doubt`.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    block_device: int

    @classmethod
    def of(cls, status: os.stat_result) -> Version:
        """Return the version that a ``stat`` shows."""
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
        """Return whether a ``stat`` shows this version: a cheap ``Version.of(status) == self``."""
        if self.block_device:
            return status.st_rdev == self.block_device and stat.S_ISBLK(status.st_mode)
        return (
            status.st_mtime_ns == self.modified_ns
            and status.st_size == self.size
            and status.st_ino == self.inode
            and status.st_dev == self.device
        )


def version_of(path: str) -> Version | None:
    """Return the version that ``path`` leads to now, None if there is no file.

    All media of a block device have the same version.
    """
    try:
        return Version.of(os.stat(path))
    except OSError:
        return None


def change_time(path: str) -> int:
    """Return the change time (ctime) of a path in nanoseconds, 0 if there is no file."""
    try:
        return os.stat(path).st_ctime_ns
    except OSError:
        return 0


class BaseFile:
    """An open base file, made by `open_base`; it is closed when nothing refers to it.

    ``sha256`` is that digest in hexadecimal, if it was computed, else empty. ``changed_ns`` is the
    change time for which ``digest`` was computed, by default the present one;
    ``clock`` returns seconds. ``trusted_for``: for how many seconds after the last `verify` the
    file is trusted whatever its change time; 0 unless that moves repeatedly.
    """

    __slots__ = (
        "__weakref__",
        "_changed_ns",
        "_clock",
        "_trust",
        "_trusted_until",
        "_written_to",
        "cache",
        "digest",
        "fd",
        "path",
        "sha256",
        "size",
        "trusted_for",
        "version",
    )

    def __init__(
        self,
        *,
        path: str,
        fd: int,
        size: int,
        version: Version,
        digest: bytes,
        sha256: str = "",
        changed_ns: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.fd = fd
        self.size = size
        self.digest = digest
        self.sha256 = sha256
        self.version = version
        self.cache = PageCache(fd, size)
        self.trusted_for = 0.0
        self._changed_ns = os.fstat(fd).st_ctime_ns if changed_ns is None else changed_ns
        self._clock = clock
        self._trust = Trust()
        self._trusted_until = 0.0
        self._written_to = False
        weakref.finalize(self, os.close, fd)

    def __repr__(self) -> str:
        return f"<BaseFile {self.path!r}, {self.size} bytes, {self.digest.hex()[:12]}>"

    @property
    def changed_ns(self) -> int:
        """The change time (ctime) in nanoseconds for which the digest is known to be right."""
        return self._changed_ns

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``.

        Raises `BaseChanged` when the file was changed or truncated since it was opened, and
        `OSError` for read errors.
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
        """Fill ``buffer`` as `read` would if that needs no wait for the medium; return whether."""
        if not self.cache.readinto(buffer, offset):
            return False
        self.check()
        return True

    def intact(self) -> bool:
        """Return whether nothing shows a write to the open file; costs one ``fstat``.

        A file that once counted as changed stays changed, even when its times are set back. A file
        `in_doubt` counts as intact until `verify`.
        """
        if self._written_to or not self.version.matches(os.fstat(self.fd)):
            self._written_to = True
            return False
        return True

    def check(self) -> None:
        """Raise `BaseChanged` when the file was written to since it was opened."""
        if not self.intact():
            raise BaseChanged(f"{self.path} was changed while it was open")

    def in_doubt(self) -> bool:
        """Return whether only the change time shows a possible write to the open file."""
        return not self._is_trusted(os.fstat(self.fd))

    def is_current(self) -> bool:
        """Return whether the path certainly still leads to this version; costs one ``stat``.

        For a block device: whether it is the same device; see `same_medium`.
        """
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        return (
            self.version.matches(status)
            and not self._written_to
            # As `_is_trusted`, without a call: this runs for each small range.
            and (status.st_ctime_ns == self._changed_ns or self._is_trusted(status))
        )

    def may_be_current(self) -> bool:
        """Return whether the path still leads to this file, with at most another change time."""
        return not self._written_to and version_of(self.path) == self.version

    def verify(self) -> bool:
        """Compute the digest again if the file is in doubt; return whether its bytes are the same.

        Blocks while it reads the file, at most three times: for a thread. The file stays in doubt
        when this raises `OSError`. After False, the result is always False.
        """
        began = self._clock()
        while self.intact():
            status = os.fstat(self.fd)
            if self._is_trusted(status):
                return True
            _leave_tick(status)
            same = _whole(self.fd)[0] == self.digest
            if not same or not self.intact():
                break
            now = self._clock()
            moved = os.fstat(self.fd).st_ctime_ns != status.st_ctime_ns
            self.trusted_for = self._trust.after(now, now - began, moved=moved)
            self._trusted_until = now + self.trusted_for
            self._changed_ns = status.st_ctime_ns
        self._written_to = True
        return False

    def _is_trusted(self, status: os.stat_result) -> bool:
        return (
            status.st_ctime_ns == self._changed_ns
            or bool(self.version.block_device)
            or self._clock() < self._trusted_until
        )

    def same_medium(self) -> bool:
        """Return whether a block device still has the same medium; reads its start.

        True also when that fails for a lack of descriptors or memory.
        """
        if not self.version.block_device:
            return True
        try:
            fd, size = _open(self.path)
        except OSError as error:
            return is_shortage(error)
        try:
            return size == self.size and _sample(fd, size) == self.digest
        except OSError as error:
            return is_shortage(error)
        finally:
            os.close(fd)


class _Peek:
    """A file to inspect, without digest and version."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly these bytes; raise `OSError` when the file ends before them."""
        data = b""
        while len(data) < length:
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                raise OSError(errno.EIO, "it was truncated while it was read")
            data += more
        return data


@contextmanager
def peek(path: str) -> Iterator[Source]:
    """Open a base file to inspect it without reading it whole; raises `OSError`."""
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


def open_base(
    path: str, clock: Callable[[], float] = time.monotonic, *, sha256: bool = False
) -> BaseFile:
    """Open a base file and compute its digest; blocks while it reads the file once.

    The digest of a regular file covers every byte, so it is the same in all processes with the same
    file, whatever its times. That of a block device (a DVD drive reads a few MB/s, and its medium
    is not edited) covers the first MiB, with the dated volume descriptors, and the size.

    With ``sha256`` that digest of a regular file is computed too, from the same bytes.

    Raises `BaseUnavailable` when the file cannot be used, `NotReady` while it is being written or
    for a temporary error.
    """
    try:
        fd, size = _open(path)
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        status = os.fstat(fd)
        version = Version.of(status)
        other = ""
        if stat.S_ISBLK(status.st_mode):
            digest = _sample(fd, size)
        elif stat.S_ISREG(status.st_mode):
            _leave_tick(status)
            digest, other = _whole(fd, sha256=sha256)
        else:
            raise BaseUnavailable(f"base image {path} is neither a file nor a block device")
        if size == 0:
            raise BaseUnavailable(f"base image {path} is empty")
        if Version.of(os.fstat(fd)) != version:
            raise NotReady(f"base image {path} is being written")
    except OSError as error:
        os.close(fd)
        raise unreadable(path, error) from None
    except BaseException:
        os.close(fd)
        raise
    return BaseFile(
        path=path,
        fd=fd,
        size=size,
        version=version,
        digest=digest,
        sha256=other,
        changed_ns=status.st_ctime_ns,
        clock=clock,
    )


def unreadable(path: str, error: OSError) -> BaseUnavailable | NotReady:
    """Return the error for an unreadable base file: `NotReady` if it may be temporary."""
    kind = NotReady if can_pass(error) else BaseUnavailable
    return kind(f"base image {path}: {os_reason(error)}")


def _leave_tick(status: os.stat_result) -> None:
    """Wait until new writes get later file times than the last one."""
    settle = max(status.st_mtime, status.st_ctime) + _TICK - time.time()
    if 0 < settle <= _TICK:
        time.sleep(settle)


def _open(path: str) -> tuple[int, int]:
    # O_NONBLOCK: opening a FIFO must not hang. It has no effect on files and disks.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return fd, os.lseek(fd, 0, os.SEEK_END)
    except OSError:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise
        return fd, 0


def _whole(fd: int, *, sha256: bool = False) -> tuple[bytes, str]:
    """Return mic's own digest and, if wanted, SHA-256 in hexadecimal."""
    digest = hashlib.blake2b(digest_size=20)
    other = hashlib.sha256() if sha256 else None
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    offset = 0
    while count := os.preadv(fd, [buffer], offset):
        digest.update(view[:count])
        if other is not None:
            other.update(view[:count])
        offset += count
    return digest.digest(), other.hexdigest() if other is not None else ""


def _sample(fd: int, size: int) -> bytes:
    digest = hashlib.blake2b(size.to_bytes(8, "big"), digest_size=20)
    offset = 0
    while offset < _DEVICE_SAMPLE and (data := os.pread(fd, _DEVICE_SAMPLE - offset, offset)):
        digest.update(data)
        offset += len(data)
    return digest.digest()

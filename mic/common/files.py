"""Read small files without hanging; classify errors as temporary or not."""

from __future__ import annotations

import errno
import os
import stat

_LASTING = frozenset(
    {
        errno.EACCES,
        errno.EBADF,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENODEV,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENXIO,
        errno.EPERM,
    }
)

_SHORTAGES = frozenset(
    {errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
)

_PAGE = 4096


def can_pass(error: OSError) -> bool:
    """Return whether the same call may succeed later although the file stays the same.

    True for a lack of descriptors or memory, and for errors of disks and network storage (EIO,
    ESTALE, timeouts). False when the path or its permissions must change first.
    """
    return error.errno not in _LASTING


def is_shortage(error: OSError) -> bool:
    """Return whether the process or the machine lacks resources, independent of the file."""
    return error.errno in _SHORTAGES


class NotRegular(OSError):
    """The path leads to a directory, a FIFO, a socket or a device instead of a file."""


def read_regular(path: str, limit: int) -> bytes:
    """Return the content of a regular file; follow links.

    At most ``limit`` bytes, and one more if the file is longer. Raises `NotRegular` and other
    `OSError`.
    """
    return read_located(path, limit)[0]


def read_located(path: str, limit: int, directory: int | None = None) -> tuple[bytes, str]:
    """Return the content as `read_regular` does, and the path of the opened file without links.

    ``path`` may be relative to a directory descriptor. The path comes from the kernel, so links
    that change meanwhile do not matter; it is empty without /proc.
    """
    # O_NONBLOCK: otherwise, opening a FIFO without a writer hangs. Not with open(fd): that refuses
    # a directory and leaves the descriptor open, one more with each poll.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegular(errno.EINVAL, "it is not a regular file", path)
        # os.read() takes the memory for all that it may return: 4 MiB for each file of each poll.
        # Files of /proc and those that grow have more than their size says.
        step = max(status.st_size, _PAGE) + 1
        data = b""
        while len(data) <= limit and (more := os.read(fd, min(step, limit + 1 - len(data)))):
            data += more
        return data, path_of(fd)
    finally:
        os.close(fd)


def path_of(fd: int) -> str:
    """Return the path of an open file without links; a deleted one ends in `` (deleted)``."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def sync_directory(directory: str) -> None:
    """Wait until renames in a directory are on the disk. Blocks; raises `OSError`."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some file systems cannot sync a directory.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)


def os_reason(error: OSError) -> str:
    """Return why the system refused a file, and to which user if it is a matter of rights."""
    reason = error.strerror or str(error)
    return f"{reason} for user {os.geteuid()}" if isinstance(error, PermissionError) else reason

"""Small files from outside, read with a limit and without ever hanging."""

from __future__ import annotations

import errno
import os
import stat


class NotRegular(OSError):
    """A directory, a FIFO, a socket or a device is where a file should be."""


def read_regular(path: str, limit: int) -> bytes:
    """The content of a regular file, or of what a link leads to.

    At most ``limit`` bytes and one more, which tells that the file is longer. Raises
    `NotRegular` and other `OSError`.
    """
    # O_NONBLOCK: opening a FIFO without a writer hangs for good otherwise. Not with open(fd):
    # it refuses a directory and leaves the descriptor open, one with each look.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise NotRegular(errno.EINVAL, "it is not a regular file", path)
        data = b""
        while len(data) <= limit and (more := os.read(fd, limit + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(fd)

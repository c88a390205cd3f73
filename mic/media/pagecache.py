"""Read the part of an open file that the kernel has in memory, without waiting for the medium.

A process with one thread for all clients must not read from a slow medium (a DVD drive, network
storage). ``preadv2`` with ``RWF_NOWAIT`` (preadv(2)) reads from the page cache only. Some file
systems (overlayfs, tmpfs, FUSE, NFS) do not support it; their files are read directly until a read
was slow, and then not for a while.
"""

from __future__ import annotations

import errno
import os
import time
from array import array
from collections.abc import Callable

WINDOW = 1024 * 1024
"""Unit of the lookup whether bytes are cached, in bytes."""

# The kernel reads and drops pages in groups of about this size.
_STEP = 64 * 1024
_TRUST = 5.0
_SLOW = 0.005
_PENALTY = 10.0
_SCRATCH = 128 * 1024


class PageCache:
    """The cached part of the open file ``fd`` of ``size`` bytes. ``clock`` returns seconds."""

    __slots__ = ("_clock", "_fd", "_knows_nowait", "_one", "_seen", "_size", "_slow_until")

    def __init__(self, fd: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._fd = fd
        self._size = size
        self._clock = clock
        self._knows_nowait = True
        self._slow_until = 0.0
        # By window: until when it counts as cached. A lookup costs a tenth of sending the window.
        self._seen = array("d", bytes(8 * (size // WINDOW + 1)))
        self._one = (bytearray(1),)

    @property
    def knows_nowait(self) -> bool:
        """Whether the file system can tell what is in memory, as far as is known yet."""
        return self._knows_nowait

    def readinto(self, buffer: memoryview, offset: int) -> bool:
        """Fill ``buffer`` from ``offset`` if that needs no wait; return whether it did.

        False also when the file ends too early. Raises `OSError` for read errors.
        """
        return self._read((buffer,), offset) == len(buffer)

    def held(self, start: int, stop: int) -> int:
        """Return how far from ``start`` towards ``stop`` bytes can be sent without a wait.

        Checks samples, and each window again after some seconds: pages that were dropped meanwhile
        cost a short wait.
        """
        now = self._clock()
        for window in range(start // WINDOW, (stop - 1) // WINDOW + 1):
            if now >= self._seen[window] or now < self._slow_until:
                if not self._look(window):
                    return max(start, window * WINDOW)
                self._seen[window] = now + _TRUST
        return stop

    def fill(self, start: int, stop: int) -> None:
        """Read ``start`` to ``stop`` into the cache, and start read-ahead of the next window.

        Blocks: for a thread. Raises `OSError` for read errors.
        """
        began = self._clock()
        os.posix_fadvise(self._fd, start, stop - start + WINDOW, os.POSIX_FADV_WILLNEED)
        scratch = memoryview(bytearray(min(_SCRATCH, stop - start)))
        while start < stop:
            count = os.preadv(self._fd, (scratch[: stop - start],), start)
            if not count:
                break
            start += count
        self._took(self._clock() - began)

    def _look(self, window: int) -> bool:
        start = window * WINDOW
        stop = min(start + WINDOW, self._size)
        for offset in (*range(start, stop, _STEP), stop - 1):
            if self._read(self._one, offset) != 1:
                return False
        return True

    def _read(self, buffers: tuple[memoryview | bytearray, ...], offset: int) -> int:
        """Return the number of bytes read without a wait, 0 if a wait is necessary."""
        if self._knows_nowait:
            try:
                return os.preadv(self._fd, buffers, offset, os.RWF_NOWAIT)
            except BlockingIOError:
                return 0
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
                self._knows_nowait = False
        began = self._clock()
        if began < self._slow_until:
            return 0
        count = os.preadv(self._fd, buffers, offset)
        self._took(self._clock() - began)
        return count

    def _took(self, seconds: float) -> None:
        if seconds > _SLOW:
            self._slow_until = self._clock() + _PENALTY

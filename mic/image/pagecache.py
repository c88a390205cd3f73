"""What the kernel holds of an open file in memory: bytes that can be had without a wait.

A process with one thread for all its clients must not read from a medium that is slow: a DVD
drive, network storage. ``preadv2`` with ``RWF_NOWAIT`` (preadv(2)) reads what is in the page
cache and says where it is not. Some file systems (overlayfs, tmpfs, FUSE, NFS) do not know it;
their files are trusted until a read of theirs took long, and then left alone for a while.
"""

from __future__ import annotations

import errno
import os
import time
from array import array
from collections.abc import Callable

WINDOW = 1024 * 1024
"""Bytes whose presence is looked up, and remembered, as a whole."""

# The kernel takes pages in and lets them go in groups of about this size.
_STEP = 64 * 1024
_TRUST = 5.0
_SLOW = 0.005
_PENALTY = 10.0
_SCRATCH = 128 * 1024


class PageCache:
    """The cached part of the open file ``fd`` of ``size`` bytes. ``clock`` gives seconds."""

    __slots__ = ("_clock", "_fd", "_knows_nowait", "_one", "_seen", "_size", "_slow_until")

    def __init__(self, fd: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._fd = fd
        self._size = size
        self._clock = clock
        self._knows_nowait = True
        self._slow_until = 0.0
        # By window: until when it is taken to be there. Looking costs a tenth of sending.
        self._seen = array("d", bytes(8 * (size // WINDOW + 1)))
        self._one = (bytearray(1),)

    def readinto(self, buffer: memoryview, offset: int) -> bool:
        """Fill ``buffer`` from ``offset`` if that needs no wait, and tell whether it did.

        False too where the file ends before that. Raises `OSError` as the medium does.
        """
        return self._read((buffer,), offset) == len(buffer)

    def held(self, start: int, stop: int) -> int:
        """How far from ``start`` towards ``stop`` bytes can be sent without a wait.

        A sample, taken anew for each window after some seconds: pages that go meanwhile cost
        whoever meets that a short wait.
        """
        now = self._clock()
        for window in range(start // WINDOW, (stop - 1) // WINDOW + 1):
            if now >= self._seen[window] or now < self._slow_until:
                if not self._look(window):
                    return max(start, window * WINDOW)
                self._seen[window] = now + _TRUST
        return stop

    def fill(self, start: int, stop: int) -> None:
        """Read ``start`` to ``stop`` into the cache, and have the kernel begin with what follows.

        Blocks as long as the medium takes: for a thread. Raises `OSError` as the medium does.
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
        """Bytes read without a wait; none where there would be one."""
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

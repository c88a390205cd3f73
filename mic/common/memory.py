"""Memory that the process no longer uses, returned to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def release_memory() -> bool:
    """Return free memory to the system; return whether the C library can.

    glibc keeps what lies below anything that is still in use, for its next need: after thousands
    of clients that is most of what they took. ``malloc_trim`` (malloc_trim(3)) returns it, in a
    millisecond for each 20 MiB or so. Other libraries have no such call.
    """
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True

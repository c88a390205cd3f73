"""Run in mic's own process: count on SIGUSR1 what it holds, to see leaks apart from free memory.

What the system says of a process holds free memory too, which comes and goes by megabytes.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

COMMAND = "import census; census.install(); from mic.cli.main import main; main()"
"""What ``python -c`` runs: mic, with a census when it is asked for."""

PLACE = "CENSUS_FILE"
"""The variable that names the file for the census."""


class _MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of glibc 2.33 and newer."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def install() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: _take())


def _take() -> None:
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    counts: Counter[str] = Counter()
    for kind, count in kinds.items():
        counts[f"{kind.__module__}.{kind.__qualname__}"] += count
    # Of small objects their number, of large ones the bytes.
    allocator = ctypes.CDLL(None)
    allocator.mallinfo2.restype = _MallInfo
    info = allocator.mallinfo2()
    found = {
        "objects": counts,
        "blocks": sys.getallocatedblocks(),
        "large": (info.uordblks + info.hblkhd) / 2**20,
        "loose": info.fordblks / 2**20,
        "threads": [thread.name for thread in threading.enumerate()],
    }
    place = Path(os.environ[PLACE])
    beside = place.with_suffix(".new")
    beside.write_text(json.dumps(found))
    beside.rename(place)

"""Memory that is free goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import re
from mic.common.memory import release_memory

def resident():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmRSS:\\s+(\\d+)", file.read())[1])

# Many blocks below the size that malloc takes from the system one by one, and one at the end that
# keeps the heap from shrinking by itself.
blocks = [bytes(60_000) for _ in range(1000)]
last = bytes(60_000)
full = resident()
del blocks
before = resident()
release_memory()
print(full, before, resident())
"""


def test_releases_free_memory() -> None:
    run = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(
        run, cwd=Path(__file__).parents[3], capture_output=True, check=True, text=True
    )
    full, before, after = map(int, done.stdout.split())
    assert full - before < 10_000, "the system gets nothing by itself: this shows nothing"
    assert before - after > 30_000

"""Run in mic's own process: on SIGUSR1, count the objects that the garbage collector knows."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections import Counter
from pathlib import Path

COMMAND = "import census; census.install(); from mic.cli import main; main()"
"""What ``python -c`` runs: mic, with a census when it is asked for."""

PLACE = "CENSUS_FILE"
"""The variable that names the file for the counts, by the type's full name."""


def install() -> None:
    signal.signal(signal.SIGUSR1, lambda *_: _take())


def _take() -> None:
    gc.collect()
    kinds = Counter(map(type, gc.get_objects()))
    counts: Counter[str] = Counter()
    for kind, count in kinds.items():
        counts[f"{kind.__module__}.{kind.__qualname__}"] += count
    place = Path(os.environ[PLACE])
    beside = place.with_suffix(".new")
    beside.write_text(json.dumps(counts))
    beside.rename(place)

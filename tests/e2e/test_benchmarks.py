"""Scope: the benchmark of controller mode, with an API server of its own, for a few objects."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import kubeserver

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_benchmark_of_controller_mode_runs_and_writes_four_times_per_object() -> None:
    kubeserver.assets()
    done = subprocess.run(
        [sys.executable, ROOT / "bench/reconcile.py", "--objects", "5"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fresh start: 5 ready in " in done.stdout
    assert "restart: 5 ready in " in done.stdout
    assert re.findall(r"writes per object: (\S+);", done.stdout) == ["4.00", "1.00"]

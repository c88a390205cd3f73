"""The benchmarks that need no other program still measure what they say, if little of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("name", "flags", "expected"),
    [
        ("hosts", ["--hosts", "3", "--rest", "0.1"], "3 hosts, 6 images: start "),
        ("metrics", ["--images", "10"], "10 images: "),
        ("nmstate", ["--seconds", "0.01"], "bond and VLAN "),
        (
            "tenants",
            ["--static", "--documents", "2", "--bytes", "20000", "--seconds", "0.5"],
            "range of 4 KiB beside large files, p99 ",
        ),
    ],
)
def test_a_benchmark_runs(name: str, flags: list[str], expected: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / f"{name}.py", *flags],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout

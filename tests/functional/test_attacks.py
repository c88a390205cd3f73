"""The attacks of bench/attacks.py get nowhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("attack", ["pull", "private-keys", "file-names", "links"])
def test_an_attack_gets_nowhere(attack: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "attacks.py", attack],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("\n0 got through\n")

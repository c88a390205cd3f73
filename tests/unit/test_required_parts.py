"""Scope: tests/conftest.py: where every part is required, as in CI, a missing one is a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_TEST = """\
import pytest

@pytest.fixture
def part():
    pytest.skip("there is no such program")

def test_within():
    pytest.skip("there is no such program")

def test_fixture(part):
    pass

def test_in_order():
    pytest.skip("TLS has no half-closed connections")
"""


@pytest.mark.parametrize(
    ("required", "closing"), [("", "3 skipped in"), ("1", "1 failed, 1 skipped, 1 error in")]
)
def test_a_missing_part(tmp_path: Path, required: str, closing: str) -> None:
    (tmp_path / "test_parts.py").write_text(_TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    places = [os.fspath(ROOT), os.fspath(ROOT / "tests")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "MIC_E2E_REQUIRED": required},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert closing in done.stdout, done.stdout + done.stderr
    assert ("there is no such program (MIC_E2E_REQUIRED is set)" in done.stdout) == bool(required)

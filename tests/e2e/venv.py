"""Virtual environments with other projects' programs, kept in the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e import cache

_MINUTES = 900.0


def python_with(*requirements: str) -> Path:
    """The Python of a virtual environment in which ``requirements`` are installed."""
    key = f"{sys.version} {sys.executable} {' '.join(requirements)}"
    name = requirements[0].partition("==")[0]

    def make(path: Path) -> None:
        for command in (
            [sys.executable, "-m", "venv", path],
            [path / "bin/python", "-m", "pip", "install", "--quiet", *requirements],
        ):
            subprocess.run(command, timeout=_MINUTES, check=True)

    try:
        place = cache.kept(name, key, make)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"cannot install {' '.join(requirements)} from PyPI: {error}")
    return place / "bin/python"


def run(python: Path, code: str, *arguments: str | os.PathLike[str], seconds: float = 120) -> str:
    """What a piece of Python prints there."""
    done = subprocess.run(
        [python, "-I", "-W", "ignore", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

"""The real parts that end-to-end tests run against: tests skip where one is not here.

Where every part is required, as in CI, tests/conftest.py makes a failure of that.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def program(name: str, package: str, *places: str) -> str:
    """The path of a program on PATH or in one of ``places``; ``package`` is Debian's name."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *places])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"there is no {name} on this machine: install Debian's {package}")
    return found


def file(path: str, package: str) -> Path:
    """A file that a Debian package brings."""
    found = Path(path)
    if not found.is_file():
        pytest.skip(f"there is no {path} on this machine: install Debian's {package}")
    return found


def root(why: str) -> None:
    """Root's rights, without which ``why`` cannot be."""
    if os.geteuid() != 0:
        pytest.skip(f"only root can {why}")

"""The real parts that end-to-end tests run against: whether they are here, what to do if not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRED = "MIC_E2E_REQUIRED"
"""Variable that, when it is ``1``, turns a missing part into a failure: CI has them all."""


def missing(what: str) -> NoReturn:
    """Skip the test for want of ``what``, or fail it where every part is required."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{what} ({REQUIRED} is set)", pytrace=False)
    pytest.skip(what)


def program(name: str, package: str, *places: str) -> str:
    """The path of a program on PATH or in one of ``places``; ``package`` is Debian's name."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *places])
    found = shutil.which(name, path=path)
    if found is None:
        missing(f"there is no {name} on this machine: install Debian's {package}")
    return found


def file(path: str, package: str) -> Path:
    """A file that a Debian package brings."""
    found = Path(path)
    if not found.is_file():
        missing(f"there is no {path} on this machine: install Debian's {package}")
    return found


def root(why: str) -> None:
    """Root's rights, without which ``why`` cannot be."""
    if os.geteuid() != 0:
        missing(f"only root can {why}")

"""Wheel and source archive have the same bytes wherever and whenever they are built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from functional.daemon import ROOT

_EPOCH = "1700000000"
_SOURCES = ("mic", "share", "twisted")
_FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "SECURITY.md")


def built(folder: Path, time: int) -> dict[str, bytes]:
    """Return the packages built from a copy of the sources whose files are of ``time``, by name."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in _SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*_FILES, "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for path in source.rglob("*"):
        os.utime(path, (time, time))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder / "dist", source],
        env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"packages cannot be built here: {done.stderr.splitlines()[-1:]}")
    return {path.name: path.read_bytes() for path in (folder / "dist").iterdir()}


def test_packages_are_reproducible_and_complete(tmp_path: Path) -> None:
    first = built(tmp_path / "one", 1600000000)
    second = built(tmp_path / "two", 1500000000)
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    (wheel,) = (tmp_path / "one/dist").glob("*.whl")
    (source,) = (tmp_path / "one/dist").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert any(name.endswith("data/share/man/man1/mic.1") for name in names)
    assert "twisted/plugins/mic_plugin.py" in names
    assert "twisted/__init__.py" not in names
    with tarfile.open(source) as archive:
        members = archive.getmembers()
    assert {(member.mtime, member.uid) for member in members} == {(int(_EPOCH), 0)}
    assert any(member.name.endswith("/share/zsh/site-functions/_mic") for member in members)

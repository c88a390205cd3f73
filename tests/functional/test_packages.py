"""Wheel and source archive have the same bytes wherever and whenever they are built."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pyproject_hooks
import pytest
from build import BuildBackendException, ProjectBuilder
from build.env import DefaultIsolatedEnv
from functional.daemon import ROOT

_EPOCH = "1700000000"
_SOURCES = ("mic", "share", "twisted")
_FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "SECURITY.md")


def built(environment: DefaultIsolatedEnv, folder: Path, time: int) -> dict[str, bytes]:
    """Return the packages built from a copy of the sources whose files are of ``time``, by name.

    As ``python -m build`` does: a source archive, and a wheel from what is in that.
    """
    source = folder / "source"
    source.mkdir(parents=True)
    for name in _SOURCES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*_FILES, "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for path in source.rglob("*"):
        os.utime(path, (time, time))
    dist = folder / "dist"
    with tarfile.open(_built(environment, "sdist", source, dist)) as archive:
        archive.extractall(folder, filter="data")
        unpacked = folder / os.path.commonpath(archive.getnames())
    _built(environment, "wheel", unpacked, dist)
    return {path.name: path.read_bytes() for path in dist.iterdir()}


def _built(environment: DefaultIsolatedEnv, kind: str, source: Path, dist: Path) -> str:
    builder = ProjectBuilder.from_isolated_env(
        environment, source, runner=pyproject_hooks.quiet_subprocess_runner
    )
    if kind == "sdist":
        environment.install(builder.build_system_requires)
    environment.install(builder.get_requires_for_build(kind))
    return builder.build(kind, dist)


def test_packages_are_reproducible_and_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", _EPOCH)
    try:
        with DefaultIsolatedEnv() as environment:
            first = built(environment, tmp_path / "one", 1600000000)
            second = built(environment, tmp_path / "two", 1500000000)
    except (BuildBackendException, subprocess.CalledProcessError) as error:
        pytest.skip(f"packages cannot be built here: {error}")
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

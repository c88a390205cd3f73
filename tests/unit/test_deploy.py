"""Scope: what deploy/ tells mic, as flags and variables, is what mic knows.

The files are read as they are, patches of overlays too; what becomes of them together is in
tests/e2e/test_manifests.py.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mic.config import VARIABLES, Mode, flags_of

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VARIABLE_NAMES = {variable.name for variable in VARIABLES}


def _containers(document: Any) -> Iterator[dict[str, Any]]:
    """The containers that run mic in a manifest, or what a patch adds to them."""
    if isinstance(document, dict) and document.get("kind") == "Deployment":
        yield from document["spec"]["template"]["spec"].get("containers", [])
    if isinstance(document, list):
        for change in document:
            for field in ("args", "env"):
                if f"/{field}/" in change["path"]:
                    yield {field: [change["value"]]}


def _unknown_flags(words: list[str], mode: Mode) -> set[str]:
    given = {match[1] for word in words if (match := re.match(r"--?([a-z][a-z-]*)(=|$)", word))}
    return given - {flag.name for flag in flags_of(mode)}


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_manifests_use_flags_and_variables_that_there_are(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        for container in _containers(document):
            words = [*container.get("command", []), *container.get("args", [])]
            assert _unknown_flags(words, Mode.CONTROLLER) == set()
            # What the kubelet puts into an argument is not mic's to know.
            names = {each["name"] for each in container.get("env", [])}
            assert names - VARIABLE_NAMES <= {"IMAGES_URL", "IMAGES_HTTP_URL"}


def test_the_manifests_have_flags_and_variables_at_all() -> None:
    documents = (d for path in MANIFESTS for d in yaml.safe_load_all(path.read_text()))
    found = [container for document in documents for container in _containers(document)]
    assert sum(len(each.get("args", [])) for each in found) >= 8
    assert sum(len(each.get("env", [])) for each in found) >= 10


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_use_flags_that_there_are(path: Path) -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", path.read_text(), re.MULTILINE)
    program, mode, *words = command.split()
    assert program.endswith("/mic")
    assert path.stem == f"mic-{mode}"
    assert words
    assert _unknown_flags(words, Mode(mode)) == set()


def test_the_units_environment_is_for_either_mode() -> None:
    given = {}
    for line in (DEPLOY / "systemd/mic.env").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            given[name] = value
    words = shlex.split(given.pop("MIC_FLAGS"))
    assert words
    for mode in Mode:
        assert _unknown_flags(words, mode) == set()
    assert given.keys() <= VARIABLE_NAMES

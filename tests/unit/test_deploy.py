"""Scope: deploy/ uses only flags and variables that mic has.

Reads the files as they are, including patches of overlays. tests/e2e/test_manifests.py checks the
result of kustomize.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mic.cli import fetch
from mic.cli.flags import parse_flags
from mic.settings.model import Mode
from mic.settings.table import VARIABLES, flags_of

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").glob("mic-[!f]*.service"))
VARIABLE_NAMES = {variable.name for variable in VARIABLES}


def _containers(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the containers that run mic in a manifest, or what a patch adds to them."""
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
def test_manifests_use_known_flags_and_variables(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        for container in _containers(document):
            words = [*container.get("command", []), *container.get("args", [])]
            assert _unknown_flags(words, Mode.CONTROLLER) == set()
            # The kubelet inserts these into arguments; mic does not read them.
            names = {each["name"] for each in container.get("env", [])}
            assert names - VARIABLE_NAMES <= {"IMAGES_URL", "IMAGES_HTTP_URL"}


def test_finds_flags_and_variables_in_the_manifests() -> None:
    documents = (d for path in MANIFESTS for d in yaml.safe_load_all(path.read_text()))
    found = [container for document in documents for container in _containers(document)]
    assert sum(len(each.get("args", [])) for each in found) >= 8
    assert sum(len(each.get("env", [])) for each in found) >= 10


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_use_known_flags(path: Path) -> None:
    (command,) = re.findall(r"^ExecStart=(.*)$", path.read_text(), re.MULTILINE)
    program, mode, *words = command.split()
    assert program.endswith("/mic")
    assert path.stem == f"mic-{mode}"
    assert words
    assert _unknown_flags(words, Mode(mode)) == set()


def test_unit_for_downloads_uses_known_flags() -> None:
    unit = (DEPLOY / "systemd/mic-fetch@.service").read_text()
    environment = (DEPLOY / "systemd/fetch-coreos.env").read_text()
    (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    (given,) = re.findall(r"^MIC_FETCH_FLAGS=(.*)$", environment, re.MULTILINE)
    program, name, *words = command.replace("$MIC_FETCH_FLAGS", given).split()
    assert (program, name) == ("/opt/mic/bin/mic", "fetch")
    operands: list[str] = []
    values = parse_flags(words, fetch.FLAGS, operands)
    assert values["output"] == "/srv/mic/%i.iso"
    assert values["resume"] == "true"
    assert values["stream-json"].startswith("https://")
    assert operands == []


@pytest.mark.parametrize("page", ["kubernetes.md", "fetch.md"])
def test_documented_containers_use_known_flags_for_downloads(page: str) -> None:
    text = (DEPLOY.parent / "docs" / page).read_text()
    manifests = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    found = [
        container
        for manifest in manifests
        for document in yaml.safe_load_all(manifest)
        for container in _pod_of(document).get(
            "initContainers", _pod_of(document).get("containers", [])
        )
        if container.get("command") == ["mic", "fetch"]
    ]
    assert len(found) == 1
    assert parse_flags(found[0]["args"], fetch.FLAGS, [])["arch"] == "x86_64"


def _pod_of(document: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = document.get("spec", {}).get("template", {}).get("spec", {})
    return pod


def test_environment_of_the_units_suits_both_modes() -> None:
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

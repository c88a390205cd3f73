"""The walls between the rooms, read from the imports."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "mic").rglob("*.py"))
SHELLS = {"mic/nmstate/nmstatectl.py", "mic/nmstate/conversion.py"}
"""The modules of a pure package that do I/O."""

PURE_ROOMS = ("mic/image/", "mic/ignition/", "mic/nmstate/")
PURE_MODULES = (
    "mic/web/ranges.py",
    "mic/web/conditions.py",
    "mic/config.py",
    "mic/errors.py",
    "mic/redact.py",
)
EFFECTS = {"twisted", "zope", "kubernetes", "socket", "subprocess", "asyncio", "threading", "treq"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_pure(path: Path) -> bool:
    name = name_of(path)
    return name not in SHELLS and (name.startswith(PURE_ROOMS) or name in PURE_MODULES)


@cache
def imports(path: Path, *, when_imported: bool = False) -> frozenset[str]:
    """What a module imports, as dotted names; ``when_imported`` leaves functions out."""
    return frozenset(_imports(path, when_imported))


def _imports(path: Path, when_imported: bool) -> Iterator[str]:
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if when_imported and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo.extend(node.orelse)
            continue
        todo.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: write imports in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers_of(package: str) -> set[str]:
    return {
        name_of(path)
        for path in MODULES
        if any(f"{name}.".startswith(f"{package}.") for name in imports(path))
    }


def test_there_is_something_to_look_at() -> None:
    assert sum(map(is_pure, MODULES)) > 20
    assert "mic/service.py" in importers_of("twisted")


@pytest.mark.parametrize("path", [path for path in MODULES if is_pure(path)], ids=name_of)
def test_pure_rooms_import_no_shell(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports(path)} & EFFECTS == set()


def test_pure_rooms_pull_in_no_shell_either() -> None:
    """Not by way of other modules of ours."""
    names = [
        name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in MODULES
        # The package of the HTTP side is a shell around two pure modules.
        if is_pure(path)
    ]
    code = f"import sys, {', '.join(names)}\nprint(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"]
    loaded = subprocess.run(run, env=environment, capture_output=True, check=True, text=True)
    assert set(loaded.stdout.split()) & {"twisted", "zope.interface", "kubernetes", "treq"} == set()


def test_the_environment_is_read_where_the_process_starts() -> None:
    readers = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert not {name for name in readers if is_pure(ROOT / name)}


def test_kubernetes_is_imported_in_one_module_at_most() -> None:
    assert importers_of("kubernetes") <= {"mic/kube/threads.py"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_installs_the_reactor_when_it_is_imported(path: Path) -> None:
    """Who imports it first decides for the process, and for every test."""
    assert "twisted.internet.reactor" not in imports(path, when_imported=True)


def test_the_web_does_not_know_kubernetes_exists() -> None:
    assert not {name for name in importers_of("mic.kube") if name.startswith("mic/web/")}
    assert not {name for name in importers_of("mic.web") if name.startswith("mic/kube/")}


def test_images_and_configs_know_nothing_of_those_who_serve_them() -> None:
    for shell in ("mic.web", "mic.kube", "mic.static", "mic.service", "mic.run", "mic.cli"):
        assert not {name for name in importers_of(shell) if name.startswith(PURE_ROOMS)}, (
            f"{shell} is imported by a pure room"
        )

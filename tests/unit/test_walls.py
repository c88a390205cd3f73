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

PURE_ROOMS = (
    "mic/media/",
    "mic/ignition/",
    "mic/networkdata/",
    "mic/nmstate/",
    "mic/ramdisk/",
    "mic/reachability/",
)
PURE_MODULES = (
    "mic/common/addresses.py",
    "mic/common/backoff.py",
    "mic/common/durations.py",
    "mic/common/endpoint.py",
    "mic/common/errors.py",
    "mic/common/fair.py",
    "mic/common/generated.py",
    "mic/common/health.py",
    "mic/common/host_data.py",
    "mic/common/keyfile.py",
    "mic/common/kube_names.py",
    "mic/common/networkmanager.py",
    "mic/common/once.py",
    "mic/common/private_keys.py",
    "mic/common/problems.py",
    "mic/common/schema.py",
    "mic/common/spelling.py",
    "mic/common/text.py",
    "mic/common/tree.py",
    "mic/common/units.py",
    "mic/common/urls.py",
    "mic/common/warning.py",
    "mic/common/yaml_errors.py",
    "mic/downloads/coverage.py",
    "mic/downloads/state.py",
    "mic/fetch/failure.py",
    "mic/fetch/inspection.py",
    "mic/fetch/location.py",
    "mic/fetch/metadata.py",
    "mic/fetch/proxies.py",
    "mic/fetch/verdict.py",
    "mic/hosts/findings.py",
    "mic/hosts/status.py",
    "mic/images/base_state.py",
    "mic/kube/actions.py",
    "mic/kube/answers.py",
    "mic/kube/api_server.py",
    "mic/kube/decide.py",
    "mic/kube/objects.py",
    "mic/kube/refusals.py",
    "mic/kube/startup.py",
    "mic/kube/texts.py",
    "mic/kube/warnings.py",
    "mic/observe/redact.py",
    "mic/statuspage/html.py",
    "mic/statuspage/names.py",
    "mic/statuspage/overview.py",
    "mic/statuspage/query.py",
    "mic/statuspage/script.py",
    "mic/statuspage/style.py",
    "mic/web/conditions.py",
    "mic/web/headers.py",
    "mic/web/multipart.py",
    "mic/web/ranges.py",
    "mic/web/request_body.py",
    "mic/web/request_head.py",
    "mic/web/stats.py",
)
EFFECTS = {"twisted", "zope", "kubernetes", "socket", "subprocess", "asyncio", "threading", "treq"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_pure(path: Path) -> bool:
    name = name_of(path)
    return name.startswith((*PURE_ROOMS, "mic/settings/")) or name in PURE_MODULES


@cache
def imports(path: Path, *, when_imported: bool = False, for_types: bool = False) -> frozenset[str]:
    """Return the dotted names that a module imports.

    ``when_imported`` skips functions; ``for_types`` includes imports for the type checker.
    """
    return frozenset(_imports(path, when_imported, for_types))


def _imports(path: Path, when_imported: bool, for_types: bool) -> Iterator[str]:
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if when_imported and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if isinstance(node, ast.If) and is_for_types and not for_types:
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


def module_name(path: Path) -> str:
    """The dotted name of a module; that of its package for an ``__init__``."""
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def import_graph() -> dict[str, set[str]]:
    """The modules of mic that each module imports, for the type checker or in functions too.

    Importing a package runs its ``__init__``, but is no arrow from a module inside of it: those
    would make a circle of every package that exports a name of its modules.
    """
    modules = {module_name(path): path for path in MODULES}
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        graph[module] = set()
        for imported in imports(path, for_types=True):
            name = imported
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name and name != module:
                graph[module].add(name)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module."""
    reachable = {module: _reachable(graph, module) for module in graph}
    found = {
        tuple(sorted(other for other in reachable[module] if module in reachable[other]))
        for module in graph
        if module in reachable[module]
    }
    return [list(circle) for circle in sorted(found)]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        new = graph[todo.pop()] - seen
        seen |= new
        todo.extend(new)
    return seen


def test_finds_circles() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == [["b", "c"]]
    assert import_graph()["mic.nmstate.generator"] >= {"mic.nmstate.document", "mic.nmstate.dns"}


def test_has_no_import_circles() -> None:
    assert not circles(import_graph())


def test_there_is_something_to_look_at() -> None:
    assert sum(map(is_pure, MODULES)) > 20
    assert "mic/service.py" in importers_of("twisted")


@pytest.mark.parametrize("path", [path for path in MODULES if is_pure(path)], ids=name_of)
def test_pure_rooms_import_no_shell(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports(path)} & EFFECTS == set()


def test_pure_rooms_pull_in_no_shell_either() -> None:
    """Not by way of other modules of ours."""
    names = [module_name(path) for path in MODULES if is_pure(path)]
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


def test_kubernetes_is_imported_for_kubeconfig_files_alone() -> None:
    """It takes 15 MiB, which a pod does without."""
    assert importers_of("kubernetes") == {"mic/kube/kubeconfig.py"}
    assert importers_of("mic.kube.kubeconfig") == {"mic/kube/configuration.py"}
    eager = imports(ROOT / "mic/kube/configuration.py", when_imported=True)
    assert "mic.kube.kubeconfig" not in eager


def test_prometheus_is_imported_in_one_module() -> None:
    assert importers_of("prometheus_client") == {"mic/observe/metrics.py"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_installs_the_reactor_when_it_is_imported(path: Path) -> None:
    """Who imports it first decides for the process, and for every test."""
    assert "twisted.internet.reactor" not in imports(path, when_imported=True)


def test_the_usage_needs_no_command() -> None:
    """Importing the commands takes half a second."""
    imported = imports(ROOT / "mic/cli/main.py", when_imported=True)
    assert {name for name in imported if name.startswith("mic")} <= {"mic", "mic.__version__"}


def test_the_web_does_not_know_kubernetes_exists() -> None:
    assert not {name for name in importers_of("mic.kube") if name.startswith("mic/web/")}
    assert not {name for name in importers_of("mic.web") if name.startswith("mic/kube/")}


def test_images_and_configs_know_nothing_of_those_who_serve_them() -> None:
    for shell in ("mic.web", "mic.kube", "mic.hosts", "mic.service", "mic.cli"):
        assert not {name for name in importers_of(shell) if name.startswith(PURE_ROOMS)}, (
            f"{shell} is imported by a pure room"
        )

"""What all tests share: where test data is, and that nothing is left behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from kubeserver import KubeServer, running
from twisted.internet import reactor
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

# How long an example takes is the machine's business: a busy one made tests fail.
hypothesis.settings.register_profile(
    "mic", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("mic")

ROOT = Path(__file__).resolve().parent.parent

REQUIRED = "MIC_E2E_REQUIRED"
"""Variable that, when it is ``1``, turns a skipped test into a failure: CI has every part."""

_IN_ORDER = (
    "TLS has no half-closed connections",
    # Where the checkout is, and what lies beside it, is not CI's to decide.
    "another user cannot run mic here",
    "not possible here",
    "there is no shared test data here",
    "the corpus is not available",
    "the file system of temporary files",
)
"""How the reasons begin that are in order all the same."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have what is missing fail a test, rather than skip it, where every part is required."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and os.environ.get(REQUIRED) == "1":
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(_IN_ORDER):
            report.outcome = "failed"
            report.longrepr = f"{reason} ({REQUIRED} is set)"
    return report


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test data; tests that need it skip where it is not."""
    folder = Path(os.environ.get("MIC_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip("there is no shared test data here (MIC_SHARED)")
    return folder


_LONGEST = (
    "test_unread_answers",
    "test_tls",
    "test_entry_points",
    "test_static_mode",
    "test_limits",
    "test_status",
    "test_base_files",
    "test_request_heads",
    "test_http_contract",
    "test_fetch",
    "test_secret_changes",
    "test_converges",
    "test_tenants",
    "test_growth",
    "test_kubernetes_api",
    "test_attacks",
    "test_packages",
    "test_logging",
    "test_connections",
    "test_keyfiles_command",
    "test_metrics",
    "test_site",
    "test_documented_commands",
)
"""Modules that take long, some of them with one or two tests."""


def pytest_xdist_auto_num_workers() -> int:
    """Two workers more than cores: those with daemons wait a good part of their time."""
    return len(os.sched_getaffinity(0)) + 2


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules, so that no worker has one alone at the end."""
    rank = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that finds the test which drops a failing Deferred."""
    parser.addoption(
        "--collect-garbage",
        choices=["module", "test"],
        default="module",
        help="when to collect garbage, and so to find failing Deferreds that were dropped",
    )


@pytest.fixture(scope="session", autouse=True)
def _modules_are_not_garbage() -> None:
    """Exempt modules from garbage collection: they cost a tenth of a second each time."""
    gc.collect()
    gc.freeze()


@contextmanager
def _collect_failures(failures: list[LogEvent]) -> Iterator[None]:
    """Append to ``failures`` each event that is logged with a traceback."""

    def observe(event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical:
            failures.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)


def _formats(failures: list[LogEvent]) -> list[object]:
    return [event.get("log_format") for event in failures]


@pytest.fixture
def logged_failures() -> list[LogEvent]:
    """Events logged with a traceback; a test that expects them inspects and clears the list."""
    return []


@pytest.fixture(autouse=True)
def _nothing_left_behind(
    request: pytest.FixtureRequest, logged_failures: list[LogEvent]
) -> Iterator[None]:
    """Fail a test that leaves delayed calls or logged failures."""
    with _collect_failures(logged_failures):
        before = set(reactor.getDelayedCalls())  # type: ignore[attr-defined]
        yield
        if request.config.getoption("collect_garbage") == "test":
            gc.collect()
    left = [call for call in reactor.getDelayedCalls() if call not in before]  # type: ignore[attr-defined]
    assert not left, f"delayed calls left behind: {left}"
    assert not logged_failures, f"failures logged: {_formats(logged_failures)}"


@pytest.fixture(scope="module", autouse=True)
def _no_failure_dropped(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a module one of whose tests drops a failing Deferred, and name that test.

    A dropped failure is logged when its Deferred is collected. Collecting after each test took
    two thirds of the suite's CPU time, so the module runs again that way only when it fails.
    """
    yield
    failures: list[LogEvent] = []
    with _collect_failures(failures):
        gc.collect()
    # What lives on is no garbage of the next module: to look at it again costs as much each time.
    gc.freeze()
    if failures:
        again = [sys.executable, "-m", "pytest", "-q", "-n0", "--collect-garbage=test"]
        run = subprocess.run(
            [*again, str(request.path)], cwd=ROOT, capture_output=True, text=True, check=False
        )
        named = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        pytest.fail("\n".join([f"failures dropped: {_formats(failures)}", *named]))


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeServer]:
    """A real API server with our manifests applied; skips where there is none."""
    with running(tmp_path_factory.mktemp("kube")) as server:
        yield server

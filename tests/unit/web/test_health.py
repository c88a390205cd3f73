"""Health pages, asked by treq without sockets."""

from __future__ import annotations

import pytest_twisted
import treq
from treq.testing import RequestTraversalAgent
from twisted.web.resource import Resource

from mic.web.health import HealthSite


async def _asked(path: str, **lines: list[str]) -> tuple[int, str]:
    site = HealthSite(
        defects=lambda: lines.get("defects", []),
        missing=lambda: lines.get("missing", []),
        problems=lambda: lines.get("problems", []),
    )
    root = site.resource
    assert isinstance(root, Resource)
    client = treq.client.HTTPClient(RequestTraversalAgent(root))
    response = await client.get(f"http://mic.invalid/{path}")
    return response.code, await treq.text_content(response)


@pytest_twisted.ensureDeferred
async def test_all_is_well() -> None:
    assert await _asked("healthz") == (200, "ok\n")
    assert await _asked("readyz") == (200, "ok\n")


@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_told_by_readyz_alone() -> None:
    assert await _asked("readyz", missing=["one", "two"]) == (503, "one\ntwo\n")
    assert await _asked("healthz", missing=["one"]) == (200, "ok\n")


@pytest_twisted.ensureDeferred
async def test_a_defect_is_told_by_healthz() -> None:
    assert await _asked("healthz", defects=["a worker died"]) == (503, "a worker died\n")


@pytest_twisted.ensureDeferred
async def test_problems_of_single_hosts_do_not_take_readiness_back() -> None:
    assert await _asked("readyz", problems=["w0: bad"]) == (200, "ok\nw0: bad\n")
    assert await _asked("readyz", missing=["one"], problems=["w0"]) == (503, "one\nw0\n")


@pytest_twisted.ensureDeferred
async def test_there_is_nothing_else() -> None:
    assert (await _asked("metrics"))[0] == 404

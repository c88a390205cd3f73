"""Health pages, asked by treq without sockets."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
import treq
from treq.testing import RequestTraversalAgent
from twisted.logger import LogEvent, globalLogPublisher
from twisted.web.resource import Resource

from mic.web.health import HealthSite


async def _answer(method: str, path: str, **lines: list[str]) -> Any:
    site = HealthSite(
        defects=lambda: lines.get("defects", []),
        missing=lambda: lines.get("missing", []),
        problems=lambda: lines.get("problems", []),
        metrics=lambda accept: (f"text/plain; for={accept}", b"numbers 1\n"),
    )
    root = site.resource
    assert isinstance(root, Resource)
    client = treq.client.HTTPClient(RequestTraversalAgent(root))
    return await client.request(method, f"http://mic.invalid/{path}", headers={"Accept": "this"})


async def _asked(path: str, **lines: list[str]) -> tuple[int, str]:
    response = await _answer("GET", path, **lines)
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
    for path in ("", "metric", "metrics/all", "healthz/", "readyz/x"):
        assert (await _asked(path))[0] == 404, path


@pytest_twisted.ensureDeferred
async def test_metrics_are_what_the_service_gives_for_the_accept_field() -> None:
    answer = await _answer("GET", "metrics")
    assert answer.code == 200
    assert answer.headers.getRawHeaders("Content-Type") == ["text/plain; for=this"]
    assert await treq.text_content(answer) == "numbers 1\n"


@pytest.mark.parametrize("path", ["healthz", "readyz", "metrics"])
@pytest_twisted.ensureDeferred
async def test_head_gets_the_head_alone_and_no_line_in_the_log(path: str) -> None:
    said: list[LogEvent] = []
    globalLogPublisher.addObserver(said.append)
    try:
        get, head = [await _answer(method, path, missing=["one"]) for method in ("GET", "HEAD")]
    finally:
        globalLogPublisher.removeObserver(said.append)
    content = await treq.content(get)
    assert head.code == get.code
    assert head.headers.getRawHeaders("Content-Type") == get.headers.getRawHeaders("Content-Type")
    assert head.headers.getRawHeaders("Content-Length") == [str(len(content))]
    assert await treq.content(head) == b""
    assert not [event for event in said if "HEAD" in str(event.get("log_format"))]

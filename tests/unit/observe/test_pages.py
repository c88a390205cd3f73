"""Health pages, asked by treq without sockets."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
import treq
from treq.testing import RequestTraversalAgent
from twisted.logger import LogEvent, globalLogPublisher
from twisted.web.resource import Resource

from mic.common.health import Health
from mic.observe.pages import HealthSite


async def _answer(method: str, path: str, **lines: list[str]) -> Any:
    site = HealthSite(
        health=lambda: Health(**{kind: tuple(each) for kind, each in lines.items()}),
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
async def test_both_are_ok_when_nothing_is_wrong() -> None:
    assert await _asked("healthz") == (200, "ok\n")
    assert await _asked("readyz") == (200, "ok\n")


@pytest_twisted.ensureDeferred
async def test_readyz_alone_reports_what_is_not_ready() -> None:
    assert await _asked("readyz", not_ready=["one", "two"]) == (503, "one\ntwo\n")
    assert await _asked("healthz", not_ready=["one"]) == (200, "ok\n")


@pytest_twisted.ensureDeferred
async def test_healthz_reports_what_is_fatal() -> None:
    assert await _asked("healthz", fatal=["a worker stopped"]) == (503, "a worker stopped\n")


@pytest_twisted.ensureDeferred
async def test_warnings_do_not_take_readiness_back() -> None:
    assert await _asked("readyz", warnings=["w0: bad"]) == (200, "ok\nw0: bad\n")
    assert await _asked("readyz", not_ready=["one"], warnings=["w0"]) == (503, "one\nw0\n")


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
        get, head = [await _answer(method, path, not_ready=["one"]) for method in ("GET", "HEAD")]
    finally:
        globalLogPublisher.removeObserver(said.append)
    content = await treq.content(get)
    assert head.code == get.code
    assert head.headers.getRawHeaders("Content-Type") == get.headers.getRawHeaders("Content-Type")
    assert head.headers.getRawHeaders("Content-Length") == [str(len(content))]
    assert await treq.content(head) == b""
    assert not [event for event in said if "HEAD" in str(event.get("log_format"))]

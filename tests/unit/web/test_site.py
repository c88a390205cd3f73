"""Scope: what the resource of images tells the log, and what it keeps in mind for that.

The HTTP contract is held over real connections, in tests/functional.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.web.test.requesthelper import DummyRequest

from mic.errors import BaseUnavailable
from mic.image.base import Kind
from mic.image.store import Content, Entry
from mic.images import Images
from mic.web import site
from mic.web.downloads import Downloads
from mic.web.site import ImageResource


class Away(Images):
    """Images whose base is away, whatever they are called."""

    def __init__(self) -> None:
        self.why = "base image /a.iso: No such file"

    def entry(self, name: str) -> Entry:
        return Entry(name, Content(label=f"host {name}", kind=Kind.ISO, archive=b""), 0)

    def current(self, entry: Entry) -> None:
        raise BaseUnavailable(self.why)


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "mic.web.site.ImageResource":
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def images() -> Away:
    return Away()


@pytest.fixture
def resource(images: Away) -> ImageResource:
    nobody: Any = None
    return ImageResource(images, Downloads(lambda: 0.0), Clock(), nobody, lambda: True)


def ask(resource: ImageResource, name: str) -> int:
    request: Any = DummyRequest([])
    request.path = f"/{name}".encode()
    resource.render(request)
    return int(request.responseCode)


def test_why_an_image_is_not_served_is_told_once_until_it_changes(
    resource: ImageResource, images: Away, log: list[str]
) -> None:
    assert [ask(resource, "a") for _ in range(3)] == [503, 503, 503]
    assert log == ["host a: base image /a.iso: No such file"]
    images.why = "base image /a.iso is empty"
    ask(resource, "a")
    assert log[1:] == ["host a: base image /a.iso is empty"]


def test_what_was_told_of_images_is_not_kept_for_ever(
    resource: ImageResource, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "_TOLD", 10)
    for number in range(1000):
        ask(resource, str(number))
    assert len(log) == 1000
    assert len(resource._reasons) <= 10

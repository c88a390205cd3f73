"""Scope: what the resource of images logs, and what it remembers for that.

The HTTP contract is held over real connections, in tests/functional.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.test.requesthelper import DummyRequest

from mic.common.errors import BaseUnavailable
from mic.downloads.tracker import Downloads
from mic.images.store import Content, Entry, Image, ImageId, Store
from mic.media.base import Kind
from mic.media.customisation import Customisation
from mic.web import resource as resources
from mic.web.resource import ImageResource


class Away(Store):
    """Images whose base is away, whatever they are called."""

    def __init__(self) -> None:
        self.why = "base image /a.iso: No such file"

    def entry(self, name: str) -> Entry:
        return Entry(
            name, Content(id=ImageId("host", name, Kind.ISO), customisation=Customisation()), 0
        )

    def loaded(self, entry: Entry) -> None:
        raise BaseUnavailable(self.why)


class Slow(Away):
    """Images whose base is read for as long as the test wants."""

    def __init__(self) -> None:
        self.reading: list[Deferred[Image]] = []

    def loaded(self, entry: Entry) -> None:
        return None

    async def load(self, entry: Entry) -> Image:
        self.reading.append(Deferred())
        return await self.reading[-1]


class Nothing(Store):
    """No images yet."""

    def __init__(self) -> None: ...

    def entry(self, name: str) -> None:
        return None


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == "mic.web.resource.ImageResource":
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
    return ImageResource(images, Downloads(lambda: 0.0), Clock(), nobody, settled=lambda: True)


def ask(resource: ImageResource, name: str) -> int:
    request: Any = DummyRequest([])
    request.path = f"/{name}".encode()
    resource.render(request)
    return int(request.responseCode)


def test_why_an_image_is_not_served_is_reported_once_until_it_changes(
    resource: ImageResource, images: Away, log: list[str]
) -> None:
    assert [ask(resource, "a") for _ in range(3)] == [503, 503, 503]
    assert log == ["host/a iso: base image /a.iso: No such file"]
    images.why = "base image /a.iso is empty"
    ask(resource, "a")
    assert log[1:] == ["host/a iso: base image /a.iso is empty"]


def test_forgets_reported_problems_beyond_a_limit(
    resource: ImageResource, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "MAX_REMEMBERED", 10)
    for number in range(1000):
        ask(resource, str(number))
    assert len(log) == 1000
    ask(resource, "0")
    assert len(log) == 1001, "it was forgotten, and is logged again"


class TestWaiting:
    """A request for an image whose base is being read."""

    @pytest.fixture
    def images(self) -> Slow:
        return Slow()

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def resource(self, images: Slow, clock: Clock) -> ImageResource:
        nobody: Any = None
        return ImageResource(images, Downloads(lambda: 0.0), clock, nobody, settled=lambda: True)

    @pytest.fixture
    def request_(self, resource: ImageResource) -> Any:
        request: Any = DummyRequest([])
        request.path = b"/a"
        resource.render(request)
        return request

    def test_is_refused_after_half_a_minute_and_may_come_again(
        self, request_: Any, clock: Clock, log: list[str]
    ) -> None:
        clock.advance(29)
        assert request_.finished == 0
        clock.advance(1)
        assert (request_.finished, request_.responseCode) == (1, 503)
        assert request_.responseHeaders.getRawHeaders(b"Retry-After") == [b"10"]
        assert "is being read" in log[0]

    def test_gets_the_reason_when_reading_fails(
        self, request_: Any, images: Slow, clock: Clock, log: list[str]
    ) -> None:
        images.reading[0].errback(BaseUnavailable("base image /a.iso: No such file"))
        assert request_.responseCode == 503
        assert log == ["host/a iso: base image /a.iso: No such file"]
        assert not clock.getDelayedCalls()

    def test_for_an_unknown_name_waits_half_a_minute_at_most(self, clock: Clock) -> None:
        """The directory of hosts may be on a file system that hangs."""
        nobody: Any = None
        resource = ImageResource(
            Nothing(), Downloads(lambda: 0.0), clock, nobody, settled=lambda: False
        )
        resource.hold()
        request: Any = DummyRequest([])
        request.path = b"/a"
        resource.render(request)
        clock.advance(29)
        assert request.finished == 0
        clock.advance(1)
        assert (request.finished, request.responseCode) == (1, 503)
        assert request.responseHeaders.getRawHeaders(b"Retry-After") == [b"10"]
        resource.release()
        assert (request.finished, clock.getDelayedCalls()) == (1, [])

    def test_for_an_unknown_name_is_answered_as_soon_as_names_are_known(self, clock: Clock) -> None:
        nobody: Any = None
        resource = ImageResource(
            Nothing(), Downloads(lambda: 0.0), clock, nobody, settled=lambda: True
        )
        resource.hold()
        request: Any = DummyRequest([])
        request.path = b"/a"
        request.process = lambda: resource.render(request)
        resource.render(request)
        assert request.finished == 0
        resource.release()
        assert (request.finished, request.responseCode) == (1, 404)
        assert clock.getDelayedCalls() == []

    def test_for_an_unknown_name_leaves_nothing_behind_when_its_client_goes(
        self, clock: Clock
    ) -> None:
        nobody: Any = None
        resource = ImageResource(
            Nothing(), Downloads(lambda: 0.0), clock, nobody, settled=lambda: False
        )
        resource.hold()
        request: Any = DummyRequest([])
        request.path = b"/a"
        resource.render(request)
        request.processingFailed(Failure(ConnectionLost()))
        assert clock.getDelayedCalls() == []
        resource.release()
        assert request.finished == 0

    def test_leaves_nothing_behind_when_its_client_goes(
        self, request_: Any, images: Slow, clock: Clock, log: list[str]
    ) -> None:
        request_.processingFailed(Failure(ConnectionLost()))
        assert images.reading[0].called
        assert not clock.getDelayedCalls()
        assert (request_.finished, log) == (0, [])

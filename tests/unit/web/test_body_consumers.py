"""`ImageBody` without a network: a recorder as consumer, turns taken by hand, and Twisted's own
client as a second consumer of the same interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.web.client import Agent
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mic.media.layout import FileRange, Piece, memory
from mic.web.body import CHUNK, ImageBody


class Bytes:
    """A source in memory that counts what is read, and fails on demand."""

    def __init__(self, data: bytes, broken_from: int | None = None) -> None:
        self.data = data
        self.size = len(data)
        self.broken_from = broken_from
        self.largest = 0

    def read(self, offset: int, length: int) -> bytes:
        self.largest = max(self.largest, length)
        if self.broken_from is not None and offset + length > self.broken_from:
            raise OSError(5, "Input/output error")
        return self.data[offset : offset + length]


@implementer(IConsumer)
class Recorder:
    """Keeps what it is given; ``react`` is called at each write, as transports do."""

    def __init__(self) -> None:
        self.data = b""
        self.writes = 0
        self.react: Callable[[], None] = lambda: None

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nobody asks."""

    def unregisterProducer(self) -> None:
        """Nobody asks."""

    def write(self, data: bytes) -> None:
        self.data += data
        self.writes += 1
        self.react()


def no_threads(call: Callable[..., object], *args: object) -> Deferred[object]:
    """These sources are in memory: nothing is fetched."""
    raise AssertionError


class Streaming:
    """A body, its consumer, and what came of it."""

    def __init__(self, source: Bytes, *, wrote: Callable[[int], None] = lambda _: None) -> None:
        self.scheduled: list[Callable[[], None]] = []
        pieces: list[Piece] = [
            memory(b"head"),
            FileRange(source=source, start=0, stop=source.size),
            memory(b"tail"),
        ]
        self.expected = b"head" + source.data + b"tail"
        self.body = ImageBody(
            iter(pieces), len(self.expected), self.scheduled.append, no_threads, wrote
        )
        self.consumer = Recorder()
        self.results: list[object] = []

    def start(self) -> None:
        self.body.startProducing(self.consumer).addBoth(self.results.append)

    def turns(self, count: int = 1000) -> None:
        for _ in range(count):
            if not self.scheduled:
                return
            self.scheduled.pop(0)()


@pytest.fixture
def streaming() -> Streaming:
    return Streaming(Bytes(bytes(range(251)) * 20_000))


def test_it_is_what_it_says() -> None:
    body = Streaming(Bytes(b"x")).body
    assert verifyObject(IBodyProducer, body)
    assert verifyObject(IPushProducer, body)
    assert body.length == len(b"headxtail")


def test_nothing_is_written_before_a_later_turn(streaming: Streaming) -> None:
    streaming.start()
    assert streaming.consumer.data == b""
    streaming.turns()
    assert streaming.consumer.data == streaming.expected
    assert streaming.results == [None]


def test_it_reads_in_chunks_and_lets_others_have_their_turn() -> None:
    source = Bytes(bytes(5_000_000))
    streaming = Streaming(source)
    streaming.start()
    streaming.turns(1)
    assert 0 < len(streaming.consumer.data) < 2_000_000
    streaming.turns()
    assert source.largest <= CHUNK
    assert streaming.results == [None]


def test_what_was_written_is_reported() -> None:
    counts: list[int] = []
    streaming = Streaming(Bytes(bytes(1_000_000)), wrote=counts.append)
    streaming.start()
    streaming.turns()
    assert sum(counts) == len(streaming.expected)


def test_a_paused_body_writes_nothing(streaming: Streaming) -> None:
    streaming.start()
    streaming.body.pauseProducing()
    streaming.turns()
    assert streaming.consumer.data == b""
    streaming.body.resumeProducing()
    streaming.turns()
    assert streaming.consumer.data == streaming.expected


def test_pausing_many_times_is_pausing_once(streaming: Streaming) -> None:
    """The symptom of a counted pause: downloads with slow, pipelining clients hang for good."""
    streaming.start()
    for _ in range(5):
        streaming.body.pauseProducing()
    streaming.body.resumeProducing()
    streaming.turns()
    assert streaming.results == [None]


def test_a_consumer_may_pause_at_every_write(streaming: Streaming) -> None:
    streaming.consumer.react = streaming.body.pauseProducing
    streaming.start()
    while not streaming.results:
        before = streaming.consumer.writes
        streaming.turns()
        streaming.body.resumeProducing()
        assert streaming.consumer.writes <= before + 2
    assert streaming.consumer.data == streaming.expected


def test_a_consumer_may_pause_and_resume_within_a_write(streaming: Streaming) -> None:
    def react() -> None:
        streaming.body.pauseProducing()
        streaming.body.resumeProducing()

    streaming.consumer.react = react
    streaming.start()
    streaming.turns()
    assert streaming.consumer.data == streaming.expected
    assert streaming.results == [None]


@pytest.mark.parametrize("times", [1, 3])
def test_a_stopped_body_is_silent(streaming: Streaming, times: int) -> None:
    streaming.start()
    streaming.turns(1)
    got = len(streaming.consumer.data)
    for _ in range(times):
        streaming.body.stopProducing()
    streaming.body.resumeProducing()
    streaming.body.pauseProducing()
    streaming.turns()
    assert len(streaming.consumer.data) == got
    assert streaming.results == []


def test_a_consumer_may_stop_it_within_a_write(streaming: Streaming) -> None:
    streaming.consumer.react = streaming.body.stopProducing
    streaming.start()
    streaming.turns()
    assert streaming.consumer.writes == 1
    assert streaming.results == []


def test_stopping_lets_go_of_the_source(streaming: Streaming) -> None:
    import gc
    import weakref

    source = Bytes(bytes(3_000_000))
    gone = weakref.ref(source)
    streaming = Streaming(source)
    streaming.start()
    streaming.turns(1)
    streaming.body.stopProducing()
    body = streaming.body
    del source, streaming
    gc.collect()
    assert body.length
    assert gone() is None


@pytest.mark.parametrize("broken_from", [0, 1, CHUNK, CHUNK + 1, 2_500_000])
def test_a_read_error_fails_it(broken_from: int) -> None:
    streaming = Streaming(Bytes(bytes(3_000_000), broken_from=broken_from))
    streaming.start()
    streaming.turns()
    (failure,) = streaming.results
    assert "Input/output error" in str(failure)
    # Nothing from the broken place on, and nothing of what comes behind it.
    assert len(streaming.consumer.data) <= len(b"head") + broken_from
    streaming.body.stopProducing()


def test_an_error_of_the_pieces_fails_it() -> None:
    def pieces() -> Iterator[Piece]:
        yield memory(b"abc")
        raise ValueError("nonsense")

    scheduled: list[Callable[[], None]] = []
    results: list[object] = []
    body = ImageBody(pieces(), 6, scheduled.append, no_threads)
    body.startProducing(Recorder()).addBoth(results.append)
    scheduled.pop()()
    assert "nonsense" in str(results[0])


class _Sink(Protocol):
    """A server that takes one request and says nothing but that it came."""

    def connectionMade(self) -> None:
        self.got = b""

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        _, separator, body = self.got.partition(b"\r\n\r\n")
        if separator and len(body) == self.factory.length:  # type: ignore[attr-defined]
            self.factory.body = body  # type: ignore[attr-defined]
            self.transport.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: object = None) -> None:
        self.factory.closed.callback(None)  # type: ignore[attr-defined]


@pytest_twisted.inlineCallbacks
def test_twisteds_own_client_sends_it(streaming: Streaming) -> Iterator[Deferred[object]]:
    """A consumer that nobody here wrote."""
    sink = Factory.forProtocol(_Sink)
    sink.length = len(streaming.expected)  # type: ignore[attr-defined]
    sink.closed = Deferred()  # type: ignore[attr-defined]
    port = reactor.listenTCP(0, sink, interface="127.0.0.1")  # type: ignore[attr-defined]
    pieces = [memory(streaming.expected)]
    body = ImageBody(
        iter(pieces),
        len(streaming.expected),
        lambda call: reactor.callLater(0, call),  # type: ignore[attr-defined]
        no_threads,
    )
    url = b"http://127.0.0.1:%d/" % port.getHost().port
    response = yield Agent(reactor).request(b"PUT", url, bodyProducer=body)
    assert response.code == 204  # type: ignore[attr-defined]
    assert sink.body == streaming.expected  # type: ignore[attr-defined]
    yield sink.closed  # type: ignore[attr-defined]
    yield port.stopListening()

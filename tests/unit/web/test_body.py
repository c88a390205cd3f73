"""Bodies as producers: every byte in order, whatever the consumer does and wherever the bytes are.

Scope: mic.web.body with recorders as consumers and threads that the test steps through. Bodies
over sockets are in tests/functional.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Bytes
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from zope.interface import implementer

from mic.image.basefile import BaseChanged, BaseFile, open_base
from mic.image.layout import FileRange, Layout, memory
from mic.web.body import CHUNK, ImageBody, read_cached

DATA = random.Random(0).randbytes(2 * 1024 * 1024)


class Turns:
    """Later turns of a reactor, taken one by one; and threads, whose calls end when told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.fetches: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def later(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def fetch(self, call: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.fetches.append((done, lambda: call(*args)))
        return done

    def fetched(self) -> None:
        """The oldest call in a thread comes back."""
        done, call = self.fetches.pop(0)
        try:
            result = call()
        except Exception:
            done.errback(Failure())
        else:
            done.callback(result)

    def run(self) -> None:
        while self.calls:
            self.calls.pop(0)()


@implementer(IConsumer)
class Recorder:
    """Takes everything; may pause its producer after each write."""

    def __init__(self) -> None:
        self.data = b""
        self.on_write: Callable[[], None] = lambda: None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        raise AssertionError("the body's owner registers it")

    def unregisterProducer(self) -> None:
        raise AssertionError("the body's owner unregisters it")

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        assert 0 < len(data) <= CHUNK
        self.data += data
        self.on_write()


class Started:
    """A body that was started, and what came of it."""

    def __init__(self, layout: Layout, start: int = 0, stop: int | None = None) -> None:
        stop = layout.size if stop is None else stop
        self.turns = Turns()
        self.consumer = Recorder()
        self.wrote = 0
        self.body = ImageBody(
            layout.pieces(start, stop),
            stop - start,
            self.turns.later,
            self.turns.fetch,
            self._wrote,
        )
        self.results: list[Any] = []
        self.body.startProducing(self.consumer).addBoth(self.results.append)

    def _wrote(self, count: int) -> None:
        self.wrote += count


@pytest.fixture
def base(tmp_path: Path) -> BaseFile:
    path = tmp_path / "base"
    path.write_bytes(DATA)
    return open_base(str(path))


@pytest.fixture
def cold(base: BaseFile) -> BaseFile:
    """A base file of which nothing is in memory, where that can be had."""
    os.fsync(base.fd)
    os.posix_fadvise(base.fd, 0, 0, os.POSIX_FADV_DONTNEED)
    # The last byte: a look has the kernel read what is there and behind it.
    if base.readinto_cached(memoryview(bytearray(1)), base.size - 1):
        pytest.skip("files here are always in memory")
    return base


def whole(base: BaseFile) -> FileRange:
    return FileRange(source=base, start=0, stop=base.size)


def test_nothing_is_written_before_a_later_turn(base: BaseFile) -> None:
    started = Started(Layout([whole(base)]))
    assert started.consumer.data == b""
    started.turns.run()
    assert started.consumer.data == DATA
    assert started.results == [None]
    assert started.wrote == len(DATA)


def test_others_have_their_turn(base: BaseFile) -> None:
    started = Started(Layout([whole(base)]))
    started.turns.calls.pop(0)()
    assert 0 < len(started.consumer.data) < len(DATA)
    started.turns.run()
    assert started.consumer.data == DATA


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3 * CHUNK), min_size=1, max_size=8),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    pauses=st.lists(st.sampled_from(["", "pause", "resume", "twice"]), max_size=30),
)
def test_every_byte_in_order_whatever_the_consumer_does(
    sizes: list[int], cut: tuple[float, float], pauses: list[str]
) -> None:
    source = Bytes(DATA)
    pieces = []
    expected = b""
    for number, size in enumerate(sizes):
        data = DATA[number : number + size]
        expected += data
        piece = FileRange(source=source, start=number, stop=number + size)
        pieces.append(memory(data) if number % 2 else piece)
    start, stop = sorted(int(each * len(expected)) for each in cut)
    started = Started(Layout(pieces), start, stop)
    plan = iter(pauses)

    def act() -> None:
        what = next(plan, "")
        if what:
            started.body.pauseProducing()
        if what == "twice":
            started.body.pauseProducing()
        if what == "resume":
            started.body.resumeProducing()

    started.consumer.on_write = act
    started.turns.run()
    while not started.results:
        started.body.resumeProducing()
        started.turns.run()
    assert started.consumer.data == expected[start:stop]
    assert started.results == [None]
    assert started.wrote == stop - start


def test_a_stopped_body_says_nothing_more(base: BaseFile) -> None:
    started = Started(Layout([whole(base)]))
    started.consumer.on_write = started.body.stopProducing
    started.turns.run()
    started.body.stopProducing()
    started.body.resumeProducing()
    started.turns.run()
    assert started.consumer.data == DATA[:CHUNK]
    assert started.results == []


def test_what_is_not_in_memory_is_read_in_a_thread(cold: BaseFile) -> None:
    started = Started(Layout([whole(cold)]))
    started.turns.run()
    assert started.consumer.data == b""
    assert len(started.turns.fetches) == 1
    started.turns.fetched()
    assert started.consumer.data.startswith(DATA[:CHUNK])
    while not started.results:
        if started.turns.fetches:
            started.turns.fetched()
        started.turns.run()
    assert started.consumer.data == DATA


def test_a_pause_holds_while_a_thread_reads(cold: BaseFile) -> None:
    started = Started(Layout([whole(cold)]))
    started.turns.run()
    started.body.pauseProducing()
    started.turns.fetched()
    assert started.consumer.data == b""
    started.body.resumeProducing()
    assert started.consumer.data.startswith(DATA[:CHUNK])


def test_what_a_thread_read_for_a_stopped_body_is_dropped(cold: BaseFile) -> None:
    started = Started(Layout([whole(cold)]))
    started.turns.run()
    started.body.stopProducing()
    started.turns.fetched()
    started.turns.run()
    assert started.consumer.data == b""
    assert started.results == []


def test_a_medium_that_fails_fails_the_body(cold: BaseFile) -> None:
    started = Started(Layout([whole(cold)]))
    started.turns.run()
    done, _ = started.turns.fetches.pop()
    done.errback(Failure(OSError(errno.EIO, "a scratch")))
    assert len(started.results) == 1
    assert started.results[0].check(OSError)


def test_a_base_that_was_written_to_fails_the_body(base: BaseFile) -> None:
    started = Started(Layout([whole(base)]))
    started.consumer.on_write = lambda: os.utime(base.path, ns=(1, 1))
    started.turns.run()
    assert started.consumer.data == DATA[:CHUNK]
    assert started.results[0].check(BaseChanged)


def test_small_pieces_are_had_at_once_where_they_are_in_memory(base: BaseFile) -> None:
    layout = Layout([FileRange(source=base, start=5, stop=50), memory(b"archive")])
    assert read_cached(layout.pieces(0, layout.size)) == DATA[5:50] + b"archive"


def test_small_pieces_are_not_had_where_a_medium_must_be_waited_for(cold: BaseFile) -> None:
    layout = Layout([memory(b"archive"), FileRange(source=cold, start=5, stop=50)])
    assert read_cached(layout.pieces(0, layout.size)) is None
    assert read_cached(layout.pieces(0, 7)) == b"archive"

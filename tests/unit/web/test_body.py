"""Bodies as producers: every byte in order, whatever the consumer does and wherever the bytes are.

Scope: mic.web.body with recorders as consumers and threads that the test steps through. Bodies
over sockets are in tests/functional.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Bytes, put_keeping_dates
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from zope.interface import implementer

from mic.media.basefile import BaseChanged, BaseFile, open_base
from mic.media.layout import FileRange, Layout, memory
from mic.web.body import CHUNK, ImageBody, read_cached

DATA = random.Random(0).randbytes(2 * 1024 * 1024)


class Turns:
    """Later turns of a reactor, one by one; and threads, whose calls the test ends."""

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
    for _ in range(100):
        os.fsync(base.fd)
        os.posix_fadvise(base.fd, 0, 0, os.POSIX_FADV_DONTNEED)
        # The kernel keeps pages that another CPU is about to add to its lists.
        if not pages_in_memory(base):
            return base
    pytest.skip("files here are always in memory")


def pages_in_memory(base: BaseFile) -> int:
    """Return how many pages of a file are in memory, without reading any: mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    place = libc.mmap(None, ctypes.c_size_t(base.size), 1, 1, base.fd, ctypes.c_long(0))
    assert place not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
    try:
        pages = (ctypes.c_ubyte * -(-base.size // 4096))()
        size = ctypes.c_size_t(base.size)
        assert libc.mincore(ctypes.c_void_p(place), size, pages) == 0
        return sum(page & 1 for page in pages)
    finally:
        libc.munmap(ctypes.c_void_p(place), ctypes.c_size_t(base.size))


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


class TestDoubt:
    """A base file whose change time moved under a body: the end waits for the verdict."""

    def layouts(self, base: BaseFile) -> list[Layout]:
        """A body that ends with the file, and one that ends with an archive, as initramfs do."""
        whole = FileRange(source=base, start=0, stop=base.size)
        return [Layout([whole]), Layout([whole, memory(b"archive")])]

    @pytest.mark.parametrize("number", [0, 1])
    def test_all_but_the_end_goes_on(self, base: BaseFile, number: int) -> None:
        os.chmod(base.path, 0o600)
        body = Started(self.layouts(base)[number])
        body.turns.run()
        left = body.body.length - len(body.consumer.data)
        assert 0 < left <= CHUNK
        assert body.results == []
        body.turns.fetched()
        body.turns.run()
        assert body.results == [None]
        assert body.consumer.data == DATA + b"archive" * number

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_file_with_other_bytes_never_comes_to_its_end(
        self, base: BaseFile, number: int
    ) -> None:
        put_keeping_dates(Path(base.path), b"other bytes")
        body = Started(self.layouts(base)[number])
        body.turns.run()
        body.turns.fetched()
        body.turns.run()
        assert body.results[0].check(BaseChanged)
        assert len(body.consumer.data) < body.body.length

    def test_a_doubtful_file_counts_when_another_one_follows(
        self, base: BaseFile, tmp_path: Path
    ) -> None:
        """A virtual ISO has ranges of several files."""
        (tmp_path / "other").write_bytes(b"boot loader")
        other = open_base(str(tmp_path / "other"))
        put_keeping_dates(Path(base.path), b"other bytes")
        body = Started(Layout([whole(base), whole(other)]))
        body.turns.run()
        assert body.results == []
        body.turns.fetched()
        body.turns.run()
        assert body.results[0].check(BaseChanged)
        assert len(body.consumer.data) < body.body.length

    def test_a_client_that_leaves_meanwhile_gets_nothing_more(self, base: BaseFile) -> None:
        os.chmod(base.path, 0o600)
        body = Started(self.layouts(base)[0])
        body.turns.run()
        sent = len(body.consumer.data)
        body.body.stopProducing()
        body.turns.fetched()
        body.turns.run()
        assert (len(body.consumer.data), body.results) == (sent, [])

    def test_what_is_read_at_once_is_left_to_a_body(self, base: BaseFile) -> None:
        piece = FileRange(source=base, start=0, stop=100)
        assert read_cached([piece]) == DATA[:100]
        os.chmod(base.path, 0o600)
        assert read_cached([piece]) is None
        assert base.verify()
        assert read_cached([piece]) == DATA[:100]

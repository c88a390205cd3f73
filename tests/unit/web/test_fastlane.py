"""The fast lane: which requests it takes, and what it answers.

Scope: mic.web.fastlane over real images and real TCP, in Python and compiled (mic.web.native and
native/fastlane.c). That its answers are those of the normal way is tested in
tests/functional/test_lanes.py.
"""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import accumulate, combinations
from pathlib import Path
from typing import Any

import compiled
import hypothesis
import hypothesis.strategies as st
import pytest
import pytest_twisted
from miniso import with_minimal
from toys import EMBED_LENGTH, INITRAMFS, KERNEL, ROOTFS
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher

from mic.common.threads import Threads
from mic.downloads.tracker import Downloads
from mic.images.bases import Bases
from mic.images.store import Content, Image, ImageId, Store
from mic.media.base import Kind
from mic.media.catalog import BasePaths
from mic.media.customisation import Customisation
from mic.media.isowriter import coreos_files
from mic.media.kernel_arguments import ArgumentEdits
from mic.web.body import SMALL
from mic.web.fastlane import FastLane, plain_request
from mic.web.native import Native, load
from mic.web.stats import Served
from mic.web.transport import FilePort, FileTransport

LARGE = ROOTFS + random.Random(0).randbytes(150_000)
ISO = with_minimal(
    coreos_files(kernel=KERNEL, initramfs=INITRAMFS, rootfs=LARGE, embed_length=EMBED_LENGTH)
)
NOW = 1_700_000_000.0
URL = "http://192.0.2.1/rootfs"


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Native:
    return compiled.load(compiled.build(tmp_path_factory.mktemp("native")))


@pytest.fixture(params=["python", "compiled"])
def way(request: pytest.FixtureRequest) -> Native | None:
    return request.getfixturevalue("native") if request.param == "compiled" else None


class Whole:
    """A client whose transport takes everything."""

    client = "192.0.2.1"

    def answered(self) -> None:
        """Nothing to do."""

    def send_rest(self, image: object, start: int, stop: int) -> None:
        raise AssertionError("this transport takes everything")


@pytest.fixture
def events() -> Iterator[list[LogEvent]]:
    """What is logged."""
    found: list[LogEvent] = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)


class Connection(Protocol):
    """Gives the lane what it reads, and keeps what the lane leaves to others."""

    transport: FileTransport
    client = "192.0.2.1"

    def __init__(self, lane: FastLane) -> None:
        self._lane = lane
        self.taken: list[bool] = []
        self.left: list[bytes] = []
        self.rests: list[tuple[int, int]] = []
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if not self._lane.serve(data, self.transport, self):
            self.taken.append(False)
            self.left.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)

    def answered(self) -> None:
        self.taken.append(True)

    def send_rest(self, image: Image, start: int, stop: int) -> None:
        self.rests.append((start, stop))


class Lane:
    """A fast lane for one image, and what it did."""

    def __init__(self, directory: Path, way: Native | None, *, minimal: bool) -> None:
        self.path = directory / "ipa.iso"
        self.path.write_bytes(ISO)
        self.threads = Threads(reactor)
        paths = BasePaths(iso=str(self.path))
        self.bases = Bases(paths, "x86_64", self.threads, minimal=minimal)
        self.now = NOW
        self.images = Store(self.bases, lambda: NOW - 5)
        self.downloads = Downloads(lambda: 0.0)
        self.served = Served()
        self.lane = FastLane(self.images, self.downloads, self.served, lambda: self.now, way)
        factory = Factory.forProtocol(lambda: self.connection)  # type: ignore[arg-type]
        factory.noisy = False
        self.connection = Connection(self.lane)
        self.port = FilePort(0, factory, 50, "127.0.0.1", reactor)
        self.port.startListening()
        self.client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.client.settimeout(30)
        self.port.doRead()

    async def close(self) -> None:
        self.client.close()
        await self.connection.lost
        await self.port.stopListening()

    def ask(self, data: bytes) -> bytes | None:
        """What the lane answers on a transport that is not its own, such as that of TLS."""
        transport = StringTransport()
        taken = self.lane.serve(data, transport, Whole())  # type: ignore[arg-type]
        assert taken == bool(transport.value())
        return transport.value() if taken else None

    def send(self, data: bytes) -> bool:
        """Send a request over TCP; whether the lane took it."""
        self.client.sendall(data)
        assert select.select([self.port.readers], [], [], 30)[0]
        self.port.readers.doRead()
        return self.connection.taken.pop()

    def fetch(self, start: int, stop: int, target: str = "/host.iso") -> bytes | None:
        """The body of an answer over TCP, None if the lane does not take the request."""
        if not self.send(request(span=f"bytes={start}-{stop - 1}", target=target)):
            return None
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < stop - start:
            received += self.client.recv(1 << 20)
        head, _, body = received.partition(b"\r\n\r\n")
        assert b"\r\nContent-Length: %d" % (stop - start) in head
        return body


async def published(lane: Lane) -> Lane:
    """The lane, with its image at /host.iso."""
    lane.threads.startService()
    content = Content(
        id=ImageId("", "host", Kind.ISO), customisation=Customisation(b"a", rootfs_url=URL)
    )
    await lane.images.load(lane.images.publish("host.iso", content))
    return lane


@pytest_twisted.async_yield_fixture
async def lane(
    request: pytest.FixtureRequest, way: Native | None, tmp_path: Path
) -> AsyncIterator[Lane]:
    minimal = getattr(request, "param", "full") == "minimal"
    lane = await published(Lane(tmp_path, way, minimal=minimal))
    yield lane
    await lane.close()
    await lane.threads.stopService()


def request(
    *fields: str,
    span: str | None = "bytes=2048-4095",
    target: str = "/host.iso",
    method: str = "GET",
    version: str = "HTTP/1.1",
) -> bytes:
    lines = [f"{method} {target} {version}", "Host: mic.example", *fields]
    lines += [f"Range: {span}"] if span is not None else []
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    "data",
    [
        request(),
        request(target="/redfish/v1/host.iso"),
        request(target="//host.iso"),
        request("User-Agent: BMC/1.0", "Accept: */*", "Accept-Encoding: gzip"),
        request("Authorization: Basic eA==", "Cache-Control: no-cache", "Pragma: no-cache"),
        request("connection: Keep-Alive", "user-agent:"),
        request().replace(b"Host: mic.example\r\n", b"")[:-2] + b"Host: last\r\n\r\n",
        request().replace(b"Host: mic.example", b"hOST:[2001:db8::1]:8084  "),
        request().replace(b"Host: mic.example", b"Host:"),
    ],
)
def test_plain_requests_are_taken(lane: Lane, data: bytes) -> None:
    answer = lane.ask(data)
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    assert b"\r\nContent-Range: bytes 2048-4095/%d\r\n" % len(ISO) in head
    assert body == ISO[2048:4096]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n" + request(),
        request("User-Agent: mic/0.1.0"),
        request("Accept: */*", "user-agent:  mic/0.1.0"),
        request()[:-1],
        request()[:-2],
        request() * 2,
        request() + b"G",
        request(method="HEAD"),
        request(method="get"),
        request(version="HTTP/1.0"),
        request(version="HTTP/1.1 "),
        request(target="host.iso"),
        request(target="/host.iso?"),
        request(target="/host%2Eiso"),
        request(target="/unknown.iso"),
        request(target="/"),
        request(span=None),
        request(span="bytes=0-"),
        request(span="bytes=-5"),
        request(span="bytes=5-2"),
        request(span="bytes=0-1,5-6"),
        request(span="bytes=0 -1"),
        request(span="Bytes=0-1"),
        request(span="bytes=99999999-100000000"),
        request(span="bytes=0-999999999999999999999"),
        request().replace(b"Host: mic.example\r\n", b""),
        request().replace(b"mic.example", b"mic example"),
        request().replace(b"mic.example", b"mic/example"),
        request().replace(b"mic.example", b"mic`example"),
        request("Host: mic.example"),
        request("Accept: x", "host: another"),
        request()[:-2] + b"Host: last\r\n\r\n",
        request("Range: bytes=0-1"),
        request("If-Range: x"),
        request("If-Match: *"),
        request("If-None-Match: *"),
        request("If-Modified-Since: x"),
        request("If-Unmodified-Since: x"),
        request("Connection: close"),
        request("Connection: keep-alive, close"),
        request("Expect: 100-continue"),
        request("Content-Length: 0"),
        request("Transfer-Encoding: chunked"),
        request("Unknown: field"),
        request("Accept: caf\xe9"),
        request("Accept : x"),
        request("Accept: x", " folded"),
        request("Accept: x\ny"),
        request("Accept: x\0"),
        request("Accept: " + "x" * 3000),
        request().replace(b"\r\n", b"\n"),
    ],
)
def test_anything_else_is_left_to_the_normal_way(lane: Lane, data: bytes) -> None:
    assert lane.ask(data) is None


@pytest.mark.parametrize(
    "customisation",
    [
        Customisation(b"archive", rootfs_url=URL),
        Customisation(b"archive", (ArgumentEdits(appended=("quiet",)),), URL),
        Customisation(b"beyond the area" * 600, (ArgumentEdits(appended=("quiet",)),), URL),
    ],
    ids=["archive", "arguments", "relocated"],
)
@pytest.mark.parametrize(
    ("lane", "kind"),
    [("full", Kind.ISO), ("minimal", Kind.ISO), ("full", Kind.INITRAMFS)],
    indirect=["lane"],
)
@pytest_twisted.ensureDeferred
async def test_ranges_from_seam_to_seam_of_a_customised_image_are_taken(
    lane: Lane, kind: Kind, customisation: Customisation
) -> None:
    content = Content(id=ImageId("", "other", kind), customisation=customisation)
    image = await lane.images.load(lane.images.publish("other.image", content))
    expected = image.layout.read(0, image.size)
    seams = [0, *accumulate(len(piece) for piece in image.layout)]
    near = {min(max(seam + n, 0), image.size) for seam in seams for n in (-1, 0, 1)}
    for start, stop in combinations(sorted(near), 2):
        taken = None if stop - start > SMALL else expected[start:stop]
        assert lane.fetch(start, stop, "/other.image") == taken, (start, stop)


def test_an_end_past_the_last_byte_is_cut(lane: Lane) -> None:
    answer = lane.ask(request(span=f"bytes={len(ISO) - 7}-99999999"))
    assert answer is not None
    assert answer.endswith(b"Content-Length: 7\r\n\r\n" + ISO[-7:])


def test_a_base_that_changed_is_left_to_the_normal_way(lane: Lane) -> None:
    assert lane.ask(request())
    os.utime(lane.path, ns=(1, 1))
    assert lane.ask(request()) is None


def test_a_base_that_is_away_is_left_to_the_normal_way(lane: Lane) -> None:
    lane.path.unlink()
    assert lane.ask(request()) is None


def test_an_image_that_is_not_published_any_more_is_left_to_the_normal_way(lane: Lane) -> None:
    lane.images.discard("host.iso")
    assert lane.ask(request()) is None


def test_a_date_before_the_last_change_is_left_to_the_normal_way(lane: Lane) -> None:
    lane.now = NOW - 60
    assert lane.ask(request()) is None


def test_the_date_goes_with_the_clock(lane: Lane) -> None:
    for seconds, date in (
        (0, b"22:13:20"),
        (0.9, b"22:13:20"),
        (1, b"22:13:21"),
        (61, b"22:14:21"),
    ):
        lane.now = NOW + seconds
        answer = lane.ask(request())
        assert answer is not None
        assert b"\r\nDate: Tue, 14 Nov 2023 %s GMT\r\n" % date in answer


def test_what_goes_out_counts_as_downloaded(lane: Lane) -> None:
    for start in (0, 2048, 2048, 1_000):
        assert lane.ask(request(span=f"bytes={start}-{start + 2047}"))
    (download,) = lane.downloads.in_progress
    assert download.bytes == 4 * 2048
    assert download.coverage.covered == 4096
    assert download.open == 0


@pytest.mark.parametrize("length", [1, 2048, SMALL])
def test_ranges_of_the_base_file_of_any_length_are_taken(lane: Lane, length: int) -> None:
    place = ISO.index(LARGE)
    for start in (place, place + 1, place + len(LARGE) - length):
        assert lane.fetch(start, start + length) == ISO[start : start + length]


def test_a_base_that_changed_or_is_away_is_not_sent_over_tcp(lane: Lane) -> None:
    os.utime(lane.path, ns=(1, 1))
    assert lane.fetch(0, 2048) is None
    lane.path.unlink()
    assert lane.fetch(0, 2048) is None


def test_what_was_sent_stays_the_same_when_the_base_is_overwritten(lane: Lane) -> None:
    """However late the client reads it."""
    place = ISO.index(LARGE)
    assert lane.send(request(span=f"bytes={place}-{place + SMALL - 1}"))
    with lane.path.open("r+b") as file:
        file.write(bytes(len(ISO)))
    received = b""
    left = sum(stop - start for start, stop in lane.connection.rests)
    while len(received.partition(b"\r\n\r\n")[2]) < SMALL - left:
        received += lane.client.recv(1 << 20)
    assert received.partition(b"\r\n\r\n")[2] == ISO[place : place + SMALL - left]


@pytest.mark.parametrize("seconds", [-5, 10_000_000_000])
@pytest_twisted.ensureDeferred
async def test_a_base_of_any_time_is_sent(way: Native | None, tmp_path: Path, seconds: int) -> None:
    lane = Lane(tmp_path, way, minimal=False)
    os.utime(lane.path, (seconds, seconds))
    await published(lane)
    for _ in range(2):
        assert lane.fetch(0, 2048) == ISO[:2048]
    await lane.close()
    await lane.threads.stopService()


class Counted:
    """The compiled module, how many answers it sent, and how many of them by the short way."""

    def __init__(self, native: Native) -> None:
        self._native = native
        self.plain_request = native.plain_request
        self.sent = 0
        self.repeated = 0

    def Sender(self, **members: Any) -> CountedSender:
        return CountedSender(self, self._native.Sender(**members))


class CountedSender:
    def __init__(self, module: Counted, sender: Any) -> None:
        self._module = module
        self._sender = sender

    def send(self, *arguments: Any) -> Any:
        sent = self._sender.send(*arguments)
        self._module.sent += sent is not None
        return sent

    def answer(self, *arguments: Any) -> Any:
        answer = self._sender.answer(*arguments)
        answered = isinstance(answer, tuple)
        self._module.sent += answered
        self._module.repeated += answered
        return answer


@pytest_twisted.async_yield_fixture
async def counted(native: Native, tmp_path: Path) -> AsyncIterator[tuple[Counted, Lane]]:
    """A lane whose image was asked for once, so that the next request like that is a repeat."""
    module = Counted(native)
    lane = await published(Lane(tmp_path, module, minimal=False))
    assert lane.fetch(0, 2048) == ISO[:2048]
    yield module, lane
    await lane.close()
    await lane.threads.stopService()


@pytest_twisted.ensureDeferred
async def test_a_file_that_was_in_doubt_is_sent_by_the_compiled_lane_again(
    counted: tuple[Counted, Lane],
) -> None:
    module, lane = counted
    entry = lane.images.entry("host.iso")
    assert entry is not None
    assert entry.composed is not None
    assert module.sent == 1
    lane.path.chmod(0o600)
    assert lane.fetch(0, 2048) is None
    await lane.images.verify(entry.composed.base.file)
    # The first one after the check is sent in Python.
    for _ in range(3):
        assert lane.fetch(0, 2048) == ISO[:2048]
    assert module.sent == 3


def test_the_same_request_for_other_ranges_is_a_repeat(counted: tuple[Counted, Lane]) -> None:
    module, lane = counted
    for start, stop in ((2048, 4096), (0, 1), (5, 5 + SMALL), (len(ISO) - 1, len(ISO))):
        assert lane.fetch(start, stop) == ISO[start:stop]
    assert lane.send(request(span=f"bytes={len(ISO) - 7}-{10**18 - 1}"))
    assert lane.client.recv(SMALL).endswith(b"Content-Length: 7\r\n\r\n" + ISO[-7:])
    assert module.repeated == 5
    (download,) = lane.downloads.in_progress
    assert download.bytes == 2048 + 2048 + 1 + SMALL + 1 + 7
    assert lane.served.answers[Kind.ISO].statuses[206] == 6


@pytest.mark.parametrize(
    "data",
    [
        request("Accept: */*", span="bytes=5-9"),
        request(span="bytes=5-9", target="/other/host.iso"),
    ],
)
def test_another_plain_request_takes_the_whole_way(
    counted: tuple[Counted, Lane], data: bytes
) -> None:
    module, lane = counted
    assert lane.send(data)
    assert lane.client.recv(SMALL).endswith(b"Content-Length: 5\r\n\r\n" + ISO[5:10])
    assert lane.fetch(5, 10) == ISO[5:10]
    assert module.repeated == 0
    assert lane.fetch(5, 10) == ISO[5:10]
    assert module.repeated == 1


@pytest.mark.parametrize(
    "data",
    [
        request(span="bytes=5-4"),
        request(span=f"bytes={len(ISO)}-{len(ISO)}"),
        request(span=f"bytes=0-{SMALL}"),
        request(span="bytes=0000000000000000005-9"),
        request(span="bytes=-9"),
        request(span="bytes=5-"),
        request(span="bytes=5-9,11-12"),
        request(span="bytes=5-9") * 2,
        request(span="bytes=5-9") + b"G",
        request(span="bytes=5-9")[:-1],
        request(span="bytes=5-9")[:9],
        request("If-Range: x", span="bytes=5-9"),
        b"\r\n" + request(span="bytes=5-9"),
        b"\0",
    ],
)
def test_what_is_no_repeat_is_left_to_the_normal_way_whole(
    counted: tuple[Counted, Lane], data: bytes
) -> None:
    module, lane = counted
    assert not lane.send(data)
    assert lane.connection.left == [data]
    assert module.repeated == 0


def test_a_repeat_sees_that_the_image_is_not_published_any_more(
    counted: tuple[Counted, Lane],
) -> None:
    _, lane = counted
    lane.images.discard("host.iso")
    assert lane.fetch(0, 5) is None


def test_a_repeat_sees_that_the_base_has_changed(counted: tuple[Counted, Lane]) -> None:
    _, lane = counted
    os.utime(lane.path, ns=(1, 1))
    assert lane.fetch(0, 5) is None


@pytest_twisted.ensureDeferred
async def test_a_repeat_sees_another_image_of_the_same_name(counted: tuple[Counted, Lane]) -> None:
    module, lane = counted
    content = Content(id=ImageId("", "host", Kind.ISO), customisation=Customisation(b"other"))
    image = await lane.images.load(lane.images.publish("host.iso", content))
    expected = image.layout.read(0, image.size)
    for start in range(0, image.size - SMALL, SMALL):
        assert lane.fetch(start, start + SMALL) == expected[start : start + SMALL]
    assert module.repeated > 2


def test_a_repeat_has_the_date_of_its_time(counted: tuple[Counted, Lane]) -> None:
    module, lane = counted
    lane.now = NOW + 61
    assert lane.send(request())
    assert b"\r\nDate: Tue, 14 Nov 2023 22:14:21 GMT\r\n" in lane.client.recv(SMALL)
    assert module.repeated == 1


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_client_ends_its_connection(counted: tuple[Counted, Lane]) -> None:
    _, lane = counted
    lane.client.shutdown(socket.SHUT_WR)
    await lane.connection.lost


@pytest_twisted.ensureDeferred
async def test_the_reset_of_a_client_ends_its_connection(counted: tuple[Counted, Lane]) -> None:
    _, lane = counted
    lane.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    lane.client.close()
    await lane.connection.lost
    assert lane.connection.transport.shortcut is None, "it holds the connection"


@pytest.mark.parametrize("before", [0, 1])
def test_what_the_client_does_not_take_is_left_to_others(lane: Lane, before: int) -> None:
    for _ in range(before):
        assert lane.fetch(0, 1) == ISO[:1]
    place, length = ISO.index(LARGE), SMALL
    lane.connection.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    lane.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    assert lane.send(request(span=f"bytes={place}-{place + length - 1}"))
    ((start, stop),) = lane.connection.rests
    assert stop == place + length
    received = b""
    while len(received.partition(b"\r\n\r\n")[2]) < start - place:
        received += lane.client.recv(1 << 20)
    assert received.partition(b"\r\n\r\n")[2] == ISO[place:start]


@pytest.mark.parametrize("before", [0, 1])
@pytest_twisted.ensureDeferred
async def test_a_head_that_the_client_does_not_take_is_queued(lane: Lane, before: int) -> None:
    for _ in range(before):
        assert lane.fetch(0, 1) == ISO[:1]
    place, length = ISO.index(LARGE), 2048
    lane.client.sendall(request(span=f"bytes={place}-{place + length - 1}"))
    assert select.select([lane.port.readers], [], [], 30)[0]
    filled = fill(lane.connection.transport.getHandle())
    lane.port.readers.doRead()
    assert lane.connection.rests == [(place, place + length)]
    received = await lane.threads.run(exactly, lane.client, filled + 15)
    assert received.lstrip(b"-").startswith(b"HTTP/1.1 206 Pa")


def fill(sock: socket.socket) -> int:
    """Send until a socket is full; how many bytes."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            count += sock.send(b"-" * SMALL)
    return count


def exactly(sock: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        received += sock.recv(1 << 20)
    return received


@pytest.mark.parametrize(
    ("start", "stop"), [(-1, 5), (5, 5), (6, 5), (0, 200_001), (0, 65_537), (200_000, 200_001)]
)
def test_the_compiled_lane_refuses_a_range_that_is_not_small_or_not_inside(
    native: Native, start: int, stop: int
) -> None:
    sender = native.Sender(files=(), pieces=(memoryview(bytes(200_000)),), held=(), lines=b"")
    near, far = socket.socketpair()
    with near, far, pytest.raises(ValueError, match="not a small range"):
        sender.send(near.fileno(), start, stop, b"")


@pytest.mark.parametrize(
    ("files", "pieces"),
    [
        ((), ((0, 0, 5),)),
        ((), (memoryview(b""),)),
        ((), ((0,),)),
        (((b"x",),), ()),
        (("x",), ()),
        ((), (5,)),
        ((), (memoryview(b"x"), (-1, 0, 5))),
    ],
)
def test_the_compiled_lane_refuses_pieces_that_are_none(
    native: Native, files: Any, pieces: Any
) -> None:
    with pytest.raises((TypeError, ValueError)):
        native.Sender(files=files, pieces=pieces, held=(), lines=b"")


def test_a_head_that_is_too_long_is_left_to_python(native: Native) -> None:
    sender = native.Sender(files=(), pieces=(memoryview(b"x"),), held=(), lines=b"x" * 4000)
    near, far = socket.socketpair()
    with near, far:
        assert sender.send(near.fileno(), 0, 1, b"") is None


_PARTS = [
    *(b"GET ", b"/", b"host.iso", b"a/", b" HTTP/1.1", b"\r\n", b"\r", b"\n", b" ", b"\0", b"\xe9"),
    *(b"Host:", b"HOST: x", b"Host: a`", b"User-Agent:", b"user-agent: mic/", b"user-agent: MIC/"),
    *(b"Accept: */*", b"accept-", b"Accept-Encoding:", b"Accept-Language: x", b"PRAGMA:"),
    *(b"Connection: keep-alive", b"connection: Keep-Alive", b"Connection: close"),
    *(
        b"Authorization: Basic eA==",
        b"Cache-Control:no-cache",
        b"Range: bytes=",
        b"range: bytes=0-1",
    ),
    *(b"Range: bytes=0-1", b"0", b"-", b"1" * 18, b"1" * 19, b"~", b"\x7f", b"\t", b"x" * 2000),
]


@hypothesis.settings(max_examples=300)
@hypothesis.given(data=st.data())
def test_both_ways_take_the_same_requests(native: Native, data: st.DataObject) -> None:
    """From a plain request by replacing, removing and adding lines and parts of lines."""
    fields = [b"Host: x", b"Range: bytes=5-9", b"Accept: */*", b"User-Agent: b", b"Pragma: "]
    lines = [b"GET /a/host.iso HTTP/1.1", *data.draw(st.permutations(fields)), b"", b""]
    parts = [part for line in lines for part in (line, b"\r\n")][:-1]
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(parts)))
        parts[at : at + data.draw(st.integers(0, 2))] = [data.draw(st.sampled_from(_PARTS))]
    sent = b"".join(parts)
    assert native.plain_request(sent) == plain_request(sent)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("INTERFACE = 0", ["is not of this version of mic"]),
        ("", ["is not of this version of mic"]),
        ("raise ImportError('undefined symbol: x')", ["cannot be imported"]),
        ("raise SystemError('x')", ["cannot be imported"]),
        ("raise ModuleNotFoundError('there is none')", []),
    ],
)
def test_a_module_that_is_not_for_this_mic_is_not_used(
    text: str,
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    events: list[LogEvent],
) -> None:
    (tmp_path / "mic_native.py").write_text(text)
    monkeypatch.delitem(sys.modules, "mic_native", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert load() is None
    found = [str(event["log_format"]) for event in events]
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))

"""The transport that sends files, over real TCP with peers that read, stop reading, and vanish.

Scope: mic.web.transport behind a port of mic.web.listen. What HTTP makes of it is tested with
real daemons in tests/functional.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import AlreadyCalledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent
from twisted.python.failure import Failure

from mic.media.basefile import BaseFile, open_base
from mic.settings.model import Tcp
from mic.web.listen import listen
from mic.web.transport import FileTransport

DATA = random.Random(0).randbytes(6 * 1024 * 1024)
TIMEOUT = 30.0


class Server(Protocol):
    """A connection whose requests the test answers."""

    transport: FileTransport

    def __init__(self, answer: Callable[[FileTransport, bytes], None]) -> None:
        self._answer = answer
        self.lost: Deferred[Any] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._answer(self.transport, data)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


class Servers(Factory):
    """Makes connections, and remembers the last one."""

    noisy = False

    def __init__(self) -> None:
        self.answer: Callable[[FileTransport, bytes], None] = lambda transport, data: None
        self.made: Deferred[Server] = Deferred()

    def buildProtocol(self, address: Any) -> Server:
        server = Server(self.answer)
        self.made.callback(server)
        return server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def base(file: Path) -> BaseFile:
    return open_base(str(file))


@pytest_twisted.async_yield_fixture
async def servers() -> AsyncIterator[tuple[Servers, int]]:
    factory = Servers()
    port: Any = await listen(reactor, Tcp(host="127.0.0.1", port=0), factory)
    yield factory, port.getHost().port
    await port.stopListening()


def connect(port: int, *, room: int = 0) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(TIMEOUT)
    if room:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.connect(("127.0.0.1", port))
    return sock


def everything(port: int, *, room: int = 0, most: int = 1 << 20) -> bytes:
    """What a peer gets that says a byte and reads to the end; for a thread."""
    with connect(port, room=room) as sock:
        sock.sendall(b"?")
        received = bytearray()
        while data := sock.recv(most):
            received += data
        return bytes(received)


def ignore(what: int | Exception) -> None:
    """Bytes sent, or a failure, that the test sees at the other end."""


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("room", [0, 4096])
async def test_bytes_and_files_arrive_in_the_order_they_were_written(
    servers: tuple[Servers, int], base: BaseFile, room: int
) -> None:
    factory, port = servers
    noise = random.Random(room)
    expected = bytearray()
    sent: list[int] = []

    def answer(transport: FileTransport, data: bytes) -> None:
        for _ in range(60):
            start = noise.randrange(len(DATA))
            stop = min(start + noise.choice([1, 100, 5000, 300_000]), len(DATA))
            expected.extend(DATA[start:stop])
            if noise.random() < 0.5:
                transport.send_file(base, start, stop, sent.append, ignore)
            elif noise.random() < 0.5:
                transport.write(DATA[start:stop])
            else:
                transport.writeSequence([DATA[start : start + 1], DATA[start + 1 : stop]])
        transport.loseConnection()

    factory.answer = answer
    got = await deferToThread(everything, port, room=room, most=50_000)
    assert got == expected
    assert all(sent)
    await (await factory.made).lost


@pytest_twisted.ensureDeferred
async def test_what_is_sent_of_a_file_is_asked_to_the_byte(
    servers: tuple[Servers, int], base: BaseFile
) -> None:
    factory, port = servers
    sent: list[int] = []
    factory.answer = lambda transport, _: (
        transport.send_file(base, 17, len(DATA), sent.append, ignore),
        transport.loseConnection(),
    )[0]
    got = await deferToThread(everything, port, room=4096)
    assert got == DATA[17:]
    assert sum(sent) == len(DATA) - 17
    # Not all at once: others have their turn.
    assert max(sent) <= 2 * 1024 * 1024
    await (await factory.made).lost


@pytest_twisted.ensureDeferred
async def test_what_goes_out_at_once_may_be_overwritten_at_once(
    servers: tuple[Servers, int], base: BaseFile
) -> None:
    factory, port = servers
    buffer = bytearray(200_000)
    expected = bytearray()

    def answer(transport: FileTransport, data: bytes) -> None:
        # More than any socket takes.
        for number in range(100):
            head = b"head%03d" % number
            buffer[:] = bytes([number]) * len(buffer)
            taken = transport.write_now(head, memoryview(buffer))
            expected.extend(head + buffer[:taken])
        transport.loseConnection()

    factory.answer = answer
    got = await deferToThread(everything, port, room=4096)
    assert len(got) < 100 * len(buffer), "the socket took everything"
    assert got == expected
    await (await factory.made).lost


@pytest_twisted.ensureDeferred
async def test_what_is_written_at_once_goes_out_behind_what_waits(
    servers: tuple[Servers, int], base: BaseFile
) -> None:
    factory, port = servers
    taken: list[int] = []

    def answer(transport: FileTransport, data: bytes) -> None:
        transport.write(b"first,")
        taken.append(transport.write_now(b"head,", memoryview(b"body")))
        transport.send_file(base, 0, 10, ignore, ignore)
        taken.append(transport.write_now(b"head,", memoryview(b"another")))
        transport.loseConnection()

    factory.answer = answer
    assert await deferToThread(everything, port) == b"first,head,body" + DATA[:10] + b"head,"
    # A file is not sent before its turn, so what comes behind it is left to the caller.
    assert taken == [4, 0]
    await (await factory.made).lost


class Pieces:
    """A streaming producer of pieces of a file, one after the other, that counts its pauses."""

    def __init__(self, transport: FileTransport, base: BaseFile, step: int) -> None:
        self.transport = transport
        self.base = base
        self.step = step
        self.position = 0
        self.paused = 0
        self.queued = 0

    def resumeProducing(self) -> None:
        stop = min(self.position + self.step, len(DATA))
        if self.position == len(DATA):
            self.transport.unregisterProducer()
            self.transport.loseConnection()
            return
        self.queued += 1
        start, self.position = self.position, stop
        self.transport.send_file(self.base, start, stop, ignore, ignore)

    def pauseProducing(self) -> None:
        self.paused += 1

    def stopProducing(self) -> None:
        self.queued = -1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("step", [1000, 1024 * 1024, len(DATA)])
async def test_a_producer_is_resumed_when_its_piece_is_gone(
    servers: tuple[Servers, int], base: BaseFile, step: int
) -> None:
    factory, port = servers
    made: list[Pieces] = []

    def answer(transport: FileTransport, data: bytes) -> None:
        producer = Pieces(transport, base, step)
        made.append(producer)
        transport.registerProducer(producer, True)
        producer.resumeProducing()

    factory.answer = answer
    assert await deferToThread(everything, port) == DATA
    assert made[0].paused >= made[0].queued == -(-len(DATA) // step)
    await (await factory.made).lost


@pytest_twisted.ensureDeferred
async def test_a_file_that_ends_early_closes_the_connection(
    servers: tuple[Servers, int], file: Path, base: BaseFile
) -> None:
    factory, port = servers
    sent: list[int] = []
    failures: list[Exception] = []
    factory.answer = lambda transport, _: transport.send_file(
        base, 0, len(DATA), sent.append, failures.append
    )
    os.truncate(file, 1000)

    def read() -> bytes:
        received = b""
        with suppress(ConnectionResetError), connect(port) as sock:
            sock.sendall(b"?")
            while data := sock.recv(1 << 20):
                received += data
        return received

    got = await deferToThread(read)
    assert got == b""
    assert sent == []
    assert "was changed" in str(failures[0])
    await (await factory.made).lost


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_peer_may_vanish_in_the_middle_of_a_file(
    servers: tuple[Servers, int], base: BaseFile, abruptly: bool
) -> None:
    factory, port = servers
    factory.answer = lambda transport, _: transport.send_file(base, 0, len(DATA), ignore, ignore)

    def read_some() -> None:
        with connect(port, room=4096) as sock:
            sock.sendall(b"?")
            assert sock.recv(1000)
            if abruptly:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    await deferToThread(read_some)
    server = await factory.made
    await server.lost
    # Nothing keeps what was never sent.
    assert not server.transport.has_queued


@pytest_twisted.ensureDeferred
async def test_an_aborted_connection_sends_no_more(
    servers: tuple[Servers, int], base: BaseFile
) -> None:
    factory, port = servers

    def answer(transport: FileTransport, data: bytes) -> None:
        transport.write(b"seen")
        transport.send_file(base, 0, len(DATA), ignore, ignore)
        transport.abortConnection()
        transport.write(b"not seen")

    factory.answer = answer

    def read() -> bytes:
        with suppress(ConnectionResetError):
            return everything(port)
        return b""

    assert await deferToThread(read) == b""
    await (await factory.made).lost


@pytest_twisted.ensureDeferred
async def test_a_peer_that_has_said_all_still_gets_its_answer(
    servers: tuple[Servers, int], base: BaseFile
) -> None:
    factory, port = servers
    factory.answer = lambda transport, _: transport.send_file(base, 0, len(DATA), ignore, ignore)

    def read() -> bytes:
        with connect(port) as sock:
            sock.sendall(b"?")
            received = bytearray()
            while len(received) < len(DATA):
                received += sock.recv(1 << 20)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
            return bytes(received)

    assert await deferToThread(read) == DATA
    await (await factory.made).lost


@pytest_twisted.ensureDeferred
async def test_an_error_of_a_protocol_ends_its_connection_alone(
    servers: tuple[Servers, int], logged_failures: list[LogEvent]
) -> None:
    factory, port = servers

    def answer(transport: FileTransport, data: bytes) -> None:
        transport.write(b"%d" % (4 // (data[0] - ord("0"))))

    factory.answer = answer
    other = connect(port)
    await factory.made
    factory.made = Deferred()

    def read() -> list[bytes]:
        with connect(port) as failing:
            failing.sendall(b"0")
            received = [failing.recv(9)]
        other.sendall(b"2")
        return [*received, other.recv(9)]

    assert await deferToThread(read) == [b"", b"2"]
    await (await factory.made).lost
    assert [event["log_failure"].type for event in logged_failures] == [ZeroDivisionError]
    logged_failures.clear()
    other.close()


class Stubborn:
    """A producer that cannot be stopped at first."""

    def __init__(self, transport: FileTransport) -> None:
        self._transport = transport
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        self._transport.producer = None
        raise LookupError("cannot stop")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("where", ["protocol", "producer"])
async def test_an_error_while_a_connection_is_closed_ends_that_one_alone(
    servers: tuple[Servers, int], logged_failures: list[LogEvent], where: str
) -> None:
    factory, port = servers

    def answer(transport: FileTransport, data: bytes) -> None:
        if data == b"?":
            transport.write(data)
            return
        if where == "producer":
            Stubborn(transport)
        else:
            # Its Deferred cannot fire twice: that raises when the connection is lost.
            transport.protocol.lost.callback(None)
        raise ValueError(data)

    factory.answer = answer
    other = connect(port)
    await factory.made
    factory.made = Deferred()

    def read() -> bytes:
        with connect(port) as failing:
            failing.sendall(b"!")
            other.sendall(b"?")
            received = other.recv(9)
            if where == "producer":
                # Whatever comes of it now is not read.
                failing.sendall(b"!")
            other.sendall(b"?")
            return received + other.recv(9)

    assert await deferToThread(read) == b"??"
    kinds = [event["log_failure"].type for event in logged_failures]
    assert kinds == [ValueError, LookupError if where == "producer" else AlreadyCalledError]
    logged_failures.clear()
    other.close()
    if where == "producer":
        (await factory.made).transport.connectionLost(Failure(ConnectionDone()))


@pytest_twisted.ensureDeferred
async def test_the_kernel_takes_little_that_is_not_read(
    servers: tuple[Servers, int], base: BaseFile
) -> None:
    factory, port = servers
    sizes: list[int] = []

    def answer(transport: FileTransport, data: bytes) -> None:
        sizes.append(transport.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        transport.loseConnection()

    factory.answer = answer
    assert await deferToThread(everything, port) == b""
    # Twice what it is for: the kernel counts its own records, too.
    assert sizes == [32 * 1024]
    await (await factory.made).lost

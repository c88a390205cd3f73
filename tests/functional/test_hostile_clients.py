"""Clients that vanish, stall, dribble, flood or talk nonsense, against a real mic over TCP.

Whatever they do, memory stays bounded, no descriptor leaks, nothing goes to the log that looks
like a fault of ours, and the other clients get their bytes. Time limits are in test_limits.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from functional.conftest import serve
from functional.daemon import eventually
from functional.media import Server, make_media
from functional.wire import Cut, Wire, parts, request

from mic.web.channel import Limits

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]
) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("hostile")
    media = make_media(directory / "media", 16 * MIB).write()
    with ExitStack() as stack:
        server = serve("tcp", directory, media, certificate, stack)
        yield server
        server.daemon.stop()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """A mic with a large image; after each test it serves, and has let go of every descriptor."""
    daemon = running.daemon
    daemon.check()
    before = daemon.descriptors()
    yield running
    eventually(lambda: daemon.descriptors() <= before, "its descriptors are closed")
    answer = running.get(running.iso.target, "Range: bytes=-5")
    assert (answer.status, answer.body) == (206, running.iso.data[-5:])
    daemon.check()


def vanish(wire: Wire) -> None:
    """Close with a reset, as a machine that lost power and came back."""
    wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.sock.close()


# Clients that vanish


@pytest.mark.parametrize("abruptly", [False, True])
def test_a_client_may_vanish_at_every_byte_of_the_answer(server: Server, abruptly: bool) -> None:
    with server.connect() as wire:
        wire.ask(server.iso.target)
        head = 0
        while wire.take(1) != b"\n" or wire.take(1) != b"\r":
            head += 1
        length = head + 40
    for count in [*range(length), 70_000, 300_000, 3 * MIB]:
        wire = server.connect()
        wire.ask(server.iso.target)
        wire.take(count)
        if abruptly:
            vanish(wire)
        else:
            wire.sock.close()


@pytest.mark.parametrize("abruptly", [False, True])
def test_a_client_may_vanish_at_every_byte_of_the_request(server: Server, abruptly: bool) -> None:
    data = request(server.iso.target, "Range: bytes=0-9", "Content-Length: 5") + b"12345"
    for count in range(len(data)):
        wire = server.connect()
        wire.send(data[:count])
        if abruptly:
            vanish(wire)
        else:
            wire.sock.close()


def test_clients_may_vanish_while_the_answers_to_pipelined_requests_come(server: Server) -> None:
    for count in range(0, 400_000, 10_007):
        wire = server.connect()
        wire.send(request(server.iso.target, "Range: bytes=0-65535") * 4)
        wire.send(request(server.iso.target) * 2)
        wire.take(count)
        vanish(wire)


@pytest.mark.parametrize("behind", ["requests", "noise"])
def test_a_client_may_vanish_while_mic_does_not_read_what_it_sends(
    server: Server, behind: str
) -> None:
    image = server.iso
    more = request(image.target) * 1000 if behind == "requests" else bytes(100_000)
    with ThreadPoolExecutor(10) as pool:
        wires = [server.connect() for _ in range(10)]
        for wire in wires:
            wire.take_little()
            pool.submit(wire.send, request(image.target) + more)
            wire.head()
        server.daemon.wait_until_idle()
        for wire in wires:
            vanish(wire)


# Clients that stall


def test_clients_that_stop_reading_cost_little_memory_and_may_go_on(server: Server) -> None:
    image, daemon = server.iso, server.daemon
    before = daemon.resident()
    with ExitStack() as stack:
        wires = [stack.enter_context(server.connect()) for _ in range(60)]
        for wire in wires:
            wire.take_little()
            wire.ask(image.target)
            wire.head()
        daemon.wait_until_idle()
        # All of it would be 60 times 16 MiB.
        assert daemon.resident() - before < 32 * MIB
        for wire in wires[:3]:
            assert wire.take(image.size) == image.data
        vanish(wires[3])


def test_a_flood_of_pipelined_requests_costs_little_memory(server: Server) -> None:
    image, daemon = server.iso, server.daemon
    before = daemon.resident()
    one = request(image.target, "Range: bytes=0-65535", version="1.1")
    with server.connect() as wire:
        wire.take_little()
        flood = one * 2000
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(wire.send, flood)
            daemon.wait_until_idle()
            # All of it would be 125 MiB.
            assert daemon.resident() - before < 16 * MIB
            for n in range(2000):
                assert wire.answer().body == image.data[:65536], n
            sending.result()


def test_a_flood_of_single_requests_costs_little_memory(server: Server) -> None:
    image, daemon = server.iso, server.daemon
    before = daemon.resident()
    one = request(image.target, "Range: bytes=0-65535")
    with server.connect() as wire:
        wire.take_little()
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(500):
            wire.send(one)
            # Paced, so that they come one by one.
            time.sleep(0.001)
        daemon.wait_until_idle()
        assert daemon.resident() - before < 8 * MIB
        for n in range(500):
            assert wire.answer().body == image.data[:65536], n


def test_a_flood_of_pipelined_errors_costs_little_memory(server: Server) -> None:
    daemon = server.daemon
    before = daemon.resident()
    flood = request("/x") * 10_000
    with server.connect() as wire:
        wire.take_little()
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(wire.send, flood)
            daemon.wait_until_idle()
            assert daemon.resident() - before < 16 * MIB
            for _ in range(10_000):
                assert wire.answer().status == 404
            sending.result()


# Clients in numbers


def test_five_hundred_connections_at_once_are_served(server: Server) -> None:
    image, daemon = server.iso, server.daemon
    before = daemon.resident()
    with ExitStack() as stack:
        wires = [stack.enter_context(server.connect()) for _ in range(500)]
        for n, wire in enumerate(wires):
            wire.ask(image.target, f"Range: bytes={n * 30_000}-{n * 30_000 + 9_999}")
        for n, wire in enumerate(wires):
            assert wire.answer().body == image.data[n * 30_000 : n * 30_000 + 10_000]
        for wire in wires:
            wire.take_little()
            wire.ask(image.target, "Range: bytes=100000-")
        for wire in wires:
            wire.head()
        daemon.wait_until_idle()
        assert daemon.resident() - before < 160 * MIB
        assert wires[250].take(image.size - 100_000) == image.data[100_000:]


def test_sixteen_clients_of_one_image_get_every_byte_right(server: Server) -> None:
    """Whole downloads, ranges of all sizes, several at once, pipelined, and some given up."""
    image = server.iso

    def client(seed: int) -> int:
        dice = random.Random(seed)
        checked = 0
        wire = server.connect()
        for _ in range(12):
            kind = dice.choice(["whole", "range", "range", "pipeline", "abort", "parts"])
            if kind == "whole":
                wire.ask(image.target)
                assert wire.answer().body == image.data
            elif kind == "abort":
                wire.ask(image.target)
                count = dice.randrange(image.size)
                wire.head()
                assert wire.take(count) == image.data[:count]
                vanish(wire)
                wire = server.connect()
            elif kind == "parts":
                start = dice.randrange(image.size - 300_000)
                wire.ask(image.target, f"Range: bytes={start}-{start + 99_999},-3")
                body = wire.answer().body
                assert image.data[start : start + 100_000] in body
            else:
                ranges = []
                for _ in range(1 if kind == "range" else 10):
                    start = dice.randrange(image.size - 1)
                    size = dice.choice([1, 2048, 65_536, 500_000])
                    ranges.append((start, min(start + size, image.size)))
                wire.send(
                    b"".join(request(image.target, f"Range: bytes={a}-{b - 1}") for a, b in ranges)
                )
                for a, b in ranges:
                    assert wire.answer().body == image.data[a:b]
            checked += 1
        wire.sock.close()
        return checked

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(client, range(16))) == 16 * 12


# Clients that talk nonsense

TLS_HELLO = bytes.fromhex(
    "16030100a5010000a10303"
    + "5a" * 32
    + "20"
    + "a5" * 32
    + "000813021303130100ff0100005000000010000e00000b6d69632e6578616d706c65"
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

NONSENSE = {
    "nothing": b"",
    "a line": b"\n",
    "empty lines": b"\r\n" * 20,
    "TLS": TLS_HELLO,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "HTTP/0.9": b"GET /worker-0.iso\r\n\r\n",
    "HTTP/9.9": b"GET /worker-0.iso HTTP/9.9\r\n\r\n",
    "a protocol of its own": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "zeros": bytes(5000) + b"\r\n\r\n",
    "noise": random.Random(1).randbytes(20_000) + b"\r\n\r\n",
    "no target": b"GET\r\n\r\n",
    "no version": b"GET / \r\n\r\n",
    "a space too many": b"GET / / HTTP/1.1\r\n\r\n",
    "a line without colon": GET + b"nonsense\r\n\r\n",
    "an empty field name": GET + b": x\r\n\r\n",
    "a field name with a space": GET + b"A b: x\r\n\r\n",
    "a zero in a field": GET + b"A: \0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a wordy length": POST + b"Content-Length: ten\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and coding": (
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "an unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "a bad chunk": CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n",
    "a huge chunk": CHUNKED + b"f" * 30 + b"\r\n",
    "a long line": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    "a long field": GET + b"A: " + b"a" * 1_000_000 + b"\r\n\r\n",
    "many fields": GET + b"A: b\r\n" * 100_000 + b"\r\n",
    "a continued field": GET + b"A: b\r\n" + b" c\r\n" * 100_000 + b"\r\n",
    "a form": (
        POST + b"Content-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 9\r\n\r\n--x\r\n\r\n--"
    ),
    "a form without boundary": (
        POST + b"Content-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc"
    ),
    "another form": (
        POST + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 5\r\n\r\na=%zz"
    ),
    "bytes where text belongs": b"GET /\xff HTTP/1.1\r\nHost: \xff\r\nCookie: \xff=\xfe\r\n\r\n",
    "a proxy's job": b"CONNECT mic.example:443 HTTP/1.1\r\nHost: mic.example:443\r\n\r\n",
    "a bad host": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "a star": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "a query alone": b"GET ?x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bad authorization": GET + b"Authorization: Basic %%%\r\n\r\n",
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE.keys())
@pytest.mark.parametrize("half", [True, False])
def test_nonsense_is_answered_or_cut_off(server: Server, data: bytes, half: bool) -> None:
    """At once where no more can follow, not only when the time for a request is over."""
    start = time.monotonic()
    answer = b""
    with server.connect() as wire, suppress(OSError):
        wire.send(data)
        if half:
            wire.half_close()
            answer = wire.rest()
    assert time.monotonic() - start < Limits().headers
    # One answer, and nothing of an image in it.
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert len(answer) < 1000


def test_a_line_that_does_not_end_is_refused(server: Server) -> None:
    with server.connect() as wire:
        wire.send(b"GET /" + b"a" * 17_000)
        answer = wire.answer()
        assert answer.status == 431
        assert answer.header("Connection") == "close"
        wire.ends()


def test_noise_of_every_kind_is_answered_or_cut_off(server: Server) -> None:
    dice = random.Random(7)
    good = request(server.iso.target, "Range: bytes=0-9", "If-Range: x", "Content-Length: 0")
    for _ in range(300):
        data = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
        with server.connect() as wire:
            wire.send(bytes(data))
            wire.half_close()
            wire.take_little()
            wire.sock.recv(4096)


@pytest.mark.parametrize("size", [65_537, 70_000, 200_000, 50 * MIB, 10**30])
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_large_request_body_is_refused_at_once(
    server: Server, size: int, expect: tuple[str, ...]
) -> None:
    with server.connect() as wire:
        head = request("/", f"Content-Length: {size}", *expect, method="POST")
        wire.send(head + bytes(min(size, 100_000)))
        answer = wire.answer()
        assert answer.status == 413
        assert answer.header("Connection") == "close"
        wire.ends()


def test_a_large_chunked_request_body_is_refused_once_it_shows(server: Server) -> None:
    with server.connect() as wire:
        wire.send(request("/", "Transfer-Encoding: chunked", method="POST"))
        chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
        wire.send(chunk * 2 + b"10\r\n" + bytes(16) + b"\r\n0\r\n\r\n" + request("/"))
        answer = wire.answer()
        assert answer.status == 413
        assert answer.header("Connection") == "close"
        wire.ends()


def test_a_refusal_costs_no_byte_of_the_answers_before_it(server: Server) -> None:
    """Though the client goes on sending what is not wanted: a reset would lose them."""
    asked = request(server.iso.target, "Range: bytes=0-199999")
    refused = request("/", "Content-Length: 65537", method="POST") + bytes(65537)
    with server.connect() as wire, ThreadPoolExecutor(1) as pool:
        wire.take_little()
        sending = pool.submit(wire.send, asked + refused * 10)
        server.daemon.wait_until_idle()
        answer = wire.answer()
        assert (answer.status, answer.body) == (206, server.iso.data[:200_000])
        assert wire.answer().status == 413
        wire.ends()
        sending.result()


def test_a_small_request_body_is_thrown_away(server: Server) -> None:
    with server.connect() as wire:
        for size in (1, 1000, 65_536):
            wire.send(request("/", f"Content-Length: {size}", method="PUT") + bytes(size))
            assert wire.answer().status == 405
        wire.send(request("/", "Transfer-Encoding: chunked", method="PUT"))
        wire.send(b"5\r\nabcde\r\n3;x=y\r\nabc\r\n0\r\n\r\n")
        assert wire.answer().status == 405
        wire.ask("/")
        assert wire.answer().status == 200


# Clients that close one direction


def test_a_client_that_closes_its_side_without_a_request_is_released(server: Server) -> None:
    for data in (b"", b"GET", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"):
        with server.connect() as wire:
            wire.send(data)
            wire.half_close()
            wire.ends()


def test_a_client_that_closes_its_side_in_the_middle_of_a_body_is_released(server: Server) -> None:
    with server.connect() as wire:
        wire.ask("/", "Content-Length: 10", method="POST")
        wire.send(b"12345")
        wire.half_close()
        wire.ends()


def test_a_client_that_closes_its_side_and_vanishes_leaves_nothing_behind(server: Server) -> None:
    for _ in range(20):
        wire = server.connect()
        wire.ask(server.iso.target)
        wire.half_close()
        wire.head()
        vanish(wire)


def test_a_client_may_send_all_its_requests_close_its_side_and_read_then(server: Server) -> None:
    """It takes no answer before that, so mic does not even read most of the requests."""
    image = server.iso
    end = image.size - 1
    with server.connect() as wire:
        wire.take_little()
        wire.send(request(image.target))
        for n in range(100):
            wire.send(request(image.target, f"Range: bytes={n}-{n + 65535}"))
            wire.send(request(image.target, method="HEAD") + request("/x"))
            wire.send(request(image.target, f"Range: bytes=5-6,{end}-{end}"))
        wire.half_close()
        server.daemon.wait_until_idle()
        assert wire.answer().body == image.data
        for n in range(100):
            assert wire.answer().body == image.data[n : n + 65536]
            assert wire.answer("HEAD").header("Content-Length") == str(image.size)
            assert wire.answer().status == 404
            assert [body for _, _, body in parts(wire.answer())] == [
                image.data[5:7],
                image.data[end:],
            ]
        wire.ends()


def test_a_client_that_closes_its_side_may_read_slowly(server: Server) -> None:
    with server.connect() as wire:
        wire.take_little()
        wire.ask(server.iso.target, version="1.0")
        wire.half_close()
        wire.head()
        server.daemon.wait_until_idle()
        assert wire.take(server.iso.size) == server.iso.data
        wire.ends()


def test_a_body_that_is_cut_short_is_seen_as_that(server: Server) -> None:
    """The oracle of these tests: `Wire` notices a connection that ends too early."""
    with server.connect() as wire:
        wire.ask(server.iso.target, "Connection: close")
        wire.head()
        with pytest.raises(Cut):
            wire.take(server.iso.size + 1)

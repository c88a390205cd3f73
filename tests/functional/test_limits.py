"""Time limits for clients, over real TCP with a mic whose limits are fractions of a second.

What is awaited is always that the server closes; what must not be closed is shown by bytes that
still come after all the limits are long over.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from functional.daemon import Daemon, eventually
from functional.impatient import LIMITS
from functional.media import Media, Server, make_hosts, make_media, tcp_client, tls_client
from functional.wire import Cut, Wire, request

from mic.web.channel import Limits

LATE = 10 * max(LIMITS.headers, LIMITS.idle, LIMITS.stall)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("limits")
    media = make_media(directory / "media", 8 * 1024 * 1024).write()
    hosts = make_hosts(directory / "hosts", "worker-0.yaml")
    daemon = Daemon(
        directory / "log",
        ["-images-bind-addr", "127.0.0.1:0", "-nmstate-dir", str(hosts)],
        media.environment,
        module="functional.impatient",
    )
    try:
        connect = tcp_client(*daemon.tcp)
        yield Server(way="tcp", daemon=daemon, media=media, connect_socket=connect)
        daemon.stop()
    finally:
        daemon.kill()


@pytest.fixture
def secure(
    tmp_path: Path, media: Media, certificate: tuple[Path, Path]
) -> Iterator[tuple[Daemon, Server]]:
    """A mic with TLS: its process, and how a client of TLS reaches it."""
    cert, key = certificate
    daemon = Daemon(
        tmp_path / "log",
        [
            *("-images-bind-addr", "127.0.0.1:0"),
            *("-nmstate-dir", str(make_hosts(tmp_path / "hosts", "worker-0.yaml"))),
            *("-images-tls-cert-file", str(cert), "-images-tls-key-file", str(key)),
        ],
        media.environment,
        module="functional.impatient",
    )
    try:
        connect = tls_client(*daemon.tcp, cert)
        yield daemon, Server(way="tls", daemon=daemon, media=media, connect_socket=connect)
        daemon.stop()
    finally:
        daemon.kill()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    before = running.daemon.descriptors()
    yield running
    eventually(lambda: running.daemon.descriptors() <= before, "its descriptors are closed")
    running.daemon.check()


def eventually_accepted(server: Server, wire: Wire) -> None:
    """Wait until the server has the connection, or has had it."""
    eventually(lambda: wire.port in server.daemon.clients() or wire.is_reset, "it is accepted")


def dribble(wire: Wire, data: bytes) -> None:
    """Send a byte now and then, until the server closes."""
    end = time.monotonic() + LATE
    wire.sock.settimeout(0.05)
    for byte in data:
        assert time.monotonic() < end, "the server waits for ever"
        try:
            wire.send(bytes([byte]))
            assert wire.sock.recv(1000) == b""
        except TimeoutError:
            continue
        except OSError:
            pass
        return
    raise AssertionError("all was sent")


def test_who_dribbles_a_request_is_dropped(server: Server) -> None:
    with server.connect() as wire:
        dribble(wire, b"GET /worker-0.iso HTTP/1.1\r\nX: " + b"x" * 1000)


def test_who_dribbles_header_lines_is_dropped(server: Server) -> None:
    with server.connect() as wire:
        dribble(wire, b"GET /worker-0.iso HTTP/1.1\r\n" + b"X: y\r\n" * 200)


def test_who_dribbles_a_second_request_is_dropped(server: Server) -> None:
    with server.connect() as wire:
        wire.ask("/worker-0.iso", "Range: bytes=0-9")
        wire.answer()
        dribble(wire, b"GET /worker-0.iso HTTP/1.1\r\nX: " + b"x" * 1000)


def test_who_dribbles_a_request_after_a_pipelined_one_is_dropped(server: Server) -> None:
    with server.connect() as wire:
        wire.send(request("/worker-0.iso", "Range: bytes=0-9") + b"GET /worker-0.iso HTTP/1.1\r\n")
        wire.answer()
        dribble(wire, b"X: " + b"x" * 1000)


@pytest.mark.parametrize("field", ["Content-Length: 60000", "Transfer-Encoding: chunked"])
def test_who_dribbles_a_request_body_is_dropped(server: Server, field: str) -> None:
    with server.connect() as wire:
        wire.ask("/", field, method="POST")
        dribble(wire, b"3e8\r\n" + b"x" * 1000)


def test_who_says_nothing_is_dropped(server: Server) -> None:
    with server.connect() as wire:
        wire.sock.settimeout(LATE)
        wire.ends()


def test_who_begins_a_request_and_says_no_more_is_dropped(server: Server) -> None:
    with server.connect() as wire:
        wire.sock.settimeout(LATE)
        wire.send(b"GET /")
        wire.ends()


def test_who_asks_nothing_more_is_dropped(server: Server) -> None:
    with server.connect() as wire:
        wire.sock.settimeout(LATE)
        wire.ask("/worker-0.iso", "Range: bytes=0-9")
        wire.answer()
        wire.ends()


def test_a_request_now_and_then_keeps_a_connection(server: Server) -> None:
    with server.connect() as wire:
        end = time.monotonic() + 3 * LIMITS.idle
        while time.monotonic() < end:
            wire.ask("/worker-0.iso", "Range: bytes=0-9")
            assert wire.answer().body == server.iso.data[:10]
            time.sleep(LIMITS.idle / 10)


def client_hello() -> bytes:
    """The first bytes of a client of TLS."""
    sent = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="mic")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def test_a_client_that_does_not_finish_the_tls_handshake_is_dropped(
    secure: tuple[Daemon, Server],
) -> None:
    daemon, server = secure
    hello = client_hello()
    before = daemon.descriptors()
    for sent in (b"", hello[:1], hello[: len(hello) // 2], hello, b"GET / HTTP/1.0\r\n", b"G"):
        with Wire(socket.create_connection(daemon.tcp, LATE)) as wire:
            wire.send(sent)
            wire.rest()
    with Wire(socket.create_connection(daemon.tcp, LATE)) as wire:
        dribble(wire, hello)
    eventually(lambda: daemon.descriptors() <= before, "its descriptors are closed")
    # It is not the limit for a client that idles behind the handshake.
    reason = f"127.0.0.1: no TLS connection: the handshake took more than {LIMITS.headers} s"
    assert daemon.whole_log.count(reason) == 1
    assert server.get("/worker-0.iso").body == server.iso.data


def test_a_client_that_says_nothing_behind_the_tls_handshake_idles(
    secure: tuple[Daemon, Server],
) -> None:
    daemon, server = secure
    with server.connect() as wire:
        wire.sock.settimeout(LATE)
        wire.ends()
    assert "no TLS connection" not in daemon.whole_log


@pytest.mark.parametrize(
    "sent",
    [
        request("/worker-0.iso"),
        request("/worker-0.iso", "Connection: close"),
        request("/worker-0.iso", version="1.0"),
        request("/worker-0.iso", "Range: bytes=0-65000") * 100,
    ],
    ids=["1.1", "close", "1.0", "pipelined"],
)
def test_who_does_not_take_an_answer_is_dropped(server: Server, sent: bytes) -> None:
    with server.connect() as wire:
        wire.take_little()
        wire.send(sent)
        eventually_accepted(server, wire)
        eventually(lambda: wire.port not in server.daemon.clients(), "it is dropped", LATE)


def test_a_client_that_takes_no_small_range_is_dropped(server: Server) -> None:
    """Not pipelined: what waits is what the fast lane could not send."""
    with server.connect() as wire:
        wire.take_little()
        for number in range(20):
            wire.ask("/worker-0.iso", "Range: bytes=0-65535")
            if number == 0:
                eventually_accepted(server, wire)
            # Paced, so that they come one by one.
            time.sleep(0.01)
        eventually(lambda: wire.port not in server.daemon.clients(), "it is dropped", LATE)


def test_who_does_not_take_the_end_of_a_last_answer_is_dropped(server: Server) -> None:
    """Whatever part of it is still in mic when it closes: clients differ by a few KiB each."""
    one = request("/worker-0.iso", "Range: bytes=0-39999")
    last = request("/worker-0.iso", "Range: bytes=0-39999", "Connection: close")
    with ExitStack() as stack:
        for count in range(100):
            wire = stack.enter_context(server.connect())
            wire.take_little()
            wire.send(one * count + last)
        eventually_accepted(server, wire)
        eventually(lambda: not server.daemon.clients(), "they are dropped", LATE)


def test_who_takes_an_answer_slowly_gets_it_whole(server: Server) -> None:
    image = server.iso
    with server.connect() as wire:
        wire.take_little()
        wire.ask(image.target, "Connection: close")
        wire.head()
        start = time.monotonic()
        for at in range(0, image.size, image.size // 40):
            step = min(image.size // 40, image.size - at)
            assert wire.take(step) == image.data[at : at + step]
            # Paced, not awaited: the whole takes longer than any limit.
            time.sleep(LIMITS.stall / 10)
        assert time.monotonic() - start > 2 * LIMITS.stall
        wire.ends()


def test_who_goes_on_within_the_limit_gets_everything(server: Server) -> None:
    image = server.iso
    with server.connect() as wire:
        wire.take_little()
        wire.ask(image.target)
        wire.head()
        for start in range(0, image.size, image.size // 3):
            expected = image.data[start : start + image.size // 3]
            assert wire.take(len(expected)) == expected
            time.sleep(LIMITS.stall / 2)


def test_a_body_that_is_dropped_is_seen_as_cut(server: Server) -> None:
    with server.connect() as wire:
        wire.take_little()
        wire.ask("/worker-0.iso")
        wire.head()
        eventually(lambda: wire.port not in server.daemon.clients(), "it is dropped", LATE)
        with pytest.raises((Cut, ConnectionResetError)):
            wire.take(server.iso.size)


def test_other_clients_do_not_notice(server: Server) -> None:
    with server.connect() as stalled, server.connect() as other:
        stalled.take_little()
        stalled.ask("/worker-0.iso")
        other.ask("/worker-0.iso")
        assert other.answer().body == server.iso.data


def test_the_limits_in_force_are_seconds_for_requests_and_minutes_for_answers() -> None:
    limits = Limits()
    assert 2 <= limits.headers <= 30
    assert 60 <= limits.idle <= 600
    assert 120 <= limits.stall <= 600

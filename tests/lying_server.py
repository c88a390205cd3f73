"""An HTTP server over real TCP that lies on demand: each request takes the next of its tricks."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

TIMEOUT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: its target, and header fields with names in lower case."""

    target: str
    fields: dict[str, str] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """One request, and what a trick needs to answer it."""

    asked: Asked
    content: bytes = field(repr=False)
    connection: socket.socket
    stopped: threading.Event

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'

    @property
    def start(self) -> int:
        """Where the body begins: the range that was asked for, if it is of this version."""
        given = self.asked.fields.get("range", "")
        if not given or self.asked.fields.get("if-range", self.etag) != self.etag:
            return 0
        return int(given.removeprefix("bytes=").removesuffix("-"))

    def head(self, status: str, *fields: str) -> None:
        lines = [f"HTTP/1.1 {status}", *fields, "Connection: close", "", ""]
        self.send("\r\n".join(lines).encode())

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def honest_head(self, start: int, *more: str, length: int | None = None) -> None:
        size = len(self.content)
        fields = [f"Content-Length: {size - start if length is None else length}"]
        fields += [f"ETag: {self.etag}", *more]
        if start:
            fields.append(f"Content-Range: bytes {start}-{size - 1}/{size}")
        self.head("206 Partial Content" if start else "200 OK", *fields)

    def reset(self) -> None:
        """End the connection with RST."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


Trick = Callable[[Exchange], None]


def honest(exchange: Exchange) -> None:
    start = exchange.start
    exchange.honest_head(start)
    exchange.send(exchange.content[start:])


def status(line: str, *fields: str) -> Trick:
    def answer(exchange: Exchange) -> None:
        exchange.head(line, "Content-Length: 3", *fields)
        exchange.send(b"no\n")

    return answer


def cut(share: float, *, reset: bool = False) -> Trick:
    """The connection ends within the body."""

    def answer(exchange: Exchange) -> None:
        start = exchange.start
        exchange.honest_head(start)
        rest = exchange.content[start:]
        exchange.send(rest[: int(len(rest) * share)])
        if reset:
            exchange.reset()

    return answer


def length(more: int) -> Trick:
    """Content-Length is not that of the body."""

    def answer(exchange: Exchange) -> None:
        exchange.honest_head(0, length=len(exchange.content) + more)
        exchange.send(exchange.content)

    return answer


def corrupt(exchange: Exchange) -> None:
    start = exchange.start
    exchange.honest_head(start)
    rest = bytearray(exchange.content[start:])
    rest[len(rest) // 2] ^= 1
    exchange.send(bytes(rest))


def ignore_range(exchange: Exchange) -> None:
    exchange.honest_head(0)
    exchange.send(exchange.content)


def wrong_range(exchange: Exchange) -> None:
    """A part, but not the one that was asked for."""
    size = len(exchange.content)
    exchange.head(
        "206 Partial Content",
        f"Content-Range: bytes 1-{size - 1}/{size}",
        f"Content-Length: {size - 1}",
        f"ETag: {exchange.etag}",
    )
    exchange.send(exchange.content[1:])


def other_version(*, same_tag: bool) -> Trick:
    """The rest of another file, as if ``If-Range`` had not been sent."""

    def answer(exchange: Exchange) -> None:
        start = exchange.start or 1
        size = len(exchange.content)
        tag = exchange.etag if same_tag else '"another"'
        exchange.head(
            "206 Partial Content",
            f"Content-Range: bytes {start}-{size - 1}/{size}",
            f"Content-Length: {size - start}",
            f"ETag: {tag}",
        )
        exchange.send(bytes(byte ^ 0xFF for byte in exchange.content[start:]))

    return answer


def compressed(exchange: Exchange) -> None:
    exchange.honest_head(0, "Content-Encoding: gzip")
    exchange.send(exchange.content)


def chunked(share: float = 1.0) -> Trick:
    """Without a length; with less than the whole ``share`` it ends early."""

    def answer(exchange: Exchange) -> None:
        exchange.head("200 OK", "Transfer-Encoding: chunked", f"ETag: {exchange.etag}")
        data = exchange.content[: int(len(exchange.content) * share)]
        for place in range(0, len(data), 5000):
            part = data[place : place + 5000]
            exchange.send(b"%x\r\n%b\r\n" % (len(part), part))
        if share == 1.0:
            exchange.send(b"0\r\n\r\n")

    return answer


def without_length(share: float = 1.0) -> Trick:
    """The end of the connection is the end of the body."""

    def answer(exchange: Exchange) -> None:
        exchange.head("200 OK")
        exchange.send(exchange.content[: int(len(exchange.content) * share)])

    return answer


def endless(exchange: Exchange) -> None:
    exchange.head("200 OK")
    while not exchange.stopped.is_set():
        exchange.send(bytes(65536))


def too_long_part(exchange: Exchange) -> None:
    """A part whose chunks have more bytes than its Content-Range says."""
    start, size = exchange.start, len(exchange.content)
    exchange.head(
        "206 Partial Content",
        f"Content-Range: bytes {start}-{size - 1}/{size}",
        "Transfer-Encoding: chunked",
        f"ETag: {exchange.etag}",
    )
    data = exchange.content[start:] + b"more"
    exchange.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))


def endless_head(exchange: Exchange) -> None:
    """Header fields without end."""
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    while not exchange.stopped.is_set():
        exchange.send(b"X-More: of the same\r\n" * 1000)


def redirect(target: str) -> Trick:
    return status("302 Found", f"Location: {target}")


def garbage(exchange: Exchange) -> None:
    exchange.send(b"220 mail.example ESMTP\r\n")


def closed(exchange: Exchange) -> None:
    """No answer."""


def silent(exchange: Exchange) -> None:
    exchange.stopped.wait(TIMEOUT)


def drip(exchange: Exchange) -> None:
    exchange.honest_head(0)
    for byte in exchange.content:
        if exchange.stopped.wait(0.02):
            return
        exchange.send(bytes((byte,)))


class LyingServer:
    """Serves ``content`` under every name; ``tricks`` are played first, one a request."""

    def __init__(
        self,
        content: bytes,
        tricks: Sequence[Trick] = (),
        *,
        others: dict[str, bytes] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.content = content
        self.asked: list[Asked] = []
        self.connections = 0
        self._tricks = list(tricks)
        self._others = others or {}
        self._tls = tls
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/coreos.iso"

    def stop(self) -> None:
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(TIMEOUT)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT)
        with suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return
            data += more
            if not data[:1].isalpha():
                return  # as of a server that is spoken to in TLS
        line, *fields = data.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        pairs = (each.partition(": ") for each in fields)
        asked = Asked(
            target=line.split()[1], fields={name.lower(): value for name, _, value in pairs}
        )
        path = "/" + asked.target.partition("://")[2].partition("/")[2]
        path = asked.target if asked.target.startswith("/") else path
        with self._lock:
            self.asked.append(asked)
            other = self._others.get(path)
            trick = self._tricks.pop(0) if self._tricks and other is None else honest
        exchange = Exchange(
            asked=asked,
            content=self.content if other is None else other,
            connection=connection,
            stopped=self._stopped,
        )
        if 0 < len(exchange.content) <= exchange.start:
            trick = status("416 Range Not Satisfiable")
        trick(exchange)
        # Read what the client still sends, so that closing does not reset what it has not read.
        if trick is not closed:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)


@contextmanager
def serving(
    content: bytes,
    *tricks: Trick,
    others: dict[str, bytes] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[LyingServer]:
    server = LyingServer(content, tricks, others=others, tls=tls)
    try:
        yield server
    finally:
        server.stop()

"""HTTP/1 as bytes on a socket: a client that sends the bytes it is given and hides nothing."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

_CHUNK = 256 * 1024
_TCP_CLOSE = 7
"""The state of a connection that is over (linux/tcp_states.h)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response as it came."""

    version: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None


class Cut(Exception):
    """The connection ended before the answer did."""


class Wire:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    @property
    def port(self) -> int:
        """Its port at this end of a TCP connection."""
        port: int = self.sock.getsockname()[1]
        return port

    @property
    def is_reset(self) -> bool:
        """Whether the other end of a TCP connection has broken it off."""
        return self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def ask(self, target: str, *headers: str, method: str = "GET", version: str = "1.1") -> None:
        self.send(request(target, *headers, method=method, version=version))

    def _more(self) -> None:
        data = self.sock.recv(_CHUNK)
        if not data:
            raise Cut(f"after {len(self._buffer)} bytes more")
        self._buffer += data

    def head(self) -> tuple[str, int, tuple[tuple[str, str], ...]]:
        """The status line and the header fields."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._more()
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        found = re.fullmatch(r"(HTTP/1\.[01]) (\d{3}) .*", first)
        assert found, first
        fields = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, line
            assert name == name.strip(), line
            fields.append((name, value.strip()))
        return found[1], int(found[2]), tuple(fields)

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        while len(self._buffer) < length:
            self._more()
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data

    def answer(self, method: str = "GET") -> Answer:
        """The next answer, to a request with that method."""
        version, status, headers = self.head()
        answer = Answer(version=version, status=status, headers=headers, body=b"")
        assert answer.header("Transfer-Encoding") is None
        if method == "HEAD" or status in (304, 100):
            return answer
        length = answer.header("Content-Length")
        assert length is not None, answer
        body = self.take(int(length))
        return Answer(version=version, status=status, headers=headers, body=body)

    def rest(self) -> bytes:
        """Everything until the server closes."""
        try:
            while data := self.sock.recv(_CHUNK):
                self._buffer += data
        except ConnectionResetError:
            pass
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def ends(self) -> None:
        """Fail unless the server closes now, without another byte."""
        rest = self.rest()
        assert rest == b"", rest[:200]

    def take_little(self) -> None:
        """Let the kernel take no more than some 100 KiB that nobody reads."""
        # Much less, and loopback with its large packets crawls.
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)

    def half_close(self) -> None:
        """Say that no more requests follow."""
        self.sock.shutdown(socket.SHUT_WR)


def request(target: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """The bytes of a request; 1.1 gets a ``Host``."""
    host = ("Host: mic.example",) if version == "1.1" else ()
    lines = [f"{method} {target} HTTP/{version}", *host, *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def parts(answer: Answer) -> list[tuple[str, str, bytes]]:
    """The parts of a ``multipart/byteranges`` answer: type, range, content."""
    found = re.fullmatch(
        r'multipart/byteranges; boundary="?([\w-]+)"?', answer.header("Content-Type") or ""
    )
    assert found, answer.headers
    delimiter = b"\r\n--" + found[1].encode()
    # A delimiter at the very start of the body comes without its line break (RFC 2046).
    preamble, *pieces = (b"\r\n" * (not answer.body.startswith(b"\r\n")) + answer.body).split(
        delimiter
    )
    assert preamble == b""
    assert pieces.pop() == b"--\r\n"
    result = []
    for piece in pieces:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        result.append((fields["Content-Type"], fields["Content-Range"], content))
    return result


def without(answer: Answer, names: Iterable[str]) -> dict[str, str]:
    """The header fields but for some."""
    left_out = {name.lower() for name in names}
    return {name: value for name, value in answer.headers if name.lower() not in left_out}

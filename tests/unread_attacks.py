"""Attacks by clients that send and never read: for tests and for `bench/unread.py`.

Each is the bytes that every one of many clients sends. What is counted is what the server holds for
each of them; all that they should get stays with the server until they are gone.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

KIB = 1024
MIB = KIB * KIB
ROOM = 64 * KIB
"""The receive buffer of a client: with much less, loopback with its large packets crawls."""

ISO, INITRAMFS = "/host.iso", "/host.initramfs"
HEADS = "half a head of one long line", "half a head of many fields"
"""The attacks whose requests are not whole: a time limit of seconds ends them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are in the images that are attacked, in bytes.

    ``area`` of ``embed`` bytes is the ISO's embed area, ``initramfs`` the length of an initramfs
    before its archive; ``flood`` is how much each client tries to send in a flood.
    """

    size: int
    area: int
    embed: int
    initramfs: int
    etag: str
    flood: int = 2 * MIB

    def endless(self, one: bytes) -> bytes:
        """A request again and again."""
        return one * (self.flood // len(one))

    def part(self, start: int, stop: int | None = None) -> bytes:
        """A request for a range of the ISO."""
        last = "" if stop is None else stop - 1
        return get(f"Range: bytes={start}-{last}\r\n")

    def across(self) -> bytes:
        """A small range of which the first half is zeros, the second half the base's."""
        end = self.area + self.embed
        return self.part(end - 32 * KIB, end + 32 * KIB)

    def sixteen(self) -> bytes:
        """A request for as many ranges as are answered one by one, in unequal pieces."""
        step = self.size // 17
        ranges = (f"{n * step + 5}-{n * step + step // 2}" for n in range(16))
        return get(f"Range: bytes={','.join(ranges)}\r\n")


def get(fields: str = "", *, target: str = ISO, method: str = "GET") -> bytes:
    """The bytes of a request."""
    return f"{method} {target} HTTP/1.1\r\nHost: mic\r\n{fields}\r\n".encode()


def _fields(count: int) -> str:
    return "".join(f"X-{n}: {n}\r\n" for n in range(count))


def _post() -> bytes:
    return get("Content-Length: 60000\r\n", method="POST") + bytes(59_999)


def _small(places: Places) -> bytes:
    return places.part(places.size // 2, places.size // 2 + 64 * KIB)


ATTACKS: dict[str, Callable[[Places], bytes]] = {
    # Connections that ask for nothing yet.
    "nothing asked": lambda _: b"",
    HEADS[0]: lambda _: b"GET /" + b"a" * 15_000,
    HEADS[1]: lambda _: get(_fields(490))[:-2],
    "half a request body": lambda _: _post(),
    # One body that is never read.
    "whole image": lambda _: get(),
    "from the archive on": lambda p: p.part(p.area),
    "from the zeros on": lambda p: p.part(p.area + p.embed - 24 * KIB),
    "initramfs' archive": lambda p: get(f"Range: bytes={p.initramfs}-\r\n", target=INITRAMFS),
    "last 64 KiB": lambda p: p.part(p.size - 64 * KIB),
    "sixteen ranges": lambda p: p.sixteen(),
    "whole image, many fields": lambda _: get(_fields(490)),
    # Pipelined requests, of which not one answer is read.
    "20 small ranges": lambda p: _small(p) * 20,
    "20 ranges from the archive on": lambda p: p.part(p.area) * 20,
    "20 ranges across the area's end": lambda p: p.across() * 20,
    "flood of small ranges": lambda p: p.endless(_small(p)),
    "flood of whole images": lambda p: p.endless(get()),
    "flood of sixteen ranges": lambda p: p.endless(p.sixteen()),
    "flood of HEAD": lambda p: p.endless(get(method="HEAD")),
    "flood of 304": lambda p: p.endless(get(f"If-None-Match: {p.etag}\r\n")),
    "flood of 404": lambda p: p.endless(get(target="/x")),
    "flood of 405": lambda p: p.endless(get(target="/x", method="PUT")),
    "flood of 416": lambda p: p.endless(get("Range: bytes=99999999999-\r\n")),
    "whole image, then noise": lambda p: get() + bytes(p.flood),
    "small ranges, then noise": lambda p: _small(p) * 20 + bytes(p.flood),
}

ONE_BY_ONE = "small ranges one by one"
"""The attack with requests that are not pipelined: each is sent when the server has answered
the one before."""


def send_one_by_one(
    socks: list[socket.socket], places: Places, wait_until_idle: Callable[[], None]
) -> None:
    """Send twenty requests on each connection, with a pause between them."""
    for _ in range(20):
        send_all(socks, _small(places))
        wait_until_idle()


def send_all(socks: list[socket.socket], data: bytes) -> None:
    """Send ``data`` on each connection until none takes more for half a second."""
    view = memoryview(data)
    sent = dict.fromkeys(socks, 0)
    for sock in socks:
        sock.setblocking(False)
    while sent:
        poller = select.epoll()
        for sock in sent:
            poller.register(sock, select.EPOLLOUT)
        ready = {number for number, _ in poller.poll(0.5)}
        poller.close()
        if not ready:
            return
        for sock in [each for each in sent if each.fileno() in ready]:
            try:
                sent[sock] += sock.send(view[sent[sock] : sent[sock] + 64 * KIB])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError, BlockingIOError):
                continue
            except OSError:
                # The server closed the connection.
                del sent[sock]
                continue
            if sent[sock] == len(view):
                del sent[sock]

"""The fast lane and the normal way give the same bytes, over real TCP, for generated requests.

A field that mic does not know keeps a request from the fast lane and changes nothing else
(tests/unit/web/test_fastlane.py shows which requests the lane takes), so everything is sent with
such a field and without.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from functional.daemon import Daemon
from functional.media import EMBED, Media, Server, make_hosts, tcp_client
from functional.wire import request
from hypothesis import given, settings
from hypothesis import strategies as st

SMALL = 64 * 1024
UNKNOWN = "X-Keeps-Off: the fast lane"
DATE = re.compile(rb"(\r\nDate: )[^\r]*")

Request = tuple[str, str, tuple[str, ...], str]
"""Method, target, fields and version."""


@pytest.fixture(scope="module")
def server(media: Media, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("lanes")
    hosts = make_hosts(directory / "hosts", "worker-0.yaml", "worker-1.yaml")
    flags = ["static", "-images-bind-addr=127.0.0.1:0", f"-nmstate-dir={hosts}"]
    daemon = Daemon(directory / "log", flags, media.environment)
    try:
        connect = tcp_client(*daemon.tcp)
        yield Server(way="tcp", daemon=daemon, media=media, connect_socket=connect)
        daemon.stop()
    finally:
        daemon.kill()


def answers(server: Server, data: bytes, chunks: list[int]) -> bytes:
    """All that comes back for ``data``, sent in so many bytes at a time, but for the dates."""
    with server.connect() as wire:
        for length in chunks:
            wire.send(data[:length])
            data = data[length:]
        wire.send(data)
        wire.half_close()
        return DATE.sub(rb"\1", wire.rest())


def both(server: Server, requests: list[Request], chunks: list[int]) -> bytes:
    """What both ways answer: the same."""
    plain, kept_off = (
        b"".join(
            request(target, *fields, *more, method=method, version=version)
            for method, target, fields, version in requests
        )
        for more in ((), (UNKNOWN,))
    )
    answer = answers(server, plain, chunks)
    assert answer == answers(server, kept_off, chunks)
    return answer


# Positions are shares of the image, or steps from where something begins or ends.
EDGES = ("0", "small", "area", "archive", "after", "size")
POSITIONS = st.tuples(st.sampled_from(EDGES), st.integers(-2, 2)) | st.floats(0, 1.01)
LENGTHS = st.sampled_from([1, 2048, SMALL - 1, SMALL, SMALL + 1]) | st.integers(1, SMALL)
CLOSED = st.tuples(POSITIONS, LENGTHS)
RANGES = (
    CLOSED
    | CLOSED
    | st.tuples(POSITIONS, POSITIONS)
    | st.sampled_from(
        ["bytes=-1", "bytes=5-", "bytes=0-0,2-3", "bytes=", "lines=1-2", "BYTES=1-2", "bytes=1-2 "]
    )
)


def position(server: Server, where: tuple[str, int] | float) -> int:
    if isinstance(where, float):
        return int(where * server.iso.size)
    area = server.media.area
    edges = (0, SMALL, area, area + 300, area + EMBED, server.iso.size)
    return max(dict(zip(EDGES, edges, strict=True))[where[0]] + where[1], 0)


def spelled(server: Server, wanted: Any) -> str:
    """A range as it is sent."""
    if isinstance(wanted, str):
        return wanted
    first, second = wanted
    start = position(server, first)
    last = start + second - 1 if isinstance(second, int) else position(server, second)
    return f"bytes={start}-{last}"


USUAL = ["User-Agent: BMC", "Accept: */*", "accept-encoding: gzip", "Connection: keep-alive"]
CLOSE = "Connection: close"
UNUSUAL = [
    CLOSE,
    "If-Match: *",
    "If-None-Match: *",
    'If-Range: "x"',
    "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
    "Content-Length: 0",
    "Accept: caf\xe9",
    " folded",
    "Range: bytes=7-8",
]


REQUESTS = st.tuples(
    st.sampled_from(["GET"] * 8 + ["HEAD", "PUT"]),
    st.sampled_from(["/worker-0.iso"] * 6 + ["/a/b/worker-0.iso", "/worker%2D0.iso", "/x", "/"]),
    st.lists(st.sampled_from(USUAL), max_size=2),
    RANGES,
    st.lists(st.sampled_from(USUAL), max_size=2),
    st.sampled_from([""] * len(UNUSUAL) + UNUSUAL),
    st.sampled_from(["1.1"] * 6 + ["1.0"]),
)


def test_both_give_the_same_bytes(server: Server) -> None:
    @settings(max_examples=150, deadline=None)
    @given(
        drawn=st.lists(REQUESTS, min_size=1, max_size=4),
        chunks=st.lists(st.integers(1, 300), max_size=2),
    )
    def check(drawn: list[Any], chunks: list[int]) -> None:
        requests: list[Request] = []
        for method, target, before, wanted, after, odd, version in drawn:
            fields = (*before, f"Range: {spelled(server, wanted)}", *after, *filter(None, [odd]))
            requests.append((method, target, fields, version))
            if version == "1.0" or odd == CLOSE:
                # What follows is not read, and may cost us the end of the answer.
                break
        assert both(server, requests, chunks).startswith(b"HTTP/1.")

    check()


def test_requests_one_after_the_other_may_take_turns_in_both(server: Server) -> None:
    image = server.iso
    with server.connect() as wire:
        for number, start in enumerate(range(0, image.size, 50_000)):
            more = (UNKNOWN,) if number % 3 == 1 else ()
            stop = min(start + 50_000, image.size)
            wire.ask(image.target, f"Range: bytes={start}-{stop - 1}", *more)
            answer = wire.answer()
            assert (answer.status, answer.body) == (206, image.data[start:stop])


def test_both_read_what_is_not_in_memory(server: Server) -> None:
    for start in range(0, server.iso.size, 400_000):
        forget(server.media.iso_path)
        fields = (f"Range: bytes={start}-{start + 20_000}",)
        answer = both(server, [("GET", "/worker-0.iso", fields, "1.1")], [])
        assert answer.endswith(b"\r\n\r\n" + server.iso.data[start : start + 20_001])


def test_what_is_downloaded_counts_the_same(server: Server) -> None:
    # An image that no other test here asks for: what a client reads of one is one download.
    for more in ((), (UNKNOWN,)):
        server.daemon.turn_page()
        with server.connect() as wire:
            for start in range(0, server.iso.size, SMALL):
                wire.ask("/worker-1.iso", f"Range: bytes={start}-{start + SMALL - 1}", *more)
                assert wire.answer().status == 206
        server.daemon.wait_for(f"has it all: {server.iso.size} bytes in .*100.0 % of the image")


def forget(path: Path) -> None:
    """Have the kernel drop what it holds of a file."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)

"""The fast lane: which requests it takes, and what it answers.

Scope: mic.web.fastlane over real images. That its answers are those of the normal way is tested
over TCP in tests/functional/test_lanes.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from toys import live_iso
from twisted.internet import reactor
from twisted.internet.testing import StringTransport

from mic.bases import Bases
from mic.image.base import BasePaths, Kind
from mic.image.store import Content
from mic.images import Images
from mic.threads import Threads
from mic.web.downloads import Downloads
from mic.web.fastlane import FastLane
from mic.web.served import Served

ISO = live_iso()
NOW = 1_700_000_000.0


class Lane:
    """A fast lane for one image, and what it did."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "ipa.iso"
        self.path.write_bytes(ISO)
        self.threads = Threads(reactor)
        self.bases = Bases(BasePaths(iso=str(self.path)), "x86_64", self.threads)
        self.now = NOW
        self.images = Images(self.bases, lambda: NOW - 5)
        self.downloads = Downloads(lambda: 0.0)
        self.served = Served()
        self.lane = FastLane(self.images, self.downloads, self.served, lambda: self.now)

    def ask(self, data: bytes) -> bytes | None:
        transport = StringTransport()
        taken = self.lane.serve(data, "192.0.2.1", transport)  # type: ignore[arg-type]
        assert taken == bool(transport.value())
        return transport.value() if taken else None


@pytest_twisted.async_yield_fixture
async def lane(tmp_path: Path) -> Any:
    lane = Lane(tmp_path)
    lane.threads.startService()
    content = Content(label="host", kind=Kind.ISO, archive=b"archive")
    lane.images.publish("host.iso", content)
    entry = lane.images.entry("host.iso")
    assert entry is not None
    await lane.images.image(entry)
    yield lane
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
        request().replace(b"Host: mic.example\r\n", b""),
        request().replace(b"Host: mic.example\r\n", b"")[:-2] + b"Host: last\r\n\r\n",
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


def test_ranges_that_touch_what_is_the_hosts_own_are_left_to_the_normal_way(lane: Lane) -> None:
    entry = lane.images.entry("host.iso")
    assert entry is not None
    image = lane.images.current(entry)
    assert image is not None
    area = image.base.embed_area
    assert area is not None
    for start, stop, taken in [
        (area.offset - 10, area.offset, True),
        (area.offset - 10, area.offset + 1, False),
        (area.offset + 5, area.offset + 6, False),
        (area.offset + area.length - 1, area.offset + area.length + 9, False),
        (area.offset + area.length, area.offset + area.length + 9, True),
    ]:
        answer = lane.ask(request(span=f"bytes={start}-{stop - 1}"))
        assert (answer is not None) == taken
        if answer:
            assert answer.endswith(b"\r\n\r\n" + ISO[start:stop])


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
    (download,) = lane.downloads._downloads.values()
    assert download.bytes == 4 * 2048
    assert download.coverage.covered == 4096
    assert download.open == 0

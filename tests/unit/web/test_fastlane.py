"""The fast lane: which requests it takes, and what it answers.

Scope: mic.web.fastlane over real images. That its answers are those of the normal way is tested
over TCP in tests/functional/test_lanes.py.
"""

from __future__ import annotations

import os
from itertools import accumulate, combinations
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from miniso import with_minimal
from toys import EMBED_LENGTH, INITRAMFS, KERNEL, ROOTFS
from twisted.internet import reactor
from twisted.internet.testing import StringTransport

from mic.common.threads import Threads
from mic.downloads.tracker import Downloads
from mic.images.bases import Bases
from mic.images.store import Content, ImageId, Store
from mic.media.base import Kind
from mic.media.catalog import BasePaths
from mic.media.customisation import Customisation
from mic.media.isowriter import coreos_files
from mic.media.kernel_arguments import ArgumentEdits
from mic.web.body import SMALL
from mic.web.fastlane import FastLane
from mic.web.stats import Served

ISO = with_minimal(
    coreos_files(kernel=KERNEL, initramfs=INITRAMFS, rootfs=ROOTFS, embed_length=EMBED_LENGTH)
)
NOW = 1_700_000_000.0
URL = "http://192.0.2.1/rootfs"


def no_rest(image: object, start: int, stop: int) -> None:
    raise AssertionError("this transport takes everything")


class Lane:
    """A fast lane for one image, and what it did."""

    def __init__(self, directory: Path, *, minimal: bool) -> None:
        self.path = directory / "ipa.iso"
        self.path.write_bytes(ISO)
        self.threads = Threads(reactor)
        paths = BasePaths(iso=str(self.path))
        self.bases = Bases(paths, "x86_64", self.threads, minimal=minimal)
        self.now = NOW
        self.images = Store(self.bases, lambda: NOW - 5)
        self.downloads = Downloads(lambda: 0.0)
        self.served = Served()
        self.lane = FastLane(self.images, self.downloads, self.served, lambda: self.now)

    def ask(self, data: bytes) -> bytes | None:
        transport = StringTransport()
        taken = self.lane.serve(data, "192.0.2.1", transport, no_rest)  # type: ignore[arg-type]
        assert taken == bool(transport.value())
        return transport.value() if taken else None


@pytest_twisted.async_yield_fixture
async def lane(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    lane = Lane(tmp_path, minimal=getattr(request, "param", "full") == "minimal")
    lane.threads.startService()
    content = Content(
        id=ImageId("", "host", Kind.ISO), customisation=Customisation(b"a", rootfs_url=URL)
    )
    lane.images.publish("host.iso", content)
    entry = lane.images.entry("host.iso")
    assert entry is not None
    await lane.images.load(entry)
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
        answer = lane.ask(request(span=f"bytes={start}-{stop - 1}", target="/other.image"))
        if stop - start > SMALL:
            assert answer is None
        else:
            assert answer is not None, (start, stop)
            assert answer.partition(b"\r\n\r\n")[2] == expected[start:stop], (start, stop)


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

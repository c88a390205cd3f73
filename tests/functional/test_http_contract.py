"""The HTTP contract of an image URL, row by row, with a raw socket against a real mic.

Each test runs once per way of serving (see conftest); what is served is known byte by byte.
References are to RFC 9110 (semantics) and RFC 9112 (HTTP/1.1). What happens to clients that
misbehave is in test_hostile_clients, to base files that change in test_base_files.
"""

from __future__ import annotations

import email.utils
import re
import time
from urllib.parse import quote

import pytest
from functional.conftest import ODD_NAME
from functional.daemon import DEADLINE, eventually
from functional.media import Served, Server
from functional.wire import parts, request, without


@pytest.fixture(params=["iso", "initramfs"])
def image(request: pytest.FixtureRequest, server: Server) -> Served:
    return server.iso if request.param == "iso" else server.initramfs


def date(text: str | None) -> int:
    """An HTTP date in the preferred form, as seconds since the epoch."""
    assert text is not None
    seconds = int(email.utils.parsedate_to_datetime(text).timestamp())
    assert text == email.utils.formatdate(seconds, usegmt=True)
    return seconds


def shifted(text: str | None, seconds: int) -> str:
    return email.utils.formatdate(date(text) + seconds, usegmt=True)


# Whole images


def test_get_gives_the_whole_image(server: Server, image: Served) -> None:
    answer = server.get(image.target)
    assert answer.status == 200
    assert answer.body == image.data
    assert answer.header("Content-Length") == str(image.size)
    assert answer.header("Accept-Ranges") == "bytes"
    assert answer.header("Content-Type") == image.content_type
    assert answer.header("Content-Disposition") == f'attachment; filename="{image.name}"'
    assert answer.header("Content-Range") is None


@pytest.mark.parametrize(
    "coding", ["gzip", "gzip, deflate, br, zstd", "identity;q=0, gzip", "*", "chunked"]
)
def test_a_body_is_never_compressed_or_chunked(server: Server, image: Served, coding: str) -> None:
    answer = server.get(image.target, f"Accept-Encoding: {coding}", f"TE: {coding}")
    assert (answer.status, answer.body) == (200, image.data)
    assert answer.header("Content-Encoding") is None
    assert answer.header("Content-Length") == str(image.size)


@pytest.mark.parametrize("header", [(), ("Range: bytes=0-99",), ("Range: bytes=99999999999-",)])
def test_head_has_the_header_fields_of_get(
    server: Server, image: Served, header: tuple[str, ...]
) -> None:
    head = server.get(image.target, *header, method="HEAD")
    get = server.get(image.target, *header)
    assert head.status == get.status
    assert without(head, ["Date"]) == without(get, ["Date"])


@pytest.mark.parametrize(
    ("target", "header"),
    [
        ("/unknown.iso", ()),
        ("/", ()),
        ("/worker-0.iso", ("If-Match: *", "If-None-Match: *")),
        ("/worker-0.iso", ('If-Match: "other"',)),
    ],
)
def test_head_has_the_header_fields_of_get_in_other_answers_too(
    server: Server, target: str, header: tuple[str, ...]
) -> None:
    head = server.get(target, *header, method="HEAD")
    get = server.get(target, *header)
    assert head.status == get.status
    assert without(head, ["Date"]) == without(get, ["Date"])


def test_a_date_is_reported_that_is_not_before_the_last_change(
    server: Server, image: Served
) -> None:
    answer = server.get(image.target, method="HEAD")
    assert date(answer.header("Date")) >= date(answer.header("Last-Modified"))
    assert abs(date(answer.header("Date")) - time.time()) < 60


# One range


@pytest.mark.parametrize(
    ("spec", "start", "stop"),
    [
        ("0-0", 0, 1),
        ("0-99", 0, 100),
        ("1-1", 1, 2),
        ("17-4242", 17, 4243),
        ("17-", 17, None),
        ("0-", 0, None),
        ("-1", -1, None),
        ("-100", -100, None),
        ("-999999999999", 0, None),
        ("10-999999999999", 10, None),
        ("00010-00019", 10, 20),
    ],
)
def test_a_range_is_sent_exactly(
    server: Server, image: Served, spec: str, start: int, stop: int | None
) -> None:
    if stop is not None and stop > image.size:
        stop = None
    answer = server.get(image.target, f"Range: bytes={spec}")
    old = server.get(image.target, f"Range: bytes={spec}", version="1.0")
    assert (old.status, old.body) == (answer.status, answer.body)
    expected = image.data[start:stop]
    first = start % image.size
    assert answer.status == 206
    assert answer.header("Content-Range") == (
        f"bytes {first}-{first + len(expected) - 1}/{image.size}"
    )
    assert answer.header("Content-Length") == str(len(expected))
    assert answer.header("Content-Type") == image.content_type
    assert answer.header("Accept-Ranges") == "bytes"
    assert answer.body == expected


@pytest.mark.parametrize(
    "spec", ["Bytes=1-2", "BYTES=1-2", "bytes=1-2,", "bytes=, ,1-2", "bytes= 1-2 "]
)
def test_a_range_is_understood_however_it_is_written(server: Server, spec: str) -> None:
    answer = server.get(server.iso.target, f"Range: {spec}")
    assert (answer.status, answer.body) == (206, server.iso.data[1:3])


def test_ranges_around_the_seams_of_an_image_are_sent_exactly(server: Server) -> None:
    image, area = server.iso, server.media.area
    config = len(server.initramfs.data) - len(server.media.initramfs)
    seams = [area, area + config, area + 256 * 1024, image.size]
    with server.connect() as wire:
        for seam in seams:
            for start in (max(seam - 70000, 0), seam - 2, seam - 1, seam, seam + 1):
                for stop in (seam + 1, seam + 2, seam + 65536, seam + 300000):
                    if start >= min(stop, image.size):
                        continue
                    wire.ask(image.target, f"Range: bytes={start}-{stop - 1}")
                    answer = wire.answer()
                    assert answer.status == 206
                    assert answer.body == image.data[start:stop], (start, stop)


def test_ranges_of_every_size_class_are_sent_exactly(server: Server) -> None:
    image = server.iso
    sizes = [1, 512, 2048, 4096, 32767, 32768, 65535, 65536, 65537, 131071, 131072, 131073]
    sizes += [1 << 20, (1 << 20) + 1, image.size - 5]
    with server.connect() as wire:
        for size in sizes:
            wire.ask(image.target, f"Range: bytes=5-{4 + size}")
            answer = wire.answer()
            assert (answer.status, answer.body) == (206, image.data[5 : 5 + size]), size


@pytest.mark.parametrize(
    "spec", ["SIZE-", "SIZE-SIZE", "-0", "999999999999-", "SIZE-,-0", "99999999999999999999-"]
)
def test_an_unsatisfiable_range_is_refused_with_the_length(
    server: Server, image: Served, spec: str
) -> None:
    answer = server.get(image.target, "Range: bytes=" + spec.replace("SIZE", str(image.size)))
    assert answer.status == 416
    assert answer.header("Content-Range") == f"bytes */{image.size}"


@pytest.mark.parametrize(
    "value",
    [
        "bytes=",
        "bytes=-",
        "bytes=,",
        "bytes=5",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=1 - 2",
        "bytes=1.0-2",
        "bytes=1-2;3-4",
        "bytes=1-2,x",
        "bytes=9-8,1-2",
        "bytes 1-2",
        "bytes:1-2",
        "bytes",
        "=1-2",
        "1-2",
        "items=1-2",
        "seconds=1-2",
        "none",
        "bytes=\xb2-\xb3",
        f"bytes={'9' * 5000}-",
        f"bytes=0-{'9' * 5000}",
    ],
)
def test_a_malformed_range_or_another_unit_is_ignored(server: Server, value: str) -> None:
    answer = server.get(server.initramfs.target, f"Range: {value}")
    assert (answer.status, answer.body) == (200, server.initramfs.data)
    assert answer.header("Content-Range") is None


# Several ranges


@pytest.mark.parametrize(
    "ranges",
    [
        [(0, 9), (20, 29)],
        [(20, 29), (0, 9)],
        [(0, 0), (0, 0), (0, 0)],
        [(100, 199), (150, 249)],
        [(0, 70000), (100000, 400000), (-5, None)],
        [(-1, None), (7, 7)],
        [(n * 1000, n * 1000 + 10) for n in range(10)],
    ],
)
def test_several_ranges_come_in_parts(server: Server, ranges: list[tuple[int, int | None]]) -> None:
    image = server.iso
    spec = ", ".join(
        f"{first}-{last}" if last is not None else str(first) for first, last in ranges
    )
    with server.connect() as wire:
        wire.ask(image.target, f"Range: bytes={spec}")
        answer = wire.answer()
        # The announced length is the right one: the next answer starts where it should.
        wire.ask(image.target, "Range: bytes=3-4")
        assert wire.answer().body == image.data[3:5]
    assert answer.status == 206
    assert answer.header("Content-Range") is None
    assert answer.header("ETag") is not None
    found = parts(answer)
    assert len(found) == len(ranges)
    for (first, last), (content_type, content_range, content) in zip(ranges, found, strict=True):
        expected = image.data[first : last + 1 if last is not None else None]
        start = first % image.size
        assert content_type == image.content_type
        assert content_range == f"bytes {start}-{start + len(expected) - 1}/{image.size}"
        assert content == expected


def test_of_several_ranges_those_outside_the_image_are_left_out(server: Server) -> None:
    image = server.iso
    answer = server.get(image.target, f"Range: bytes={image.size}-,5-9,-0")
    assert answer.status == 206
    if (answer.header("Content-Type") or "").startswith("multipart"):
        ((_, content_range, content),) = parts(answer)
    else:
        content_range, content = answer.header("Content-Range") or "", answer.body
    assert (content_range, content) == (f"bytes 5-9/{image.size}", image.data[5:10])


@pytest.mark.parametrize(
    "spec",
    [
        ",".join(f"{n}-{n}" for n in range(0, 200, 2)),
        ",".join(["0-"] * 3),
        ",".join(["0-"] * 1300),
        "0-,-1",
        "0-0," * 1000 + "0-0",
    ],
)
def test_a_flood_of_ranges_gets_the_whole_image(server: Server, spec: str) -> None:
    answer = server.get(server.initramfs.target, f"Range: bytes={spec}")
    assert (answer.status, answer.body) == (200, server.initramfs.data)


# Conditions


def test_validators_are_strong_and_stable(server: Server, image: Served) -> None:
    first = server.get(image.target, method="HEAD")
    etag = first.header("ETag")
    assert etag is not None
    assert re.fullmatch(r'"[\x21\x23-\x7e]+"', etag)
    again = [
        server.get(image.target),
        server.get(image.target, "Range: bytes=5-9"),
        server.get("/elsewhere" + image.target, version="1.0"),
        server.get(image.target, f"If-None-Match: {etag}"),
    ]
    assert {answer.header("ETag") for answer in again} == {etag}
    dates = {answer.header("Last-Modified") for answer in again if answer.status != 304}
    assert dates == {first.header("Last-Modified")}
    assert date(first.header("Last-Modified")) <= time.time() + 1


def test_images_with_other_bytes_have_another_etag(server: Server) -> None:
    names = ["worker-0.iso", "worker-0.initramfs", "worker-1.iso", "worker-1.initramfs"]
    etags = [server.get(f"/{name}", method="HEAD").header("ETag") for name in names]
    assert len(set(etags)) == len(names)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (["If-None-Match: ETAG"], 304),
        (["If-None-Match: W/ETAG"], 304),
        (["If-None-Match: *"], 304),
        (['If-None-Match: "other"'], 200),
        (['If-None-Match: "other", ETAG'], 304),
        (['If-None-Match: "other",ETAG,"third"'], 304),
        (['If-None-Match: "with,comma" , W/ETAG'], 304),
        (['If-None-Match: "other"', "If-None-Match: ETAG"], 304),
        (['If-None-Match: "other", W/"third"'], 200),
        (["If-None-Match: BARE"], 200),
        (["If-None-Match:"], 200),
        (["If-Modified-Since: SAME"], 304),
        (["If-Modified-Since: LATER"], 304),
        (["If-Modified-Since: EARLIER"], 200),
        (["If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"], 200),
        (["If-Modified-Since: Sun Nov  6 08:49:37 1994"], 200),
        (["If-Modified-Since: yesterday"], 200),
        (["If-Modified-Since: 0"], 200),
        (["If-Modified-Since:"], 200),
        # An entity tag goes before a date (section 13.2.2).
        (['If-None-Match: "other"', "If-Modified-Since: SAME"], 200),
        (["If-None-Match: ETAG", "If-Modified-Since: EARLIER"], 304),
        (["If-Match: ETAG"], 200),
        (["If-Match: *"], 200),
        (['If-Match: "other", ETAG'], 200),
        (['If-Match: "other"'], 412),
        (["If-Match: W/ETAG"], 412),
        (["If-Match: BARE"], 412),
        (["If-Unmodified-Since: SAME"], 200),
        (["If-Unmodified-Since: LATER"], 200),
        (["If-Unmodified-Since: EARLIER"], 412),
        (["If-Unmodified-Since: tomorrow"], 200),
        (["If-Match: ETAG", "If-Unmodified-Since: EARLIER"], 200),
        (["If-Match: ETAG", "If-None-Match: ETAG"], 304),
        (['If-Match: "other"', "If-None-Match: ETAG"], 412),
        (["If-Unmodified-Since: SAME", "If-Modified-Since: SAME"], 304),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(server: Server, fields: list[str], status: int, method: str) -> None:
    image = server.initramfs
    plain = server.get(image.target, method="HEAD")
    etag, modified = plain.header("ETag"), plain.header("Last-Modified")
    assert etag is not None
    words = {
        "ETAG": etag,
        "BARE": etag.strip('"'),
        "SAME": modified or "",
        "LATER": shifted(modified, 60),
        "EARLIER": shifted(modified, -1),
    }
    sent = [re.sub("|".join(words), lambda found: words[found[0]], field) for field in fields]
    answer = server.get(image.target, *sent, method=method)
    assert answer.status == status
    if status == 304:
        # Section 15.4.5: what a 200 would have said of these.
        assert answer.header("ETag") == etag
        assert answer.body == b""
    if status == 412:
        assert image.data not in answer.body
    if status == 200 and method == "GET":
        assert answer.body == image.data


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("ETAG", 206),
        ("SAME", 206),
        ("W/ETAG", 200),
        ('"other"', 200),
        ("BARE", 200),
        ("LATER", 200),
        ("EARLIER", 200),
        ("yesterday", 200),
        ("*", 200),
        ("", 200),
        ('"other", ETAG', 200),
    ],
)
def test_if_range_honours_a_range_on_a_strong_match_alone(
    server: Server, value: str, status: int
) -> None:
    image = server.initramfs
    plain = server.get(image.target, method="HEAD")
    etag, modified = plain.header("ETag") or "", plain.header("Last-Modified")
    for word, meaning in {
        "ETAG": etag,
        "BARE": etag.strip('"'),
        "SAME": modified or "",
        "LATER": shifted(modified, 1),
        "EARLIER": shifted(modified, -1),
    }.items():
        value = value.replace(word, meaning)
    answer = server.get(image.target, "Range: bytes=5-9", f"If-Range: {value}")
    expected = image.data[5:10] if status == 206 else image.data
    assert (answer.status, answer.body) == (status, expected)


def test_a_range_that_if_range_voids_may_be_unsatisfiable(server: Server) -> None:
    image = server.initramfs
    answer = server.get(image.target, "Range: bytes=999999999-", 'If-Range: "old"')
    assert (answer.status, answer.body) == (200, image.data)


def test_if_range_without_a_range_means_nothing(server: Server) -> None:
    image = server.initramfs
    answer = server.get(image.target, 'If-Range: "old"')
    assert (answer.status, answer.body) == (200, image.data)


def test_a_precondition_goes_before_a_range(server: Server) -> None:
    target = server.iso.target
    etag = server.get(target, method="HEAD").header("ETag")
    assert server.get(target, "Range: bytes=5-9", 'If-Match: "other"').status == 412
    assert server.get(target, "Range: bytes=5-9", f"If-None-Match: {etag}").status == 304
    assert server.get(target, "Range: bytes=99999999999-", f"If-None-Match: {etag}").status == 304


# Names and targets


@pytest.mark.parametrize("path", ["/", "/worker-0.iso", "/unknown.iso"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(server: Server, path: str, method: str) -> None:
    answer = server.get(path, "Content-Length: 0", method=method)
    assert answer.status == 405
    assert answer.header("Allow") == "GET, HEAD"


UNKNOWN = [
    "/unknown.iso",
    "/worker-0",
    "/worker-0.ISO",
    "/WORKER-0.iso",
    "/worker-0.iso.iso",
    "/worker-0.kernel",
    "/worker-0.yaml",
    "/worker-1.json",
    "/worker-00.iso",
    "/.iso",
    "/iso",
    "/..",
    "/../hosts/worker-0.yaml",
    "/%2e%2e",
    "/etc%2Fpasswd",
    "/worker-0%2Eiso%00",
    "/worker-0.iso%20",
    "/worker-0.iso;x",
    "/worker-0.iso%3Fx",
    "/%",
    "/%zz",
    "/%ff%fe.iso",
    "/" + "a" * 8000,
    "/favicon.ico",
]


@pytest.mark.parametrize("target", UNKNOWN)
def test_an_unknown_name_is_not_found(server: Server, target: str) -> None:
    answer = server.get(target)
    assert answer.status == 404
    # The same for all: nothing shows how near a guess was.
    other = server.get("/nothing-of-the-kind")
    assert answer.body == other.body
    assert without(answer, ["Date"]) == without(other, ["Date"])


@pytest.mark.parametrize("target", ["/", "//", "/worker-0.iso/", "/?", "/index.html"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_lists_the_images(server: Server, target: str, method: str) -> None:
    answer = server.get(target, method=method)
    assert answer.status in (200, 404)
    text = str(answer.headers).encode() + answer.body
    assert b"worker" not in text
    assert b".iso" not in text


@pytest.mark.parametrize(
    "target",
    [
        "/worker-0.initramfs",
        "//worker-0.initramfs",
        "/a/b/c/worker-0.initramfs",
        "/unknown.iso/worker-0.initramfs",
        "/../../worker-0.initramfs",
        "/worker%2D0.initramfs",
        "/%77orker-0%2einitramfs",
        "/worker-0.initramfs?",
        "/worker-0.initramfs?x=1&y=2",
        "/worker-0.initramfs?next=/unknown.iso",
        "/worker-0.initramfs?a=%zz;b",
        "http://mic.example/worker-0.initramfs",
        "http://mic.example:8084/images/worker-0.initramfs?x",
        "HTTPS://[::1]/worker-0.initramfs",
    ],
)
def test_the_last_segment_of_the_path_names_the_image(server: Server, target: str) -> None:
    answer = server.get(target)
    assert (answer.status, answer.body) == (200, server.initramfs.data)


def test_a_name_may_hold_any_character(server: Server) -> None:
    answer = server.get("/" + quote(f"{ODD_NAME}.initramfs"))
    assert answer.status == 200
    disposition = answer.header("Content-Disposition") or ""
    assert re.fullmatch(
        r'attachment; filename="[^"\\%\x00-\x1f\x7f-\xff]+\.initramfs"', disposition
    )


@pytest.mark.parametrize(
    "field",
    [
        "Authorization: Basic YWRtaW46c2VjcmV0",
        "Authorization: Bearer nonsense",
        "Authorization:",
        "Cookie: a=b; c; =; TWISTED_SESSION=x",
        "Accept: text/plain;q=0.1",
        "Expect: nothing",
        "X-Forwarded-For: 192.0.2.1",
        "Upgrade: h2c",
    ],
)
def test_what_no_one_asked_for_is_ignored(server: Server, field: str) -> None:
    answer = server.get(server.initramfs.target, field)
    assert (answer.status, answer.body) == (200, server.initramfs.data)


def test_the_server_does_not_disclose_what_it_is_made_of(server: Server) -> None:
    assert server.get("/", method="HEAD").header("Server") in (None, "mic")


# Connections


def test_http_1_0_without_host_works(server: Server, image: Served) -> None:
    answer = server.get(image.target, version="1.0")
    assert (answer.status, answer.body) == (200, image.data)
    assert answer.header("Content-Length") == str(image.size)


def test_a_connection_serves_many_requests(server: Server) -> None:
    image = server.iso
    with server.connect() as wire:
        for n in range(200):
            wire.ask(image.target, f"Range: bytes={n * 512}-{n * 512 + 511}")
            assert wire.answer().body == image.data[n * 512 : (n + 1) * 512]
        for target, status in [("/unknown.iso", 404), ("/", 200), (image.target, 200)]:
            wire.ask(target)
            assert wire.answer().status == status
        for fields, status in [
            (("If-None-Match: *",), 304),
            (('If-Match: "x"',), 412),
            (("Range: bytes=-0",), 416),
        ]:
            wire.ask(image.target, *fields)
            assert wire.answer().status == status
        wire.ask(image.target, method="HEAD")
        assert wire.answer("HEAD").status == 200
        wire.ask(image.target, "Content-Length: 3", method="POST")
        wire.send(b"abc")
        assert wire.answer().status == 405
        wire.ask(image.target, "Content-Length: 2", "Range: bytes=1-2")
        wire.send(b"xy")
        assert wire.answer().body == image.data[1:3]
        wire.ask(image.target, "Range: bytes=0-0", "Connection: close")
        assert wire.answer().body == image.data[:1]
        wire.ends()


@pytest.mark.parametrize(
    "value", ["close", "Close", "keep-alive, close", "close, TE", "TE,close", "TE, close ,x"]
)
@pytest.mark.parametrize("whole", [False, True])
def test_connection_close_is_honoured(server: Server, value: str, whole: bool) -> None:
    image = server.iso if whole else server.initramfs
    with server.connect() as wire:
        wire.ask(image.target, f"Connection: {value}")
        answer = wire.answer()
        assert answer.body == image.data
        assert answer.header("Connection") == "close"
        wire.ends()


def test_connection_close_is_honoured_in_a_line_of_its_own(server: Server) -> None:
    with server.connect() as wire:
        wire.ask("/", "Connection: TE", "Connection: close")
        wire.answer()
        wire.ends()


def test_requests_after_connection_close_are_not_answered(server: Server) -> None:
    image = server.initramfs
    with server.connect() as wire:
        wire.send(request(image.target, "Connection: close") + request(image.target))
        assert wire.answer().body == image.data
        wire.ends()


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    image = server.iso
    starts = [n * 37777 for n in range(60)]
    sizes = [1, 700, 65536, 65537, 200000]
    ranges = [(start, start + sizes[n % 5]) for n, start in enumerate(starts)]
    with server.connect() as wire:
        wire.send(
            b"".join(
                request(image.target, f"Range: bytes={start}-{stop - 1}") for start, stop in ranges
            )
            + request("/unknown.iso")
            + request(image.target, method="HEAD")
            + request(image.target, "Connection: close")
        )
        for start, stop in ranges:
            answer = wire.answer()
            assert (answer.status, answer.body) == (206, image.data[start:stop])
        assert wire.answer().status == 404
        assert wire.answer("HEAD").status == 200
        assert wire.answer().body == image.data
        wire.ends()


def test_a_slow_reader_of_pipelined_requests_gets_every_byte(server: Server) -> None:
    image = server.iso
    with server.connect() as wire:
        wire.take_little()
        wire.send(request(image.target) * 3 + request(image.target, "Range: bytes=7-90006") * 20)
        # Nothing is read until the server has nowhere to write any more.
        last = [-1.0, 0.0]

        def idle() -> bool:
            last[:] = [last[1], server.daemon.processor_time()]
            time.sleep(0.05)
            return last[0] == last[1]

        eventually(idle, "the server rests")
        for _ in range(3):
            _, status, _ = wire.head()
            assert status == 200
            for start in range(0, image.size, 50000):
                expected = image.data[start : start + 50000]
                assert wire.take(len(expected)) == expected
        for _ in range(20):
            assert wire.answer().body == image.data[7:90007]


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    image = server.initramfs
    with server.connect() as wire:
        for byte in request(image.target, "Range: bytes=5-9"):
            wire.send(bytes([byte]))
        assert wire.answer().body == image.data[5:10]


def test_empty_lines_before_a_request_are_skipped(server: Server) -> None:
    # RFC 9112 section 2.2: at least one.
    with server.connect() as wire:
        wire.send(b"\r\n" + request("/") + b"\r\n" + request("/"))
        assert [wire.answer().status, wire.answer().status] == [200, 200]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("fields", [(), ("Range: bytes=100-",), ("Range: bytes=5-9",)])
def test_a_client_that_closes_its_side_after_the_request_gets_its_bytes(
    server: Server, version: str, fields: tuple[str, ...]
) -> None:
    if not server.half_closes:
        pytest.skip("TLS has no half-closed connections")
    image = server.iso
    start, stop = {(): (0, None), ("Range: bytes=5-9",): (5, 10)}.get(fields, (100, None))
    with server.connect() as wire:
        wire.ask(image.target, *fields, version=version)
        wire.half_close()
        assert wire.answer().body == image.data[start:stop]
        # No request can follow: the server closes without a request to do so.
        wire.ends()


def test_a_client_that_closes_its_side_after_pipelined_requests_gets_all_of_them(
    server: Server,
) -> None:
    if not server.half_closes:
        pytest.skip("TLS has no half-closed connections")
    image = server.iso
    with server.connect() as wire:
        wire.send(request(image.target) + request(image.target, "Range: bytes=5-9") * 2)
        wire.half_close()
        assert wire.answer().body == image.data
        assert wire.answer().body == image.data[5:10]
        assert wire.answer().body == image.data[5:10]
        wire.ends()


def test_expect_continue_is_answered(server: Server) -> None:
    with server.connect() as wire:
        wire.ask("/", "Expect: 100-continue", "Content-Length: 4", method="PUT")
        first = wire.answer()
        if first.status == 100:
            wire.send(b"body")
            first = wire.answer()
        assert first.status == 405


def test_urls_on_the_log_can_be_fetched(server: Server) -> None:
    lines = server.daemon.wait_for(r"serving http", 6, DEADLINE)
    urls = [line.split()[-1] for line in lines]
    assert len(urls) == 6
    for url in urls:
        assert re.fullmatch(r"http://127\.0\.0\.1:8084/[A-Za-z0-9%._-]+\.(iso|initramfs)", url)
        assert server.get(url, method="HEAD").status == 200


def test_one_connection_does_not_wait_for_another(server: Server) -> None:
    image = server.iso
    with server.connect() as stalled, server.connect() as other:
        stalled.take_little()
        stalled.ask(image.target)
        stalled.head()
        other.ask(image.target)
        assert other.answer().body == image.data
        assert stalled.take(image.size) == image.data


def test_a_request_that_begins_behind_another_is_read_from_its_beginning(server: Server) -> None:
    """The symptom of looking at what came last alone: X is left for the request after this."""
    image = server.iso
    plain = request(image.target, "Range: bytes=5-9")
    with server.connect() as wire:
        wire.send(plain + b"X")
        assert wire.answer().body == image.data[5:10]
        wire.send(plain)
        assert wire.answer().status == 405
        wire.send(plain)
        assert wire.answer().body == image.data[5:10]

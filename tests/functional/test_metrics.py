"""Health and metrics of a real mic in a process of its own: numbers rise by what was asked.

Scope: static mode over real TCP. The numbers are read before and after; nobody else asks this mic.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from functional.daemon import Daemon, eventually
from functional.impatient import LIMITS
from functional.media import TIMEOUT, Media, Server, make_hosts, make_media, tcp_client
from functional.wire import Wire
from metrics_page import address, ask, page_of

from mic.web.body import SMALL

MIB = 1024 * 1024
ISO = "/worker-0.iso"
INITRAMFS = "/worker-0.initramfs"
IMPATIENT = "functional.impatient"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def media(tmp_path: Path) -> Media:
    """Base files that a test may spoil."""
    return make_media(tmp_path / "media", 8 * MIB).write()


@pytest.fixture
def server(media: Media, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A mic with two hosts; with the parameter `IMPATIENT` it soon drops clients that stall."""
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml", "worker-1.yaml")
    module = getattr(request, "param", "")
    flags = ["-images-bind-addr=127.0.0.1:0", "-metrics-addr=127.0.0.1:0", f"-nmstate-dir={hosts}"]
    daemon = Daemon(
        tmp_path / "log",
        flags if module else ["static", *flags],
        media.environment,
        module=module,
    )
    try:
        yield Server(way="tcp", daemon=daemon, media=media, connect_socket=tcp_client(*daemon.tcp))
        daemon.stop()
    finally:
        daemon.kill()


class Rise:
    """How much numbers rose since this was made."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._before = page_of(daemon)
        self._after = self._before

    def look(self) -> Rise:
        self._after = page_of(self._daemon)
        return self

    def value(self, name: str, **labels: str) -> float:
        return self._after.value(name, **labels) - self._before.value(name, **labels)

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """What rose, by the values of its labels in the order of their names."""
        risen = {}
        for sample in self._after.samples:
            if sample.name == name and (rise := self.value(name, **dict(sample.labels))):
                risen[tuple(value for _, value in sample.labels)] = rise
        return risen


@pytest.fixture
def rise(server: Server) -> Rise:
    return Rise(server.daemon)


def test_requests_rise_by_what_was_asked_by_kind_and_status(server: Server, rise: Rise) -> None:
    for _ in range(3):
        assert server.get(ISO).status == 200
    assert server.get(ISO, method="HEAD").status == 200
    assert server.get(INITRAMFS, "Range: bytes=0-9,20-29").status == 206
    assert server.get(INITRAMFS, "Range: bytes=999999999-").status == 416
    etag = server.get(ISO, method="HEAD").header("ETag")
    assert server.get(ISO, f"If-None-Match: {etag}").status == 304
    assert server.get(ISO, 'If-Match: "other"').status == 412
    assert server.get("/nobody.iso").status == 404
    assert server.get("/").status == 200
    assert server.get(ISO, method="DELETE").status == 405
    assert rise.look().all("mic_http_requests_total") == {
        ("iso", "200"): 5,
        ("iso", "304"): 1,
        ("iso", "412"): 1,
        ("initramfs", "206"): 1,
        ("initramfs", "416"): 1,
        ("none", "404"): 1,
        ("none", "200"): 1,
        ("none", "405"): 1,
    }


def test_ranges_count_alike_in_both_lanes(server: Server) -> None:
    # The first request of all composes the image, which is nothing for the fast lane.
    server.get(ISO)
    rise = Rise(server.daemon)
    with server.connect() as wire:
        for number in range(10):
            # The plainest way is the fast lane; a field that it does not know leads past it.
            wire.ask(ISO, f"Range: bytes={number * 2048}-{number * 2048 + 2047}")
            assert len(wire.answer().body) == 2048
        assert rise.look().all("mic_http_requests_total") == {("iso", "206"): 10}
        assert rise.all("mic_http_body_bytes_total") == {("iso",): 20480}
        # That it was the fast lane shows in what only the other one counts.
        assert rise.value("mic_http_first_byte_seconds_count", kind="iso") == 0
        for number in range(10):
            wire.ask(ISO, f"Range: bytes={number * 2048}-{number * 2048 + 2047}", "X: y")
            assert len(wire.answer().body) == 2048
    assert rise.look().all("mic_http_requests_total") == {("iso", "206"): 20}
    assert rise.all("mic_http_body_bytes_total") == {("iso",): 40960}
    assert rise.value("mic_http_first_byte_seconds_count", kind="iso") == 10
    assert rise.value("mic_http_body_duration_seconds_count", kind="iso") == 0


def test_large_bodies_count_each_byte_their_duration_and_their_first_byte(
    server: Server, rise: Rise
) -> None:
    assert server.get(ISO).body == server.iso.data
    assert len(server.get(ISO, f"Range: bytes=0-{SMALL}").body) == SMALL + 1
    eventually(
        lambda: rise.look().value("mic_http_body_duration_seconds_count", kind="iso") == 2,
        "both bodies are over",
    )
    assert rise.all("mic_http_body_bytes_total") == {("iso",): server.iso.size + SMALL + 1}
    assert rise.value("mic_http_first_byte_seconds_count", kind="iso") == 2
    assert rise.value("mic_http_body_duration_seconds_sum", kind="iso") > 0
    # The second client's download is still under way: more of its ranges may come.
    assert rise.all("mic_downloads_ended_total") == {("complete",): 1}
    assert page_of(server.daemon).value("mic_downloads") >= 1


def test_open_bodies_and_connections_are_those_of_now(server: Server, rise: Rise) -> None:
    with server.connect() as wire:
        wire.take_little()
        wire.ask(ISO)
        wire.head()
        rise.look()
        assert rise.value("mic_http_open_bodies") == 1
        assert rise.value("mic_http_connections") == 1
        wire.take(server.iso.size)
    eventually(lambda: not rise.look().value("mic_http_connections"), "the connection is gone")
    assert rise.value("mic_http_open_bodies") == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: m\r\nContent-Length: 9999999\r\n\r\n", "413"),
        (b"GET /" + b"x" * 40_000, "431"),
    ],
)
def test_what_is_refused_before_it_is_a_request_counts(
    server: Server, rise: Rise, data: bytes, status: str
) -> None:
    with server.connect() as wire:
        wire.send(data)
        assert wire.rest().startswith(b"HTTP/1.1 " + status.encode())
    assert rise.look().all("mic_http_requests_total") == {("none", status): 1}


@pytest.mark.parametrize("server", [IMPATIENT], indirect=True)
def test_who_does_not_ask_in_time_is_counted(server: Server, rise: Rise) -> None:
    with server.connect() as wire:
        wire.send(b"GET /worker-0.iso HT")
        wire.ends()
    assert rise.look().all("mic_http_connections_broken_off_total") == {("slow_request",): 1}


@pytest.mark.parametrize("server", [IMPATIENT], indirect=True)
def test_who_stops_in_the_middle_is_counted(server: Server, rise: Rise) -> None:
    with server.connect() as wire:
        wire.take_little()
        wire.ask(ISO)
        eventually(
            lambda: rise.look().all("mic_http_connections_broken_off_total") == {("stalled",): 1},
            f"cut off after {LIMITS.stall} s",
        )
    # Counted a moment later, when the connection is gone.
    eventually(
        lambda: rise.look().value("mic_http_body_duration_seconds_count", kind="iso") == 1,
        "the end of the body",
    )


def test_a_body_whose_base_is_overwritten_is_counted(server: Server, rise: Rise) -> None:
    with server.connect() as wire:
        wire.take_little()
        wire.ask(ISO)
        wire.head()
        wire.take(1000)
        server.media.iso_path.write_bytes(server.media.iso[::-1])
        wire.rest()
    assert rise.look().all("mic_http_connections_broken_off_total") == {("source",): 1}


def test_images_and_builds_follow_the_directory(server: Server, rise: Rise, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"

    def images() -> float:
        return page_of(server.daemon).value("mic_images", kind="iso")

    assert images() == 2
    (hosts / "worker-2.yaml").write_bytes(b"")
    server.daemon.hang_up()
    eventually(lambda: images() == 3, "a third image")
    assert rise.look().value("mic_build_duration_seconds_count") == 1
    assert rise.all("mic_build_failures_total") == {}
    (hosts / "worker-3.yaml").write_text("interfaces: nonsense\n")
    server.daemon.hang_up()
    eventually(
        lambda: rise.look().all("mic_build_failures_total") == {("invalid_input",): 1},
        "a failed build",
    )
    assert rise.value("mic_build_duration_seconds_count") == 2
    assert rise.value("mic_readiness_problems") == 1
    (hosts / "worker-0.yaml").unlink()
    server.daemon.hang_up()
    eventually(lambda: images() == 2, "one is gone")


def test_a_base_image_that_is_away_shows_and_so_does_its_return(
    server: Server, rise: Rise, tmp_path: Path
) -> None:
    assert rise.look().value("mic_ready") == 0
    server.media.iso_path.rename(f"{server.media.iso_path}.away")
    server.daemon.hang_up()
    eventually(lambda: rise.look().value("mic_base_images_unusable") == 1, "it is missed")
    assert page_of(server.daemon).value("mic_ready") == 0
    assert ask(f"{address(server.daemon)}/readyz")[0] == 503
    assert server.get(ISO).status == 503
    assert rise.look().all("mic_http_requests_total") == {("iso", "503"): 1}
    (tmp_path / "hosts/late.yaml").write_bytes(b"")
    server.daemon.hang_up()
    eventually(
        lambda: rise.look().value("mic_build_failures_total", reason="base_unavailable") >= 1,
        "a build without its base",
    )
    server.media.write()
    server.daemon.hang_up()
    eventually(lambda: rise.look().value("mic_base_images_unusable") == 0, "it is back")
    assert page_of(server.daemon).value("mic_ready") == 1
    assert server.get(ISO).status == 200


def test_a_busy_loop_shows(server: Server) -> None:
    """The loop of a process that was stopped comes late."""
    rise = Rise(server.daemon)
    os.kill(server.daemon.pid, signal.SIGSTOP)
    try:
        time.sleep(0.6)
    finally:
        os.kill(server.daemon.pid, signal.SIGCONT)
    name = "mic_event_loop_lag_seconds"
    eventually(lambda: rise.look().value(f"{name}_sum") > 0.25, "a long lag")
    assert rise.value(f"{name}_count") > rise.value(f"{name}_bucket", le="0.25")


def test_the_process_is_on_the_page(server: Server) -> None:
    page = page_of(server.daemon)
    assert page.value("process_open_fds") == pytest.approx(server.daemon.descriptors(), abs=3)
    assert page.value("process_resident_memory_bytes") == pytest.approx(
        server.daemon.resident(), rel=0.2
    )
    assert page.value("process_cpu_seconds_total") > 0
    assert page.total("mic_build_info", mode="static") == 1


def test_no_name_no_client_and_no_url_is_on_the_page(server: Server) -> None:
    server.get(ISO)
    server.get("/a-name-that-nobody-has.iso")
    text = page_of(server.daemon).text
    assert not re.search(r"worker|nobody|127\.0\.0\.1|http:", text)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_all_pages_answer_head_and_nothing_but_reading(server: Server, path: str) -> None:
    url = address(server.daemon) + path
    status, head, body = ask(url, "HEAD")
    assert (status, body) == (200, b"")
    assert int(head["Content-Length"]) > 2
    assert ask(url)[1]["Content-Type"] == head["Content-Type"]
    for method in ("POST", "PUT", "DELETE"):
        assert ask(url, method)[0] in (405, 501)
    assert ask(url + "/more")[0] == 404


def test_openmetrics_for_those_who_ask(server: Server) -> None:
    url = f"{address(server.daemon)}/metrics"
    _, head, text = ask(url, Accept=f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5")
    assert head["Content-Type"].startswith(OPENMETRICS)
    assert text.endswith(b"# EOF\n")
    assert ask(url)[1]["Content-Type"].startswith("text/plain; version=0.0.4")


def test_without_an_address_there_is_no_page(
    start: Callable[..., Daemon], media: Media, tmp_path: Path
) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    flags = ["-images-bind-addr=127.0.0.1:0", f"-nmstate-dir={hosts}"]
    for off in ([], ["-metrics-addr=0"]):
        daemon = start(*flags, *off, environment=media.environment)
        with Wire(tcp_client(*daemon.tcp)()) as wire:
            wire.ask(ISO)
            assert wire.answer().status == 200
            wire.ask("/metrics")
            assert wire.answer().status == 404
        assert "health and metrics" not in daemon.log


def test_the_version_of_twisted_is_not_disclosed(server: Server) -> None:
    host, _, port = address(server.daemon).removeprefix("http://").rpartition(":")
    for line in ("GET /readyz", "HEAD /healthz", "GET /none", "OPTIONS *", "PUT /readyz"):
        method, target = line.split()
        with Wire(socket.create_connection((host, int(port)), TIMEOUT)) as wire:
            wire.ask(target, method=method)
            _, _, fields = wire.head()
        assert dict(fields)["Server"] == "mic", line

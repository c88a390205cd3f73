"""The status page of a real daemon, over its own port: what it answers, to whom, and how.

How it looks and behaves in a browser is in tests/e2e/test_status_page.py.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from functional.daemon import Daemon
from functional.media import Media, make_hosts

from mic.statuspage.status_site import MAX_CONNECTIONS

BIND = "-images-bind-addr=127.0.0.1:0"
SECRET = "hunter2"


class Port:
    """The port of the page."""

    def __init__(self, daemon: Daemon) -> None:
        (line,) = daemon.wait_for("status page on ")
        host, _, port = line.rpartition(" ")[2].rpartition(":")
        self.address = (host, int(port))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=20)

    def ask(
        self, target: str = "/", *, method: str = "GET", host: str | None = "localhost"
    ) -> tuple[int, dict[str, str], str]:
        fields = f"Host: {host}\r\n" if host is not None else ""
        with self.connect() as sock:
            request = f"{method} {target} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"
            sock.sendall(request.encode())
            answer = b""
            while part := sock.recv(65536):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        found = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), found, body.decode()


@pytest.fixture
def port(tmp_path: Path, media: Media, start: Callable[..., Daemon]) -> Port:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml", "worker-1.yaml")
    (hosts / "bad.yaml").write_text("interfaces: [{name: '<b>x</b>', type: 7}]")
    daemon = start(
        BIND,
        f"-nmstate-dir={hosts}",
        "-status-addr=127.0.0.1:0",
        "-status-hosts=mic.lab",
        "-images-publish-addr=http://images.example.com",
        environment={
            **media.environment,
            "IRONIC_AGENT_PULL_SECRET": f'{{"auths": {{"q": {{"auth": "{SECRET}"}}}}}}',
        },
    )
    daemon.wait_until_serving()
    return Port(daemon)


def test_shows_the_hosts_and_no_secret(port: Port) -> None:
    status, fields, page = port.ask()
    assert status == 200
    assert fields["content-type"] == "text/html; charset=utf-8"
    assert int(fields["content-length"]) == len(page.encode())
    for text in ("<title>mic: ready, 3 hosts", "worker-0", "worker-1", "never read", "no image"):
        assert text in page, text
    assert "http://images.example.com/worker-0.iso" in page
    assert "<b>" not in page
    assert SECRET not in page
    assert "bad" in port.ask("/?show=problems")[2]
    assert "worker-1" not in port.ask("/?q=worker-0")[2]


def test_its_fields_leave_browsers_no_room(port: Port) -> None:
    fields = port.ask()[1]
    assert fields["content-security-policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["x-frame-options"] == "DENY"
    assert fields["referrer-policy"] == "no-referrer"
    assert fields["cross-origin-resource-policy"] == "same-origin"
    assert fields["cache-control"] == "no-store"
    assert fields["server"] == "mic"
    assert "set-cookie" not in fields
    assert "access-control-allow-origin" not in fields


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io:80", "", None])
def test_answers_to_no_foreign_name(port: Port, host: str | None) -> None:
    """DNS rebinding: a name of someone else's that leads to this address."""
    for target in ("/", "/other"):
        status, fields, text = port.ask(target, host=host)
        assert (status, fields["content-type"]) == (421, "text/plain; charset=utf-8")
        assert "-status-hosts NAME" in text
        assert "worker" not in text


def test_answers_to_its_own_names(port: Port) -> None:
    for host in ("127.0.0.1:1", "[::1]", "localhost:8086", "mic.lab", socket.gethostname()):
        assert port.ask(host=host)[0] == 200, host


def test_two_names_are_none(port: Port) -> None:
    with port.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert sock.recv(1000).startswith((b"HTTP/1.1 421 ", b"HTTP/1.1 400 "))


def test_a_body_without_end_is_broken_off(port: Port) -> None:
    with port.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            sock.sendall(bytes(64 << 20))
    assert port.ask()[0] == 200


def test_head_has_the_fields_alone(port: Port) -> None:
    status, fields, body = port.ask(method="HEAD")
    assert (status, body) == (200, "")
    assert int(fields["content-length"]) > 5000
    assert "content-security-policy" in fields


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_there_is_nothing_to_change(port: Port, method: str) -> None:
    status, fields, text = port.ask(method=method)
    assert (status, fields["allow"]) == (405, "GET, HEAD")
    assert text == "This page has GET and HEAD only.\n"


@pytest.mark.parametrize("target", ["/other", "/favicon.ico", "//", "/%2e%2e/etc/passwd", "/?/x"])
def test_there_is_no_other_page(port: Port, target: str) -> None:
    status, fields, text = port.ask(target)
    if target == "/?/x":
        assert status == 200
        return
    assert (status, fields["content-type"]) == (404, "text/plain; charset=utf-8")
    assert text == "There is no such page; mic has / here.\n"


@pytest.mark.parametrize(
    "query", ["q=%00%ff<script>", "page=999999999999999999", "&" * 8000, "sort=sort&show=%F0"]
)
def test_any_query_gets_a_page(port: Port, query: str) -> None:
    status, _, page = port.ask(f"/?{query}")
    assert status == 200
    assert page.count("<script>") == 1


def test_the_oldest_connections_make_room(port: Port) -> None:
    """Clients that send nothing, or half a request, keep nobody out."""
    idle = [port.connect() for _ in range(2 * MAX_CONNECTIONS)]
    try:
        for sock in idle[-10:]:
            sock.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        assert port.ask()[0] == 200
        with suppress(ConnectionResetError):
            assert idle[0].recv(1) == b""
    finally:
        for sock in idle:
            sock.close()


def test_many_requests_on_one_connection_are_answered_in_order(port: Port) -> None:
    with port.connect() as sock:
        sock.sendall(b"GET /?page=1 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        sock.sendall(b"GET /other HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := sock.recv(65536):
            answer += part
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200"] * 20 + [b"404"]


def test_it_is_off_unless_wanted(
    tmp_path: Path, media: Media, start: Callable[..., Daemon]
) -> None:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")
    daemon = start(BIND, f"-nmstate-dir={hosts}", environment=media.environment)
    daemon.wait_until_serving()
    assert "status page" not in daemon.whole_log

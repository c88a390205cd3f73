"""Where a real mic listens: Go-style addresses on both IP families, endpoints, TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from functional.daemon import Daemon, eventually
from functional.media import TIMEOUT, Media, make_hosts
from functional.wire import Wire
from metrics_page import address, ask
from ports import free_port


@pytest.fixture
def serve(media: Media, tmp_path: Path, start: Callable[..., Daemon]) -> Callable[..., Daemon]:
    hosts = make_hosts(tmp_path / "hosts", "worker-0.yaml")

    def serve(address: str, *flags: str) -> Daemon:
        return start(
            *(f"-images-bind-addr={address}", f"-nmstate-dir={hosts}", *flags),
            environment=media.environment,
        )

    return serve


def answers(address: str, port: int) -> bool:
    try:
        sock = socket.create_connection((address, port), TIMEOUT)
    except OSError:
        return False
    with Wire(sock) as wire:
        wire.ask("/worker-0.iso", "Connection: close", method="HEAD")
        return wire.answer("HEAD").status == 200


def test_a_port_alone_is_every_address_of_both_families(serve: Callable[..., Daemon]) -> None:
    port = free_port()
    daemon = serve(f":{port}")
    assert daemon.wait_until_serving() == f"[::]:{port}"
    assert answers("127.0.0.1", port)
    assert answers("::1", port)
    # The log names the client by its IPv4 address, not by ::ffff:127.0.0.1.
    with Wire(socket.create_connection(("127.0.0.1", port), TIMEOUT)) as wire:
        wire.ask("/worker-0.iso", "Range: bytes=0-0")
        wire.answer()
    (line,) = daemon.wait_for("started to download")
    assert ": 127.0.0.1 started" in line


@pytest.mark.parametrize(
    ("host", "yes", "no"),
    [
        ("127.0.0.1", "127.0.0.1", "::1"),
        ("[::1]", "::1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1", "::1"),
        ("localhost", "127.0.0.1", "::1"),
    ],
)
def test_an_address_is_that_address(
    serve: Callable[..., Daemon], host: str, yes: str, no: str
) -> None:
    port = free_port()
    serve(f"{host}:{port}").wait_until_serving()
    assert answers(yes, port)
    assert not answers(no, port)


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("tcp:{}", "127.0.0.1"),
        ("tcp:{}:interface=127.0.0.1", "127.0.0.1"),
        ("tcp6:{}:interface=\\:\\:1", "::1"),
    ],
)
def test_a_tcp_endpoint_is_listened_on(
    serve: Callable[..., Daemon], endpoint: str, address: str
) -> None:
    port = free_port()
    serve(endpoint.format(port)).wait_until_serving()
    assert answers(address, port)


def test_a_unix_socket_is_listened_on_again_after_a_kill(
    serve: Callable[..., Daemon], tmp_path: Path
) -> None:
    path = tmp_path / "socket"

    def ask() -> int:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT)
        sock.connect(str(path))
        with Wire(sock) as wire:
            wire.ask("/worker-0.iso", method="HEAD")
            return wire.answer("HEAD").status

    first = serve(f"unix:{path}")
    assert first.wait_until_serving() == str(path)
    assert ask() == 200
    first.process.kill()
    first.process.wait()
    first._graceful = (-9,)
    serve(f"unix:{path}:mode=600").wait_until_serving()
    assert ask() == 200
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_is_1_2_or_newer(serve: Callable[..., Daemon], certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    daemon = serve("127.0.0.1:0", f"-images-tls-cert-file={cert}", f"-images-tls-key-file={key}")

    def version(newest: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=str(cert))
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = newest
        context.set_ciphers("ALL:@SECLEVEL=0")
        plain = socket.create_connection(daemon.tcp, TIMEOUT)
        with plain, context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"HEAD /worker-0.iso HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.0 200 ")
            return sock.version()

    assert version(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert version(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        version(ssl.TLSVersion.TLSv1_1)
    daemon.check()


def test_http_2_is_not_negotiated(
    serve: Callable[..., Daemon], certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    daemon = serve("127.0.0.1:0", f"-images-tls-cert-file={cert}", f"-images-tls-key-file={key}")
    context = ssl.create_default_context(cafile=str(cert))
    context.set_alpn_protocols(["h2", "http/1.1"])
    plain = socket.create_connection(daemon.tcp, TIMEOUT)
    with plain, context.wrap_socket(plain, server_hostname="localhost") as sock:
        assert sock.selected_alpn_protocol() in ("http/1.1", None)


def test_noise_on_the_tls_port_is_no_fault_of_ours(
    serve: Callable[..., Daemon], certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    daemon = serve("127.0.0.1:0", f"-images-tls-cert-file={cert}", f"-images-tls-key-file={key}")
    before = None
    for data in (b"G", b"", b"\x16\x03\x01", bytes(3000)):
        with socket.create_connection(daemon.tcp, TIMEOUT) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            try:
                answer = sock.recv(1000)
            except ConnectionResetError:
                answer = b""
            assert b"HTTP" not in answer
        before = before or daemon.descriptors()
    eventually(lambda: daemon.descriptors() < (before or 0) + 1, "descriptors are closed")
    daemon.check()


def test_the_key_is_never_in_the_log(
    serve: Callable[..., Daemon], certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    daemon = serve("127.0.0.1:0", f"-images-tls-cert-file={cert}", f"-images-tls-key-file={key}")
    daemon.wait_until_serving()
    assert key.read_text().splitlines()[1][:20] not in daemon.log


def test_curl_gets_an_image_over_each_family(
    serve: Callable[..., Daemon], media: Media, tmp_path: Path
) -> None:
    port = free_port()
    serve(f":{port}").wait_until_serving()
    for host in ("127.0.0.1", "[::1]", "localhost"):
        out = tmp_path / "out"
        try:
            subprocess.run(
                ["curl", "-sSf", "-o", out, f"http://{host}:{port}/worker-0.iso"], check=True
            )
        except FileNotFoundError:
            pytest.skip("there is no curl here")
        assert media.with_config(out.read_bytes())


NOTE = r"info: -images(-http)?-publish-addr is .* clients on other machines cannot use that URL"


def test_a_loopback_url_of_a_port_that_others_reach_is_noted_once(
    serve: Callable[..., Daemon],
) -> None:
    daemon = serve(f":{free_port()}", "-metrics-addr=127.0.0.1:0")
    (line,) = daemon.wait_for(NOTE)
    assert "-images-publish-addr is http://127.0.0.1:8084:" in line
    assert ask(f"{address(daemon)}/readyz")[::2] == (200, b"ok\n")


def test_a_url_that_others_can_use_is_not_noted(serve: Callable[..., Daemon]) -> None:
    for daemon in (
        serve(f":{free_port()}", "-images-publish-addr=http://192.0.2.1:8084"),
        serve("127.0.0.1:0"),
    ):
        # What is noted comes at the start, before what follows a signal.
        daemon.wait_until_serving()
        daemon.hang_up()
        daemon.wait_for("SIGHUP")
        assert "cannot use that URL" not in daemon.whole_log

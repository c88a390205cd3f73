"""Real daemons for the functional tests: one per way of serving, for the whole session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from functional.daemon import Daemon
from functional.media import (
    Media,
    Server,
    make_hosts,
    make_media,
    tcp_client,
    tls_client,
    unix_client,
    write_certificate,
)

WAYS = ("tcp", "kept", "tls", "unix")
"""Ways of serving, each of which the HTTP contract holds for. "kept" is TCP with connections that
the client would keep: plain requests then go the fast lane, which all else keeps them from."""

ODD_NAME = 'o\'dd "näme" 100%+#'
"""A host name with what URLs and header fields have a meaning for."""


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> None:
    """Look for no leaks in this process: mic runs in others here."""


@pytest.fixture(scope="module", autouse=True)
def _no_failure_dropped() -> None:
    """Collect no garbage in this process either."""


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Base files that nobody changes."""
    return make_media(tmp_path_factory.mktemp("media"), 3 * 1024 * 1024).write()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Paths of a certificate for localhost and of its key."""
    return write_certificate(tmp_path_factory.mktemp("tls"))


def serve(
    way: str, directory: Path, media: Media, certificate: tuple[Path, Path], stack: ExitStack
) -> Server:
    """A mic that serves in one of `WAYS`, until ``stack`` closes."""
    hosts = make_hosts(directory / "hosts", "worker-0.yaml", "worker-1.json", f"{ODD_NAME}.yml")
    socket_path = directory / "socket"
    cert, key = certificate
    where = f"unix:{socket_path}" if way == "unix" else "127.0.0.1:0"
    flags = ["-images-bind-addr", where, "-nmstate-dir", str(hosts)]
    if way == "tls":
        flags += ["-images-tls-cert-file", str(cert), "-images-tls-key-file", str(key)]
    daemon = Daemon(directory / "log", ["static", *flags], media.environment)
    stack.callback(daemon.kill)
    daemon.wait_until_serving()
    clients = {
        "tcp": lambda: tcp_client(*daemon.tcp),
        "kept": lambda: tcp_client(*daemon.tcp),
        "tls": lambda: tls_client(*daemon.tcp, cert),
        "unix": lambda: unix_client(socket_path),
    }
    return Server(way=way, daemon=daemon, media=media, connect_socket=clients[way]())


@pytest.fixture(scope="session", params=WAYS)
def running_server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    media: Media,
    certificate: tuple[Path, Path],
) -> Iterator[Server]:
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp(request.param)
        server = serve(request.param, directory, media, certificate, stack)
        yield server
        server.daemon.stop()


@pytest.fixture
def server(running_server: Server) -> Iterator[Server]:
    """A mic in each way of serving; after the test it must be in order."""
    running_server.daemon.check()
    yield running_server
    running_server.daemon.check()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts daemons of a test's own; they are ended after it, and must have been in order."""
    daemons: list[Daemon] = []

    def start(
        *flags: str, environment: Mapping[str, str], command: str = "static", **more: object
    ) -> Daemon:
        log = tmp_path / f"log-{len(daemons)}"
        daemon = Daemon(log, [command, *flags], environment, **more)  # type: ignore[arg-type]
        daemons.append(daemon)
        return daemon

    try:
        yield start
        for daemon in daemons:
            daemon.stop()
    finally:
        for daemon in daemons:
            daemon.kill()

"""The service's end of systemd's protocol, on a notify socket and listening sockets of our own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from mic.common.errors import ConfigError
from mic.observe.systemd import Systemd

ME = os.getpid()


class Supervisor:
    """systemd's end of the notify socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """The messages since the last time, each a list of assignments."""
        messages = []
        while True:
            try:
                messages.append(self._socket.recv(65536).decode().split("\n"))
            except BlockingIOError:
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def supervised(request: pytest.FixtureRequest) -> Iterator[tuple[Supervisor, dict[str, str]]]:
    """A supervisor and the environment it starts its service with."""
    # Not tmp_path: a socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/notify"
        abstract = request.param == "abstract"
        supervisor = Supervisor("\0" + path if abstract else path)
        yield supervisor, {"NOTIFY_SOCKET": "@" + path if abstract else path}
        supervisor.close()


def test_reports_start_ready_reload_and_stop(supervised: tuple[Supervisor, dict[str, str]]) -> None:
    supervisor, environment = supervised
    systemd = Systemd(environment, ME)
    systemd.status("reading")
    systemd.ready("serving 2 images")
    systemd.alive()
    systemd.reloading()
    systemd.ready("serving 3 images")
    systemd.stopping()
    assert supervisor.heard() == [
        ["STATUS=reading"],
        ["READY=1", "STATUS=serving 2 images"],
        ["WATCHDOG=1"],
        ["RELOADING=1"],
        ["READY=1", "STATUS=serving 3 images"],
        ["STOPPING=1"],
    ]


def test_reports_a_status_when_it_changes(supervised: tuple[Supervisor, dict[str, str]]) -> None:
    supervisor, environment = supervised
    systemd = Systemd(environment, ME)
    systemd.ready("serving 2 images")
    systemd.status("serving 2 images")
    systemd.status("serving 3 images")
    systemd.status("serving 3 images")
    assert supervisor.heard()[1:] == [["STATUS=serving 3 images"]]


def test_a_status_cannot_contain_other_assignments(
    supervised: tuple[Supervisor, dict[str, str]],
) -> None:
    supervisor, environment = supervised
    Systemd(environment, ME).status("a\nSTOPPING=1\n b")
    assert supervisor.heard() == [["STATUS=a STOPPING=1 b"]]


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative"])
def test_reports_nothing_without_a_notify_socket(address: str) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"}, ME)
    systemd.ready("serving 2 images")
    assert systemd.watchdog == 0


def test_logs_once_that_systemd_is_gone_and_continues(tmp_path: Path) -> None:
    said: list[LogEvent] = []
    globalLogPublisher.addObserver(said.append)
    try:
        systemd = Systemd({"NOTIFY_SOCKET": str(tmp_path / "gone")}, ME)
        systemd.ready("serving 2 images")
        systemd.alive()
    finally:
        globalLogPublisher.removeObserver(said.append)
    assert [event["log_format"] for event in said] == ["cannot notify systemd: {error}"]


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "30000000"}, 30),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(ME)}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(ME + 1)}, 0),
        ({"WATCHDOG_USEC": ""}, 0),
        ({"WATCHDOG_USEC": "-1"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
    ],
)
def test_the_watchdog_is_on_only_for_this_process(
    variables: dict[str, str], seconds: float
) -> None:
    assert Systemd({"NOTIFY_SOCKET": "/run/notify", **variables}, ME).watchdog == seconds


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": str(ME + 1), "LISTEN_FDNAMES": "images"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(ME)},
        {"LISTEN_FDS": "x", "LISTEN_PID": str(ME)},
    ],
)
def test_accepts_sockets_meant_for_this_process_only(environment: dict[str, str]) -> None:
    systemd = Systemd(environment, ME)
    assert systemd.sockets == systemd.http_sockets == ()


# Descriptors are passed as systemd does, from 3 on, so this takes a process of its own.
_TAKE = """
import os, socket, sys
names, kinds = sys.argv[1], sys.argv[2:]
sockets = []
for kind in kinds:
    family, _, state = kind.partition("-")
    sock = socket.socket(
        {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "dgram": socket.AF_INET}[family],
        socket.SOCK_DGRAM if family == "dgram" else socket.SOCK_STREAM,
    )
    sock.bind(("::1" if family == "inet6" else "127.0.0.1", 0))
    if family != "dgram" and state != "bound":
        sock.listen()
    sockets.append(os.dup(sock.fileno()) + 100)
    os.dup2(sock.fileno(), sockets[-1])
    sock.close()
for number, descriptor in enumerate(sockets):
    os.dup2(descriptor, 3 + number)
from mic.common.errors import ConfigError
from mic.observe.systemd import Systemd
try:
    systemd = Systemd({"LISTEN_FDS": str(len(kinds)), "LISTEN_PID": str(os.getpid()),
                       "LISTEN_FDNAMES": names}, os.getpid())
    print(*systemd.sockets, "http:", *systemd.http_sockets)
except ConfigError as error:
    print(*error.problems, sep="\\n")
"""


def _taken(names: str, *kinds: str) -> str:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _TAKE, names, *kinds],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_accepts_every_socket_for_images() -> None:
    assert _taken("images", "inet") == "3 http:"
    assert _taken("images:images", "inet", "inet6") == "3 4 http:"


def test_separates_sockets_for_plain_http() -> None:
    assert _taken("images-http:images", "inet", "inet6") == "4 http: 3"
    assert _taken("images-http", "inet") == "http: 3"


@pytest.mark.parametrize("names", ["mic.socket", "", "images-too"])
def test_rejects_a_socket_of_another_name_and_names_the_fix(names: str) -> None:
    said = _taken(names, "inet")
    assert repr(names) in said
    assert "FileDescriptorName=images" in said


def test_rejects_fewer_names_than_sockets() -> None:
    assert "FileDescriptorName=images" in _taken("images", "inet", "inet")


@pytest.mark.parametrize("kind", ["dgram", "inet-bound"])
def test_rejects_a_socket_that_does_not_listen(kind: str) -> None:
    assert "ListenStream=" in _taken("images", kind)
    assert "ListenStream=" in _taken("images-http", kind)


def test_rejects_a_count_without_sockets() -> None:
    # More than can be open: none of them is a socket.
    with pytest.raises(ConfigError) as caught:
        Systemd({"LISTEN_FDS": "9", "LISTEN_PID": str(ME), "LISTEN_FDNAMES": "x"}, ME)
    assert len(caught.value.problems) == 9

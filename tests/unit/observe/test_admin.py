"""The admin endpoint over real abstract sockets in this process: who may ask, and what they get.

What other users get is shown by tests/functional/test_status.py.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.cli.status import SOCKETS
from mic.observe.admin import PREFIX, AdminEndpoint, is_authorized, overflow_uid

reactor = cast(Any, _reactor)
Describe = Callable[[], Iterator[dict[str, Any]]]


@pytest.mark.parametrize(
    ("uid", "own", "overflow", "expected"),
    [
        (0, 0, None, True),
        (0, 998, None, True),
        (998, 998, None, True),
        (998, 0, None, False),
        (998, 999, None, False),
        (65534, 65534, None, True),
        # In a user namespace, all users from outside of it look the same.
        (65534, 65534, 65534, False),
        (0, 65534, 65534, True),
        (998, 998, 65534, True),
    ],
)
def test_authorizes_root_and_the_own_user(
    uid: int, own: int, overflow: int | None, expected: bool
) -> None:
    assert is_authorized(uid, own, overflow) is expected


def test_users_outside_of_the_user_namespace_share_a_number(tmp_path: Path) -> None:
    ids = tmp_path / "uid_map"
    ids.write_text("         0          0 4294967295\n")
    assert overflow_uid(str(ids)) is None
    ids.write_text("         0       1000          1\n")
    assert overflow_uid(str(ids)) == int(Path("/proc/sys/kernel/overflowuid").read_text())
    ids.unlink()
    assert overflow_uid(str(ids)) == 65534


class Asked:
    """An endpoint that listens, and its name."""

    def __init__(self, describe: Describe) -> None:
        self.endpoint = AdminEndpoint(reactor, describe)
        self.endpoint.start()
        (self.name,) = (name for name in _names() if _own(self.endpoint, name))

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(f"\0{self.name}")
        return sock

    async def read(self, sock: socket.socket) -> list[Any]:
        def read() -> bytes:
            with sock:
                return b"".join(iter(lambda: sock.recv(65536), b""))

        data = await cast("Deferred[bytes]", deferToThread(read))
        return [json.loads(line) for line in data.splitlines()]


def _own(endpoint: AdminEndpoint, name: str) -> bool:
    # Other processes may have theirs.
    return endpoint.name == name


def _names() -> Iterator[str]:
    for line in Path(SOCKETS).read_text().splitlines():
        if f"@{PREFIX}" in line:
            yield line.split()[-1].removeprefix("@")


@pytest_twisted.ensureDeferred
async def test_sends_every_line_to_each_client() -> None:
    told = [{"number": number, "text": "x" * 1000} for number in range(5000)]
    asked = Asked(lambda: iter(told))
    for sock in [asked.connect() for _ in range(3)]:
        assert await asked.read(sock) == [*told, None]
    await asked.endpoint.stop()
    assert not set(_names()) & {asked.name}


@pytest_twisted.ensureDeferred
async def test_buffers_only_a_few_lines_for_a_client_that_does_not_read() -> None:
    made = 0

    def describe() -> Iterator[dict[str, Any]]:
        nonlocal made
        while True:
            made += 1
            yield {"text": "x" * 10_000}

    asked = Asked(describe)
    with asked.connect():
        count = -1
        while made == 0 or made != count:
            count = made
            await deferLater(reactor, 0.05)
        assert made < 1000
        # An answer in progress does not keep mic from stopping.
        await asked.endpoint.stop()


@pytest_twisted.ensureDeferred
async def test_refuses_more_than_a_few_concurrent_clients() -> None:
    def describe() -> Iterator[dict[str, Any]]:
        while True:
            yield {"text": "x" * 100_000}

    asked = Asked(describe)
    waiting = []
    for count in range(1, 9):
        waiting.append(asked.connect())
        while len(asked.endpoint.connections) < count:
            await deferLater(reactor, 0)
    assert await asked.read(asked.connect()) == []
    await asked.endpoint.stop()
    for sock in waiting:
        sock.close()


@pytest_twisted.ensureDeferred
async def test_a_defect_aborts_the_connection_and_is_logged(
    logged_failures: list[LogEvent],
) -> None:
    def describe() -> Iterator[dict[str, Any]]:
        yield {}
        raise RuntimeError

    asked = Asked(describe)
    sock = asked.connect()
    with suppress(ConnectionResetError):
        assert None not in await asked.read(sock)
    assert len(logged_failures) == 1
    logged_failures.clear()
    await asked.endpoint.stop()


@pytest_twisted.ensureDeferred
async def test_continues_without_an_endpoint() -> None:
    class NoUnixSockets:
        def listenUNIX(self, *_: object, **__: object) -> None:
            raise CannotListenError("unix", "name", OSError("not here"))

    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        endpoint = AdminEndpoint(NoUnixSockets(), lambda: iter(()))
        endpoint.start()
        await endpoint.stop()
    finally:
        globalLogPublisher.removeObserver(observe)
    (line,) = lines
    assert line.startswith("mic status is not available for this process: ")

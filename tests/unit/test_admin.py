"""The admin endpoint over real abstract sockets in this process: who may ask, and how it is told.

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

from mic import admin
from mic.admin import PREFIX, AdminEndpoint, may_ask
from mic.status import _SOCKETS

reactor = cast(Any, _reactor)
Describe = Callable[[], Iterator[dict[str, Any]]]


@pytest.mark.parametrize(
    ("uid", "own", "nobody", "expected"),
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
def test_root_and_the_own_user_may_ask(
    uid: int, own: int, nobody: int | None, expected: bool
) -> None:
    assert may_ask(uid, own, nobody) is expected


def test_outside_of_user_namespaces_everybody_can_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = tmp_path / "uid_map"
    monkeypatch.setattr(admin, "_ID_MAP", str(ids))
    ids.write_text("         0          0 4294967295\n")
    assert admin._nobody() is None
    ids.write_text("         0       1000          1\n")
    assert admin._nobody() == int(Path("/proc/sys/kernel/overflowuid").read_text())
    ids.unlink()
    assert admin._nobody() == 65534


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
    assert endpoint._port is not None
    address: Any = endpoint._port.getHost()
    return bool(address.name == f"\0{name}".encode())


def _names() -> Iterator[str]:
    for line in Path(_SOCKETS).read_text().splitlines():
        if f"@{PREFIX}" in line:
            yield line.split()[-1].removeprefix("@")


@pytest_twisted.ensureDeferred
async def test_each_who_asks_is_told_all_of_it() -> None:
    told = [{"number": number, "text": "x" * 1000} for number in range(5000)]
    asked = Asked(lambda: iter(told))
    for sock in [asked.connect() for _ in range(3)]:
        assert await asked.read(sock) == [*told, None]
    await asked.endpoint.stop()
    assert not set(_names()) & {asked.name}


@pytest_twisted.ensureDeferred
async def test_who_does_not_read_costs_no_more_than_a_few_lines() -> None:
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
        # What it still has to tell does not keep mic from stopping.
        await asked.endpoint.stop()


@pytest_twisted.ensureDeferred
async def test_more_than_a_few_at_once_are_turned_away() -> None:
    def describe() -> Iterator[dict[str, Any]]:
        while True:
            yield {"text": "x" * 100_000}

    asked = Asked(describe)
    waiting = []
    for count in range(1, 9):
        waiting.append(asked.connect())
        while len(asked.endpoint.asking) < count:
            await deferLater(reactor, 0)
    assert await asked.read(asked.connect()) == []
    await asked.endpoint.stop()
    for sock in waiting:
        sock.close()


@pytest_twisted.ensureDeferred
async def test_a_fault_of_ours_breaks_off_and_is_logged(logged_failures: list[LogEvent]) -> None:
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
async def test_mic_goes_on_where_no_endpoint_can_be() -> None:
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
    assert line.startswith("mic status cannot ask this process: ")

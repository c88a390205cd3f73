"""nmstatectl as a subprocess: stubs in its place that answer, refuse, hang, flood and die.

Scope: mic.hosts.nmstatectl. What the real one makes of documents is not asked here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mic.common.errors import BuildInvalid, NotReady
from mic.common.keyfile import Keyfile
from mic.hosts import nmstatectl
from mic.hosts.nmstatectl import TIME_LIMIT, keyfiles

Stub = Callable[[str], Path]

ANSWER = """\
cat << 'END'
---
NetworkManager:
- - eth0.nmconnection
  - |
    [connection]
    id=eth0
- - "true"
  - "7"
END
"""


class ClockedReactor:
    """The reactor's processes, and time that passes by hand."""

    def __init__(self) -> None:
        self.clock = Clock()

    def callLater(self, *args: Any, **kwargs: Any) -> Any:
        return self.clock.callLater(*args, **kwargs)

    def spawnProcess(self, *args: Any, **kwargs: Any) -> Any:
        return reactor.spawnProcess(*args, **kwargs)  # type: ignore[attr-defined]


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Puts a shell script in nmstatectl's place; nothing else is on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def write(script: str, interpreter: str = "/bin/sh") -> Path:
        path = tmp_path / "bin" / "nmstatectl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{interpreter}\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)
        return path

    return write


@pytest_twisted.ensureDeferred
async def test_the_keyfiles_it_prints(stub: Stub) -> None:
    stub(ANSWER)
    assert await keyfiles(reactor, b"interfaces: []") == (
        Keyfile(name="eth0.nmconnection", content="[connection]\nid=eth0\n"),
        Keyfile(name="true", content="7"),
    )


@pytest_twisted.ensureDeferred
async def test_it_gets_the_document_on_standard_input_and_nothing_of_ours(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRONIC_AGENT_PULL_SECRET", "hunter2")
    stub(f'env > {tmp_path}/env; echo "$@" > {tmp_path}/arguments; cat "$2" > {tmp_path}/document')
    document = bytes(range(256)) * 4000
    assert await keyfiles(reactor, document) == ()
    assert (tmp_path / "document").read_bytes() == document
    assert (tmp_path / "arguments").read_text() == "gc /dev/stdin\n"
    assert "hunter2" not in (tmp_path / "env").read_text()


@pytest_twisted.ensureDeferred
async def test_its_own_words_when_it_refuses(stub: Stub) -> None:
    stub("echo 'NmstateError: InvalidArgument: no such é' >&2; echo ignored; exit 1")
    with pytest.raises(BuildInvalid, match=r"^NmstateError: InvalidArgument: no such é$"):
        await keyfiles(reactor, b"")


@pytest_twisted.ensureDeferred
async def test_it_refuses_without_a_word_or_with_too_many(stub: Stub) -> None:
    stub("exit 3")
    with pytest.raises(BuildInvalid, match=r"^nmstatectl failed$"):
        await keyfiles(reactor, b"")
    stub("head -c 100000 /dev/zero | tr '\\0' x >&2; echo the reason >&2; exit 1")
    with pytest.raises(BuildInvalid, match=r"the reason$") as caught:
        await keyfiles(reactor, b"")
    assert len(str(caught.value)) <= 4000


@pytest_twisted.ensureDeferred
async def test_it_ends_before_it_has_read_the_document(stub: Stub) -> None:
    stub("exec <&-; echo refused >&2; exit 1")
    with pytest.raises(BuildInvalid, match=r"^refused$"):
        await keyfiles(reactor, bytes(1_000_000))


@pytest_twisted.ensureDeferred
async def test_there_is_no_nmstatectl(stub: Stub) -> None:
    with pytest.raises(BuildInvalid, match="there is no nmstatectl on this machine"):
        await keyfiles(reactor, b"")
    stub(ANSWER).chmod(0o644)
    with pytest.raises(BuildInvalid, match="there is no nmstatectl on this machine"):
        await keyfiles(reactor, b"")


@pytest_twisted.ensureDeferred
async def test_it_cannot_be_started(stub: Stub) -> None:
    """Built for another machine, or its interpreter is missing."""
    stub("", interpreter="/no/such/interpreter")
    with pytest.raises((NotReady, BuildInvalid)):
        await keyfiles(reactor, b"")


@pytest.mark.parametrize(
    "output",
    [
        *[
            "[]",
            "- a",
            "text",
            "7",
            "{",
            "NetworkManager:",
            "x: y",
            "NetworkManager: 7",
            "NetworkManager: [7]",
            "\\0",
            "a: *b",
        ],
        *["NetworkManager: [[a]]", "NetworkManager: [[a, b, c]]"],
        "NetworkManager: {a: b, c: d}",
    ],
)
@pytest_twisted.ensureDeferred
async def test_it_prints_something_else(stub: Stub, output: str) -> None:
    stub(f"printf '%b' '{output}'")
    with pytest.raises(BuildInvalid, match="something that is not keyfiles"):
        await keyfiles(reactor, b"")


@pytest.mark.parametrize("output", ["", "---", "{}", "NetworkManager: []"])
@pytest_twisted.ensureDeferred
async def test_it_prints_no_keyfiles(stub: Stub, output: str) -> None:
    stub(f"echo '{output}'")
    assert await keyfiles(reactor, b"") == ()


@pytest.mark.parametrize("stream", ["1", "2"])
@pytest_twisted.ensureDeferred
async def test_it_floods(stub: Stub, stream: str) -> None:
    stub(f"exec cat /dev/zero >&{stream}")
    with pytest.raises(BuildInvalid, match="more than any host needs"):
        await keyfiles(reactor, b"")


@pytest_twisted.ensureDeferred
async def test_it_takes_too_long(stub: Stub) -> None:
    stub("exec sleep 1000")
    clocked = ClockedReactor()
    outcome = Deferred.fromCoroutine(keyfiles(clocked, b""))
    clocked.clock.advance(TIME_LIMIT - 0.1)
    assert not outcome.called
    clocked.clock.advance(0.2)
    with pytest.raises(NotReady, match="longer than 20 s"):
        await outcome


@pytest_twisted.ensureDeferred
async def test_it_takes_too_long_and_its_child_holds_the_pipes(stub: Stub, tmp_path: Path) -> None:
    """A wrapper script: the shell is killed, what it started is not."""
    stub(f"sleep 30 & echo $! > {tmp_path}/child; wait")
    clocked = ClockedReactor()
    outcome = Deferred.fromCoroutine(keyfiles(clocked, b""))
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().strip():
        await next_turn()
    clocked.clock.advance(TIME_LIMIT)
    outcome.addTimeout(5, reactor)  # type: ignore[arg-type]
    try:
        with pytest.raises(NotReady, match="longer than 20 s"):
            await outcome
    finally:
        os.kill(int((tmp_path / "child").read_text()), 9)


@pytest_twisted.ensureDeferred
async def test_it_is_killed_for_want_of_memory(stub: Stub) -> None:
    """Trying again may help: not a fault of the document."""
    stub("kill -9 $$")
    with pytest.raises(NotReady, match="nmstatectl was ended by signal 9"):
        await keyfiles(reactor, b"")


@pytest_twisted.ensureDeferred
async def test_who_waits_gives_up(stub: Stub, tmp_path: Path) -> None:
    stub(f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    outcome = Deferred.fromCoroutine(keyfiles(reactor, b""))
    pid = tmp_path / "pid"
    while not pid.exists() or not pid.read_text().strip():
        await next_turn()
    outcome.addErrback(lambda _: None)
    outcome.cancel()
    await outcome
    while Path(f"/proc/{pid.read_text().strip()}").exists():
        await next_turn()


def next_turn() -> Deferred[None]:
    """A later turn of the reactor."""
    turn: Deferred[None] = Deferred()
    reactor.callLater(0.005, turn.callback, None)  # type: ignore[attr-defined]
    return turn


def test_the_time_limit_is_longer_than_any_real_conversion() -> None:
    assert nmstatectl.TIME_LIMIT >= 5

"""Which generator converts, and what is said when two differ."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.logger import LogEvent, globalLogPublisher

from mic.errors import BuildInvalid, ConfigError
from mic.nmstate import Keyfile, NMStateInvalid, keyfiles, to_yaml
from mic.nmstate.backends import Backend, chosen
from mic.nmstate.conversion import Conversion, differences
from mic.threads import Threads

DOCUMENT = b"interfaces: [{name: d0, type: dummy, state: up}]"


class Answer:
    """What the stand-in for nmstatectl prints."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def give(self, keyfiles: Iterable[Keyfile]) -> None:
        self._path.write_text(to_yaml(keyfiles))

    def refuse(self) -> None:
        self._path.unlink()


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(reactor)
    threads.startService()
    yield threads
    pytest_twisted.blockon(threads.stopService())


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if "difference" in event:
            found.append(event["difference"])

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


@pytest.fixture
def nmstatectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """A stand-in that prints what it is told to, or fails when it is told nothing."""
    program = tmp_path / "nmstatectl"
    program.write_text(f"#!/bin/sh\n/bin/cat {tmp_path}/answer || {{ echo no use >&2; exit 1; }}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    return Answer(tmp_path / "answer")


def test_what_may_be_chosen(nmstatectl: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen("") is Backend.BUILTIN
    assert chosen("verify") is Backend.VERIFY
    with pytest.raises(ConfigError, match="'rust' is none of builtin, nmstatectl, verify"):
        chosen("rust")
    monkeypatch.setenv("PATH", "/nowhere")
    assert chosen("builtin") is Backend.BUILTIN
    with pytest.raises(ConfigError, match="nmstatectl needs nmstatectl"):
        chosen("nmstatectl")


@pytest_twisted.ensureDeferred
async def test_the_built_in_generator_asks_nobody(threads: Threads) -> None:
    made = await Conversion(Backend.BUILTIN, reactor, threads).keyfiles(DOCUMENT)
    assert made == keyfiles(DOCUMENT)


@pytest_twisted.ensureDeferred
async def test_nmstatectl_is_believed_when_chosen(threads: Threads, nmstatectl: Answer) -> None:
    theirs = (Keyfile(name="x.nmconnection", content="[connection]\n"),)
    nmstatectl.give(theirs)
    assert await Conversion(Backend.NMSTATECTL, reactor, threads).keyfiles(DOCUMENT) == theirs
    nmstatectl.refuse()
    with pytest.raises(BuildInvalid, match="no use"):
        await Conversion(Backend.NMSTATECTL, reactor, threads).keyfiles(DOCUMENT)


@pytest_twisted.ensureDeferred
async def test_verify_uses_the_built_in_and_tells_differences(
    threads: Threads, nmstatectl: Answer, warnings: list[str]
) -> None:
    conversion = Conversion(Backend.VERIFY, reactor, threads)
    ours = keyfiles(DOCUMENT)
    nmstatectl.give(ours)
    assert await conversion.keyfiles(DOCUMENT) == ours
    assert warnings == []
    nmstatectl.give([Keyfile(name=ours[0].name, content="[connection]\nid=x\n")])
    assert await conversion.keyfiles(DOCUMENT) == ours
    assert len(warnings) == 1
    with pytest.raises(NMStateInvalid):
        await conversion.keyfiles(b"interfaces: 1")
    assert warnings[1].startswith("it accepts a document that is refused here: interfaces: found")
    nmstatectl.refuse()
    assert await conversion.keyfiles(DOCUMENT) == ours
    assert warnings[2].startswith("it refuses a document that is accepted here: ")
    assert "no use" in warnings[2]


def test_differences_name_keys_and_no_values() -> None:
    ours = (Keyfile(name="a", content="[802-1x]\npassword=sesame\nidentity=me\n"),)
    theirs = (Keyfile(name="a", content="[802-1x]\npassword=open\n\n"),)
    assert list(differences(ours, theirs)) == ["a: 802-1x.identity, 802-1x.password"]
    assert list(differences(ours, ())) == ["it makes nothing, not a"]
    swapped = (Keyfile(name="a", content="[802-1x]\nidentity=me\npassword=sesame\n"),)
    assert list(differences(ours, swapped)) == ["a: order or blank lines"]

"""Which backend converts."""

from __future__ import annotations

import gc
import traceback
from pathlib import Path
from threading import current_thread, main_thread

import network_data_documents
import pytest
import pytest_twisted
from twisted.internet import reactor

from mic import networkdata
from mic.common.errors import BuildInvalid
from mic.common.keyfile import Keyfile
from mic.common.problems import DocumentInvalid
from mic.common.threads import Threads
from mic.hosts.convert import Conversion
from mic.nmstate import generate, to_yaml
from mic.settings.model import Backend

DOCUMENT = b"interfaces: [{name: d0, type: dummy, state: up}]"


@pytest_twisted.ensureDeferred
async def test_the_built_in_backend_runs_no_program(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    made = await Conversion(Backend.BUILTIN, reactor, threads).generate(DOCUMENT)
    assert made == generate(DOCUMENT)


@pytest.mark.parametrize(
    "document", [b"interfaces: 1", b"interfaces: [", b"routes: {config: [{}]}"]
)
@pytest_twisted.ensureDeferred
async def test_a_refusal_keeps_nothing_of_a_half_built_document(
    threads: Threads, document: bytes
) -> None:
    with pytest.raises(BuildInvalid) as refused:
        await Conversion(Backend.BUILTIN, reactor, threads).generate(document)
    assert refused.value.__context__ is None
    frames = [frame for frame, _ in traceback.walk_tb(refused.value.__traceback__)]
    assert not [frame for frame in frames if "/mic/nmstate/" in frame.f_code.co_filename]


@pytest_twisted.ensureDeferred
async def test_the_garbage_collector_is_on_after_a_conversion(threads: Threads) -> None:
    conversion = Conversion(Backend.BUILTIN, reactor, threads)
    await conversion.generate(DOCUMENT)
    assert gc.isenabled()
    with pytest.raises(BuildInvalid):
        await conversion.generate(b"interfaces: 1")
    assert gc.isenabled()


@pytest_twisted.ensureDeferred
async def test_no_collection_goes_through_a_half_built_document(threads: Threads) -> None:
    names = ", ".join(f"{{name: eth{number}, type: ethernet}}" for number in range(1000))
    collections = []

    def collected(phase: str, _: dict[str, int]) -> None:
        if current_thread() is not main_thread():
            collections.append(phase)

    gc.callbacks.append(collected)
    try:
        await Conversion(Backend.BUILTIN, reactor, threads).generate(
            f"interfaces: [{names}]".encode()
        )
    finally:
        gc.callbacks.remove(collected)
    # One may come when the collector is turned on again: the document is gone by then.
    assert len(collections) <= 2


@pytest_twisted.ensureDeferred
async def test_nmstatectl_decides_when_chosen(
    threads: Threads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = (Keyfile(name="x.nmconnection", content="[connection]\n"),)
    answer = tmp_path / "answer"
    answer.write_text(to_yaml(theirs))
    program = tmp_path / "nmstatectl"
    program.write_text(f"#!/bin/sh\n/bin/cat {answer} || {{ echo refused >&2; exit 1; }}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    conversion = Conversion(Backend.NMSTATECTL, reactor, threads)
    assert (await conversion.generate(DOCUMENT)).keyfiles == theirs
    answer.unlink()
    with pytest.raises(BuildInvalid, match="refused"):
        await conversion.generate(DOCUMENT)


@pytest_twisted.ensureDeferred
async def test_network_data_needs_no_program_whatever_the_backend(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = network_data_documents.TEMPLATE.encode()
    monkeypatch.setenv("PATH", "/nowhere")
    for backend in Backend:
        made = await Conversion(backend, reactor, threads).generate(document)
        assert made == networkdata.generate(document)
    with pytest.raises(BuildInvalid, match="there is no nmstatectl"):
        await Conversion(Backend.NMSTATECTL, reactor, threads).generate(DOCUMENT)


@pytest.mark.parametrize("document", [b"links: 1", b'{"links": [{"id": "a"}]}'])
@pytest_twisted.ensureDeferred
async def test_network_data_is_refused_by_place(threads: Threads, document: bytes) -> None:
    for backend in Backend:
        with pytest.raises(DocumentInvalid, match=r"links(\[0\])?: "):
            await Conversion(backend, reactor, threads).generate(document)

"""From NMState data to an archive: when the converter is asked, and what it leads to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_twisted
from twisted.internet import reactor

from mic.build import Builder
from mic.config import AgentSettings
from mic.errors import BuildInvalid
from mic.ignition import Agent
from mic.image.cpio import config_of
from mic.nmstate import Keyfile
from mic.threads import Threads

AGENT = Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",))


@pytest_twisted.async_yield_fixture
async def threads() -> AsyncIterator[Threads]:
    pool = Threads(reactor)
    pool.startService()
    yield pool
    await pool.stopService()


async def nothing(_: bytes) -> tuple[Keyfile, ...]:
    return ()


async def one(document: bytes) -> tuple[Keyfile, ...]:
    return (Keyfile(name="x.nmconnection", content=document.decode()),)


async def never(_: bytes) -> tuple[Keyfile, ...]:
    raise AssertionError("there is nothing to convert")


def built(archive: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(config_of(archive))
    return value


def agent_conf(archive: bytes) -> str:
    return unquote(built(archive)["storage"]["files"][0]["contents"]["source"])


@pytest.mark.parametrize("document", [None, b"", b" \n\t\n"])
@pytest_twisted.ensureDeferred
async def test_without_data_there_is_nothing_to_convert(
    threads: Threads, document: bytes | None
) -> None:
    archive = await Builder(AgentSettings(agent=AGENT), never, threads).archive(
        AGENT, "w", document
    )
    assert "enable_vlan_interfaces = all" in agent_conf(archive)
    assert b"system-connections" not in config_of(archive)


@pytest_twisted.ensureDeferred
async def test_data_without_keyfiles_is_still_data(threads: Threads) -> None:
    """The agent brings up no VLANs of its own where somebody said what the network is."""
    archive = await Builder(AgentSettings(agent=AGENT), nothing, threads).archive(AGENT, "w", b"{}")
    assert "enable_vlan_interfaces =\n" in agent_conf(archive)
    assert b"IPA_COREOS_COPY_NETWORK=false" in config_of(archive)


@pytest_twisted.ensureDeferred
async def test_keyfiles_are_embedded(threads: Threads) -> None:
    archive = await Builder(AgentSettings(agent=AGENT), one, threads).archive(AGENT, "w", b"a: b")
    (file,) = [f for f in built(archive)["storage"]["files"] if "system-connections" in f["path"]]
    assert file["path"].endswith("/x.nmconnection")
    assert b"IPA_COREOS_COPY_NETWORK=true" in config_of(archive)


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_passed_on(threads: Threads) -> None:
    async def refuse(_: bytes) -> tuple[Keyfile, ...]:
        raise BuildInvalid("interfaces[0]: bad")

    builder = Builder(AgentSettings(agent=AGENT), refuse, threads)
    with pytest.raises(BuildInvalid, match=r"interfaces\[0\]: bad"):
        await builder.archive(AGENT, "w", b"a: b")


@pytest_twisted.ensureDeferred
async def test_no_ironic_is_a_build_error(threads: Threads) -> None:
    builder = Builder(AgentSettings(agent=Agent(image="i")), nothing, threads)
    with pytest.raises(BuildInvalid, match="IRONIC_BASE_URL"):
        await builder.archive(await builder.agent(), "w", None)

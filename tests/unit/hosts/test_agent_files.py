"""When the files that all images share are read, and what counts as a change."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from toys import lack_of_descriptors, put

from mic.common.errors import BuildInvalid, NotReady
from mic.common.threads import Threads
from mic.hosts.agent_files import AgentFiles
from mic.ignition import Agent
from mic.settings.model import AgentSettings

AGENT = Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",))


@pytest.fixture
def registries(tmp_path: Path) -> Path:
    return put(tmp_path / "registries.conf", b"# one\n")


@pytest.fixture
def files(registries: Path, threads: Threads) -> AgentFiles:
    return AgentFiles(AgentSettings(agent=AGENT, registries_conf=str(registries)), threads)


@pytest_twisted.ensureDeferred
async def test_settings_stay_the_same_object_until_a_file_changes(
    files: AgentFiles, registries: Path
) -> None:
    first = await files.load()
    assert not await files.poll()
    assert await files.load() is first
    put(registries, b"# two\n")
    assert await files.load() is first, "builds use the settings as last polled"
    assert await files.poll()
    assert (await files.load()).registries_conf == b"# two\n"


@pytest_twisted.ensureDeferred
async def test_an_unusable_file_is_a_change_and_fails_builds_until_it_is_fixed(
    files: AgentFiles, registries: Path
) -> None:
    first = await files.load()
    registries.unlink()
    assert await files.poll()
    for _ in range(2):
        with pytest.raises(BuildInvalid, match=r"registries\.conf"):
            await files.load()
    assert not await files.poll(), "the same error again is no change"
    put(registries, b"# one\n")
    assert await files.poll()
    assert await files.load() is first


@pytest_twisted.ensureDeferred
async def test_an_error_that_can_pass_is_no_change(files: AgentFiles) -> None:
    first = await files.load()
    with lack_of_descriptors():
        assert not await files.poll()
        with pytest.raises(NotReady, match="Too many open files"):
            await files.load()
    assert not await files.poll()
    assert await files.load() is first

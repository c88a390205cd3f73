"""From a host's NMState data to the archive that goes into its images."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mic.config import AgentSettings, read_agent
from mic.ignition import Agent, Host, config
from mic.image.cpio import archive
from mic.nmstate import Keyfile
from mic.threads import Threads

Converter = Callable[[bytes], Awaitable[tuple[Keyfile, ...]]]
"""NMState document to keyfiles; raises `mic.errors.BuildInvalid` or `mic.errors.NotReady`."""


class Builder:
    """Builds archives; what all hosts share is read from its files for each build."""

    def __init__(self, settings: AgentSettings, convert: Converter, threads: Threads) -> None:
        self._settings = settings
        self._convert = convert
        self._threads = threads

    async def agent(self) -> Agent:
        """The agent's settings as they are now: equal while no file of theirs changed.

        Raises `mic.errors.BuildInvalid` when a file cannot be used.
        """
        return await self._threads.run(read_agent, self._settings)

    async def archive(self, agent: Agent, host_name: str, nmstate: bytes | None) -> bytes:
        """The archive of a host. Without NMState data, or with none in it, it has no keyfiles.

        Raises `mic.errors.BuildInvalid` or `mic.errors.NotReady`.
        """
        network_data = nmstate is not None and bool(nmstate.strip())
        keyfiles: tuple[Keyfile, ...] = ()
        if nmstate is not None and network_data:
            keyfiles = await self._convert(nmstate)
        host = Host(name=host_name, keyfiles=keyfiles, network_data=network_data)
        return await self._threads.run(_archive, agent, host)


def _archive(agent: Agent, host: Host) -> bytes:
    return archive(config(agent, host))

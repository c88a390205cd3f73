"""The agent's settings, with the content of the files that all images share."""

from __future__ import annotations

from mic.common.errors import BuildInvalid, MicError, NotReady
from mic.common.threads import Threads
from mic.ignition import Agent
from mic.settings.model import AgentSettings
from mic.settings.read import read_agent


class AgentFiles:
    """Reads the files once per poll, for all hosts and in both modes.

    Builds use the settings as last read: the same object until a file changes, so that hosts share
    one copy of the CA bundles.
    """

    def __init__(self, settings: AgentSettings, threads: Threads) -> None:
        self._settings = settings
        self._threads = threads
        self._state: Agent | BuildInvalid | NotReady | None = None
        self._agent: Agent | None = None
        self._last: Agent | str = ""
        """The settings, or why they cannot be used; unchanged by errors that can pass."""

    async def poll(self) -> bool:
        """Read the files; return whether the settings differ from those read before.

        Unusable files count as different settings. False for the first read, and for an error that
        can pass: builds report it and are retried.
        """
        before = self._last
        await self._read()
        return bool(before) and self._last != before

    async def load(self) -> Agent:
        """Return the settings as last read; read the files first if no poll has.

        Raises `BuildInvalid` or `NotReady`, naming the variable and the file, when a file could
        not be used.
        """
        state = self._state or await self._read()
        if isinstance(state, Agent):
            return state
        # A new exception each time: one that is raised twice collects tracebacks.
        raise type(state)(str(state))

    async def _read(self) -> Agent | BuildInvalid | NotReady:
        state: Agent | BuildInvalid | NotReady
        try:
            agent = await self._threads.run(read_agent, self._settings)
        except NotReady as error:
            state = NotReady(str(error))
        except MicError as error:
            state = BuildInvalid(str(error))
            self._last = str(error)
        else:
            if agent != self._agent:
                self._agent = agent
            state = self._last = self._agent or agent
        self._state = state
        return state

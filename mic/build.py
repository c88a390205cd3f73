"""From a host's NMState data to the archive that goes into its images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from twisted.internet.defer import CancelledError

from mic.config import AgentSettings, read_agent
from mic.counts import Durations
from mic.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.ignition import Agent, Host, config
from mic.image.cpio import archive
from mic.nmstate import Keyfile
from mic.threads import Threads

Converter = Callable[[bytes], Awaitable[tuple[Keyfile, ...]]]
"""NMState document to keyfiles; raises `mic.errors.BuildInvalid` or `mic.errors.NotReady`."""


SECONDS = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0)
"""Bounds of build durations: from milliseconds to a base whose digest is taken first."""

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (BaseUnavailable, "base_unavailable"),
    (BuildInvalid, "invalid_input"),
    (NotReady, "not_ready"),
    (Exception, "defect"),
)


class Builds:
    """What became of the builds of hosts' images, in numbers; ``failures`` are by reason.

    ``now`` gives seconds; their start means nothing.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.seconds = Durations(SECONDS)
        self.failures: Counter[str] = Counter({reason: 0 for _, reason in _REASONS})

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count what is done inside as a build, unless it is cancelled."""
        began = self._now()
        try:
            yield
        except CancelledError:
            raise
        except Exception as error:
            self.seconds.add(self._now() - began)
            self.failed(error)
            raise
        else:
            self.seconds.add(self._now() - began)

    def failed(self, why: Exception) -> None:
        """Count a failure."""
        self.failures[next(reason for kind, reason in _REASONS if isinstance(why, kind))] += 1


class Builder:
    """Builds archives; what all hosts share is read from its files for each build.

    ``builds`` is for those to count with who make images of archives.
    """

    def __init__(self, settings: AgentSettings, convert: Converter, threads: Threads) -> None:
        self._settings = settings
        self._convert = convert
        self._threads = threads
        self.builds = Builds()

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

"""Build the archives of hosts: in turns, in threads, and counted. `mic.hosts.archive` makes one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import CancelledError

from mic.common.durations import Durations
from mic.common.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.common.generated import Generated
from mic.common.host_data import HostData
from mic.common.threads import Threads
from mic.hosts.archive import ForAllHosts, HostArchive, coreos_archive, ipa_archive
from mic.hosts.turns import Turns
from mic.ignition import Agent

ExternalConverter = Callable[[bytes], Awaitable[Generated]]
"""Converts an NMState document to keyfiles outside of this process.

Raises `BuildInvalid` or `NotReady`.
"""

_Build = Callable[[Agent, str, HostData, Generated | bytes | None], HostArchive]

SECONDS = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0)
"""Bounds of build durations: from milliseconds to a base whose digest is taken first."""

_UNCHANGED = ForAllHosts()

_COST = 4096
"""Cost of an archive without its document, in bytes of a document that takes as long."""

_BATCH = 16 * _COST
"""Upper bound on the cost of a batch of several hosts: about 20 ms in a thread."""

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (BaseUnavailable, "base_unavailable"),
    (BuildInvalid, "invalid_input"),
    (NotReady, "not_ready"),
    (Exception, "defect"),
)


class Builds:
    """Durations and failures of builds; ``failures`` are counted by reason.

    ``now`` returns seconds of a monotonic clock, ``waiting`` the number of builds that wait for
    their turn.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self._now = now
        self.waiting = waiting
        self.seconds = Durations(SECONDS)
        self.failures: Counter[str] = Counter({reason: 0 for _, reason in _REASONS})

    @contextmanager
    def one(self, spent: float = 0.0) -> Iterator[None]:
        """Count the body of the ``with`` statement as one build, unless it is cancelled.

        ``spent`` are the seconds that the build has taken before.
        """
        began = self._now() - spent
        try:
            yield
        except CancelledError:
            raise
        except Exception as error:
            self.seconds.add(self._now() - began)
            reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
            self.failures[reason] += 1
            raise
        else:
            self.seconds.add(self._now() - began)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The archive of a host, or why there is none, and the seconds spent on it."""

    outcome: HostArchive | Exception
    seconds: float = 0.0

    def archive(self) -> HostArchive:
        """Return the archive, or raise the exception."""
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Builder:
    """Builds the archives of hosts: keyfiles, Ignition config, cpio archive.

    All of that is one call in a thread, unless an ``external`` converter makes the keyfiles. Small
    hosts of a directory share such a call: see `archives`.

    At most ``at_once`` archives or batches are built at a time, and one of each owner. Owners take
    turns; a turn costs the document's size. The built-in generator holds the interpreter, which
    serves all clients: one build at a time leaves half of it to them.

    The callers count their builds in ``builds``.
    """

    def __init__(
        self,
        threads: Threads,
        *,
        external: ExternalConverter | None = None,
        at_once: int = 1,
        for_all: ForAllHosts = _UNCHANGED,
    ) -> None:
        self._threads = threads
        self._external = external
        self._for_all = for_all
        self.at_once = at_once
        """Number of archives or batches that may be built at a time."""
        self._turns = Turns(limit=at_once, share=1)
        self.builds = Builds(waiting=lambda: len(self._turns))

    async def archive(
        self,
        agent: Agent,
        host_name: str,
        given: HostData,
        *,
        owner: str = "",
        rootfs_url: str = "",
        network_boot: bool = False,
    ) -> HostArchive:
        """Return the archive of a host; without network data, or with blank data, no keyfiles.

        Turns are taken between owners; without ``owner`` each host is its own. ``rootfs_url`` is
        what the host fetches when it boots a minimal ISO or, with ``network_boot``, mic's initramfs
        with mic's kernel parameters: there is a warning if it cannot.

        Raises `BuildInvalid` or `NotReady`.
        """
        async with self._turns.turn(owner or host_name, _cost(given)):
            generated: Generated | bytes | None = _document(given)
            if isinstance(generated, bytes) and self._external is not None:
                generated = await self._external(generated)
            build = self._call(owner, rootfs_url, network_boot=network_boot)
            return await self._threads.run(build, agent, host_name, given, generated)

    def batches(self, hosts: Iterable[tuple[str, HostData]]) -> Iterator[dict[str, HostData]]:
        """Divide hosts, in their order, into batches for `archives`.

        A large host is a batch of its own, and with an external converter each host is.
        """
        batch: dict[str, HostData] = {}
        cost = 0
        for name, given in hosts:
            cost += _cost(given)
            if batch and (self._external is not None or cost > _BATCH):
                yield batch
                batch, cost = {}, _cost(given)
            batch[name] = given
        if batch:
            yield batch

    async def archives(
        self, agent: Agent, batch: Mapping[str, HostData], *, rootfs_url: str = ""
    ) -> dict[str, Attempt]:
        """Build the archives of a batch of hosts; see `archive`.

        They take one turn and one call in a thread: handing a call over takes half as long as the
        archive of a small host. A failure concerns its host alone.
        """
        began = time.monotonic()
        try:
            if self._external is None:
                build = self._call(rootfs_url=rootfs_url)
                async with self._turns.turn(next(iter(batch)), sum(map(_cost, batch.values()))):
                    return await self._threads.run(_attempts, build, agent, batch)
            ((name, given),) = batch.items()
            archive = await self.archive(agent, name, given, rootfs_url=rootfs_url)
            return {name: Attempt(archive, time.monotonic() - began)}
        except CancelledError:
            raise
        except Exception as error:
            return dict.fromkeys(batch, Attempt(error, time.monotonic() - began))

    def _call(self, owner: str = "", rootfs_url: str = "", *, network_boot: bool = False) -> _Build:
        """Return the function that builds a host in a thread."""
        if self._for_all.ramdisk_network is not None:
            return partial(ipa_archive, for_all=self._for_all, namespace=owner)
        return partial(
            coreos_archive, for_all=self._for_all, rootfs_url=rootfs_url, network_boot=network_boot
        )


def _document(given: HostData) -> bytes | None:
    """Return the network data to convert; None without data, or with blank data."""
    network = given.network
    return network if network is not None and network.strip() else None


def _cost(given: HostData) -> int:
    return _COST + given.size


def _attempts(build: _Build, agent: Agent, batch: Mapping[str, HostData]) -> dict[str, Attempt]:
    return {name: _attempt(build, agent, name, given) for name, given in batch.items()}


def _attempt(build: _Build, agent: Agent, name: str, given: HostData) -> Attempt:
    began = time.monotonic()
    outcome: HostArchive | Exception
    try:
        outcome = build(agent, name, given, _document(given))
    except Exception as error:
        outcome = error
    return Attempt(outcome, time.monotonic() - began)

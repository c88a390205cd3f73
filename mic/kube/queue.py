"""A work queue of keys: each at most once at a time, none lost, failures asked again ever later.

Knows keys and time, not what the work is. The rules are client-go's (``util/workqueue``): a key is
*queued* when it waits for a worker, *processing* while a worker has it, *dirty* when it was added
while processing and so has to come again. Adding what waits already changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys in order of arrival; everything happens in the reactor's thread.

    ``first_retry`` and ``longest_retry`` are seconds: the n-th failure in a row of a key makes it
    wait ``first_retry * 2**(n-1)``, at most ``longest_retry``.
    """

    def __init__(
        self, clock: IReactorTime, *, first_retry: float = 0.005, longest_retry: float = 1000.0
    ) -> None:
        self._clock = clock
        self._first_retry = first_retry
        self._longest_retry = longest_retry
        self._queued: dict[K, None] = {}  # a set that keeps the order of arrival
        self._dirty: set[K] = set()
        self._processing: set[K] = set()
        self._later: dict[K, IDelayedCall] = {}
        self._failures: dict[K, int] = {}
        self._workers: deque[Deferred[K]] = deque()
        self._hold: IDelayedCall | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many keys wait for a worker now (delayed ones not counted)."""
        return len(self._queued) + len(self._dirty)

    @property
    def delayed(self) -> int:
        """How many keys come later."""
        return len(self._later)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, nothing is worked on and nothing is due later."""
        return not (self._queued or self._processing or self._dirty or self._later)

    def add(self, key: K) -> None:
        """Have ``key`` worked on as soon as a worker is free.

        A delayed addition of the same key is dropped: this one does its work earlier.
        """
        if self._closed:
            return
        delayed = self._later.pop(key, None)
        if delayed is not None and delayed.active():
            delayed.cancel()
        if key in self._processing:
            self._dirty.add(key)
        else:
            self._queued.setdefault(key)
            self._hand_out()

    def add_after(self, key: K, seconds: float) -> None:
        """Have ``key`` worked on in ``seconds``, or before when it is added otherwise."""
        if seconds <= 0:
            self.add(key)
            return
        if self._closed or key in self._queued or key in self._dirty:
            return
        due = self._clock.seconds() + seconds
        delayed = self._later.get(key)
        if delayed is not None:
            if delayed.getTime() <= due:
                return
            delayed.cancel()
        self._later[key] = self._clock.callLater(seconds, self._due, key)

    def retry(self, key: K, *, at_least: float = 0.0, at_most: float | None = None) -> float:
        """Have ``key``, whose work failed, worked on again; the seconds of its back-off."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # Beyond 2**64 every delay is the longest one, and a float would overflow some day.
        delay = min(self._first_retry * 2.0 ** min(failures, 64), self._longest_retry)
        if at_most is not None:
            delay = min(delay, at_most)
        delay = max(delay, at_least)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """The work on ``key`` succeeded: its next failure counts as the first."""
        self._failures.pop(key, None)

    def get(self) -> Deferred[K]:
        """The next key; whoever gets it calls `done` when the work has ended, however it did.

        Cancelling the Deferred gives up the place in the line of workers.
        """
        worker: Deferred[K] = Deferred(self._give_up)
        if self._closed:
            worker.cancel()
            return worker
        self._workers.append(worker)
        self._hand_out()
        return worker

    def done(self, key: K) -> None:
        """The work on ``key`` has ended; when it was added meanwhile it comes again."""
        self._processing.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self._queued.setdefault(key)
            self._hand_out()

    @property
    def holding(self) -> bool:
        """Whether nothing is handed out at the moment, see `hold`."""
        return self._hold is not None

    def hold(self, seconds: float) -> None:
        """Hand out nothing for ``seconds``: for when all work would fail alike.

        A longer hold in force stays.
        """
        if self._closed:
            return
        until = self._clock.seconds() + seconds
        if self._hold is not None:
            if self._hold.getTime() >= until:
                return
            self._hold.cancel()
        self._hold = self._clock.callLater(seconds, self._release)

    def close(self) -> None:
        """Hand out nothing any more, keep no timer, and cancel every waiting `get`."""
        self._closed = True
        self._queued.clear()
        self._dirty.clear()
        for delayed in self._later.values():
            delayed.cancel()
        self._later.clear()
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        for worker in list(self._workers):
            worker.cancel()

    def _due(self, key: K) -> None:
        self._later.pop(key, None)
        self.add(key)

    def _release(self) -> None:
        self._hold = None
        self._hand_out()

    def _give_up(self, worker: Deferred[K]) -> None:
        if worker in self._workers:
            self._workers.remove(worker)

    def _hand_out(self) -> None:
        while self._hold is None and self._queued and self._workers:
            key = next(iter(self._queued))
            del self._queued[key]
            self._processing.add(key)
            self._workers.popleft().callback(key)

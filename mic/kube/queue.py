"""A work queue of keys: each at most once at a time, none lost, fair, retried with back-off.

Knows keys, their owners and time, not what the work is. The rules for a key are client-go's
(``util/workqueue``): it is *queued* while it waits, *processing* while it is worked on, *dirty*
when it was added while processing and must run again. Adding a queued key changes nothing.

The rules between owners are `mic.common.fair`'s: owners take turns, however many keys each has
queued, and whatever queued a key: an addition, a retry, a timer, or the end of a pause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mic.common.backoff import Backoff
from mic.common.fair import FairQueue

K = TypeVar("K", bound=Hashable)
Work = Callable[[K], Coroutine[Any, Any, None]]

AT_A_STRETCH = 16
"""Keys started before the reactor gets control back: most keys need no request."""


class WorkQueue(Generic[K]):
    """Keys that wait for work, and the work under way; everything in the reactor's thread.

    At most ``limit`` keys are worked on at once, and at most ``share`` of each owner, so that one
    owner's slow work does not block others. ``first_retry`` and ``longest_retry`` are seconds:
    after the n-th failure in a row a key waits ``first_retry * 2**(n-1)``, at most
    ``longest_retry``.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        owner: Callable[[K], Hashable],
        limit: int,
        share: int,
        first_retry: float = 0.005,
        longest_retry: float = 1000.0,
    ) -> None:
        self._clock = clock
        self._owner = owner
        self._limit = limit
        self._share = share
        self._backoff = Backoff(first=first_retry, longest=longest_retry)
        self._queue: FairQueue[Hashable, K] = FairQueue()
        self._queued: set[K] = set()
        self._dirty: set[K] = set()
        self._processing: dict[K, Deferred[None] | None] = {}
        self._aside = 0
        self._owners: Counter[Hashable] = Counter()
        """Keys being worked on, by owner."""
        self._later: dict[K, IDelayedCall] = {}
        self._failures: dict[K, int] = {}
        self._work: Work[K] | None = None
        self._died: Callable[[Failure], object] = lambda _: None
        self._handing_out = False
        self._pause: IDelayedCall | None = None
        self._soon: IDelayedCall | None = None
        self._closed = False

    def __len__(self) -> int:
        """How many keys wait to be worked on now (delayed ones not counted)."""
        return len(self._queued) + len(self._dirty)

    @property
    def delayed(self) -> int:
        """How many keys are scheduled for later."""
        return len(self._later)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, nothing is worked on and nothing is due later."""
        return not (self._queued or self._processing or self._dirty or self._later)

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._work is not None

    @property
    def under_way(self) -> list[Deferred[None]]:
        """The work that has started and not ended; each fires, never fails, can be cancelled."""
        return [work for work in self._processing.values() if work is not None]

    def start(self, work: Work[K], died: Callable[[Failure], object]) -> None:
        """Start to hand out keys: ``work`` is awaited for each.

        It handles its own failures. One that it raises, unless it was cancelled, is passed to
        ``died``, and its key is lost.
        """
        self._work = work
        self._died = died
        self._hand_out()

    def add(self, key: K) -> None:
        """Queue ``key``.

        A delayed addition of the same key is dropped: this one comes earlier.
        """
        if self._closed:
            return
        delayed = self._later.pop(key, None)
        if delayed is not None and delayed.active():
            delayed.cancel()
        if key in self._processing:
            self._dirty.add(key)
        else:
            self._enqueue(key)
            self._hand_out()

    def add_after(self, key: K, seconds: float) -> None:
        """Queue ``key`` in ``seconds``, or earlier if it is added otherwise."""
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
        """Schedule a retry of ``key``, whose work failed; return the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures, at_least=at_least, at_most=at_most)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """Reset the failures of ``key``, whose work succeeded."""
        self._failures.pop(key, None)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let other keys proceed while this one's work waits for something else.

        For use by the work on a key, which then does not count towards the limit. It still counts
        towards its owner's share, so that waiting work stays bounded. Leaving never waits, so the
        limit may be exceeded for a moment.
        """
        self._aside += 1
        self._hand_out()
        try:
            yield
        finally:
            self._aside -= 1

    @property
    def paused(self) -> bool:
        """Whether nothing is handed out at the moment, see `pause`."""
        return self._pause is not None

    def pause(self, seconds: float) -> None:
        """Hand out nothing for ``seconds``: for when all work would fail alike.

        A longer pause in force stays.
        """
        if self._closed:
            return
        until = self._clock.seconds() + seconds
        if self._pause is not None:
            if self._pause.getTime() >= until:
                return
            self._pause.cancel()
        self._pause = self._clock.callLater(seconds, self._resume)

    def close(self) -> None:
        """Hand out nothing from now on and keep no timer; work `under_way` continues."""
        self._closed = True
        self._queue.clear()
        self._queued.clear()
        self._dirty.clear()
        for delayed in (*self._later.values(), self._pause, self._soon):
            if delayed is not None:
                delayed.cancel()
        self._later.clear()
        self._pause = self._soon = None

    def _enqueue(self, key: K) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._queue.add(self._owner(key), key)

    def _due(self, key: K) -> None:
        self._later.pop(key, None)
        self.add(key)

    def _resume(self) -> None:
        self._pause = None
        self._hand_out()

    def _continue(self) -> None:
        self._soon = None
        self._hand_out()

    def _hand_out(self) -> None:
        if self._work is None or self._handing_out or self._soon is not None:
            return
        self._handing_out = True
        try:
            for _ in range(AT_A_STRETCH):
                if self._pause is not None or len(self._processing) - self._aside >= self._limit:
                    return
                following = self._queue.pop()
                if following is None:
                    return
                self._begin(*following)
        finally:
            self._handing_out = False
        if len(self._queue):
            self._soon = self._clock.callLater(0, self._continue)

    def _begin(self, owner: Hashable, key: K) -> None:
        assert self._work is not None  # noqa: S101
        self._queued.discard(key)
        self._processing[key] = None
        self._owners[owner] += 1
        if self._owners[owner] >= self._share:
            self._queue.suspend(owner)
        work = Deferred.fromCoroutine(self._work(key))
        work.addErrback(self._failed)
        work.addBoth(self._done, owner, key)
        if key in self._processing:
            self._processing[key] = work

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._died(failure)

    def _done(self, _: None, owner: Hashable, key: K) -> None:
        del self._processing[key]
        self._owners[owner] -= 1
        if not self._owners[owner]:
            del self._owners[owner]
        if key in self._dirty:
            self._dirty.discard(key)
            self._enqueue(key)
        self._queue.resume(owner)
        self._hand_out()

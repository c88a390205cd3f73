"""Workers: each takes a key from the queue and reconciles it; what fails is retried.

Knows when to try again: after a conflict, while the API server is down (all keys pause), while one
object is refused and others are not (`mic.kube.refusals`). Leaves what to do to the reconciler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.common.backoff import Backoff
from mic.kube.api import (
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    ServerError,
    Unauthorized,
    Unavailable,
)
from mic.kube.counts import KubeCounts
from mic.kube.objects import Key
from mic.kube.queue import WorkQueue
from mic.kube.refusals import Refusals

WORKERS = 8
"""Objects reconciled at once, and so requests to the API server in addition to the watches."""

SHARE = 4
"""Objects of one namespace reconciled at once, including those that wait for an image build."""

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 15.0
"""Seconds for which no key is reconciled after the API server refused a request for reasons that
concern all objects: doubling with each such refusal in a row."""

LONGEST_OUTAGE_RETRY = 60.0
"""Upper bound on the retry delay during an outage or while a right is missing, in seconds: no watch
reports their end. Keys that fail for other reasons back off up to the queue's 1000 s."""

STOP_SECONDS = 1.0
"""How long stopping waits for work under way before it is cancelled."""

A = TypeVar("A")
Reconcile = Callable[[Key], Coroutine[Any, Any, timedelta | None]]


class NotLeading(Exception):
    """A write was due after this replica had stopped leading."""


class PutOff(Exception):
    """A large document was due to be built while others go first, see `mic.kube.startup`."""


class Workers:
    """The queue of keys, and the retries of those that fail. Everything in the reactor's thread.

    ``succeeded(key, again)`` is called after an attempt that succeeded, ``attempted(key)`` after
    one that another writer disturbed, and ``ended()`` after each.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        random: Random,
        counts: KubeCounts,
        limit: int,
        share: int,
        succeeded: Callable[[Key, timedelta | None], None],
        attempted: Callable[[Key], None],
        ended: Callable[[], None],
    ) -> None:
        self._log = Logger(namespace=__name__)
        self._clock = clock
        self._random = random
        self._counts = counts
        self._succeeded = succeeded
        self._attempted = attempted
        self._ended = ended
        self._queue: WorkQueue[Key] = WorkQueue(
            clock, owner=lambda key: key.namespace, limit=limit, share=share
        )
        self._backoff = Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE, jitter=0.5)
        self._outages = 0
        self._paused_keys: set[Key] = set()
        """Keys that failed last because the API server refused every request."""
        self.refusals = Refusals()
        self.defect = ""
        """Sentence about a part that stopped unexpectedly; empty if none did."""
        self.stop_cancelled_writes = False
        """Whether stopping cancelled work, whose writes may still be under way."""

    def __len__(self) -> int:
        """How many keys wait for a worker now."""
        return len(self._queue)

    @property
    def delayed(self) -> int:
        """How many keys are scheduled for later."""
        return self._queue.delayed

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._queue.started

    def add(self, key: Key) -> None:
        """Reconcile ``key`` as soon as its turn comes."""
        self._queue.add(key)

    def aside(self) -> AbstractContextManager[None]:
        """Let other keys proceed meanwhile, see `mic.kube.queue.WorkQueue.aside`."""
        return self._queue.aside()

    def start(self, reconcile: Reconcile) -> None:
        """Start to reconcile what is queued.

        ``reconcile`` handles one key and returns when to reconcile it again without a change.
        """

        async def work(key: Key) -> None:
            await self._work(key, reconcile)

        self._queue.start(work, self._died)

    def resume(self) -> None:
        """Retry now all keys that an outage or a missing right keeps back.

        For when a list has succeeded, which is the first sign of an outage's end. If the server
        refuses again, one refusal pauses all of them.
        """
        paused, self._paused_keys = self._paused_keys, set()
        for key in (*paused, *self.refusals.keys()):
            self._queue.add(key)

    def stop(self) -> Deferred[None]:
        """Start nothing new; wait a moment for work under way, then cancel it.

        Cancelled work leaves nothing half-written: each of its writes is one request, and the next
        process continues from the state that the earlier writes made.
        """
        self._queue.close()
        workers = self._queue.under_way
        stopped: Deferred[None] = DeferredList(workers, consumeErrors=True).addCallback(
            lambda _: None
        )
        if not stopped.called:

            def give_up() -> None:
                self.stop_cancelled_writes = True
                for worker in workers:
                    worker.cancel()

            timeout = self._clock.callLater(STOP_SECONDS, give_up)

            def in_time(result: None) -> None:
                if timeout.active():
                    timeout.cancel()
                return result

            stopped.addCallback(in_time)
        return stopped

    async def request(self, key: Key, right: str, request: Awaitable[A]) -> A:
        """Await a request made for ``key``; remember which right is refused to which objects."""
        try:
            answer = await request
        except (Conflict, NotFound):
            self._answered(key, right)
            raise
        except ApiError as error:
            if not _concerns_all(error) and self.refusals.refused(key, right, str(error)):
                self._log.error("{key}: {error}; trying again", key=key, error=error)
            raise
        self._answered(key, right)
        return answer

    def _answered(self, key: Key, right: str) -> None:
        if self._outages:
            self._log.info("The Kubernetes API serves again")
        self._outages = 0
        others = self.refusals.granted(right, key)
        for other in others:
            self._queue.add(other)
        if others:
            self._log.info(
                "Not all are refused {right}: retrying {count} objects that are",
                right=right,
                count=len(others),
            )

    def _died(self, failure: Failure) -> None:
        self.defect = "a worker of the controller stopped unexpectedly; see the log"
        self._log.failure("A worker died", failure)

    async def _work(self, key: Key, reconcile: Reconcile) -> None:
        """Reconcile one object; any failure leads to another attempt."""
        try:
            with self._counts.one_pass(NotLeading, PutOff):
                again = await reconcile(key)
        except CancelledError:
            raise
        except NotLeading:
            self._queue.add(key)
        except PutOff:
            self._queue.forget(key)
        except Exception as error:
            self._failed(key, error)
        else:
            self._queue.forget(key)
            self._paused_keys.discard(key)
            self.refusals.forget(key)
            if again is not None:
                self._queue.add_after(key, again.total_seconds())
            self._succeeded(key, again)
        self._ended()

    def _failed(self, key: Key, error: Exception) -> None:
        """Schedule a retry, after a delay that suits the failure."""
        if _concerns_all(error):
            self._pause(key, error)
        elif isinstance(error, Conflict | NotFound):
            self._attempted(key)
            self._retry_later(key, error)
        elif isinstance(error, ApiError):
            # As far as is known it concerns this object only: nothing else waits for it.
            longest = LONGEST_OUTAGE_RETRY if isinstance(error, Forbidden | Unavailable) else None
            least = max(_retry_after(error), self.refusals.delay(key))
            self._retry_later(key, error, at_least=least, at_most=longest)
        else:
            self.refusals.failed(key, f"{key}: the reconciliation failed; see the log")
            delay = self._queue.retry(key, at_least=self.refusals.delay(key))
            self._log.failure(
                "{key}: the pass failed; again in {delay:.3f} s",
                Failure(error),
                key=key,
                delay=delay,
            )

    def _retry_later(
        self, key: Key, error: Exception, *, at_least: float = 0.0, at_most: float | None = None
    ) -> None:
        delay = self._queue.retry(key, at_least=at_least, at_most=at_most)
        self._log.debug("{key}: {error}; again in {delay:.3f} s", key=key, error=error, delay=delay)

    def _pause(self, key: Key, error: Exception) -> None:
        """Pause all keys: the API server refuses every request alike."""
        least = _retry_after(error)
        if not self._queue.paused:
            # All that is queued would meet the same refusal, thousands of times a second.
            self._outages += 1
            self._queue.pause(
                self._backoff.delay(self._outages, random=self._random, at_least=least)
            )
            if self._outages == 1:
                self._log.warn("{key}: {error}; trying again", key=key, error=error)
        self._queue.retry(key, at_least=least, at_most=LONGEST_OUTAGE_RETRY)
        self._paused_keys.add(key)


def _retry_after(error: Exception) -> float:
    """Return the delay that the API server asked for, in seconds."""
    return (error.retry_after or 0.0) if isinstance(error, Unavailable) else 0.0


def _concerns_all(error: Exception) -> bool:
    """Return whether every request would fail like that, not only the one about this object."""
    if isinstance(error, Unavailable):
        return not isinstance(error, ServerError)
    return isinstance(error, Unauthorized)

"""Leader election: of several replicas, the one that holds the Lease writes.

The rules are client-go's (``tools/leaderelection``): a Lease names its holder and is renewed. A
replica that sees it unchanged for its duration, by its own clock, may take it. Clocks of different
machines are never compared. Knows the Lease; what a leader does is `mic.kube.controller`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.common.health import Health
from mic.common.once import Once
from mic.kube.api import (
    LEASES,
    ApiError,
    Conflict,
    Forbidden,
    Json,
    KubernetesApi,
    NotFound,
    Unavailable,
)

LEASE_NAME = "machine-image-customizer"

LEASE_SECONDS = 15
"""How long a Lease must stay unchanged before another replica may take it."""

RENEW_SECONDS = 10.0
"""How long after the last renewal its holder still considers itself the leader. Requests sent by
then have five more seconds to reach the API server before another replica may write."""

RETRY_SECONDS = 2.0
"""Seconds between renewals, and between checks of another replica's Lease."""

RELEASE_SECONDS = 1.0
"""How long releasing the Lease may take when stopping, in seconds."""


class Election(Service):
    """One replica's part in the election.

    ``identity`` is unique to this process, also among earlier ones in the same pod. ``monotonic``
    is a clock in seconds that never goes back. ``changed`` is called in the reactor's thread
    whenever `leads` has changed.
    """

    def __init__(
        self,
        *,
        api: KubernetesApi,
        namespace: str,
        identity: str,
        clock: IReactorTime,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
        random: Random,
        changed: Callable[[], None],
    ) -> None:
        self._log = Logger(namespace=__name__)
        self._api = api
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._monotonic = monotonic
        self._now = now
        self._random = random
        self._changed = changed
        self._loop: Deferred[None] | None = None
        self._ours_until = -1.0
        self._led = False
        self._seen: Json | None = None
        self._seen_at = 0.0
        self._holder = ""
        self._failure: ApiError | None = None
        self._complaint = Once()
        self._defect = ""

    @property
    def leads(self) -> bool:
        """Whether this replica may write at this moment.

        Checked before each write: it expires when the Lease could not be renewed, even if the
        process was suspended.
        """
        return self._monotonic() < self._ours_until

    def health(self) -> Health:
        """Return why no replica can be elected, or this one cannot.

        Without the right to the Lease no replica will ever lead; other failures may pass.
        """
        failure, defect = self._failure, self._defect
        problem = "" if failure is None else f"leader election: {failure}"
        return Health(
            fatal=(defect,) if defect else (),
            not_ready=(problem,) if isinstance(failure, Forbidden) else (),
            warnings=(problem,) if problem else (),
        )

    def startService(self) -> None:
        """Join the election. Not after a stop."""
        super().startService()
        self._loop = Deferred.fromCoroutine(self._run())
        self._loop.addErrback(self._ended)

    def stopService(self, *, release: bool = True) -> Deferred[None]:
        """Leave the election; release the Lease so that a successor can take it at once.

        Without ``release``, for when writes may still be under way, the Lease expires instead.
        """
        super().stopService()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
        releases = release and self.leads
        self._ours_until = -1.0
        if not releases or self._seen is None:
            return succeed(None)
        released = Deferred.fromCoroutine(self._release(self._seen))
        released.addTimeout(RELEASE_SECONDS, self._clock)
        return released.addErrback(self._not_released)

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._defect = "leader election stopped unexpectedly; see the log"
            self._ours_until = -1.0
            self._notify()
            self._log.failure("Leader election died", failure)

    def _not_released(self, failure: Failure) -> None:
        error = failure.trap(ApiError, TimeoutError, CancelledError)
        why = failure.getErrorMessage() if error is ApiError else "no answer"
        self._log.info("Could not release the Lease, it will expire: {error}", error=why)

    async def _run(self) -> None:
        while True:
            try:
                # Bounded, so that a request that hangs leaves time for another one before the
                # Lease expires.
                await self._in_time(self._try())
                self._failure = None
                self._complaint.is_over()
            except (ApiError, TimeoutError) as error:
                self._failed(error)
            self._notify()
            delay = RETRY_SECONDS * self._random.uniform(1.0, 1.2)
            if self._led:
                # Wake up at the moment at which it expires without a renewal.
                delay = min(delay, max(self._ours_until - self._monotonic(), 0.05))
            await deferLater(self._clock, delay)

    def _in_time(self, work: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        attempt = Deferred.fromCoroutine(work)
        return attempt.addTimeout(RENEW_SECONDS / 2, self._clock)

    def _failed(self, error: ApiError | TimeoutError) -> None:
        if isinstance(error, Conflict):
            return  # another replica was faster; the next attempt shows which
        if isinstance(error, TimeoutError):
            error = Unavailable(f"update leases {self._namespace}/{LEASE_NAME}: no answer")
        if self._complaint.is_news(str(error)):
            self._log.warn("Leader election: {error}; trying again", error=error)
        self._failure = error

    def _notify(self) -> None:
        leads = self.leads
        if leads == self._led:
            return
        self._led = leads
        if leads:
            self._log.info("Leading: this replica writes statuses")
        else:
            self._log.warn("No longer leading: this replica serves and writes nothing")
        self._changed()

    async def _try(self) -> None:
        """Take or renew the Lease if this replica may."""
        asked = self._monotonic()
        lease = await self._read()
        if lease is None:
            await self._take(asked, None)
            return
        spec = lease.get("spec") or {}
        self._observe(lease)
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity) or self._expired(spec):
            await self._take(asked, lease)
            return
        # The Lease may have been edited by hand; trust it.
        self._ours_until = -1.0
        if holder != self._holder:
            self._holder = holder
            self._log.info("Following {holder}, which writes statuses", holder=holder)

    async def _read(self) -> Json | None:
        try:
            return await self._api.get(LEASES, namespace=self._namespace, name=LEASE_NAME)
        except NotFound:
            return None

    def _observe(self, lease: Json) -> None:
        """Record since when, by our clock, the Lease has been unchanged."""
        seen = None if self._seen is None else self._seen.get("spec")
        if lease.get("spec") != seen:
            self._seen_at = self._monotonic()
        self._seen = lease

    def _expired(self, spec: Json) -> bool:
        seconds = spec.get("leaseDurationSeconds") or LEASE_SECONDS
        return self._monotonic() >= self._seen_at + seconds

    async def _take(self, asked: float, lease: Json | None) -> None:
        before = {} if lease is None else lease.get("spec") or {}
        ours = before.get("holderIdentity") == self._identity
        moment = _micro_time(self._now())
        transitions = before.get("leaseTransitions") or 0
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": before.get("acquireTime") if ours else moment,
            "renewTime": moment,
            "leaseTransitions": transitions if ours or lease is None else transitions + 1,
        }
        if lease is None:
            written = await self._api.create(LEASES, _lease(self._namespace, spec))
        else:
            written = await self._api.replace(LEASES, {**lease, "spec": spec})
        self._observe(written)
        self._holder = self._identity
        # Report it if the leadership expired during this request: objects reconciled meanwhile were
        # handled as by a replica that does not write.
        self._notify()
        # Counted from the request, not from the response: the API server may have had it since.
        self._ours_until = asked + RENEW_SECONDS

    async def _release(self, lease: Json) -> None:
        spec = {
            **lease["spec"],
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": _micro_time(self._now()),
        }
        await self._api.replace(LEASES, {**lease, "spec": spec})
        self._log.info("Released the Lease")


def _lease(namespace: str, spec: Json) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": LEASE_NAME},
        "spec": spec,
    }


def _micro_time(moment: datetime) -> str:
    """Return ``metav1.MicroTime``: RFC 3339 with microseconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""Leader election: of several replicas one at a time writes, as long as it holds a Lease.

The rules are client-go's (``tools/leaderelection``): a Lease names its holder and is renewed; who
sees it unchanged for as long as it says, by a clock of their own, may take it. Clocks of different
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
"""How long a Lease must stand unchanged before another replica may take it."""

RENEW_SECONDS = 10.0
"""How long after the last renewal its holder still counts itself as leader. What it has asked for
by then has five more seconds to reach the API server before anybody else may write."""

RETRY_SECONDS = 2.0
"""Between renewals, and between looks at somebody else's Lease."""

RELEASE_SECONDS = 1.0
"""How long stopping may take to give the Lease back."""


class Election(Service):
    """One replica's part in the election.

    ``identity`` tells this process from all others, earlier ones in the same pod included.
    ``monotonic`` gives seconds that never go back. ``changed`` is called, in the reactor's thread,
    whenever `leads` became another.
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
        self._reset()

    def _reset(self) -> None:
        self._loop: Deferred[None] | None = None
        self._ours_until = -1.0
        self._led = False
        self._seen: Json | None = None
        self._seen_at = 0.0
        self._holder = ""
        self._failure: ApiError | None = None
        self._defect = ""

    @property
    def leads(self) -> bool:
        """Whether this replica may write at this moment.

        Asked before each write: it ends by itself when the Lease could not be renewed, even while
        the process was suspended.
        """
        return self._monotonic() < self._ours_until

    @property
    def problem(self) -> str:
        """Why nobody can be elected, or we cannot, in words; empty when all is well."""
        return "" if self._failure is None else f"leader election: {self._failure}"

    @property
    def forbidden(self) -> bool:
        """Whether the right to the Lease is missing: without it nobody will ever lead."""
        return isinstance(self._failure, Forbidden)

    @property
    def defect(self) -> str:
        """What has died that never should, in words."""
        return self._defect

    def startService(self) -> None:
        """Stand for election. May follow a stop."""
        super().startService()
        self._reset()
        self._loop = Deferred.fromCoroutine(self._run())
        self._loop.addErrback(self._ended)

    def stopService(self, *, release: bool = True) -> Deferred[None]:
        """Stand down; give the Lease back for a successor to take at once.

        Without ``release``, for when writes of ours may still be under way, it runs out instead.
        """
        super().stopService()
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
        gives = release and self.leads
        self._ours_until = -1.0
        if not gives or self._seen is None:
            return succeed(None)
        released = Deferred.fromCoroutine(self._release(self._seen))
        released.addTimeout(RELEASE_SECONDS, self._clock)
        return released.addErrback(self._not_released)

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._defect = "leader election has died; the log tells why"
            self._ours_until = -1.0
            self._tell()
            self._log.failure("Leader election died", failure)

    def _not_released(self, failure: Failure) -> None:
        error = failure.trap(ApiError, TimeoutError, CancelledError)
        why = failure.getErrorMessage() if error is ApiError else "no answer"
        self._log.info("The Lease is not given back, and runs out: {error}", error=why)

    async def _run(self) -> None:
        while True:
            try:
                # Not longer than until others may take it: an answer that hangs must not keep us
                # from asking anew.
                await self._in_time(self._try())
                self._failure = None
            except (ApiError, TimeoutError) as error:
                self._failed(error)
            self._tell()
            delay = RETRY_SECONDS * self._random.uniform(1.0, 1.2)
            if self._led:
                # So that the moment at which it ends without a renewal is noticed, not only felt.
                delay = min(delay, max(self._ours_until - self._monotonic(), 0.05))
            await deferLater(self._clock, delay)

    def _in_time(self, work: Coroutine[Deferred[Any], Any, None]) -> Deferred[None]:
        attempt = Deferred.fromCoroutine(work)
        return attempt.addTimeout(RENEW_SECONDS / 2, self._clock)

    def _failed(self, error: ApiError | TimeoutError) -> None:
        if isinstance(error, Conflict):
            return  # somebody was faster; the next look shows who
        if isinstance(error, TimeoutError):
            error = Unavailable(f"update leases {self._namespace}/{LEASE_NAME}: no answer")
        if str(error) != str(self._failure or ""):
            self._log.warn("Leader election: {error}; trying again", error=error)
        self._failure = error

    def _tell(self) -> None:
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
        """Take or renew the Lease where that is ours to do."""
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
        # We may have been told apart by a hand that edited it: believe the Lease.
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
        """Remember since when, by our clock, the Lease says what it says."""
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
        # That it had run out while this was under way is told: what was looked at meanwhile was
        # looked at as by one who does not write.
        self._tell()
        # From when it was asked for, not from the answer: the API server may have had it since.
        self._ours_until = asked + RENEW_SECONDS

    async def _release(self, lease: Json) -> None:
        spec = {
            **lease["spec"],
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": _micro_time(self._now()),
        }
        await self._api.replace(LEASES, {**lease, "spec": spec})
        self._log.info("The Lease is given back")


def _lease(namespace: str, spec: Json) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": LEASE_NAME},
        "spec": spec,
    }


def _micro_time(moment: datetime) -> str:
    """``metav1.MicroTime``: RFC 3339 with microseconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""Scope: leader election over the API in memory, in simulated time.

At most one replica leads at any moment, whatever requests fail or hang and whoever is suspended;
and somebody leads soon after things have become well again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kube_memory import MemoryKubernetes
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.common.health import Health
from mic.kube.api import LEASES, ApiError, Conflict, Forbidden, Json, Resource, Unavailable
from mic.kube.election import LEASE_NAME, LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, Election

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(str(formatEvent(event)))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


class Replicas:
    """Some candidates in one cluster; each may have faults and a monotonic clock of its own."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self.clock = Clock()
        self.random = Random(seed)
        self.api = MemoryKubernetes(self.clock, latency=lambda: self.random.choice((0.0, 0.1)))
        self.changes: list[tuple[str, bool]] = []
        self.candidates = {name: self._candidate(name) for name in "abcd"[:count]}

    def _candidate(self, name: str) -> Election:
        def changed() -> None:
            self.changes.append((name, candidate.leads))

        candidate = Election(
            api=self.api,
            namespace="mic",
            identity=name,
            clock=self.clock,
            monotonic=self.clock.seconds,
            now=lambda: START + timedelta(seconds=self.clock.seconds()),
            random=self.random,
            changed=changed,
        )
        return candidate

    def start(self, *names: str) -> None:
        for name in names or self.candidates:
            # A new one each time, as a new process has.
            self.candidates[name] = self._candidate(name)
            self.candidates[name].startService()

    def stop(self) -> None:
        self.api.fault = lambda *_: None
        for candidate in self.candidates.values():
            candidate.stopService()
        self.pass_time(2.0)
        assert [call for call in self.clock.getDelayedCalls() if call.active()] == []

    def pass_time(self, seconds: float, step: float = 0.1) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            assert len(self.leaders) <= 1

    @property
    def leaders(self) -> list[str]:
        return [name for name, candidate in self.candidates.items() if candidate.leads]

    @property
    def lease(self) -> Json:
        found = self.api.find(LEASES, "mic", LEASE_NAME)
        assert found is not None
        return found["spec"]


def test_one_leads_and_the_lease_says_who() -> None:
    replicas = Replicas(3)
    replicas.start()
    replicas.pass_time(1.0)
    (leader,) = replicas.leaders
    assert replicas.lease["holderIdentity"] == leader
    assert replicas.lease["leaseDurationSeconds"] == LEASE_SECONDS
    assert replicas.lease["leaseTransitions"] == 0
    replicas.pass_time(60.0)
    assert replicas.leaders == [leader]
    assert replicas.changes == [(leader, True)]
    replicas.stop()


def test_the_lease_is_renewed_every_few_seconds_and_its_acquisition_stays() -> None:
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(1.0)
    first = replicas.lease
    replicas.pass_time(60.0)
    assert replicas.lease["acquireTime"] == first["acquireTime"]
    assert replicas.lease["renewTime"] > first["renewTime"]
    writes = [verb for verb, plural, _ in replicas.api.requests if verb == "update"]
    assert 60 / (RETRY_SECONDS * 1.3) <= len(writes) <= 60 / RETRY_SECONDS
    replicas.stop()


def test_a_leader_that_stops_gives_the_lease_back_for_the_next_to_take_at_once() -> None:
    replicas = Replicas(2)
    replicas.start()
    replicas.pass_time(1.0)
    (leader,) = replicas.leaders
    replicas.candidates[leader].stopService()
    assert replicas.leaders == []
    replicas.pass_time(RETRY_SECONDS * 1.2 + 0.5)
    (successor,) = replicas.leaders
    assert successor != leader
    assert replicas.lease["leaseTransitions"] == 1
    replicas.stop()


def test_without_release_the_lease_runs_out_first() -> None:
    replicas = Replicas(2)
    replicas.start()
    replicas.pass_time(1.0)
    (leader,) = replicas.leaders
    replicas.candidates[leader].stopService(release=False)
    replicas.pass_time(LEASE_SECONDS - 3.0)
    assert replicas.leaders == []
    replicas.pass_time(3.0 + RETRY_SECONDS * 1.2 + 0.5)
    assert len(replicas.leaders) == 1
    replicas.stop()


def test_a_leader_whose_renewals_fail_stops_before_another_begins() -> None:
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(1.0)
    replicas.api.fault = lambda *_: Unavailable("down")
    replicas.pass_time(RENEW_SECONDS - RETRY_SECONDS - 1.0)
    assert replicas.leaders == ["a"]
    replicas.pass_time(RETRY_SECONDS + 1.1)
    assert replicas.leaders == []
    assert replicas.changes == [("a", True), ("a", False)]
    assert "down" in " ".join(replicas.candidates["a"].health().warnings)
    replicas.api.fault = lambda *_: None
    replicas.pass_time(RETRY_SECONDS * 1.5)
    assert replicas.leaders == ["a"]
    assert replicas.candidates["a"].health() == Health()
    replicas.stop()


def test_a_suspended_leader_does_not_lead_when_it_wakes() -> None:
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(1.0)
    replicas.clock.rightNow += LEASE_SECONDS  # SIGSTOP, or a paused machine: no call came through
    assert replicas.leaders == []
    replicas.pass_time(RETRY_SECONDS)
    assert replicas.leaders == ["a"]
    replicas.stop()


def test_a_lease_that_somebody_else_renews_is_never_taken_whatever_its_times_say() -> None:
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(0.5)
    body = replicas.api.find(LEASES, "mic", LEASE_NAME) or {}
    for _ in range(20):
        # Its clock is years behind: clocks of two machines are not compared.
        renewed = f"2001-01-01T00:00:{_:02}.000000Z"
        spec = {**body["spec"], "holderIdentity": "foreign", "renewTime": renewed}
        replicas.api.edit(LEASES, "mic", LEASE_NAME, {"spec": spec})
        replicas.pass_time(LEASE_SECONDS - 2.0)
        assert replicas.leaders == []
    replicas.pass_time(LEASE_SECONDS + RETRY_SECONDS * 2)
    assert replicas.leaders == ["a"]
    replicas.stop()


def test_a_missing_right_is_named() -> None:
    replicas = Replicas(1)
    right = "get leases (API group 'coordination.k8s.io')"
    replicas.api.fault = lambda *_: Forbidden(f"the right to {right} is missing", right=right)
    replicas.start()
    replicas.pass_time(5.0)
    assert replicas.leaders == []
    assert not replicas.candidates["a"].health().ready
    assert right in " ".join(replicas.candidates["a"].health().not_ready)
    replicas.stop()


def test_a_request_that_hangs_is_given_up_in_time_to_ask_again() -> None:
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(1.0)
    hung: list[Deferred[Json]] = []

    async def hang(*_: Any, **__: Any) -> Json:
        hung.append(Deferred())
        return await hung[-1]

    replicas.api.get = hang  # type: ignore[method-assign]
    replicas.pass_time(RENEW_SECONDS)
    assert len(hung) >= 2
    assert replicas.leaders == []
    del replicas.api.get
    replicas.pass_time(RENEW_SECONDS)
    assert replicas.leaders == ["a"]
    replicas.stop()


@pytest.mark.parametrize("error", [Unavailable("500"), Conflict("409")])
def test_stopping_while_the_lease_cannot_be_given_back_ends_soon(error: ApiError) -> None:
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(1.0)
    replicas.api.fault = lambda *_: error
    stopped = replicas.candidates["a"].stopService()
    replicas.pass_time(1.2)
    assert stopped.called
    replicas.stop()


def test_a_new_process_leads_after_a_stop() -> None:
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(1.0)
    replicas.candidates["a"].stopService()
    replicas.pass_time(1.0)
    replicas.start()
    replicas.pass_time(1.0)
    assert replicas.leaders == ["a"]
    replicas.stop()


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(
            st.sampled_from(["fail", "heal", "stop", "kill", "start", "suspend", "wait", "delete"]),
            st.sampled_from("abc"),
            st.sampled_from([0.1, 1.0, 4.0, 11.0, 20.0]),
        ),
        max_size=30,
    ),
)
def test_never_two_lead_and_soon_one_does(seed: int, deeds: list[tuple[str, str, float]]) -> None:
    replicas = Replicas(3, seed)
    replicas.start()
    failing: set[str] = set()

    def fault(verb: str, resource: Resource, name: str) -> ApiError | None:
        return Unavailable("500") if failing and replicas.random.random() < 0.6 else None

    replicas.api.fault = fault
    for deed, name, seconds in deeds:
        candidate = replicas.candidates[name]
        if deed == "fail":
            failing.add(name)
        elif deed == "heal":
            failing.clear()
        elif deed in ("stop", "kill") and candidate.running:
            candidate.stopService(release=deed == "stop")
        elif deed == "start" and not candidate.running:
            replicas.start(name)
        elif deed == "suspend":
            replicas.clock.rightNow += seconds
            assert len(replicas.leaders) <= 1
        replicas.pass_time(seconds)
    failing.clear()
    for name, candidate in list(replicas.candidates.items()):
        if not candidate.running:
            replicas.start(name)
    replicas.pass_time(LEASE_SECONDS + 3 * RETRY_SECONDS)
    assert len(replicas.leaders) == 1
    replicas.stop()


def test_reports_a_lead_that_lapsed_and_returned_within_one_attempt() -> None:
    """What was looked at in between was looked at as a follower does."""
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(1.0)
    assert replicas.leaders == ["a"]
    answer, replaces = Deferred[None](), replicas.api.replace

    async def slow(*arguments: Any, **more: Any) -> Json:
        await answer
        return await replaces(*arguments, **more)

    replicas.api.fault = lambda *_: Unavailable("down")
    while replicas.candidates["a"].leads:
        if replicas.clock.seconds() > 9.0:
            replicas.api.fault = lambda *_: None
            replicas.api.replace = slow  # type: ignore[method-assign]
        replicas.pass_time(0.1)
    replicas.api.replace = replaces  # type: ignore[method-assign]
    answer.callback(None)
    replicas.pass_time(1.0)
    assert replicas.leaders == ["a"]
    assert replicas.changes == [("a", True), ("a", False), ("a", True)]
    replicas.stop()


def test_logs_that_the_lease_could_not_be_released_in_time(
    lines: list[str],
) -> None:
    replicas = Replicas(1)
    replicas.start()
    replicas.pass_time(1.0)

    async def hang(*_: Any, **__: Any) -> Json:
        return await Deferred[Json]()

    replicas.api.replace = hang  # type: ignore[method-assign]
    replicas.candidates["a"].stopService()
    replicas.pass_time(1.2)
    assert lines[-1] == "Could not release the Lease, it will expire: no answer"
    replicas.stop()

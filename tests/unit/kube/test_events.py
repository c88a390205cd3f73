"""Events on a clock of the test's own: what is sent, how much at most, and what is given up.

Scope: `mic.kube.events` with the API in memory; tests/e2e/test_events.py has the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kube_memory import MemoryKubernetes
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from mic.kube.api import EVENTS, ApiError, Forbidden, Invalid, Json, ServerError, Unavailable
from mic.kube.events import (
    FORBIDDEN_PAUSE,
    LONGEST_WAIT,
    MOST_IN_WINDOW,
    QUEUE,
    WINDOW,
    Event,
    EventRecorder,
    ObjectReference,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
HOST = ObjectReference(namespace="hosts", name="worker-0", uid="u-0")


class Bench:
    """A recorder and what the API server got of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = MemoryKubernetes(self.clock)
        self.recorder = EventRecorder(
            api=self.api,
            instance="mic-pod",
            clock=self.clock,
            now=lambda: START + timedelta(seconds=self.clock.seconds()),
        )
        self.recorder.start()

    def record(self, reason: str = "Started", about: str = "192.0.2.7", **more: Any) -> None:
        subject = more.pop("subject", HOST)
        event = Event(subject=subject, reason=reason, message=f"{about} x", about=about, **more)
        self.recorder.record(event)

    def settle(self, seconds: float = 1.0) -> None:
        """Let time pass in small steps."""
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    @property
    def events(self) -> list[Json]:
        """What is there, in the order of sending."""
        found = [body for key, body in self.api._objects.items() if key[0] == str(EVENTS)]
        return sorted(found, key=lambda body: int(body["metadata"]["resourceVersion"]))

    def fail(self, error: ApiError | None) -> None:
        self.api.fault = lambda verb, resource, name: error


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.recorder.stop()
    assert not bench.clock.getDelayedCalls()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.info:
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_an_event_names_object_reporter_and_time(bench: Bench) -> None:
    bench.settle(5)
    bench.record(warning=True)
    bench.settle()
    (event,) = bench.events
    assert event["involvedObject"] == {
        "apiVersion": "metal3.io/v1alpha1",
        "kind": "PreprovisioningImage",
        "namespace": "hosts",
        "name": "worker-0",
        "uid": "u-0",
    }
    assert event["metadata"]["namespace"] == "hosts"
    assert event["metadata"]["name"].startswith("worker-0.")
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "Started", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-01T00:00:05Z"
    assert event["reportingComponent"] == event["source"]["component"]
    assert event["reportingInstance"] == event["source"]["host"] == "mic-pod"


def test_names_are_names_however_long_the_objects_is(bench: Bench) -> None:
    for uid, name in enumerate(("a" * 253, "a" * 235 + "." + "a" * 17, "a-" * 126 + "a")):
        bench.record(subject=ObjectReference(namespace="hosts", name=name, uid=str(uid)))
    bench.settle()
    for event in bench.events:
        name = event["metadata"]["name"]
        assert len(name) <= 253
        assert all(part.strip("-") == part != "" for part in name.split("."))
    assert len(bench.events) == 3


def test_counts_repetitions_and_reports_them_with_the_next_event(bench: Bench) -> None:
    for _ in range(5):
        bench.record()
        bench.settle(10)
    assert [event["count"] for event in bench.events] == [1]
    bench.settle(WINDOW)
    bench.record()
    bench.settle()
    assert [event["count"] for event in bench.events] == [1, 5]
    assert bench.events[1]["firstTimestamp"] == "2026-01-01T00:00:10Z"


def test_a_reboot_loop_of_a_day_stays_within_the_bound(bench: Bench) -> None:
    """A host that boots each three minutes, and is cut off as often."""
    bench.settle()
    for _ in range(24 * 20):
        for reason in ("Started", "Interrupted"):
            bench.record(reason)
            bench.clock.advance(1)
        bench.clock.advance(178)
    bench.settle()
    day = 24 * 3600 / WINDOW
    assert len(bench.events) <= 2 * day
    assert sum(event["count"] for event in bench.events) >= 2 * 24 * 20 - 8


def test_many_clients_of_one_object_stay_within_the_bound(bench: Bench) -> None:
    for client in range(10_000):
        bench.record(about=f"192.0.2.{client}")
    bench.settle()
    assert len(bench.events) == MOST_IN_WINDOW
    bench.record(subject=ObjectReference(namespace="hosts", name="worker-1", uid="u-1"))
    bench.settle()
    assert len(bench.events) == MOST_IN_WINDOW + 1, "others have their own"
    assert 0 < bench.recorder.suppressed <= MOST_IN_WINDOW


def test_bounds_the_histories_of_objects(bench: Bench) -> None:
    for number in range(5000):
        subject = ObjectReference(namespace="hosts", name=f"worker-{number}", uid=str(number))
        bench.record(subject=subject)
    assert bench.recorder.remembered == 4096


def test_events_wait_for_the_api_server_and_come_in_order(bench: Bench, lines: list[str]) -> None:
    bench.fail(Unavailable("away"))
    for reason in "abc":
        bench.record(reason)
    bench.settle(100)
    assert len(bench.api.requests) <= 8, "it asks less and less often"
    bench.fail(None)
    bench.settle(61)
    assert [event["reason"] for event in bench.events] == ["a", "b", "c"]
    assert bench.events[0]["lastTimestamp"] == "2026-01-01T00:00:00Z", "when it happened"
    assert lines == []


def test_the_servers_wish_is_kept(bench: Bench) -> None:
    bench.fail(Unavailable("busy", retry_after=30.0))
    bench.record()
    bench.settle(29)
    assert len(bench.api.requests) == 1


def test_when_the_api_server_stays_away_events_are_dropped(bench: Bench, lines: list[str]) -> None:
    bench.fail(Unavailable("away"))
    for number in range(QUEUE + 50):
        subject = ObjectReference(namespace="hosts", name=f"worker-{number}", uid=str(number))
        bench.record(subject=subject)
    assert bench.recorder.queued == QUEUE
    bench.settle(LONGEST_WAIT + 60)
    assert bench.recorder.queued == 0
    assert lines == [f"{QUEUE + 50} events could not be sent"]
    bench.fail(None)
    bench.record(reason="Later")
    bench.settle()
    assert [event["reason"] for event in bench.events] == ["Later"]


def test_without_the_right_there_is_one_line_and_then_silence(
    bench: Bench, lines: list[str]
) -> None:
    bench.fail(Forbidden("create events in hosts: 403", right="create events"))
    hours = 3
    for minute in range(60 * hours):
        bench.record(about=f"192.0.2.{minute}")
        bench.settle(60)
    assert lines == [
        "create events in hosts: 403: Events are disabled for this namespace; "
        "downloads are only logged",
    ]
    assert len(bench.api.requests) <= hours * 3600 / FORBIDDEN_PAUSE
    bench.fail(None)
    bench.settle(FORBIDDEN_PAUSE)
    bench.record(about="192.0.2.250")
    bench.settle()
    assert len(bench.events) == 1, "granted, and noticed"


def test_an_event_that_is_not_taken_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.api.fault = lambda verb, resource, name: (
        Invalid("no") if name.startswith("worker-0.") else None
    )
    bench.record()
    bench.record(subject=ObjectReference(namespace="hosts", name="worker-1", uid="u-1"))
    bench.settle()
    assert [event["involvedObject"]["name"] for event in bench.events] == ["worker-1"]


def test_a_namespace_at_which_the_api_server_fails_does_not_hold_up_the_others(
    bench: Bench, lines: list[str]
) -> None:
    def fault(verb: str, resource: object, name: str) -> ApiError | None:
        return ServerError("500: failed calling webhook") if name.startswith("h-") else None

    bench.api.fault = fault
    for number in range(10):
        name = f"h-{number}"
        bench.record(subject=ObjectReference(namespace="tenant", name=name, uid=name))
    bench.record()
    bench.settle(2)
    assert [event["metadata"]["namespace"] for event in bench.events] == ["hosts"]
    asked = len(bench.api.requests)
    bench.settle(100)
    assert len(bench.api.requests) - asked <= 10
    bench.api.fault = lambda *_: None
    bench.settle(20)
    assert len(bench.events) == 11
    bench.api.fault = fault
    bench.record(subject=ObjectReference(namespace="tenant", name="h-x", uid="h-x"))
    bench.settle(LONGEST_WAIT + 20)
    assert lines == ["1 events could not be sent"]
    assert not bench.clock.getDelayedCalls()


def test_nothing_is_sent_before_the_start_and_after_the_stop(bench: Bench) -> None:
    bench.fail(Unavailable("away"))
    bench.record()
    bench.settle()
    bench.recorder.stop()
    bench.fail(None)
    bench.record("Later")
    bench.settle(200)
    assert bench.events == []


def test_a_defect_does_not_stop_the_recorder(bench: Bench, logged_failures: list[LogEvent]) -> None:
    def broken(verb: str, resource: object, name: str) -> None:
        raise RuntimeError

    bench.api.fault = broken
    bench.record("a")
    bench.settle()
    assert len(logged_failures) == 1
    logged_failures.clear()
    bench.fail(None)
    bench.record("b")
    bench.settle()
    assert [event["reason"] for event in bench.events] == ["b"]


def test_a_namespace_that_takes_no_events_does_not_silence_the_others(
    bench: Bench, lines: list[str]
) -> None:
    """The API server answers 403 for one that is being deleted, too, and for a quota used up."""
    refused = Forbidden("create events gone/worker-9.1: 403", right="create events")
    bench.api.fault = lambda verb, resource, name: refused if "worker-9." in name else None
    leaving = ObjectReference(namespace="gone", name="worker-9", uid="u-9")
    bench.record(subject=leaving)
    bench.record("a")
    bench.record("b", subject=leaving)
    bench.settle()
    bench.record("c")
    bench.record("d", subject=leaving)
    bench.settle()
    assert [event["reason"] for event in bench.events] == ["a", "c"]
    assert len(bench.api.requests) == 3
    assert lines == [
        "create events gone/worker-9.1: 403: Events are disabled for this namespace; "
        "downloads are only logged"
    ]


def test_drops_the_history_of_objects_without_events(bench: Bench) -> None:
    for number in range(50):
        bench.record(subject=ObjectReference(namespace="hosts", name="w", uid=f"u-{number}"))
    assert bench.recorder.remembered == 50
    bench.clock.advance(2 * WINDOW)
    for _ in range(60):
        bench.record(about="192.0.2.8")
    assert bench.recorder.remembered == 1
    bench.settle(5.0)

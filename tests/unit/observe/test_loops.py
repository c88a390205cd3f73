"""Health of the periodic work: stopped loops and blocked polls."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from mic.common.health import Health
from mic.observe.loops import MAX_POLL_SECONDS, Loops

HEALTHY = Health()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loops(clock: Clock) -> Loops:
    return Loops(clock)


def test_calls_each_function_once_per_period_until_stopped(loops: Loops, clock: Clock) -> None:
    calls: list[str] = []
    loops.add(lambda: calls.append("fast"), 2.0)
    loops.add(lambda: calls.append("slow"), 5.0)
    loops.start()
    assert calls == [], "the first call is one period from the start"
    clock.pump([2.0, 2.0, 1.0])
    assert calls == ["fast", "fast", "slow"]
    loops.stop()
    clock.advance(10.0)
    assert len(calls) == 3
    assert loops.health() == HEALTHY, "stopped on purpose"


def test_warns_of_a_blocked_poll_until_it_completes(loops: Loops, clock: Clock) -> None:
    with loops.poll():
        clock.advance(MAX_POLL_SECONDS - 1)
        assert loops.health() == HEALTHY
        with loops.poll():  # SIGHUP starts another one
            clock.advance(2)
        (warning,) = loops.health().warnings
        assert "a directory or device does not respond" in warning
    assert loops.health() == HEALTHY


def test_a_failed_poll_is_not_blocked(loops: Loops, clock: Clock) -> None:
    with pytest.raises(ValueError, match="defect"), loops.poll():
        raise ValueError("defect")
    clock.advance(MAX_POLL_SECONDS)
    assert loops.health() == HEALTHY


def test_a_loop_that_failed_is_fatal(
    loops: Loops, clock: Clock, logged_failures: list[Any]
) -> None:
    def fail() -> None:
        raise ValueError("defect")

    loops.add(fail, 2.0)
    loops.add(lambda: None, 2.0)
    assert loops.health() == HEALTHY
    loops.start()
    assert loops.health() == HEALTHY
    clock.advance(2.0)
    assert loops.health().fatal == ("a polling loop stopped; see the log",)
    assert len(logged_failures) == 1
    logged_failures.clear()
    loops.stop()

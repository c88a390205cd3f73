"""Retry delays of files. Scope: mic.images.retries."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from mic.images.retries import Retries


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def retries(clock: Clock) -> Retries:
    return Retries(clock.seconds)


def waits(retries: Retries, clock: Clock) -> float:
    """Fail once; return the seconds until the next attempt is due."""
    retries.failed("a")
    began = clock.seconds()
    while not retries.due("a"):
        clock.advance(0.5)
    return clock.seconds() - began


def test_delays_double_up_to_half_a_minute(retries: Retries, clock: Clock) -> None:
    assert retries.due("a")
    assert [waits(retries, clock) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_success_resets_the_delay(retries: Retries, clock: Clock) -> None:
    for _ in range(5):
        waits(retries, clock)
    retries.forget("a")
    assert waits(retries, clock) == 1


def test_delays_are_by_path_until_cleared(retries: Retries) -> None:
    retries.failed("a")
    assert not retries.due("a")
    assert retries.due("b")
    retries.clear()
    assert retries.due("a")

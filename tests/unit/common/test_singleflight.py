"""Work that is done once for concurrent callers. Scope: mic.common.singleflight."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mic.common.singleflight import SingleFlight

results = SynchronousTestCase()


class Work:
    """Count its runs; each ends when the test ends it."""

    def __init__(self) -> None:
        self.runs: list[Deferred[str]] = []

    async def __call__(self) -> str:
        self.runs.append(Deferred())
        return await self.runs[-1]


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def flights() -> SingleFlight[str, str]:
    return SingleFlight()


def test_runs_once_for_concurrent_callers(flights: SingleFlight[str, str], work: Work) -> None:
    waiting = [flights.run("a", work) for _ in range(3)]
    assert len(work.runs) == 1
    work.runs[0].callback("done")
    assert [results.successResultOf(each) for each in waiting] == ["done"] * 3


def test_runs_again_for_later_callers(flights: SingleFlight[str, str], work: Work) -> None:
    first = flights.run("a", work)
    work.runs[0].callback("old")
    second = flights.run("a", work)
    work.runs[1].callback("new")
    assert (results.successResultOf(first), results.successResultOf(second)) == ("old", "new")


def test_runs_for_each_key(flights: SingleFlight[str, str], work: Work) -> None:
    for key in ("a", "b"):
        flights.run(key, work)
    assert len(work.runs) == 2


def test_all_callers_get_the_failure(flights: SingleFlight[str, str], work: Work) -> None:
    waiting = [flights.run("a", work) for _ in range(2)]
    work.runs[0].errback(OSError("no"))
    for each in waiting:
        results.failureResultOf(each, OSError)


def test_cancelling_one_caller_does_not_affect_others(
    flights: SingleFlight[str, str], work: Work
) -> None:
    leaves, stays = flights.run("a", work), flights.run("a", work)
    leaves.cancel()
    results.failureResultOf(leaves, CancelledError)
    work.runs[0].callback("done")
    assert results.successResultOf(stays) == "done"

"""Scope: what the service says of itself where no process of its own can show it.

Everything else of mic.service is shown by real daemons, in tests/functional and tests/e2e.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toys import live_iso, put
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mic.config import Mode, load
from mic.service import LONGEST_LOOK, Mic


class Service(Mic):
    """A mic that was not started, whose base images are on a medium that does not answer."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        environment = {
            "DEPLOY_ISO": str(put(folder / "ipa.iso", live_iso())),
            "IRONIC_AGENT_IMAGE": "quay.io/ipa",
        }
        super().__init__(load(Mode.STATIC, environment, {"nmstate-dir": str(folder)}), clock)
        self.medium: Deferred[None] = Deferred()
        self.bases.refresh = lambda: self.medium  # type: ignore[assignment, return-value]

        async def nothing() -> None: ...

        self.hosts.look = nothing  # type: ignore[method-assign]

    def look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._look())

    def told(self) -> dict[str, Any]:
        return next(self.describe())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Service:
    return Service(tmp_path, clock)


def test_a_look_that_does_not_end_is_a_problem_in_words(service: Service, clock: Clock) -> None:
    service.look()
    clock.advance(LONGEST_LOOK - 1)
    assert service.told()["problems"] == []
    service.look()  # at SIGHUP
    clock.advance(2)
    (problem,) = service.told()["problems"]
    assert "a directory or a medium does not answer" in problem
    service.medium.callback(None)
    assert service.told()["problems"] == []


def test_a_look_that_fails_is_over(service: Service, clock: Clock, logged_failures: Any) -> None:
    service.look()
    service.medium.errback(ValueError("a fault of ours"))
    clock.advance(LONGEST_LOOK)
    assert service.told()["problems"] == []
    assert len(logged_failures) == 1
    logged_failures.clear()


def test_a_loop_that_has_ended_is_a_defect(service: Service, clock: Clock) -> None:
    service.running = 1
    assert service.told()["defects"] == []
    for loop, period in service._loops:
        loop.clock = clock
        loop.start(period, now=False)
    service.ready.callback(None)
    assert service.told()["defects"] == []
    service._loops[1][0].stop()
    assert service.told()["defects"] == ["a loop of mic's own has ended; the log tells why"]
    service._loops[0][0].stop()

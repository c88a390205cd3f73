"""What the service reports of itself where no process of its own can show it.

Everything else of mic.service is shown by real daemons, in tests/functional and tests/e2e.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toys import live_iso, put
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mic.observe.loops import MAX_POLL_SECONDS
from mic.service import Mic
from mic.settings.load import load
from mic.settings.model import Mode


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Mic:
    """A service that was not started."""
    environment = {
        "DEPLOY_ISO": str(put(tmp_path / "ipa.iso", live_iso())),
        "IRONIC_AGENT_IMAGE": "quay.io/ipa",
    }
    return Mic(load(Mode.STATIC, environment, {"nmstate-dir": str(tmp_path)}), clock)


def described(service: Mic) -> dict[str, Any]:
    return next(service.describe())


def test_describes_itself_before_it_listens(service: Mic) -> None:
    state = described(service)
    assert (state["mode"], state["serving"], state["addresses"]) == ("static", False, [])
    assert "the hosts' images are still being built" in state["missing"]
    assert (state["defects"], state["problems"]) == ([], [])


def test_reports_a_poll_that_is_blocked(
    service: Mic, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_hosts() -> None: ...

    monkeypatch.setattr(service.hosts, "poll", no_hosts)
    device: Deferred[None] = Deferred()
    monkeypatch.setattr(service.bases, "refresh", lambda: device)
    poll = Deferred.fromCoroutine(service.poll())
    clock.advance(MAX_POLL_SECONDS)
    (problem,) = described(service)["problems"]
    assert "a directory or device does not respond" in problem
    device.callback(None)
    assert poll.called
    assert described(service)["problems"] == []

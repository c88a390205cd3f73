"""How late the event loop is: whatever keeps it busy keeps every client waiting."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mic.counts import Durations

PERIOD = 0.25
"""Seconds between looks. What keeps the loop for longer is always seen, shorter things in part."""

LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class LoopLag:
    """Asks the loop for a call every `PERIOD`, and notes by how much each came too late.

    ``now`` gives seconds of a clock that nobody sets: a step of it would be no lag.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now = now
        self._call: IDelayedCall | None = None
        self.seconds = Durations(LAGS)

    def start(self) -> None:
        """Look until `stop`."""
        self._call = self._clock.callLater(PERIOD, self._look, self._now() + PERIOD)

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self, due: float) -> None:
        self.seconds.add(self._now() - due)
        self.start()

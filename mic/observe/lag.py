"""Lag of the event loop: while it is busy, all clients wait."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mic.common.durations import Durations

PERIOD = 0.25
"""Seconds between measurements. Longer blocks are always seen, shorter ones in part."""

LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Bounds of the lags counted, in seconds."""


class LoopLag:
    """Schedules a call every `PERIOD` and records by how much each one was late.

    ``now`` returns seconds of a monotonic clock: a step of the wall clock is no lag.
    """

    def __init__(self, clock: IReactorTime, now: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now = now
        self._call: IDelayedCall | None = None
        self.seconds = Durations(LAGS)

    def start(self) -> None:
        """Measure until `stop`."""
        self._call = self._clock.callLater(PERIOD, self._measure, self._now() + PERIOD)

    def stop(self) -> None:
        """Stop measuring."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _measure(self, due: float) -> None:
        self.seconds.add(self._now() - due)
        self.start()

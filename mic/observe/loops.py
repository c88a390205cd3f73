"""Periodic work of the process, and whether it still runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.common.health import Health

MAX_POLL_SECONDS = 600.0
"""Duration after which a poll counts as blocked, in seconds: reading a large base image again, on
a slow disk, takes minutes."""


class Loops:
    """Calls functions periodically, and reports functions that failed and polls that are blocked.

    A function that raises is not called again: that is a defect, and fatal.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._calls: list[tuple[LoopingCall, float]] = []
        self._running = False
        self._polls: list[float] = []
        """Start times of the polls in progress, in the clock's seconds."""

    def add(self, function: Callable[[], Any], period: float) -> None:
        """Call ``function`` every ``period`` seconds, as soon as the Deferred it returned fired."""
        call = LoopingCall(function)
        call.clock = self._clock
        self._calls.append((call, period))

    def start(self) -> None:
        """Start all loops; the first calls are one period from now."""
        self._running = True
        for call, period in self._calls:
            call.start(period, now=False).addErrback(self._failed)

    def stop(self) -> None:
        """Stop all loops; calls in progress go on."""
        self._running = False
        for call, _ in self._calls:
            if call.running:
                call.stop()

    @contextmanager
    def poll(self) -> Iterator[None]:
        """Time the body of the ``with`` statement as a poll."""
        began = self._clock.seconds()
        self._polls.append(began)
        try:
            yield
        finally:
            self._polls.remove(began)

    def health(self) -> Health:
        """Return stopped loops as fatal, and blocked polls as a warning."""
        fatal: tuple[str, ...] = ()
        warnings: tuple[str, ...] = ()
        if self._running and not all(call.running for call, _ in self._calls):
            fatal = ("a polling loop stopped; see the log",)
        if self._polls and self._clock.seconds() - self._polls[0] >= MAX_POLL_SECONDS:
            warnings = (
                f"polling has been blocked for more than {MAX_POLL_SECONDS:.0f} s: a directory or "
                "device does not respond, and changes there go unnoticed",
            )
        return Health(fatal=fatal, warnings=warnings)

    def _failed(self, why: Failure) -> None:
        self._log.failure("a polling loop stopped", why)

"""Retry delays of files with a temporary error."""

from __future__ import annotations

from collections.abc import Callable

from mic.common.backoff import Backoff

_BACKOFF = Backoff(first=1.0, longest=30.0)


class Retries:
    """Delays by path that double with each failure, from 1 to 30 seconds.

    ``clock`` returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._due: dict[str, float] = {}

    def due(self, path: str) -> bool:
        """Return whether to try a path now; true for one that has not failed."""
        return self._clock() >= self._due.get(path, 0.0)

    def failed(self, path: str) -> None:
        """Count a failure; the next delay is longer."""
        self._failures[path] = self._failures.get(path, 0) + 1
        self._due[path] = self._clock() + _BACKOFF.delay(self._failures[path])

    def forget(self, path: str) -> None:
        """Start with the shortest delay at the next failure."""
        self._failures.pop(path, None)
        self._due.pop(path, None)

    def clear(self) -> None:
        """Forget all paths: each is due at once."""
        self._failures.clear()
        self._due.clear()

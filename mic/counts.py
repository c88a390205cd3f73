"""Durations in buckets. Pure.

Whoever does something counts it in plain numbers of its own: that costs next to nothing, where a
metrics library takes a lock. `mic.metrics` reads them when it is asked.
"""

from __future__ import annotations

from bisect import bisect_left


class Durations:
    """How long things took, in seconds.

    ``buckets`` counts those of at most each of ``bounds``, and at its end those above all; each
    duration is in one bucket.
    """

    __slots__ = ("bounds", "buckets", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one; a negative duration is that of a clock which was set back, and none."""
        seconds = max(seconds, 0.0)
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.buckets)

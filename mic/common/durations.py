"""Histograms of durations. Pure.

Components count in plain numbers of their own, which costs less than a metrics library with its
lock. `mic.observe.metrics` reads them when the page is requested.
"""

from __future__ import annotations

from bisect import bisect_left


class Durations:
    """A histogram of durations in seconds.

    Each duration is in one bucket: ``buckets`` has one count for each upper bound of ``bounds``,
    and a last one for longer durations.
    """

    __slots__ = ("bounds", "buckets", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration; a negative one (a clock was set back) counts as 0."""
        seconds = max(seconds, 0.0)
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.buckets)

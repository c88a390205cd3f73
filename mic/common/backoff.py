"""Exponential back-off. Pure: the caller counts failures and waits."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

_MAX_EXPONENT = 64
"""Cap on the exponent: a float would overflow near 2**1024."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Delays in seconds that double with each failure in a row.

    ``jitter`` is the random share of a delay (0.5: from half of it to all of it), so that clients
    that failed together do not retry together.
    """

    first: float
    longest: float
    jitter: float = 0.0

    def delay(
        self,
        failures: int,
        *,
        random: Random | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> float:
        """Return the delay after the ``failures``-th failure in a row, counted from 1.

        ``at_most`` caps it for one caller. ``at_least`` is the server's Retry-After (RFC 9110
        section 10.2.3) and takes precedence. ``random`` is required for jitter.
        """
        delay = min(self.first * 2.0 ** min(max(failures - 1, 0), _MAX_EXPONENT), self.longest)
        if self.jitter and random is not None:
            delay *= random.uniform(1.0 - self.jitter, 1.0)
        if at_most is not None:
            delay = min(delay, at_most)
        return delay if at_least is None else max(delay, at_least)

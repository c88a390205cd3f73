"""Delays double, have bounds, and respect Retry-After."""

from __future__ import annotations

from random import Random

import pytest

from mic.common.backoff import Backoff

BACKOFF = Backoff(first=0.5, longest=15.0)


@pytest.mark.parametrize(
    ("failures", "delay"), [(0, 0.5), (1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 15.0)]
)
def test_delays_double_up_to_the_longest(failures: int, delay: float) -> None:
    assert BACKOFF.delay(failures) == delay


def test_accepts_any_number_of_failures() -> None:
    assert BACKOFF.delay(10**9) == 15.0


def test_jitter_is_a_share_of_the_delay() -> None:
    random = Random(0)
    drawn = [
        Backoff(first=4.0, longest=9.0, jitter=0.5).delay(1, random=random) for _ in range(200)
    ]
    assert min(drawn) >= 2.0
    assert max(drawn) <= 4.0
    assert len(set(drawn)) > 100


def test_retry_after_takes_precedence_over_the_cap() -> None:
    assert BACKOFF.delay(9, at_most=3.0) == 3.0
    assert BACKOFF.delay(1, at_least=7.0) == 7.0
    assert BACKOFF.delay(1, at_least=60.0, at_most=3.0) == 60.0

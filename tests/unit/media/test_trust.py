"""For how long to trust a file whose attributes change repeatedly. Scope: mic.media.trust."""

from __future__ import annotations

from mic.media.trust import Trust


def test_single_changes_are_never_trusted() -> None:
    trust = Trust()
    assert [trust.after(60.0 * n, 1.0, moved=False) for n in range(100)] == [0.0] * 100


def test_few_changes_in_a_row_are_not_trusted() -> None:
    trust = Trust()
    assert [trust.after(float(n), 1.0, moved=False) for n in range(8)] == [0.0] * 8
    assert trust.after(8.0, 1.0, moved=False) > 0


def test_changes_during_the_digest_are_trusted_at_the_third() -> None:
    trust = Trust()
    assert [trust.after(0.0, 0.0, moved=True) for _ in range(3)] == [0.0, 0.0, 5.0]


def test_trust_doubles_up_to_five_minutes_and_outlasts_ten_digests() -> None:
    trust = Trust()
    now, given = 0.0, []
    for _ in range(12):
        for _ in range(3):
            grace = trust.after(now, 0.1, moved=True)
            if grace:
                break
        given.append(grace)
        now += grace
    assert given[:4] == [5.0, 10.0, 20.0, 40.0]
    assert max(given) == 300.0
    slow = Trust()
    assert [slow.after(0.0, 60.0, moved=True) for _ in range(3)][-1] == 600.0


def test_forgets_earlier_changes() -> None:
    trust = Trust()
    for _ in range(3):
        trust.after(0.0, 0.1, moved=True)
    assert trust.after(3600.0, 0.1, moved=False) == 0.0
    assert [trust.after(3600.0, 0.0, moved=True) for _ in range(2)] == [0.0, 5.0]

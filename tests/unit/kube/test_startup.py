"""Scope: what readiness waits for after a start, as plain rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mic.kube.objects import Key
from mic.kube.startup import ATTEMPTS, LARGE_DOCUMENT, LARGE_SHARE, Startup

A, B, C = Key("one", "a"), Key("one", "b"), Key("two", "c")


def test_nothing_there_is_nothing_to_wait_for() -> None:
    startup = Startup([])
    assert startup.settled
    assert startup.caught_up


def test_every_object_is_waited_for() -> None:
    startup = Startup([A, B])
    startup.reconciled(A)
    startup.reconciled(A)
    assert (startup.awaited, startup.caught_up, startup.settled) == (1, False, False)
    startup.reconciled(B)
    assert (startup.awaited, startup.caught_up, startup.settled) == (0, True, True)


def test_documents_of_ordinary_size_are_never_put_off() -> None:
    keys = [Key("one", str(number)) for number in range(1000)]
    startup = Startup(keys)
    assert not any(startup.puts_off(key, LARGE_DOCUMENT) for key in keys)


def test_large_documents_beyond_a_namespaces_share_come_last() -> None:
    startup = Startup([A, B, C])
    assert not startup.puts_off(A, LARGE_SHARE)
    assert startup.puts_off(B, LARGE_DOCUMENT + 1)
    assert not startup.puts_off(C, LARGE_SHARE), "another namespace has a share of its own"
    assert startup.awaited == 2
    assert startup.resumed() == set()
    startup.reconciled(A)
    startup.reconciled(C)
    assert (startup.caught_up, startup.settled, startup.late) == (True, False, 1)
    assert startup.resumed() == {B}
    assert startup.resumed() == set()
    assert not startup.puts_off(B, LARGE_SHARE)
    assert startup.late == 1
    startup.reconciled(B)
    assert (startup.settled, startup.late) == (True, 0)


def test_when_nothing_but_large_documents_is_left_they_are_resumed_at_once() -> None:
    startup = Startup([A, B])
    assert not startup.puts_off(A, LARGE_SHARE)
    startup.reconciled(A)
    assert startup.puts_off(B, LARGE_SHARE)
    assert startup.caught_up
    assert startup.resumed() == {B}


def test_objects_that_came_later_are_neither_waited_for_nor_put_off() -> None:
    startup = Startup([A])
    assert not startup.puts_off(B, LARGE_SHARE)
    assert not startup.puts_off(B, LARGE_SHARE)
    assert not any(startup.attempted(B) for _ in range(ATTEMPTS))
    assert startup.awaited == 1


def test_an_object_that_comes_to_no_rest_is_given_up_on() -> None:
    startup = Startup([A, B])
    assert [startup.attempted(A) for _ in range(ATTEMPTS)] == [False] * (ATTEMPTS - 1) + [True]
    assert startup.awaited == 1
    assert not startup.attempted(A)
    startup.reconciled(B)
    assert startup.settled


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("reconciled", "attempted", "large", "resumed")),
            st.sampled_from((A, B, C)),
        ),
        max_size=40,
    )
)
def test_both_states_come_and_stay_and_nothing_is_put_off_for_good(
    steps: list[tuple[str, Key]],
) -> None:
    startup = Startup([A, B, C])
    left, put_off = {A, B, C}, set()
    before = (False, False)
    for what, key in steps:
        if what == "reconciled":
            startup.reconciled(key)
            left.discard(key)
            put_off.discard(key)
        elif what == "attempted" and startup.attempted(key):
            left.discard(key)
            put_off.discard(key)
        elif what == "large" and startup.puts_off(key, LARGE_SHARE):
            put_off.add(key)
        elif what == "resumed":
            resumed = startup.resumed()
            assert resumed == (put_off if startup.caught_up else set())
            put_off -= resumed
        assert startup.settled == (not left)
        assert startup.caught_up or startup.awaited == len(left - put_off) > 0
        now = (startup.caught_up, startup.settled)
        assert now >= before
        assert startup.caught_up or not startup.settled
        before = now

"""Scope: the work queue alone, in simulated time, against plain statements of its rules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from mic.kube.queue import WorkQueue


def _taken(queue: WorkQueue[str]) -> list[str]:
    """Everything that can be had now."""
    taken: list[str] = []
    while len(queue) and not queue.holding:
        worker = queue.get()
        if not worker.called:
            worker.addErrback(lambda failure: failure.trap(CancelledError))
            worker.cancel()
            break
        worker.addCallback(taken.append)
    return taken


def test_keys_come_in_the_order_of_arrival_each_once() -> None:
    queue: WorkQueue[str] = WorkQueue(Clock())
    for key in "abacb":
        queue.add(key)
    assert _taken(queue) == ["a", "b", "c"]


def test_a_key_that_changes_while_worked_on_comes_again_when_done_and_not_before() -> None:
    queue: WorkQueue[str] = WorkQueue(Clock())
    queue.add("a")
    assert _taken(queue) == ["a"]
    queue.add("a")
    assert _taken(queue) == []
    queue.done("a")
    assert _taken(queue) == ["a"]
    queue.done("a")
    assert queue.idle


def test_failures_back_off_from_five_milliseconds_to_a_thousand_seconds() -> None:
    queue: WorkQueue[str] = WorkQueue(Clock())
    delays = [queue.retry("a") for _ in range(30)]
    assert delays[:4] == [0.005, 0.01, 0.02, 0.04]
    assert delays == sorted(delays)
    assert delays[-1] == 1000.0
    queue.forget("a")
    assert queue.retry("a") == 0.005
    assert queue.retry("b") == 0.005
    assert queue.retry("b", at_least=3.0) == 3.0
    assert [queue.retry("b", at_most=1.0) for _ in range(20)][-1] == 1.0
    queue.close()


def test_a_delayed_key_comes_when_due_and_the_earliest_time_counts() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    queue.add_after("a", 10)
    queue.add_after("a", 2)
    queue.add_after("a", 5)
    clock.advance(1.9)
    assert _taken(queue) == []
    clock.advance(0.2)
    assert _taken(queue) == ["a"]
    queue.done("a")
    clock.advance(20)
    assert queue.idle


def test_nothing_is_handed_out_while_held() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    got: list[str] = []
    queue.get().addCallback(got.append)
    queue.hold(1.0)
    queue.hold(0.5)
    queue.add("a")
    clock.advance(0.9)
    assert got == []
    clock.advance(0.2)
    assert got == ["a"]


def test_closing_ends_waiting_workers_and_leaves_no_timer() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    waiting = queue.get()
    queue.add_after("a", 1)
    queue.hold(5)
    queue.close()
    late: Deferred[str] = queue.get()
    ended: list[object] = []
    for worker in (waiting, late):
        worker.addErrback(lambda failure: ended.append(failure.trap(CancelledError)))
    assert ended == [CancelledError, CancelledError]
    assert clock.getDelayedCalls() == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc"), st.just(0.0)),
            st.tuples(st.just("after"), st.sampled_from("abc"), st.floats(0, 5)),
            st.tuples(st.just("get"), st.just(""), st.just(0.0)),
            st.tuples(st.just("done"), st.sampled_from("abc"), st.just(0.0)),
            st.tuples(st.just("fail"), st.sampled_from("abc"), st.just(0.0)),
            st.tuples(st.just("hold"), st.just(""), st.floats(0, 3)),
            st.tuples(st.just("wait"), st.just(""), st.floats(0, 4)),
        ),
        max_size=60,
    )
)
def test_no_key_is_worked_on_twice_at_once_and_none_is_lost(
    steps: list[tuple[str, str, float]],
) -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock)
    working: list[str] = []
    wanted: set[str] = set()  # asked for since it was last taken

    def took(key: str) -> None:
        assert key not in working
        working.append(key)
        wanted.discard(key)

    for what, key, seconds in steps:
        if what == "add":
            wanted.add(key)
            queue.add(key)
        elif what == "after":
            wanted.add(key)
            queue.add_after(key, seconds)
        elif what == "get":
            queue.get().addCallback(took)
        elif what in ("done", "fail") and key in working:
            if what == "fail":
                wanted.add(key)
                queue.retry(key)
            working.remove(key)
            queue.done(key)
        elif what == "hold":
            queue.hold(seconds)
        elif what == "wait":
            clock.advance(seconds)
    # Time and workers without end: everything that was asked for comes.
    for _ in range(20):
        for key in list(working):
            working.remove(key)
            queue.done(key)
        queue.get().addCallback(took)
        clock.advance(6)
    assert wanted == set()
    assert not any(each.active() for each in clock.getDelayedCalls())

"""Scope: the work queue alone, in simulated time, against plain statements of its rules."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mic.kube.queue import AT_A_STRETCH, WorkQueue


class Bench:
    """A queue of keys such as ``a1``, which ``a`` owns, and work that ends when the test says."""

    def __init__(self, *, limit: int = 1, share: int = 1, at_once: bool = False) -> None:
        self.clock = Clock()
        self.queue: WorkQueue[str] = WorkQueue(
            self.clock, owner=lambda key: key[0], limit=limit, share=share
        )
        self.begun: list[str] = []
        self.working: dict[str, Deferred[None]] = {}
        self.deaths: list[Failure] = []
        self._at_once = at_once

    def start(self) -> None:
        self.queue.start(self._work, self.deaths.append)

    async def _work(self, key: str) -> None:
        assert key not in self.working
        self.begun.append(key)
        if self._at_once:
            return
        ended = self.working[key] = Deferred()
        try:
            await ended
        finally:
            del self.working[key]

    async def _wait_aside(self, key: str) -> None:
        self.begun.append(key)
        ended = self.working[key] = Deferred()
        with self.queue.aside():
            await ended
        del self.working[key]

    def start_aside(self) -> None:
        """As `start`, with work that waits for something else all the time."""
        self.queue.start(self._wait_aside, self.deaths.append)

    def end(self, key: str) -> None:
        self.working[key].callback(None)

    def end_all(self) -> None:
        """End what is under way, and what then begins, until nothing is left to begin."""
        while self.working:
            self.end(next(iter(self.working)))
            self.clock.advance(0)


def test_keys_come_in_the_order_of_arrival_each_once() -> None:
    bench = Bench()
    for key in ("a1", "a2", "a1", "a3", "a2"):
        bench.queue.add(key)
    assert bench.begun == []
    bench.start()
    bench.end_all()
    assert bench.begun == ["a1", "a2", "a3"]


def test_a_key_that_changes_while_worked_on_comes_again_when_done_and_not_before() -> None:
    bench = Bench(limit=2, share=2)
    bench.start()
    bench.queue.add("a1")
    bench.queue.add("a1")
    assert bench.begun == ["a1"]
    assert len(bench.queue) == 1
    bench.end("a1")
    assert bench.begun == ["a1", "a1"]
    bench.end("a1")
    assert bench.queue.idle


def test_failures_back_off_from_five_milliseconds_to_a_thousand_seconds() -> None:
    queue = Bench().queue
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
    bench = Bench(at_once=True)
    bench.start()
    bench.queue.add_after("a", 10)
    bench.queue.add_after("a", 2)
    bench.queue.add_after("a", 5)
    bench.clock.advance(1.9)
    assert bench.begun == []
    bench.clock.advance(0.2)
    assert bench.begun == ["a"]
    bench.clock.advance(20)
    assert bench.begun == ["a"]
    assert bench.queue.idle


def test_nothing_is_handed_out_while_held() -> None:
    bench = Bench(at_once=True)
    bench.start()
    bench.queue.pause(1.0)
    bench.queue.pause(0.5)
    bench.queue.add("a")
    bench.clock.advance(0.9)
    assert bench.begun == []
    bench.clock.advance(0.2)
    assert bench.begun == ["a"]


def test_closing_leaves_no_timer_and_lets_work_end_or_be_cancelled() -> None:
    bench = Bench(limit=2, share=2)
    bench.start()
    for key in ("a1", "a2", "a3"):
        bench.queue.add(key)
    bench.queue.add_after("a4", 1)
    bench.queue.pause(5)
    under_way = bench.queue.under_way
    bench.queue.close()
    bench.queue.add("a5")
    assert bench.clock.getDelayedCalls() == []
    bench.end("a1")
    under_way[1].cancel()
    assert [work.called for work in under_way] == [True, True]
    assert bench.begun == ["a1", "a2"]
    assert bench.queue.under_way == []
    assert bench.deaths == []


def test_work_that_dies_is_reported_and_others_go_on() -> None:
    bench = Bench()
    bench.start()
    bench.queue.add("a1")
    bench.queue.add("a2")
    bench.working["a1"].errback(ValueError("a defect"))
    assert [death.type for death in bench.deaths] == [ValueError]
    bench.working["a2"].errback(CancelledError())
    assert len(bench.deaths) == 1
    assert bench.queue.idle


def test_the_reactor_gets_its_turn_between_many_keys_that_need_no_work() -> None:
    bench = Bench(at_once=True)
    for number in range(5 * AT_A_STRETCH):
        bench.queue.add(f"a{number}")
    bench.start()
    assert len(bench.begun) == AT_A_STRETCH
    for _ in range(5):
        bench.clock.advance(0)
    assert bench.queue.idle


def test_owners_take_turns_however_many_keys_one_has() -> None:
    bench = Bench()
    for number in range(100):
        bench.queue.add(f"a{number}")
    for key in ("b1", "c1", "b2"):
        bench.queue.add(key)
    bench.start()
    bench.end_all()
    assert bench.begun[:6] == ["a0", "b1", "c1", "a1", "b2", "a2"]


def test_owners_take_turns_when_delayed_keys_come_due_together() -> None:
    bench = Bench()
    bench.start()
    for number in range(100):
        bench.queue.retry(f"a{number}", at_least=1)
    bench.queue.retry("b1", at_least=1)
    bench.queue.add_after("c1", 1)
    bench.clock.advance(1)
    bench.end_all()
    assert {"b1", "c1"} <= set(bench.begun[:4])


def test_owners_take_turns_after_a_hold() -> None:
    bench = Bench()
    bench.start()
    bench.queue.pause(1)
    for number in range(100):
        bench.queue.add(f"a{number}")
    bench.queue.add("b1")
    bench.clock.advance(1)
    bench.end_all()
    assert "b1" in bench.begun[:2]


def test_an_owner_whose_keys_change_without_end_gets_no_more_turns_than_others() -> None:
    bench = Bench()
    bench.start()
    for key in ("a1", "a2", *(f"b{number}" for number in range(10))):
        bench.queue.add(key)
    while not bench.queue.idle and len(bench.begun) < 40:
        (key,) = bench.working
        if key[0] == "a":
            bench.queue.add(key)
        bench.end(key)
    assert Counter(key[0] for key in bench.begun[:20]) == {"a": 10, "b": 10}
    bench.queue.close()
    bench.end_all()


def test_slow_work_of_one_owner_leaves_room_for_others() -> None:
    bench = Bench(limit=4, share=3)
    bench.start()
    for number in range(100):
        bench.queue.add(f"a{number}")
    bench.queue.add("b1")
    assert set(bench.working) == {"a0", "a1", "a2", "b1"}
    bench.end("b1")
    assert set(bench.working) == {"a0", "a1", "a2"}
    bench.queue.close()
    bench.end_all()


def test_work_that_waits_aside_makes_room_for_others_but_not_for_its_owner() -> None:
    bench = Bench(limit=2, share=2)
    bench.start_aside()
    for owner in "abcdef":
        for number in range(5):
            bench.queue.add(f"{owner}{number}")
    assert Counter(key[0] for key in bench.working) == dict.fromkeys("abcdef", 2)
    bench.end_all()
    assert len(bench.begun) == 30
    assert bench.queue.idle


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from(("a1", "a2", "b1", "c1")), st.just(0.0)),
            st.tuples(st.just("after"), st.sampled_from(("a1", "a2", "b1", "c1")), st.floats(0, 5)),
            st.tuples(st.just("end"), st.sampled_from(("a1", "a2", "b1", "c1")), st.just(0.0)),
            st.tuples(st.just("fail"), st.sampled_from(("a1", "a2", "b1", "c1")), st.just(0.0)),
            st.tuples(st.just("hold"), st.just(""), st.floats(0, 3)),
            st.tuples(st.just("wait"), st.just(""), st.floats(0, 4)),
        ),
        max_size=60,
    ),
)
def test_no_key_is_worked_on_twice_at_once_and_none_is_lost(
    limit: int, share: int, steps: list[tuple[str, str, float]]
) -> None:
    bench = Bench(limit=limit, share=share)
    queue = bench.queue
    bench.start()
    wanted: dict[str, int] = {}  # how often each had begun when it was asked for last
    for what, key, seconds in steps:
        if what in ("add", "after") or (what == "fail" and key in bench.working):
            wanted[key] = bench.begun.count(key)
        if what == "add":
            queue.add(key)
        elif what == "after":
            queue.add_after(key, seconds)
        elif what in ("end", "fail") and key in bench.working:
            if what == "fail":
                queue.retry(key)
            bench.end(key)
        elif what == "hold":
            queue.pause(seconds)
        elif what == "wait":
            bench.clock.advance(seconds)
        under_way = Counter(key[0] for key in bench.working)
        assert under_way.total() <= limit
        assert all(count <= share for count in under_way.values())
    # Time and workers without end: everything that was asked for comes.
    for _ in range(20):
        bench.end_all()
        bench.clock.advance(6)
    assert all(bench.begun.count(key) > before for key, before in wanted.items())
    assert queue.idle
    assert not any(each.active() for each in bench.clock.getDelayedCalls())


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=8),
    st.integers(1, 8),
    st.integers(1, 4),
    st.booleans(),
)
def test_a_newcomer_waits_for_no_more_than_one_key_of_each_other_owner(
    backlogs: list[int], limit: int, share: int, by_retry: bool
) -> None:
    """However the others' keys came to be queued."""
    bench = Bench(limit=limit, share=share)
    bench.start()
    for number, keys in enumerate(backlogs):
        for key in range(keys):
            if by_retry:
                bench.queue.retry(f"{number}{key}")
            else:
                bench.queue.add(f"{number}{key}")
    bench.clock.advance(0.005)
    before = len(bench.begun)
    bench.queue.add("victim")
    bench.end_all()
    waited_for = Counter(key[0] for key in bench.begun[before : bench.begun.index("victim")])
    assert all(count <= 1 for count in waited_for.values())

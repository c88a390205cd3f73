"""Scope: only the fair queue, as counts and orders, without time."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mic.common.fair import FairQueue

COSTS = st.integers(1, 50)


def _drained(queue: FairQueue[str, str]) -> list[str]:
    items = []
    while (popped := queue.pop()) is not None:
        items.append(popped[1])
    return items


def test_owners_take_turns_and_keep_their_own_order() -> None:
    queue: FairQueue[str, str] = FairQueue()
    for item in ("a1", "a2", "a3", "b1", "b2", "c1"):
        queue.add(item[0], item)
    assert _drained(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_new_owner_waits_for_one_item_of_each_other_owner() -> None:
    queue: FairQueue[str, str] = FairQueue()
    for number in range(1000):
        queue.add("a", f"a{number}")
        queue.add("b", f"b{number}")
    for _ in range(501):
        queue.pop()
    queue.add("late", "late")
    assert "late" in _drained(queue)[:3]


def test_small_item_goes_before_large_items_of_others() -> None:
    queue: FairQueue[str, str] = FairQueue()
    for number in range(100):
        queue.add(f"hostile-{number}", "large", 900_000)
        queue.add(f"hostile-{number}", "large", 900_000)
    queue.pop()
    queue.add("victim", "small", 2_000)
    assert queue.pop() == ("victim", "small")


def test_many_small_items_do_not_starve_a_large_one() -> None:
    queue: FairQueue[str, str] = FairQueue()
    queue.add("large", "large", 1000)
    for number in range(10):
        queue.add(f"small-{number}", "small", 10)
    served = 0
    while (found := queue.pop()) is not None and found[1] == "small":
        served += 1
        assert served <= 10 * 1000 / 10
        queue.add(found[0], "small", 10)  # again and again


def test_a_suspended_owner_keeps_its_items_and_gains_nothing() -> None:
    queue: FairQueue[str, str] = FairQueue()
    for number in range(20):
        queue.add("a", f"a{number}")
        queue.add("b", f"b{number}")
    queue.suspend("a")
    first = [queue.pop() for _ in range(10)]
    assert {popped[0] for popped in first if popped} == {"b"}
    queue.resume("a")
    following = [popped[0] for popped in (queue.pop() for _ in range(10)) if popped]
    assert Counter(following) == {"a": 5, "b": 5}


def test_pop_returns_none_for_only_suspended_owners() -> None:
    queue: FairQueue[str, str] = FairQueue()
    queue.suspend("a")
    queue.add("a", "a1")
    assert queue.pop() is None
    assert len(queue) == 1
    queue.resume("a")
    assert queue.pop() == ("a", "a1")


def test_removed_item_does_not_block_later_items() -> None:
    queue: FairQueue[str, str] = FairQueue()
    items = ["a1", "a2", "a3"]
    for item in items:
        queue.add("a", item)
    for item in (items[0], items[2]):
        queue.remove("a", item)
    queue.remove("nowhere", "a9")
    assert _drained(queue) == ["a2"]
    assert len(queue) == 0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abcd"), COSTS),
            st.tuples(st.just("pop"), st.just(""), st.just(0)),
            st.tuples(st.just("suspend"), st.sampled_from("abcd"), st.just(0)),
            st.tuples(st.just("resume"), st.sampled_from("abcd"), st.just(0)),
            st.tuples(st.just("remove"), st.sampled_from("abcd"), st.integers(0, 9)),
        ),
        max_size=80,
    )
)
def test_returns_every_item_once_in_its_owners_order(steps: list[tuple[str, str, int]]) -> None:
    queue: FairQueue[str, tuple[str, int]] = FairQueue()
    waiting: dict[str, list[tuple[str, int]]] = {owner: [] for owner in "abcd"}
    suspended: set[str] = set()
    serial = 0
    for what, owner, value in steps:
        if what == "add":
            serial += 1
            item = (owner, serial)
            waiting[owner].append(item)
            queue.add(owner, item, value)
        elif what == "pop":
            popped = queue.pop()
            if popped is None:
                assert not any(waiting[each] for each in "abcd" if each not in suspended)
            else:
                assert popped[0] not in suspended
                assert waiting[popped[0]].pop(0) == popped[1]
        elif what == "suspend":
            suspended.add(owner)
            queue.suspend(owner)
        elif what == "resume":
            suspended.discard(owner)
            queue.resume(owner)
        elif waiting[owner]:
            queue.remove(owner, waiting[owner].pop(value % len(waiting[owner])))
        assert len(queue) == sum(map(len, waiting.values()))


@given(st.lists(st.lists(COSTS, min_size=30, max_size=30), min_size=2, max_size=5))
def test_busy_owners_get_the_same_cost_done(costs: list[list[int]]) -> None:
    queue: FairQueue[int, int] = FairQueue()
    for owner, its in enumerate(costs):
        for cost in its:
            queue.add(owner, cost, cost)
    left = {owner: len(its) for owner, its in enumerate(costs)}
    done = Counter(dict.fromkeys(left, 0))
    while all(left.values()):
        popped = queue.pop()
        assert popped is not None
        owner, cost = popped
        left[owner] -= 1
        done[owner] += cost
        # The bound of start-time fair queueing: at most the largest item of each owner ahead.
        assert max(done.values()) - min(done.values()) <= 2 * 50


@given(
    st.lists(st.sampled_from("abcdef"), max_size=40),
    st.lists(st.sampled_from("abcdefx"), max_size=40),
)
def test_an_item_waits_for_no_more_than_one_of_each_other_owner_per_item_of_its_own(
    before: list[str], after: list[str]
) -> None:
    queue: FairQueue[str, str] = FairQueue()
    for owner in before:
        queue.add(owner, owner)
    ahead = before.count("x")
    queue.add("x", "victim")
    for owner in after:
        queue.add(owner, owner)
    popped = _drained(queue)
    waited = Counter(popped[: popped.index("victim")])
    assert all(count <= ahead + 1 for owner, count in waited.items() if owner != "x")


def test_an_item_costs_the_same_however_many_owners_came_before() -> None:
    hashed = 0

    class Owner:
        def __hash__(self) -> int:
            nonlocal hashed
            hashed += 1
            return id(self)

    def hashes(count: int) -> int:
        queue: FairQueue[Owner, str] = FairQueue()
        before = hashed
        owners = [Owner() for _ in range(count)]
        for number, owner in enumerate(owners):
            queue.add(owner, "a file of a directory", 5000)
            if number >= 4:
                queue.pop()
        return hashed - before

    assert hashes(4000) < 2.2 * hashes(2000)

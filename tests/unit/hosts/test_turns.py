"""Order and number of turns; each job runs until the test ends it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred

from mic.hosts.turns import Turns


class Job:
    """A job that waits for its turn, then for `end`."""

    def __init__(self, turns: Turns, owner: str, cost: int = 1, fails: bool = False) -> None:
        self.owner = owner
        self.began = False
        self.ended = False
        self._fails = fails
        self._end: Deferred[None] = Deferred()
        self._run = Deferred.fromCoroutine(self._work(turns, cost))
        self._run.addErrback(lambda failure: failure.trap(CancelledError, ValueError))

    async def _work(self, turns: Turns, cost: int) -> None:
        async with turns.turn(self.owner, cost):
            self.began = True
            await self._end
            self.ended = True
            if self._fails:
                raise ValueError

    @property
    def running(self) -> bool:
        return self.began and not self.ended

    def end(self) -> None:
        self._end.callback(None)

    def cancel(self) -> None:
        self._run.cancel()
        self.ended = True


def _running(jobs: list[Job]) -> list[str]:
    return [job.owner for job in jobs if job.running]


def _end_all(jobs: list[Job]) -> None:
    while running := [job for job in jobs if job.running]:
        running[0].end()


def test_one_at_a_time_in_turns_between_owners() -> None:
    turns = Turns()
    jobs = [Job(turns, owner) for owner in ("a", "a", "a", "b", "c", "b")]
    order = []
    while running := [job for job in jobs if job.running]:
        (job,) = running
        order.append(job.owner)
        job.end()
    assert order == ["a", "b", "c", "a", "b", "a"]


def test_a_small_job_waits_only_for_the_one_in_progress() -> None:
    turns = Turns()
    large = [Job(turns, f"hostile-{number % 20}", 900_000) for number in range(40)]
    victim = Job(turns, "victim", 2_000)
    assert not victim.began
    next(job for job in large if job.running).end()
    assert victim.running
    _end_all([victim, *large])


def test_caps_the_turns_of_each_owner() -> None:
    turns = Turns(limit=3, share=2)
    jobs = [Job(turns, "a") for _ in range(4)]
    assert _running(jobs) == ["a", "a"]
    jobs.append(Job(turns, "b"))
    assert _running(jobs) == ["a", "a", "b"]
    _end_all(jobs)


def test_a_failed_or_cancelled_job_releases_its_turn() -> None:
    turns = Turns()
    first = Job(turns, "a", fails=True)
    second = Job(turns, "a")
    third = Job(turns, "a")
    second.cancel()
    assert not second.began
    first.end()
    assert third.running
    third.cancel()
    fourth = Job(turns, "b")
    assert fourth.running
    assert len(turns) == 0
    _end_all([fourth])


def test_jobs_that_take_no_time_do_not_nest() -> None:
    turns = Turns()
    first = Job(turns, "a")
    done: list[int] = []

    async def quick(number: int) -> None:
        async with turns.turn("a"):
            done.append(number)

    for number in range(5000):
        Deferred.fromCoroutine(quick(number))
    first.end()
    assert done == list(range(5000))


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.sampled_from(("start", "end", "cancel")), st.sampled_from("abc"), st.integers(1, 99)
        ),
        max_size=60,
    ),
)
def test_never_too_many_and_never_idle_while_one_could_run(
    limit: int, share: int, steps: list[tuple[str, str, int]]
) -> None:
    turns = Turns(limit, share)
    jobs: list[Job] = []
    for what, owner, value in steps:
        mine = [job for job in jobs if job.owner == owner and not job.ended]
        if what == "start":
            jobs.append(Job(turns, owner, value))
        elif what == "cancel" and mine:
            mine[value % len(mine)].cancel()
        elif what == "end" and (begun := [job for job in mine if job.running]):
            begun[0].end()
        running = Counter(_running(jobs))
        assert running.total() <= limit
        assert all(count <= share for count in running.values())
        waiting = {job.owner for job in jobs if not job.began and not job.ended}
        assert running.total() == limit or all(running[each] == share for each in waiting)
    _end_all(jobs)
    assert all(job.began or job.ended for job in jobs)

"""Scope: which URLs of an object stay served, and until when; no images, simulated time."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from mic.kube.objects import Key
from mic.kube.retained import RETAIN_SECONDS, Retained

HOST, OTHER = Key("hosts", "host"), Key("hosts", "other")


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.expired: list[Key] = []
        self.retained = Retained(self.clock, self.expired.append)

    def name(self, *urls: str, uid: str = "u1") -> None:
        for url in urls:
            self.retained.named(HOST, uid, url)

    @property
    def urls(self) -> set[str]:
        return set(self.retained.urls(HOST))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_keeps_the_previous_image_for_ten_minutes(bench: Bench) -> None:
    bench.name("A", "", "B")
    assert bench.urls == {"A", "B"}
    bench.clock.advance(RETAIN_SECONDS - 1)
    assert bench.urls == {"A", "B"}
    assert bench.expired == []
    bench.clock.advance(1)
    assert bench.urls == {"B"}
    assert bench.expired == [HOST]
    assert RETAIN_SECONDS == 600
    assert bench.clock.getDelayedCalls() == []


def test_the_time_counts_from_when_the_status_ceased_to_name_it(bench: Bench) -> None:
    bench.name("A", "")
    bench.clock.advance(400)
    bench.name("B")
    bench.clock.advance(200)
    assert bench.urls == {"B"}


def test_keeps_one_previous_image_at_most(bench: Bench) -> None:
    bench.name("A", "", "B", "", "C")
    assert bench.urls == {"B", "C"}
    bench.name("D")
    assert bench.urls == {"C", "D"}
    assert len(bench.clock.getDelayedCalls()) == 1
    bench.clock.advance(RETAIN_SECONDS)
    assert bench.urls == {"D"}


def test_keeps_the_image_before_the_last_until_another_is_named(bench: Bench) -> None:
    """A replica may hear that the status names none before it hears which Secret that is for.

    When the Secret is as it was at first, A is named again, and hosts have never ceased to read it.
    """
    bench.name("A", "", "B")
    bench.clock.advance(100)
    bench.name("")
    assert bench.urls == {"A", "B"}
    bench.name("A")
    assert bench.urls == {"A", "B"}
    bench.name("")
    assert bench.urls == {"A", "B"}
    bench.name("C")
    assert bench.urls == {"A", "C"}, "the one named last"


def test_each_of_two_previous_images_has_its_own_time(bench: Bench) -> None:
    bench.name("A", "", "B")
    bench.clock.advance(100)
    bench.name("")
    bench.clock.advance(RETAIN_SECONDS - 100)
    assert bench.urls == {"B"}
    bench.clock.advance(100)
    assert bench.urls == set()
    assert bench.expired == [HOST, HOST]


def test_keeps_an_image_that_is_named_again(bench: Bench) -> None:
    bench.name("A", "", "A")
    bench.clock.advance(RETAIN_SECONDS)
    assert bench.urls == {"A"}
    assert bench.expired == []
    bench.name("B", "A")
    assert bench.urls == {"A", "B"}


def test_keeps_an_image_built_ahead_until_it_is_named_or_replaced(bench: Bench) -> None:
    bench.name("A")
    bench.retained.built(HOST, "B")
    assert bench.urls == {"A", "B"}
    bench.retained.built(HOST, "C")
    assert bench.urls == {"A", "C"}
    bench.name("", "C")
    bench.retained.built(HOST, "")
    assert bench.urls == {"A", "C"}
    bench.retained.built(HOST, "C")
    bench.name("D")
    bench.clock.advance(RETAIN_SECONDS)
    assert bench.urls == {"D"}, "what is named is not also built ahead"


def test_a_previous_image_that_was_built_again_outlasts_its_time(bench: Bench) -> None:
    """Without an instant in which it is not served: the status is about to name it again."""
    bench.name("A", "", "B")
    bench.retained.built(HOST, "A")
    bench.name("")
    assert bench.urls == {"A", "B"}
    bench.clock.advance(RETAIN_SECONDS)
    assert bench.urls == {"A"}
    bench.name("A")
    assert bench.urls == {"A"}


def test_forgets_all_of_an_object(bench: Bench) -> None:
    bench.name("A", "B")
    bench.retained.forget(HOST)
    bench.retained.forget(HOST)
    bench.retained.built(HOST, "C")
    assert bench.urls == set()
    assert bench.clock.getDelayedCalls() == []
    assert len(bench.retained) == 0


def test_another_object_of_that_name_has_nothing_of_it(bench: Bench) -> None:
    bench.name("A", "B")
    bench.name("C", uid="u2")
    assert bench.urls == {"C"}
    assert bench.clock.getDelayedCalls() == []


def test_objects_have_nothing_to_do_with_each_other(bench: Bench) -> None:
    bench.name("A", "B")
    bench.retained.named(OTHER, "u2", "X")
    assert bench.retained.urls(OTHER) == ("X",)
    bench.retained.forget(OTHER)
    assert bench.urls == {"A", "B"}


def test_a_thousand_changes_leave_two_timers_and_one_record(bench: Bench) -> None:
    for number in range(1000):
        bench.name(f"{number}", "")
        bench.retained.built(HOST, f"{number + 1}")
    assert len(bench.clock.getDelayedCalls()) == 2
    assert len(bench.retained) == 1
    assert bench.urls == {"998", "999", "1000"}


def test_leaves_no_timer_when_it_is_cleared(bench: Bench) -> None:
    bench.name("A", "B")
    bench.retained.clear()
    assert bench.clock.getDelayedCalls() == []
    assert bench.urls == set()

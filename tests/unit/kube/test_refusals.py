"""Scope: whether a refusal concerns one object or all, by what was refused and granted."""

from __future__ import annotations

import pytest

from mic.kube.objects import Key
from mic.kube.refusals import SPACING, Refusals

UPDATE, GET = "update preprovisioningimages", "get secrets"


def key(number: int, namespace: str = "tenant") -> Key:
    return Key(namespace, f"host-{number}")


@pytest.fixture
def refusals() -> Refusals:
    return Refusals()


def test_a_refusal_counts_as_general_until_another_object_is_granted_the_same(
    refusals: Refusals,
) -> None:
    assert refusals.refused(key(1), UPDATE, "1: 403")
    assert not refusals.refused(key(2), UPDATE, "2: 403"), "no news"
    assert refusals.general() == ["1: 403"]
    assert refusals.single() == []
    assert refusals.granted(UPDATE, key(3)) == [key(1), key(2)]
    assert refusals.general() == []
    assert refusals.single() == ["2 objects are refused (tenant/host-1, tenant/host-2): 1: 403"]
    assert key(1) in refusals
    assert key(3) not in refusals


def test_a_grant_does_not_affect_other_requests(refusals: Refusals) -> None:
    refusals.refused(key(1), UPDATE, "1: 403")
    assert refusals.granted(GET, key(2)) == []
    assert refusals.general() == ["1: 403"]


def test_a_single_refusal_stays_single_and_retries_no_others(refusals: Refusals) -> None:
    refusals.refused(key(1), UPDATE, "1: 403")
    refusals.granted(UPDATE, key(2))
    assert not refusals.refused(key(1), UPDATE, "1: 403"), "no news"
    assert refusals.general() == []
    assert refusals.granted(UPDATE, key(2)) == []
    assert refusals.refused(key(1), UPDATE, "1: 500"), "news"


def test_the_object_that_is_granted_it_at_last_is_not_set_off_again(refusals: Refusals) -> None:
    refusals.refused(key(1), UPDATE, "1: 403")
    assert refusals.granted(UPDATE, key(1)) == []
    assert key(1) not in refusals
    assert refusals.general() == []


def test_an_object_whose_work_succeeds_is_forgotten(refusals: Refusals) -> None:
    refusals.refused(key(1), UPDATE, "1: 403")
    refusals.refused(key(2), UPDATE, "2: 403")
    refusals.refused(key(2), GET, "2: 403")
    refusals.forget(key(2))
    assert refusals.general() == ["1: 403"]
    refusals.granted(UPDATE, key(3))
    refusals.forget(key(1))
    assert refusals.single() == []
    assert list(refusals.keys()) == []


def test_a_defect_concerns_its_object_alone(refusals: Refusals) -> None:
    refusals.refused(key(1), UPDATE, "1: 403")
    refusals.failed(key(1), "1: the pass failed")
    assert refusals.general() == []
    assert refusals.single() == ["1 object is refused (tenant/host-1): 1: the pass failed"]


def test_spaces_the_retries_of_refused_objects_only(refusals: Refusals) -> None:
    for number in range(40):
        refusals.refused(key(number), UPDATE, "403")
    assert refusals.delay(key(0)) == 39 * SPACING
    refusals.granted(UPDATE, key(0, "victim"))
    assert refusals.delay(key(0)) == 39 * SPACING
    refusals.refused(key(1, "victim"), UPDATE, "500")
    assert refusals.delay(key(1, "victim")) == 0
    refusals.granted(UPDATE, key(0, "victim"))
    assert refusals.delay(key(1, "victim")) == 0


def test_names_some_objects_of_a_crowd_and_not_all(refusals: Refusals) -> None:
    for number in range(1000):
        refusals.failed(key(number), "the pass failed")
    (text,) = refusals.single()
    assert text.startswith("1000 objects are refused (tenant/host-0, tenant/host-1,")
    assert len(text) < 200


def test_names_each_right_that_some_lack(refusals: Refusals) -> None:
    refusals.refused(key(1), UPDATE, "1: no update")
    refusals.refused(key(2), GET, "2: no get")
    refusals.granted(UPDATE, key(3))
    refusals.granted(GET, key(3))
    assert refusals.single() == [
        "1 object is refused (tenant/host-1): 1: no update",
        "1 object is refused (tenant/host-2): 2: no get",
    ]

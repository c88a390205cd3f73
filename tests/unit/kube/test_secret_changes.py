"""Scope: the Secret changes while a host boots from the image: what stays served, what is written.

A leader and a follower over the API in memory, in simulated time, looked at after every event. Over
HTTP: tests/functional/test_secret_changes.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kube_replicas import Pair, Replica
from kube_samples import bmo_verdict, condition, secret_body

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS
from mic.kube.objects import ASSISTED_INSTALLER_LABEL, FINALIZER
from mic.kube.retained import RETAIN_SECONDS

OTHER = b"interfaces: [] # other"


def served(pair: Pair, *urls: str) -> Callable[[], None]:
    """Look whether both replicas serve these images."""

    def look() -> None:
        for replica in (pair.leader, pair.follower):
            assert set(urls) <= set(replica.images.served)

    return look


def exactly(pair: Pair, *urls: str) -> None:
    for replica in (pair.leader, pair.follower):
        assert set(replica.images.served) == set(urls)


def test_changed_metadata_costs_one_write_and_ready_and_the_url_stay() -> None:
    pair = Pair()
    before, writes = pair.image["status"], pair.status_writes()
    pair.touch_secret()
    version = pair.api.find(SECRETS, "hosts", "net")["metadata"]["resourceVersion"]  # type: ignore[index]

    def look() -> None:
        served(pair, pair.url)()
        assert pair.image["status"]["conditions"] == before["conditions"]
        assert pair.url == before["imageUrl"]

    pair.pass_time(5.0, look)
    assert pair.image["status"] == {**before, "networkData": {"name": "net", "version": version}}
    assert pair.status_writes() == writes + 1
    assert bmo_verdict(pair.image, pair.api.find(SECRETS, "hosts", "net")) == f"image {pair.url}"
    exactly(pair, pair.url)
    pair.stop()


def test_a_secret_of_the_same_data_under_another_name_costs_one_write() -> None:
    pair = Pair()
    url, writes = pair.url, pair.status_writes()
    pair.api.add(SECRETS, secret_body("copy", b"interfaces: []"))
    pair.edit({"spec": {"networkDataName": "copy"}})
    pair.pass_time(5.0, served(pair, url))
    assert pair.status_writes() == writes + 1
    assert bmo_verdict(pair.image, pair.api.find(SECRETS, "hosts", "copy")) == f"image {url}"
    pair.stop()


def test_the_old_image_is_served_for_ten_minutes_after_the_status_ceased_to_name_it() -> None:
    pair = Pair()
    old = pair.url
    pair.edit_secret(OTHER)
    pair.pass_time(5.0, served(pair, old))
    new = pair.url
    assert new != old
    pair.pass_time(RETAIN_SECONDS - 10.0, served(pair, old, new))
    pair.pass_time(10.0, served(pair, new))
    exactly(pair, new)
    pair.stop()


def test_a_follower_keeps_the_old_image_also_when_it_comes_to_lead() -> None:
    pair = Pair()
    old = pair.url
    pair.edit_secret(OTHER)
    pair.pass_time(5.0)
    pair.leader.lead(False)
    pair.follower.lead(True)
    pair.pass_time(RETAIN_SECONDS - 10.0, served(pair, old, pair.url))
    pair.pass_time(10.0)
    exactly(pair, pair.url)
    pair.stop()


def test_of_many_changes_in_a_row_one_previous_image_is_kept() -> None:
    pair = Pair()
    urls = [pair.url]
    for number in range(20):
        pair.edit_secret(b"interfaces: [] # %d" % number)
        pair.pass_time(5.0, served(pair, urls[-1]))
        urls.append(pair.url)
    assert len(set(urls)) == 21
    exactly(pair, *urls[-2:])
    pair.pass_time(RETAIN_SECONDS)
    exactly(pair, urls[-1])
    pair.stop()


def test_a_change_that_is_taken_back_leads_to_the_first_url_which_was_served_all_along() -> None:
    pair = Pair()
    first = pair.url
    pair.edit_secret(OTHER)
    pair.pass_time(5.0)
    second = pair.url
    pair.edit_secret(b"interfaces: []")

    def look() -> None:
        assert {first, second} <= set(pair.leader.images.served)

    pair.pass_time(5.0, look)
    assert pair.url == first
    pair.pass_time(RETAIN_SECONDS)
    exactly(pair, first)
    pair.stop()


def test_a_secret_that_is_spoilt_or_deleted_and_brought_back_in_time_leaves_the_url_served() -> (
    None
):
    pair = Pair()
    url = pair.url
    pair.edit_secret(b"garbage")
    pair.pass_time(5.0, served(pair, url))
    assert pair.url == ""
    pair.api.delete(SECRETS, "hosts", "net")
    pair.pass_time(5.0, served(pair, url))
    assert condition(pair.image, "Error")["reason"] == "MissingNetworkData"
    pair.api.add(SECRETS, secret_body("net", b"interfaces: []"))
    pair.pass_time(60.0, served(pair, url))
    assert pair.url == url
    pair.pass_time(RETAIN_SECONDS)
    exactly(pair, url)
    pair.stop()


def test_an_image_that_no_secret_makes_any_more_ends_after_ten_minutes() -> None:
    pair = Pair()
    pair.edit_secret(b"garbage")
    pair.pass_time(RETAIN_SECONDS + 5.0)
    exactly(pair)
    pair.stop()


@pytest.mark.parametrize("how", ["deleted", "handed over", "recreated"])
def test_of_an_object_that_goes_nothing_is_kept(how: str) -> None:
    pair = Pair()
    pair.edit_secret(OTHER)
    pair.pass_time(5.0)
    old = set(pair.leader.images.served)
    assert len(old) == 2
    if how == "handed over":
        pair.edit({"metadata": {"labels": {ASSISTED_INSTALLER_LABEL: "yes"}}})
    elif how == "deleted":
        pair.api.delete(PREPROVISIONING_IMAGES, "hosts", "host")
    else:
        image = pair.image
        pair.edit({"metadata": {"finalizers": None}})
        pair.api.delete(PREPROVISIONING_IMAGES, "hosts", "host")
        pair.api.add(PREPROVISIONING_IMAGES, {**image, "metadata": {**image["metadata"]}})
    pair.pass_time(5.0)
    if how != "recreated":
        exactly(pair)
    else:
        exactly(pair, pair.url)
        assert pair.url not in old
    pair.stop()


def test_a_deleted_object_keeps_the_image_that_the_host_reads() -> None:
    pair = Pair()
    pair.edit({"metadata": {"finalizers": [FINALIZER, "others.example/x"]}})
    pair.pass_time(1.0)
    url = pair.url
    pair.api.delete(PREPROVISIONING_IMAGES, "hosts", "host")
    pair.touch_secret()
    pair.pass_time(2 * RETAIN_SECONDS, served(pair, url))
    # A new process, after the metadata has changed, serves the same.
    late = Replica(pair.api, pair.clock, leads=False)
    pair.pass_time(5.0)
    assert set(late.images.served) == {url}
    late.controller.stopService()
    pair.stop()


def test_metadata_that_changed_while_no_process_ran_cost_one_write_too() -> None:
    pair = Pair()
    url, writes = pair.url, pair.status_writes()
    for replica in (pair.leader, pair.follower):
        replica.controller.stopService()
        replica.images.served.clear()
    pair.touch_secret()
    for replica in (pair.leader, pair.follower):
        replica.start()
    pair.pass_time(5.0)
    assert pair.url == url
    assert pair.status_writes() == writes + 1
    exactly(pair, url)
    pair.stop()


def test_a_thousand_changes_of_metadata_cost_a_write_each_and_leave_nothing() -> None:
    pair = Pair()
    url, writes = pair.url, pair.status_writes()
    timers = len(pair.clock.getDelayedCalls())
    for number in range(1000):
        pair.touch_secret(number)
        pair.pass_time(0.05 if number % 3 else 0.001, served(pair, url))
    pair.pass_time(5.0)
    assert pair.url == url
    assert pair.status_writes() - writes <= 1000
    exactly(pair, url)
    assert len(pair.clock.getDelayedCalls()) == timers
    assert bmo_verdict(pair.image, pair.api.find(SECRETS, "hosts", "net")) == f"image {url}"
    pair.stop()

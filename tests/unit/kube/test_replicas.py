"""Scope: two replicas over the API in memory, of which one leads, none does, or the other does.

What a follower serves while things change under it, and what a new leader finds to do; that all of
them converge is in test_converges.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from kube_memory import MemoryKubernetes
from kube_replicas import Pair, Replica, pass_time
from kube_samples import condition, image_body, secret_body
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Resource, WatchEvent
from mic.kube.objects import ASSISTED_INSTALLER_LABEL, FINALIZER


def test_both_serve_what_the_status_names_and_are_ready() -> None:
    pair = Pair()
    assert set(pair.leader.images.served) == {pair.url} == set(pair.follower.images.served)
    assert pair.leader.controller.health().ready
    assert pair.follower.controller.health().ready
    assert pair.follower.controller.health().warnings == ()
    pair.stop()


def test_a_follower_asks_for_nothing_but_lists_and_watches() -> None:
    pair = Pair()
    pair.leader.controller.stopService()
    pair.pass_time(2.0)
    pair.api.requests.clear()
    pair.edit_secret(b"interfaces: [] # other")
    pair.pass_time(30.0)
    assert pair.api.requests == []
    pair.leader.start()
    pair.stop()


def test_without_a_leader_the_old_image_and_the_coming_one_are_served() -> None:
    pair = Pair()
    old = pair.url
    pair.leader.lead(False)
    pair.edit_secret(b"interfaces: [] # other")
    pair.pass_time(5.0)
    assert pair.url == old
    for replica in (pair.leader, pair.follower):
        assert old in replica.images.served
        assert len(replica.images.served) == 2
    coming = set(pair.follower.images.served) - {old}
    pair.follower.lead(True)
    pair.pass_time(5.0)
    assert {pair.url} == coming
    for replica in (pair.leader, pair.follower):
        assert set(replica.images.served) == {old} | coming
    pair.stop()


def test_a_follower_that_hears_late_of_secrets_keeps_the_image_that_is_named_again() -> None:
    """Watches are not in order among each other: the status that names none may come first."""
    pair = Pair()
    old = pair.url
    late = Replica(cast(Any, _LateSecrets(pair.api, pair.clock)), pair.clock, leads=False)
    pair.pass_time(5.0)
    served: list[bool] = []
    for document in (b"interfaces: [] # other", b"interfaces: []"):
        pair.edit_secret(document)
        pair.pass_time(10.0, lambda: served.append(old in late.images.served))
        assert (pair.url == old) == (document == b"interfaces: []")
    assert all(served)
    late.controller.stopService()
    pair.stop()


class _LateSecrets:
    """The API in memory; its events of Secrets come a second later."""

    def __init__(self, api: MemoryKubernetes, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def watch(self, resource: Resource, *, on_event: Callable[..., Any], **how: Any) -> None:
        def later(event: WatchEvent) -> None:
            self._clock.callLater(1.0, on_event, event)

        late = later if resource == SECRETS else on_event
        await self._api.watch(resource, on_event=late, **how)


def test_an_image_is_served_by_the_follower_before_its_status_names_it() -> None:
    pair = Pair()
    seen: list[bool] = []
    store = pair.api._store

    def watch(resource, old, new):  # type: ignore[no-untyped-def]
        url = (new.get("status") or {}).get("imageUrl")
        if condition(new, "Ready").get("status") == "True":
            seen.append(url in pair.follower.images.served)
        return store(resource, old, new)

    pair.api._store = watch  # type: ignore[method-assign]
    pair.edit_secret(b"interfaces: [] # other")
    pair.pass_time(5.0)
    assert seen == [True]
    pair.stop()


def test_the_next_leader_releases_objects_labelled_while_no_replica_led() -> None:
    pair = Pair()
    pair.leader.lead(False)
    pair.edit({"metadata": {"labels": {ASSISTED_INSTALLER_LABEL: "yes"}}})
    pair.pass_time(5.0)
    assert pair.image["metadata"]["finalizers"] == [FINALIZER]
    assert pair.follower.images.served == {}
    pair.follower.lead(True)
    pair.pass_time(5.0)
    assert not pair.image["metadata"].get("finalizers")
    pair.stop()


def test_serves_objects_deleted_while_no_replica_led_until_the_next_leader_releases_them() -> None:
    pair = Pair()
    url = pair.url
    pair.leader.lead(False)
    pair.api.delete(PREPROVISIONING_IMAGES, "hosts", "host")
    pair.pass_time(5.0)
    assert set(pair.follower.images.served) == {url}
    pair.follower.lead(True)
    pair.pass_time(5.0)
    assert pair.image == {}
    assert pair.leader.images.served == pair.follower.images.served == {}
    pair.stop()


def test_a_status_that_names_an_image_of_another_make_is_a_problem_in_words() -> None:
    pair = Pair()
    pair.leader.lead(False)
    pair.edit({"status": {"imageUrl": "http://images.example/other-key.iso"}})
    pair.pass_time(5.0)
    (problem,) = pair.follower.controller.health().warnings
    assert problem.startswith("1 statuses name an image that this replica does not have")
    assert pair.follower.controller.health().ready
    assert "other-key" not in problem
    pair.follower.lead(True)
    pair.pass_time(5.0)
    assert pair.follower.controller.health().warnings == ()
    assert pair.url in pair.follower.images.served
    pair.stop()


def test_a_pass_that_loses_the_lead_while_it_builds_writes_nothing() -> None:
    pair = Pair()
    before = pair.image

    def lose(_: object) -> None:
        pair.leader.leads = False

    pair.edit_secret(b"interfaces: [] # other")
    pair.leader.images.building = lose
    pair.pass_time(0.12)
    assert not pair.leader.leads
    pair.api.requests.clear()
    pair.pass_time(5.0)
    assert [verb for verb, _, _ in pair.api.requests if verb.startswith("update")] == []
    assert pair.image == before
    pair.stop()


def test_drops_the_warning_about_foreign_images_when_it_leads() -> None:
    pair = Pair()
    pair.leader.lead(False)
    pair.edit({"status": {"imageUrl": "http://images.example/other-key.iso"}})
    pair.pass_time(5.0)
    pair.follower.lead(True)
    pair.api.delete(PREPROVISIONING_IMAGES, "hosts", "host")
    pair.pass_time(5.0)
    assert pair.image == {}
    pair.follower.lead(False)
    pair.pass_time(5.0)
    assert pair.follower.controller.health().warnings == ()
    pair.stop()


def test_a_follower_that_cannot_build_yet_is_not_settled() -> None:
    """Its clients get Retry-After, not that there is no such image."""
    pair = Pair()
    late = Replica(pair.api, pair.clock, leads=False)
    late.images.not_ready = "the base image is being written"
    pair.pass_time(5.0)
    assert not late.controller.settled
    assert not late.controller.health().ready
    late.images.not_ready = ""
    pair.pass_time(10.0)
    assert late.controller.settled
    assert set(late.images.served) == {pair.url}
    late.controller.stopService()
    pair.stop()


def test_an_object_on_its_way_out_whose_image_cannot_be_built_yet_is_not_settled_either() -> None:
    pair = Pair()
    pair.leader.lead(False)
    pair.edit({"metadata": {"finalizers": [FINALIZER, "others.example/x"]}})
    pair.api.delete(PREPROVISIONING_IMAGES, "hosts", "host")
    late = Replica(pair.api, pair.clock, leads=True)
    late.images.not_ready = "the base image is being written"
    pair.pass_time(5.0)
    assert not late.controller.settled
    late.images.not_ready = ""
    pair.pass_time(10.0)
    assert late.controller.settled
    assert set(late.images.served) == {pair.url}
    late.controller.stopService()
    pair.stop()


@pytest.mark.parametrize("hosts", [0, 1, 5])
@pytest.mark.parametrize("leads", [True, False])
def test_it_is_logged_once_that_all_of_the_start_are_reconciled(hosts: int, leads: bool) -> None:
    clock = Clock()
    api = MemoryKubernetes(clock, latency=lambda: 0.01)
    for number in range(hosts):
        api.add(PREPROVISIONING_IMAGES, image_body(f"host-{number}"))
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        replica = Replica(api, clock, leads=leads)
        pass_time(clock, 5.0)
        api.add(PREPROVISIONING_IMAGES, image_body("late"))
        pass_time(clock, 5.0)
    finally:
        globalLogPublisher.removeObserver(observe)
    ready = f"{hosts} ready"
    if hosts and not leads:
        ready = f"0 ready, {hosts} waiting"  # for the leader's statuses
    assert lines.count(f"PreprovisioningImages: {hosts} reconciled: {ready}") == 1
    assert sum(" reconciled: " in line for line in lines) == 1
    replica.controller.stopService()
    pass_time(clock, 2.0)


def test_is_settled_once_all_objects_of_the_start_are_served_and_not_before() -> None:
    clock = Clock()
    api = MemoryKubernetes(clock, latency=lambda: 0.01)
    api.add(SECRETS, secret_body("net", b"interfaces: []"))
    # New: its first pass writes the finalizer, its second the configuration.
    api.add(PREPROVISIONING_IMAGES, image_body("host", secret="net"))
    leader = Replica(api, clock, leads=True)
    for _ in range(500):
        clock.advance(0.01)
        if leader.controller.settled:
            break
    image = api.find(PREPROVISIONING_IMAGES, "hosts", "host") or {}
    assert leader.controller.settled
    assert condition(image, "Ready")["status"] == "True"
    assert image["status"]["imageUrl"] in leader.images.served
    leader.controller.stopService()
    clock.advance(2.0)


def test_stays_ready_even_if_its_health_was_not_asked_for_before() -> None:
    pair = Pair()
    pair.leader.images.usable.clear()
    health = pair.leader.controller.health()
    assert health.ready
    assert health.warnings == ("there is no base image",)
    pair.stop()

"""Scope: two replicas over the API in memory, of which one leads, none does, or the other does.

What a follower serves while things change under it, and what a new leader finds to do; that all of
them converge is in test_converges.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from kube_memory import MemoryKubernetes
from kube_samples import condition, image_body, secret_body
from stub_images import StubImages
from twisted.internet.task import Clock

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json
from mic.kube.controller import Controller
from mic.kube.objects import FINALIZER, HANDED_OVER_LABEL

START = datetime(2026, 1, 1, tzinfo=UTC)


class Replica:
    """A controller that leads while ``leads`` is true."""

    def __init__(self, api: MemoryKubernetes, clock: Clock, *, leads: bool) -> None:
        self.leads = leads
        self.images = StubImages(clock, latency=lambda: 0.05, keyed=True)
        self.controller = Controller(
            api=api,
            images=self.images,
            namespace="",
            clock=clock,
            now=lambda: START + timedelta(seconds=clock.seconds()),
            random=Random(1),
            leads=lambda: self.leads,
        )
        self.controller.startService()

    def lead(self, leads: bool) -> None:
        self.leads = leads
        self.controller.leadership_changed()


class Pair:
    """A leader, a follower, and an object ``host`` with the Secret ``net``."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = MemoryKubernetes(self.clock, latency=lambda: 0.01)
        self.api.add(SECRETS, secret_body("net", b"interfaces: []"))
        self.api.add(PREPROVISIONING_IMAGES, image_body("host", secret="net"))
        self.leader = Replica(self.api, self.clock, leads=True)
        self.follower = Replica(self.api, self.clock, leads=False)
        self.pass_time(5.0)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.01)):
            self.clock.advance(0.01)

    def stop(self) -> None:
        for replica in (self.leader, self.follower):
            replica.controller.stopService()
        self.pass_time(2.0)
        assert [call for call in self.clock.getDelayedCalls() if call.active()] == []

    @property
    def image(self) -> Json:
        return self.api.find(PREPROVISIONING_IMAGES, "hosts", "host") or {}

    @property
    def url(self) -> str:
        return str(self.image["status"].get("imageUrl", ""))

    def edit(self, change: Json) -> None:
        self.api.edit(PREPROVISIONING_IMAGES, "hosts", "host", change)

    def edit_secret(self, document: bytes) -> None:
        body = secret_body("net", document)
        self.api.edit(SECRETS, "hosts", "net", {"data": body["data"]})


def test_both_serve_what_the_status_names_and_are_ready() -> None:
    pair = Pair()
    assert set(pair.leader.images.served) == {pair.url} == set(pair.follower.images.served)
    assert pair.leader.controller.readiness().ready
    assert pair.follower.controller.readiness().ready
    assert pair.follower.controller.readiness().problems == ()
    pair.stop()


def test_a_follower_asks_for_nothing_but_lists_and_watches() -> None:
    pair = Pair()
    pair.leader.controller.stopService()
    pair.pass_time(2.0)
    pair.api.requests.clear()
    pair.edit_secret(b"interfaces: [] # other")
    pair.pass_time(30.0)
    assert pair.api.requests == []
    pair.leader.controller.startService()
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
        assert set(replica.images.served) == coming
    pair.stop()


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


def test_what_was_handed_over_while_nobody_led_is_released_by_the_next_leader() -> None:
    pair = Pair()
    pair.leader.lead(False)
    pair.edit({"metadata": {"labels": {HANDED_OVER_LABEL: "yes"}}})
    pair.pass_time(5.0)
    assert pair.image["metadata"]["finalizers"] == [FINALIZER]
    assert pair.follower.images.served == {}
    pair.follower.lead(True)
    pair.pass_time(5.0)
    assert not pair.image["metadata"].get("finalizers")
    pair.stop()


def test_what_was_deleted_while_nobody_led_is_served_until_the_next_leader_releases_it() -> None:
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
    (problem,) = pair.follower.controller.readiness().problems
    assert problem.startswith("1 statuses name an image that this replica does not have")
    assert pair.follower.controller.readiness().ready
    assert "other-key" not in problem
    pair.follower.lead(True)
    pair.pass_time(5.0)
    assert pair.follower.controller.readiness().problems == ()
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
    assert condition(pair.image, "Ready")["status"] == "False"
    assert before["metadata"]["uid"] == pair.image["metadata"]["uid"]
    pair.stop()


def test_what_was_foreign_before_it_led_is_no_problem_after_it() -> None:
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
    assert pair.follower.controller.readiness().problems == ()
    pair.stop()


def test_a_follower_that_cannot_build_yet_is_not_settled() -> None:
    """Its clients are told to wait, not that there is no such image."""
    pair = Pair()
    late = Replica(pair.api, pair.clock, leads=False)
    late.images.not_ready = "the base image is being written"
    pair.pass_time(5.0)
    assert not late.controller.settled
    assert not late.controller.readiness().ready
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


def test_what_is_there_at_the_start_is_settled_when_it_is_served_and_no_step_before() -> None:
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

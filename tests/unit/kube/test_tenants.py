"""Scope: the controller over the API in memory, with a namespace that asks for too much.

Time is simulated. Builds come one at a time, as mic's own do, and take as long as the test says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from kube_memory import MemoryKubernetes
from kube_samples import condition, image_body, secret_body
from stub_images import StubImages
from twisted.internet.task import Clock

from mic.hosts.turns import Turns
from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Conflict
from mic.kube.builds import BuildRequest, Built
from mic.kube.controller import Controller

START = datetime(2026, 1, 1, tzinfo=UTC)
LARGE = b"#" * 900_000
SMALL = b"interfaces: []"
HOSTILE = 16
"""Hosts of a hostile namespace: more than there are workers."""


class OneAtATime(StubImages):
    """Images whose builds take turns, and a second for each 900 KB of a document."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, latency=lambda: self._seconds)
        self._turns = Turns()
        self._seconds = 0.0
        self.begun: list[str] = []
        """Namespaces of the builds that have begun."""

    async def build(self, request: BuildRequest) -> Built:
        size = len(request.data.network or b"")
        async with self._turns.turn(request.namespace, size):
            self.begun.append(request.namespace)
            self._seconds = size / len(LARGE)
            return await super().build(request)


class Cluster:
    def __init__(self) -> None:
        self.clock = Clock()
        self.api = MemoryKubernetes(self.clock, latency=lambda: 0.01)
        self.start()

    def start(self) -> None:
        """Start a process that knows nothing yet."""
        self.images = OneAtATime(self.clock)
        self.controller = Controller(
            api=self.api,
            images=self.images,
            namespace="",
            clock=self.clock,
            now=lambda: START + timedelta(seconds=self.clock.seconds()),
            random=Random(1),
        )
        self.controller.startService()

    def stop(self) -> None:
        self.controller.stopService()
        self.until(lambda: not [each for each in self.clock.getDelayedCalls() if each.active()])

    def restart(self) -> None:
        self.stop()
        self.start()

    def host(self, namespace: str, name: str, document: bytes = SMALL) -> None:
        secret = secret_body(f"net-{name}", document, namespace=namespace)
        self.api.add(SECRETS, secret)
        body = image_body(name, namespace=namespace, secret=f"net-{name}")
        self.api.add(PREPROVISIONING_IMAGES, body)

    def edit(self, namespace: str, name: str, document: bytes) -> None:
        change = {"data": secret_body("", document)["data"]}
        self.api.edit(SECRETS, namespace, f"net-{name}", change)

    def until(self, happens: Callable[[], bool], *, within: float = 1000.0) -> None:
        end = self.clock.seconds() + within
        while not happens():
            assert self.clock.seconds() < end, "it does not happen"
            due = [each.getTime() for each in self.clock.getDelayedCalls()]
            self.clock.advance(max(min(due, default=end) - self.clock.seconds(), 0.0))

    def is_ready(self, namespace: str, name: str) -> bool:
        image = self.api.find(PREPROVISIONING_IMAGES, namespace, name) or {}
        url = image.get("status", {}).get("imageUrl", "")
        return condition(image, "Ready").get("status") == "True" and self.images.serves(url)

    def all_ready(self, namespace: str) -> bool:
        names = [
            image["metadata"]["name"]
            for image in self.api.all(PREPROVISIONING_IMAGES)
            if image["metadata"]["namespace"] == namespace
        ]
        return all(self.is_ready(namespace, name) for name in names)


def test_a_new_object_waits_for_one_build_of_a_hostile_namespace() -> None:
    cluster = Cluster()
    for number in range(HOSTILE):
        cluster.host("hostile", f"host-{number}", LARGE)
    cluster.until(lambda: len(cluster.images.begun) == 3)
    cluster.host("victim", "host")
    cluster.until(lambda: cluster.is_ready("victim", "host"))
    assert cluster.images.begun[3:].index("victim") <= 1
    cluster.until(lambda: cluster.all_ready("hostile"))
    cluster.stop()


def test_a_new_object_waits_for_one_build_however_many_namespaces_are_hostile() -> None:
    """They are more than there are workers, each with more than its share of these."""
    cluster = Cluster()
    for number in range(100):
        cluster.host(f"hostile-{number % 20}", f"host-{number}", LARGE)
    cluster.until(lambda: len(cluster.images.begun) == 3)
    cluster.host("victim", "host")
    cluster.until(lambda: cluster.is_ready("victim", "host"))
    assert cluster.images.begun[3:].index("victim") <= 1
    cluster.stop()


def _seconds_until_ready(*, others: int) -> float:
    cluster = Cluster()
    for number in range(others):
        cluster.host("hostile", f"host-{number}")
    cluster.until(lambda: len(cluster.images.begun) == min(others, 10))
    began = cluster.clock.seconds()
    cluster.host("victim", "host")
    cluster.until(lambda: cluster.is_ready("victim", "host"))
    took = cluster.clock.seconds() - began
    cluster.stop()
    return took


def test_a_new_object_is_ready_as_soon_among_thousands_of_others() -> None:
    # Half as much again for the turns: there are workers left for others at any time.
    assert _seconds_until_ready(others=2000) <= 1.5 * _seconds_until_ready(others=0)


def test_edits_without_end_cost_others_no_more_than_a_turn() -> None:
    cluster = Cluster()
    cluster.host("hostile", "host", LARGE)
    cluster.until(lambda: cluster.is_ready("hostile", "host"))
    for number in range(200):
        cluster.edit("hostile", "host", LARGE + b"%d" % number)
        if number == 100:
            cluster.host("victim", "host")
            begun = len(cluster.images.begun)
        cluster.clock.advance(0.02)
    assert cluster.is_ready("victim", "host")
    assert cluster.images.begun[begun:].index("victim") <= 1
    cluster.until(lambda: cluster.is_ready("hostile", "host"))
    cluster.stop()


def _attacked() -> Cluster:
    """A cluster with three small hosts, of which one process after another served all."""
    cluster = Cluster()
    for number in range(HOSTILE):
        cluster.host("hostile", f"host-{number}", LARGE)
    for number in range(HOSTILE, HOSTILE + 3):
        cluster.host("victim", f"host-{number}")
    cluster.until(lambda: cluster.all_ready("hostile") and cluster.all_ready("victim"))
    return cluster


def test_a_restart_is_ready_before_large_documents_are_built() -> None:
    cluster = _attacked()
    cluster.restart()
    cluster.until(lambda: cluster.controller.health().ready)
    assert cluster.all_ready("victim")
    assert cluster.images.begun[:3] == ["victim"] * 3
    assert len(cluster.images.begun) <= 4
    assert not cluster.controller.settled, "an unknown name may still come: it is no 404"
    problems = " ".join(cluster.controller.health().warnings)
    assert "PreprovisioningImages with large documents have no image yet" in problems
    cluster.until(lambda: cluster.controller.settled)
    assert cluster.all_ready("hostile")
    assert cluster.controller.health().warnings == ()
    cluster.stop()


def test_builds_an_object_that_was_put_off_in_its_latest_state() -> None:
    cluster = _attacked()
    cluster.restart()
    cluster.until(lambda: len(cluster.images.begun) == 1)
    cluster.edit("hostile", "host-13", b"garbage")
    cluster.api.delete(PREPROVISIONING_IMAGES, "hostile", "host-14")
    cluster.until(lambda: cluster.controller.settled)
    image = cluster.api.find(PREPROVISIONING_IMAGES, "hostile", "host-13") or {}
    assert condition(image, "Error")["status"] == "True"
    assert cluster.api.find(PREPROVISIONING_IMAGES, "hostile", "host-14") is None
    cluster.stop()


def test_a_restart_is_ready_while_an_object_is_edited_without_end() -> None:
    cluster = _attacked()
    cluster.host("hostile", "restless")
    cluster.until(lambda: cluster.is_ready("hostile", "restless"))
    cluster.restart()
    for number in range(1000):
        cluster.edit("hostile", "restless", SMALL + b"# %d" % number)
        cluster.clock.advance(0.01)
        if cluster.controller.health().ready:
            break
    assert cluster.controller.health().ready
    assert cluster.all_ready("victim")
    cluster.stop()


def test_a_restart_is_ready_while_one_object_fails_again_and_again() -> None:
    cluster = _attacked()
    # One whose status cannot be written: others write it all the time.
    cluster.restart()
    cluster.api.fault = lambda verb, resource, name: (
        Conflict("409") if verb == "replace_status" and name == "host-7" else None
    )
    cluster.until(lambda: cluster.controller.health().ready)
    assert cluster.all_ready("victim")
    cluster.stop()


def test_large_documents_are_read_when_they_are_built() -> None:
    """The mirror holds none of them: a namespace could fill the memory with these."""
    cluster = _attacked()
    cluster.api.requests.clear()
    cluster.restart()
    cluster.until(lambda: cluster.controller.settled)
    reads = Counter(name for verb, _, name in cluster.api.requests if verb == "get")
    assert reads == {f"net-host-{number}": 1 for number in range(HOSTILE)}
    cluster.stop()

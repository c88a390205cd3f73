"""What a controller counts of its watches and its queue, over the API server in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random

import pytest
from kube_memory import MemoryKubernetes
from kube_samples import image_body, secret_body
from stub_images import StubImages
from twisted.internet.task import Clock

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Gone, Unavailable
from mic.kube.controller import Controller
from mic.kube.counts import KubeCounts


class Cluster:
    """An API server, a controller, and what that counts."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = MemoryKubernetes(self.clock)
        self.counts = KubeCounts(self.clock.seconds)
        self.controller = Controller(
            api=self.api,
            images=StubImages(self.clock),
            namespace="",
            clock=self.clock,
            now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
            random=Random(1),
            counts=self.counts,
        )

    def wait(self, seconds: float = 1.0) -> None:
        self.clock.pump([0.05] * int(seconds / 0.05))

    def restarts(self, reason: str) -> int:
        return sum(count for (_, each), count in self.counts.restarts.items() if each == reason)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    cluster.controller.startService()
    cluster.wait(3)
    yield cluster
    cluster.controller.stopService()
    cluster.wait(3)


def test_watches_are_begun_again_by_reason(cluster: Cluster) -> None:
    assert cluster.counts.restarts.total() == 0
    cluster.api.end_watches()
    cluster.wait()
    assert (cluster.restarts("ended"), cluster.counts.restarts.total()) == (3, 3)
    cluster.api.end_watches(Gone("too old"))
    cluster.wait(3)
    assert (cluster.restarts("gone"), cluster.counts.restarts.total()) == (3, 6)
    assert cluster.counts.restarts["secrets", "gone"] == 1
    cluster.api.end_watches(Unavailable("away"))
    cluster.wait(3)
    assert (cluster.restarts("unavailable"), cluster.counts.restarts.total()) == (3, 9)


def test_a_watch_that_ends_as_it_begins_is_no_good_order(cluster: Cluster) -> None:
    cluster.api.end_watches()
    cluster.api.end_watches()
    cluster.wait(3)
    assert cluster.restarts("ended") == 3
    assert cluster.restarts("unavailable") == 3


def test_the_backlog_counts_queued_delayed_and_known_objects(cluster: Cluster) -> None:
    cluster.api.add(PREPROVISIONING_IMAGES, image_body("ready"))
    cluster.api.add(PREPROVISIONING_IMAGES, image_body("waits", secret="missing"))
    labels = {"environment.metal3.io": "baremetal"}
    cluster.api.add(SECRETS, secret_body("net", b"", labels=labels))
    cluster.wait()
    backlog = cluster.controller.backlog()
    assert backlog.objects == {"preprovisioningimages": 2, "secrets": 1}
    assert (backlog.queued, backlog.delayed) == (0, 1)
    assert backlog.watches_failing == 0


def test_counts_failing_watches_until_they_recover(cluster: Cluster) -> None:
    assert Cluster().controller.backlog().watches_failing == 3
    assert cluster.controller.backlog().watches_failing == 0
    cluster.api.end_watches(Unavailable("away"))
    assert cluster.controller.backlog().watches_failing == 3
    cluster.wait(3)
    assert cluster.controller.backlog().watches_failing == 0


def test_passes_are_counted(cluster: Cluster) -> None:
    cluster.api.add(PREPROVISIONING_IMAGES, image_body("host"))
    cluster.wait()
    assert cluster.counts.passes["ok"] == cluster.counts.passes.total() >= 3
    assert cluster.counts.pass_seconds.count == cluster.counts.passes.total()

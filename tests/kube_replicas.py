"""Controllers over the API in memory, in simulated time: one that leads, and one that follows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

from kube_memory import MemoryKubernetes
from kube_samples import image_body, secret_body
from stub_images import StubImages
from twisted.internet.task import Clock

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json
from mic.kube.controller import Controller
from mic.kube.events import Event

START = datetime(2026, 1, 1, tzinfo=UTC)


def pass_time(clock: Clock, seconds: float, always: Callable[[], None] = lambda: None) -> None:
    """Let simulated time pass, each delayed call at its own moment; ``always`` looks after each."""
    end = clock.seconds() + seconds
    while due := [c.getTime() for c in clock.getDelayedCalls() if c.getTime() <= end]:
        clock.advance(max(0.0, min(due) - clock.seconds()))
        always()
    clock.advance(end - clock.seconds())
    always()


class Replica:
    """A process with a controller, which leads while ``leads`` is true."""

    def __init__(
        self, api: MemoryKubernetes, clock: Clock, *, leads: bool, namespace: str = ""
    ) -> None:
        self.leads = leads
        self.images = StubImages(clock, latency=lambda: 0.05, keyed=True)
        self.events: list[Event] = []
        self._api = api
        self._clock = clock
        self._namespace = namespace
        self.start()

    def start(self) -> None:
        """Start a new controller, as a new process does."""
        self.controller = Controller(
            api=self._api,
            images=self.images,
            namespace=self._namespace,
            clock=self._clock,
            now=lambda: START + timedelta(seconds=self._clock.seconds()),
            random=Random(1),
            leads=lambda: self.leads,
            record=self.events.append,
        )
        self.controller.startService()

    def lead(self, leads: bool) -> None:
        self.leads = leads
        self.controller.leadership_changed()


class Pair:
    """A leader, a follower, and an object ``host`` with the Secret ``net``, which is ``body``."""

    def __init__(self, body: Json | None = None) -> None:
        self.clock = Clock()
        self.api = MemoryKubernetes(self.clock, latency=lambda: 0.01)
        self.api.add(SECRETS, body or secret_body("net", b"interfaces: []"))
        self.api.add(PREPROVISIONING_IMAGES, image_body("host", secret="net"))
        self.leader = Replica(self.api, self.clock, leads=True)
        self.follower = Replica(self.api, self.clock, leads=False)
        self.pass_time(5.0)

    def pass_time(self, seconds: float, always: Callable[[], None] = lambda: None) -> None:
        pass_time(self.clock, seconds, always)

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

    def touch_secret(self, value: int = 0) -> None:
        """Change the Secret's metadata alone, as who puts a finalizer there does."""
        change = {"metadata": {"finalizers": [f"example.com/{value}"]}}
        self.api.edit(SECRETS, "hosts", "net", change)

    def status_writes(self) -> int:
        return sum(verb == "update status" for verb, _, _ in self.api.requests)

    def edit_secret(self, document: bytes) -> None:
        body = secret_body("net", document)
        self.api.edit(SECRETS, "hosts", "net", {"data": body["data"]})

"""Scope: what a BMC that reads over HTTP notices while others write to the host's Secret: nothing.

The controller over the API in memory, with real images and a real listener, in this process. The
same with mic as a process before a real API server: tests/e2e/test_secret_changes.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import pytest_twisted
from kube_memory import MemoryKubernetes
from kube_samples import bmo_verdict, image_body, secret_body
from range_poller import RangePoller
from toys import live_iso, put
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from mic.common.threads import Threads
from mic.downloads.tracker import Downloads
from mic.hosts.agent_files import AgentFiles
from mic.hosts.build import Builder
from mic.hosts.provider import Provider
from mic.hosts.publish import Publisher
from mic.ignition import Agent
from mic.images.bases import Bases
from mic.images.store import Store
from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json
from mic.kube.controller import Controller
from mic.media.catalog import BasePaths
from mic.settings.model import AgentSettings
from mic.web.site import ImageSite

reactor = cast(Any, _reactor)

AGENT = Agent(image="quay.example/ipa", ironic_urls=("http://192.0.2.1",))
KEY = b"0123456789abcdef0123456789abcdef"
CHANGES = 1000
PATIENCE = 60.0


def document(interface: str) -> bytes:
    return f"interfaces:\n- name: {interface}\n  type: ethernet\n  state: up\n".encode()


class World:
    """A controller with one object ``host`` and its Secret, and a listener."""

    def __init__(self, folder: Path, url_key: bytes) -> None:
        self.threads = Threads(reactor)
        self.threads.startService()
        bases = Bases(
            BasePaths(iso=str(put(folder / "ipa.iso", live_iso()))),
            "x86_64",
            self.threads,
        )
        self.images = Store(bases, reactor.seconds)
        provider = Provider(
            rootfs_url="",
            host_architecture="x86_64",
            url_key=url_key,
            images=self.images,
            bases=bases,
            agent_files=AgentFiles(AgentSettings(agent=AGENT), self.threads),
            builder=Builder(self.threads),
            publisher=Publisher(self.images, publish_url="http://images.example"),
        )
        self.api = MemoryKubernetes(reactor)
        self.api.add(SECRETS, secret_body("net", document("eth0")))
        self.api.add(PREPROVISIONING_IMAGES, image_body("host", secret="net"))
        self.controller = Controller(
            api=self.api,
            images=provider,
            namespace="",
            clock=reactor,
            now=lambda: datetime.now(UTC),
            random=Random(1),
        )
        site = ImageSite(
            self.images,
            Downloads(reactor.seconds),
            reactor,
            self.threads,
            settled=lambda: self.controller.settled,
        )
        self.controller.startService()
        self._port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.address = ("127.0.0.1", self._port.getHost().port)

    async def stop(self) -> None:
        await self.controller.stopService()
        await self._port.stopListening()
        await self.threads.stopService()

    @property
    def image(self) -> Json:
        return self.api.find(PREPROVISIONING_IMAGES, "hosts", "host") or {}

    @property
    def target(self) -> str:
        return "/" + str(self.image["status"]["imageUrl"]).rpartition("/")[2]

    def edit_secret(self, change: Json) -> None:
        self.api.edit(SECRETS, "hosts", "net", change)

    async def used(self) -> None:
        """Wait until baremetal-operator would use the image for the Secret as it is now."""

        def there() -> bool:
            secret = self.api.find(SECRETS, "hosts", "net")
            return bmo_verdict(self.image, secret).startswith("image ")

        await self.until(there)

    async def until(self, holds: Callable[[], bool]) -> None:
        deadline = reactor.seconds() + PATIENCE
        while not holds():
            assert reactor.seconds() < deadline, self.image.get("status")
            await deferLater(reactor, 0.001)

    def status_writes(self) -> int:
        return sum(verb == "update status" for verb, _, _ in self.api.requests)


@pytest_twisted.async_yield_fixture(params=[b"", KEY], ids=["random names", "derived names"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, request.param)
    await world.until(lambda: "status" in world.image)
    await world.used()
    yield world
    await world.stop()


@pytest_twisted.async_yield_fixture
async def poller(world: World) -> AsyncIterator[RangePoller]:
    """Reads the image that the status names at first."""
    poller = await deferToThread(RangePoller, world.address, world.target)
    yield poller
    poller.kill()


@pytest_twisted.ensureDeferred
async def test_a_thousand_changes_of_metadata_are_seen_by_no_reader(
    world: World, poller: RangePoller
) -> None:
    before, writes = world.image["status"], world.status_writes()
    for number in range(CHANGES):
        world.edit_secret({"metadata": {"finalizers": [f"example.com/{number}"]}})
        await world.used()
    reads = await deferToThread(poller.stop)
    print(f"{reads} ranges read")
    assert reads > 10
    assert world.status_writes() - writes <= CHANGES
    assert {**world.image["status"], "networkData": {}} == {**before, "networkData": {}}
    assert len(world.images) == 1


@pytest_twisted.ensureDeferred
async def test_of_other_network_data_the_old_image_is_read_on(
    world: World, poller: RangePoller
) -> None:
    old = world.target
    for number in range(100):
        # There and back: what is named again was served all along.
        name = "eth0" if number % 2 else "eth1"
        world.edit_secret({"data": secret_body("net", document(name))["data"]})
        await world.used()
        assert (world.target == old) == (name == "eth0")
    assert await deferToThread(poller.stop) > 10
    assert len(world.images) == 2

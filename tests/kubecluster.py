"""The controller against a real API server, as the tests of tests/e2e run it."""

from __future__ import annotations

import base64
import functools
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest_twisted
from kube_samples import bmo_verdict, image_body, secret_body
from kubeproxy import FaultProxy
from kubeserver import KubeServer
from stub_images import StubImages
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json, WatchEvent
from mic.kube.client import ThreadedKubernetes
from mic.kube.configuration import load_configuration
from mic.kube.controller import Controller

reactor = cast(Any, _reactor)
_numbers = itertools.count(1)

PATIENCE = 60.0
"""Seconds after which a test gives up; none waits for it when the code is right."""


class Cluster:
    """A namespace of the API server, a counting proxy in front of it, and controllers."""

    def __init__(self, kube: KubeServer, folder: Path) -> None:
        self.kube = kube
        self.folder = folder
        self.namespace = f"test-{next(_numbers)}"
        self.proxy = FaultProxy(kube.url)
        self.images = StubImages()
        self.log: list[str] = []
        self._running: list[tuple[Controller, ThreadedKubernetes]] = []

    def start(self) -> None:
        """Make the namespace and the proxy; no controller yet."""
        self.kube.create_namespace(self.namespace)
        self.proxy.start()
        self.kubeconfig = self.kube.kubeconfig(self.folder / "config", url=self.proxy.url)
        globalLogPublisher.addObserver(self._observe)

    async def stop(self) -> None:
        """Stop everything."""
        self.proxy.fault = lambda verb, path: None
        await self.stop_controllers()
        await self.proxy.stop()
        globalLogPublisher.removeObserver(self._observe)

    def _observe(self, event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.info and str(event.get("log_namespace")).startswith(
            "mic."
        ):
            self.log.append(formatEvent(event))

    def start_controller(
        self,
        images: StubImages | None = None,
        *,
        kubeconfig: Path | None = None,
        namespace: str | None = None,
    ) -> Controller:
        """A controller with nothing but the rights that our manifests grant, or ``kubeconfig``."""
        api = ThreadedKubernetes(load_configuration(str(kubeconfig or self.kubeconfig)), reactor)
        controller = Controller(
            api=api,
            images=images or self.images,
            namespace=self.namespace if namespace is None else namespace,
            clock=reactor,
            now=lambda: datetime.now(UTC),
            random=Random(1),
        )
        api.startService()
        controller.startService()
        self._running.append((controller, api))
        return controller

    async def stop_controllers(self) -> None:
        """As a process ends: first what asks, then what it asks with."""
        while self._running:
            controller, api = self._running.pop()
            await controller.stopService()
            await api.stopService()

    # --- what users do --------------------------------------------------------------------------

    def create_image(self, name: str, **how: Any) -> Json:
        body = image_body(name, namespace=self.namespace, **how)
        return self.kube.create(PREPROVISIONING_IMAGES, body)

    def create_secret(self, name: str, nmstate: bytes | None, **how: Any) -> Json:
        return self.kube.create(
            SECRETS, secret_body(name, nmstate, namespace=self.namespace, **how)
        )

    def edit_image(self, name: str, change: Json) -> Json:
        return self.kube.edit(PREPROVISIONING_IMAGES, self.namespace, name, change)

    def edit_secret(self, name: str, nmstate: bytes) -> Json:
        data = {"data": {"nmstate": base64.b64encode(nmstate).decode()}}
        return self.kube.edit(SECRETS, self.namespace, name, data)

    def delete_image(self, name: str) -> None:
        self.kube.delete(PREPROVISIONING_IMAGES, self.namespace, name)

    def image(self, name: str) -> Json | None:
        return self.kube.find(PREPROVISIONING_IMAGES, self.namespace, name)

    def secret(self, name: str) -> Json | None:
        return self.kube.find(SECRETS, self.namespace, name)

    def verdict(self, name: str) -> str:
        """What baremetal-operator makes of it now; ``absent`` when it does not exist."""
        image = self.image(name)
        if image is None:
            return "absent"
        secret_name = image["spec"].get("networkDataName")
        return bmo_verdict(image, self.secret(secret_name) if secret_name else None)

    # --- waiting --------------------------------------------------------------------------------

    async def until(
        self,
        holds: Callable[[], Any],
        what: str,
        patience: float = PATIENCE,
        *,
        interval: float = 0.05,
    ) -> None:
        """Wait until something holds that can only be asked for."""
        deadline = reactor.seconds() + patience
        while not holds():
            if reactor.seconds() > deadline:
                raise AssertionError(f"never came: {what}; log: {self.log[-20:]}")
            await deferLater(reactor, interval)

    async def until_image(self, name: str, *, other_than: str = "") -> str:
        """Wait until baremetal-operator would use an image; its URL."""
        found = ""

        def there() -> bool:
            nonlocal found
            found = self.verdict(name)
            return found.startswith("image ") and found != f"image {other_than}"

        await self.until(there, f"an image of {name}")
        return found.removeprefix("image ")

    async def until_error(self, name: str) -> str:
        """Wait until baremetal-operator would show an error; its text."""
        await self.until(lambda: self.verdict(name).startswith("error "), f"an error of {name}")
        return self.verdict(name).removeprefix("error ")

    async def all_asked(self, silence: float = 1.0) -> int:
        """Wait until nothing is asked for some seconds; the requests since `proxy.forget`.

        What a test has seen in the API server is often followed by a last look of mic.
        """
        deadline = reactor.seconds() + PATIENCE
        while reactor.seconds() < deadline:
            before = len(self.proxy.requests)
            await deferLater(reactor, silence)
            if len(self.proxy.requests) == before:
                return before
        raise AssertionError(f"it goes on asking: {self.proxy.requests[-10:]}")

    async def quiet(self, seconds: float) -> float:
        """Let time pass that the test is about; requests per second in it."""
        self.proxy.forget()
        await deferLater(reactor, seconds)
        return len(self.proxy.requests) / seconds


class Watcher:
    """A user's ``kubectl get -w``: every state of an object that the API server reported."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.states: list[Json] = []
        self._name = name
        kubeconfig = cluster.kube.kubeconfig(cluster.folder / "watcher")
        self._api = ThreadedKubernetes(load_configuration(str(kubeconfig)), reactor, threads=2)
        self._cluster = cluster
        self._watch: Deferred[None] | None = None

    async def start(self) -> None:
        self._api.startService()
        page = await self._api.list(PREPROVISIONING_IMAGES, namespace=self._cluster.namespace)
        self._watch = Deferred.fromCoroutine(
            self._api.watch(
                PREPROVISIONING_IMAGES,
                namespace=self._cluster.namespace,
                resource_version=page.resource_version,
                on_event=self._note,
            )
        )
        self._watch.addErrback(lambda _: None)

    def _note(self, event: WatchEvent) -> None:
        # A bookmark, which comes once a minute, is about no object.
        if event.type != "BOOKMARK":
            self.states.append({"event": event.type, **event.object})

    async def stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await self._api.stopService()

    def statuses(self) -> list[Json]:
        """The distinct statuses in their order."""
        states = [s.get("status", {}) for s in self.states if s["metadata"]["name"] == self._name]
        return [status for status, _ in itertools.groupby(states)]

    def verdict(self, secret: Json) -> str:
        """What baremetal-operator makes of the last state, with this state of its Secret."""
        for state in reversed(self.states):
            if state["metadata"]["name"] == self._name:
                return bmo_verdict(state, secret)
        return "absent"


def run(test: Callable[[Cluster], Awaitable[None]]) -> Callable[..., Any]:
    """A test as a coroutine of a `Cluster`, which is stopped whatever happens."""

    @functools.wraps(test)
    async def wrapped(kube: KubeServer, tmp_path: Path) -> None:
        cluster = Cluster(kube, tmp_path)
        cluster.start()
        try:
            await test(cluster)
        finally:
            await cluster.stop()

    del wrapped.__wrapped__  # type: ignore[attr-defined]  # pytest would read the parameters there
    return pytest_twisted.ensureDeferred(wrapped)

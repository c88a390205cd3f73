"""The two implementations of the Kubernetes edge, each with hands that act behind its back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import pytest_twisted
from kube_memory import MemoryKubernetes
from kubeserver import ADMINISTRATOR, KubeServer, running
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred

from mic.kube.api import Json, KubernetesApi, Page, Resource, WatchEvent
from mic.kube.client import ThreadedKubernetes
from mic.kube.configuration import load_configuration
from mic.kube.counts import KubeCounts

reactor = cast(Any, _reactor)
_numbers = itertools.count(1)

PATIENCE = 60.0
"""Seconds after which a test gives up; none waits for it when the code is right."""

_WATCH_SECONDS = 4
"""How long watches last here: the server sends a bookmark two seconds before their end."""


@dataclass(kw_only=True)
class Side:
    """One implementation, and what users and the cluster do that the edge has no verb for."""

    api: KubernetesApi
    namespace: str
    other_namespace: str
    edit: Callable[[Resource, str, str, Json], Json]
    """As ``kubectl patch --type merge``: resource, namespace, name, change."""
    edit_status: Callable[[Resource, str, str, Json], Json]
    delete: Callable[[Resource, str, str], None]
    """As ``kubectl delete --wait=false``."""
    expire: Callable[[], None]
    """Make every version but the latest too old."""
    bookmark: Callable[[], None]
    """Send the current version to the watches, if the server does not do so by itself."""
    end_watches: Callable[[], None]
    """Have the watches end, if the server does not do so by itself."""
    asked: Callable[[], int]
    """How many requests there were."""

    async def everything(self, resource: Resource, selector: str = "") -> list[Json]:
        """All of the namespace, page after page."""
        items: list[Json] = []
        token = ""
        while True:
            page = await self.api.list(
                resource,
                namespace=self.namespace,
                label_selector=selector,
                continue_token=token,
            )
            items += page.items
            token = page.continue_token
            if not token:
                return items

    async def version(self, resource: Resource) -> str:
        """The version that a list reports now."""
        return (await self._page(resource)).resource_version

    async def _page(self, resource: Resource) -> Page:
        return await self.api.list(resource, namespace=self.namespace)


@dataclass
class Watching:
    """A watch under way, and the events that it has delivered."""

    side: Side
    events: list[WatchEvent] = field(default_factory=list)
    end: Deferred[None] | None = None
    _news: list[Deferred[None]] = field(default_factory=list)

    def start(
        self, resource: Resource, since: str, *, selector: str = "", namespace: str | None = None
    ) -> Watching:
        """Watch from a version on."""
        self.end = Deferred.fromCoroutine(
            self.side.api.watch(
                resource,
                namespace=self.side.namespace if namespace is None else namespace,
                label_selector=selector,
                resource_version=since,
                on_event=self._event,
            )
        )
        self.end.addErrback(lambda _: None)
        return self

    def _event(self, event: WatchEvent) -> None:
        self.events.append(event)
        news, self._news = self._news, []
        for each in news:
            each.callback(None)

    @property
    def told(self) -> list[tuple[str, str]]:
        """(type, name) of each change."""
        return [
            (event.type, event.object["metadata"]["name"])
            for event in self.events
            if event.type != "BOOKMARK"
        ]

    async def until(self, *told: tuple[str, str]) -> None:
        """Wait until as many changes came, and see that they are those."""
        while len(self.told) < len(told):
            news: Deferred[None] = Deferred()
            news.addTimeout(PATIENCE, reactor)
            self._news.append(news)
            await news
        assert self.told == list(told)

    def cancel(self) -> None:
        """End it."""
        if self.end is not None:
            self.end.cancel()


class _Short(Random):
    """Draws short watches."""

    def randint(self, a: int, b: int) -> int:
        return _WATCH_SECONDS


@pytest.fixture
def memory() -> Side:
    """The implementation in memory."""
    number = next(_numbers)
    api = MemoryKubernetes(reactor)
    return Side(
        api=api,
        namespace=f"contract-{number}",
        other_namespace=f"contract-{number}-other",
        edit=api.edit,
        edit_status=api.edit,
        delete=api.delete,
        expire=api.compact,
        bookmark=api.bookmark,
        end_watches=lambda: reactor.callLater(0.01, api.end_watches),
        asked=lambda: len(api.requests),
    )


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeServer]:
    """A real API server that ends with the module: idle it would take a tenth of a core."""
    with running(tmp_path_factory.mktemp("kube")) as server:
        yield server


@pytest.fixture
def server(kube: KubeServer, tmp_path: Path) -> Iterator[Side]:
    """The client in threads, before a real API server, as its administrator."""
    number = next(_numbers)
    config = kube.kubeconfig(tmp_path / "admin", token=ADMINISTRATOR)
    counts = KubeCounts()
    api = ThreadedKubernetes(
        load_configuration(str(config)), reactor, threads=6, random=_Short(), counts=counts
    )
    side = Side(
        api=api,
        namespace=f"contract-{number}",
        other_namespace=f"contract-{number}-other",
        edit=kube.edit,
        edit_status=lambda *what: kube.edit(*what, subresource="status"),
        delete=kube.delete,
        expire=kube.compact,
        bookmark=lambda: None,
        end_watches=lambda: None,
        asked=counts.requests.total,
    )
    kube.create_namespace(side.namespace)
    kube.create_namespace(side.other_namespace)
    api.startService()
    yield side
    pytest_twisted.blockon(api.stopService())


@pytest.fixture(params=["memory", "server"])
def side(request: pytest.FixtureRequest) -> Side:
    """Each implementation in turn."""
    return cast(Side, request.getfixturevalue(request.param))


@pytest.fixture
def watching(side: Side) -> Iterator[Callable[..., Watching]]:
    """Begins watches that end with the test."""
    started: list[Watching] = []

    def start(resource: Resource, since: str, **how: Any) -> Watching:
        started.append(Watching(side).start(resource, since, **how))
        return started[-1]

    yield start
    for each in started:
        each.cancel()

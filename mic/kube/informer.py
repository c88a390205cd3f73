"""An informer: mirrors the objects of a kind that match a selector, by list-then-watch.

Knows resource versions, bookmarks, relisting and retries. Leaves to its owner what a change means.
(The client library's ``SharedInformer`` supports no custom objects, and sent some 900 requests a
second to a server that answered 500.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Generic, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.common.backoff import Backoff
from mic.common.once import Once
from mic.kube.api import (
    ApiError,
    Forbidden,
    Gone,
    Json,
    KubernetesApi,
    Resource,
    Unavailable,
    WatchEvent,
)
from mic.kube.counts import DEFECT, outcome
from mic.kube.objects import Key, is_older

FIRST_DELAY = 0.5
LONGEST_DELAY = 15.0
"""Seconds between attempts after failures in a row: doubling from the first to the longest."""

SHORTEST_WATCH = 1.0
"""A watch that ends earlier and without an event counts as a failure, in seconds: a server or proxy
that ends each watch at once is not polled at full speed."""


class Tracked(Protocol):
    """Properties of the values that an informer keeps."""

    @property
    def key(self) -> Key:
        """Its name."""

    @property
    def uid(self) -> str:
        """Differs from that of an earlier object of the same name."""

    @property
    def resource_version(self) -> str:
        """Version of its last write."""


class _State(NamedTuple):
    """Which state of which object an event is about, without the object."""

    key: Key
    uid: str
    resource_version: str

    @classmethod
    def of(cls, body: Json) -> _State:
        metadata = body["metadata"]
        return cls(
            Key(metadata.get("namespace", ""), metadata["name"]),
            metadata.get("uid", ""),
            metadata.get("resourceVersion", ""),
        )


T = TypeVar("T", bound=Tracked)


class Informer(Generic[T]):
    """A mirror of what the API server has, and a call for each change.

    ``parse`` turns an object into a value that holds only what is needed; it must not raise.
    ``changed(old, new)`` is called for each change; None means absent. ``listed()`` is called
    after each complete list. All in the reactor's thread. ``restarts`` counts, by resource and
    reason, how often listing or watching started again. Informers that share ``logged`` log a
    problem that they have in common once.
    """

    def __init__(
        self,
        *,
        api: KubernetesApi,
        resource: Resource,
        namespace: str,
        label_selector: str,
        parse: Callable[[Json], T],
        changed: Callable[[T | None, T | None], None],
        listed: Callable[[], None],
        clock: IReactorTime,
        random: Random,
        restarts: Counter[tuple[str, str]],
        logged: Once | None = None,
    ) -> None:
        self._log = Logger(namespace=__name__)
        self._api = api
        self.resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._parse = parse
        self._changed = changed
        self._listed = listed
        self._clock = clock
        self._random = random
        self._restarts = restarts
        self._objects: dict[Key, T] = {}
        self._resource_version = ""
        self._backoff = Backoff(first=FIRST_DELAY, longest=LONGEST_DELAY, jitter=0.5)
        self._problems = Once()
        self._logged = Once() if logged is None else logged
        self._events = 0
        self._running: Deferred[None] | None = None
        self.synced = False
        """Whether a list has been complete since the start."""

    @property
    def problems(self) -> list[str]:
        """Why the mirror may be out of date, in words; empty when it is not."""
        return list(self._problems.texts())

    @property
    def running(self) -> bool:
        """Whether the loop is running; once started, only `stop` or a defect ends it."""
        return self._running is not None

    def start(self) -> None:
        """List and watch until `stop`."""
        if self._running is None:
            self._running = Deferred.fromCoroutine(self._run())
            self._running.addErrback(self._ended)

    def stop(self) -> None:
        """End the watch. What is mirrored stays readable."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def get(self, key: Key) -> T | None:
        """Return the object of that name, if it exists and matches."""
        return self._objects.get(key)

    def keys(self) -> list[Key]:
        """Return the names of all mirrored objects."""
        return list(self._objects)

    def values(self) -> list[T]:
        """Return all mirrored objects."""
        return list(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def record(self, new: T) -> None:
        """Record the object that our own write returned, before the watch reports it.

        Otherwise a reconciliation in between would decide on the old state and cause a conflict. It
        counts as a change: the watch never reports it if a list comes in between.
        """
        old = self._objects.get(new.key)
        if old is not None and _is_behind(old, new):
            self._objects[new.key] = new
            self._changed(old, new)

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._running = None
            self._log.failure("The watch of {resource} died", failure, resource=self.resource)

    async def _run(self) -> None:
        failures = 0
        while True:
            doing = "list"
            try:
                await self._list()
                self._is_over("list")
                doing = "watch"
                while True:
                    began = self._clock.seconds()
                    self._events = 0
                    try:
                        await self._watch()
                    finally:
                        lasted = self._clock.seconds() - began
                        if self._events or lasted >= SHORTEST_WATCH:
                            failures = 0
                            self._is_over("watch")
                    if not self._events and lasted < SHORTEST_WATCH:
                        raise Unavailable(f"the watch of {self.resource} ends as soon as it begins")
                    self._restarts[self.resource.plural, "ended"] += 1
            except CancelledError:
                raise
            except ApiError as error:
                self._restarts[self.resource.plural, outcome(error)] += 1
                failures += 1
                delay = self._delay(failures, error)
                self._complain(doing, error, delay)
            except Exception:
                self._restarts[self.resource.plural, DEFECT] += 1
                failures += 1
                delay = self._delay(failures, None)
                self._log.failure(
                    "Defect in the {verb} of {resource}; again in {delay:.1f} s",
                    verb=doing,
                    resource=self.resource,
                    delay=delay,
                )
            await deferLater(self._clock, delay)

    def _delay(self, failures: int, error: ApiError | None) -> float:
        return self._backoff.delay(
            failures,
            random=self._random,
            at_least=error.retry_after if isinstance(error, Unavailable) else None,
        )

    def _is_over(self, doing: str) -> None:
        if self._problems.is_over(doing):
            self._logged.is_over(f"{doing} {self.resource.plural}")

    def _complain(self, doing: str, error: ApiError, delay: float) -> None:
        if isinstance(error, Gone):
            self._log.info("Listing {resource} anew: {error}", resource=self.resource, error=error)
            return
        # Another watch of the same resource has the same problem.
        if not self._problems.is_news(str(error), doing) or not self._logged.is_news(
            str(error), f"{doing} {self.resource.plural}"
        ):
            return
        if isinstance(error, Forbidden):
            text = str(error)
            self._log.warn(
                "{error}; trying again, next in {delay:.1f} s",
                error=text[:1].upper() + text[1:],
                delay=delay,
            )
        else:
            self._log.warn(
                "Cannot {verb} {resource}: {error}; trying again, next in {delay:.1f} s",
                verb=doing,
                resource=self.resource,
                error=error,
                delay=delay,
            )

    async def _list(self) -> None:
        found: dict[Key, T] = {}
        token = ""
        while True:
            page = await self._api.list(
                self.resource,
                namespace=self._namespace,
                label_selector=self._label_selector,
                continue_token=token,
            )
            for item in page.items:
                value = self._parse(item)
                found[value.key] = value
            token = page.continue_token
            if not token:
                break
        before = self._objects
        for key, known in before.items():
            listed = found.get(key)
            if listed is not None and _is_behind(listed, known):
                found[key] = known  # our own write came in between, see record()
        self._objects = found
        self._resource_version = page.resource_version
        self.synced = True
        # Both ways: objects that vanished between watches would otherwise leak.
        for key, old in before.items():
            if key not in found:
                self._changed(old, None)
        for key, new in found.items():
            before_it = before.get(key)
            if before_it is None or before_it.resource_version != new.resource_version:
                self._changed(before_it, new)
        self._listed()

    async def _watch(self) -> None:
        # A quiet watch sends nothing for a minute: that it stays open shows that it works.
        well = self._clock.callLater(SHORTEST_WATCH, self._is_over, "watch")
        try:
            await self._api.watch(
                self.resource,
                namespace=self._namespace,
                label_selector=self._label_selector,
                resource_version=self._resource_version,
                on_event=self._event,
            )
        finally:
            if well.active():
                well.cancel()

    def _event(self, event: WatchEvent) -> None:
        self._events += 1
        version = event.object.get("metadata", {}).get("resourceVersion", "")
        if version:
            self._resource_version = version
        if event.type == "BOOKMARK":
            return
        state = _State.of(event.object)
        old = self._objects.get(state.key)
        known = old is not None and (
            _is_behind(state, old) or (event.type != "DELETED" and _is_same(state, old))
        )
        if known:
            return  # recorded after our own write, see record(); most events are of this kind
        new = self._parse(event.object)
        if event.type == "DELETED":
            self._objects.pop(new.key, None)
            if old is not None:
                self._changed(old, None)
        else:
            self._objects[new.key] = new
            self._changed(old, new)


def _is_behind(one: Tracked, other: Tracked) -> bool:
    """Whether ``one`` is an earlier state of the same object."""
    return one.uid == other.uid and is_older(one.resource_version, other.resource_version)


def _is_same(one: Tracked, other: Tracked) -> bool:
    """Whether both are the same state of the same object."""
    return (one.uid, one.resource_version) == (other.uid, other.resource_version)

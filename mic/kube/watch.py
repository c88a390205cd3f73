"""An informer: the objects of a kind that match a selector, as they are, by list-then-watch.

Knows resource versions, bookmarks, relisting and when to ask again. Leaves to its owner what a
change means. (The client library's ``SharedInformer`` knows no custom objects and asked a server
that answered 500 some 900 times a second.)
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.kube.api import (
    ApiError,
    Gone,
    Json,
    KubernetesApi,
    Resource,
    Unavailable,
    WatchEvent,
)
from mic.kube.objects import Key, is_older

FIRST_DELAY = 0.5
LONGEST_DELAY = 15.0
"""Seconds between attempts after failures in a row: doubling from the first to the longest."""

SHORTEST_WATCH = 1.0
"""Seconds: a watch that ends before, with nothing said, counts as a failure, so that a server or
proxy that ends each watch at once is not asked at full speed."""


class Tracked(Protocol):
    """What an informer needs of the values that it keeps."""

    @property
    def key(self) -> Key:
        """Its name."""

    @property
    def uid(self) -> str:
        """Tells it from an earlier object of that name."""

    @property
    def resource_version(self) -> str:
        """When it was written."""


T = TypeVar("T", bound=Tracked)


class Informer(Generic[T]):
    """A mirror of what the API server has, and a call for each change.

    ``parse`` makes a value of an object, so that no more is kept than is needed; it must not raise.
    ``changed(old, new)`` is called for each change, None standing for absence. ``listed()`` is
    called after each complete list. All in the reactor's thread.
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
    ) -> None:
        self._log = Logger(namespace=__name__)
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._label_selector = label_selector
        self._parse = parse
        self._changed = changed
        self._listed = listed
        self._clock = clock
        self._random = random
        self._objects: dict[Key, T] = {}
        self._resource_version = ""
        self._problems: dict[str, str] = {}
        self._events = 0
        self._running: Deferred[None] | None = None
        self.synced = False
        """Whether a list has been complete since the start."""

    @property
    def problems(self) -> list[str]:
        """Why the mirror may be out of date, in words; empty when it is not."""
        return list(self._problems.values())

    @property
    def running(self) -> bool:
        """Whether the loop is alive; once started it only ends by `stop`, or by a defect."""
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
        """The object of that name, if it exists and matches."""
        return self._objects.get(key)

    def keys(self) -> list[Key]:
        """The names of all mirrored objects."""
        return list(self._objects)

    def values(self) -> list[T]:
        """All mirrored objects."""
        return list(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def record(self, new: T) -> None:
        """Take in what a write of our own returned, ahead of the watch that will tell of it.

        Without this, a pass that some other event sets off in between decides on what has been
        changed already, and earns a conflict. It is a change like any other: the watch may never
        tell of it, when a list comes in between.
        """
        old = self._objects.get(new.key)
        if old is not None and _is_behind(old, new):
            self._objects[new.key] = new
            self._changed(old, new)

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._running = None
            self._log.failure("The watch of {resource} died", failure, resource=self._resource)

    async def _run(self) -> None:
        failures = 0
        while True:
            doing = "list"
            try:
                await self._list()
                self._problems.pop("list", None)
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
                            self._problems.pop("watch", None)
                    if not self._events and lasted < SHORTEST_WATCH:
                        raise Unavailable(
                            f"the watch of {self._resource} ends as soon as it begins"
                        )
            except CancelledError:
                raise
            except ApiError as error:
                failures += 1
                delay = self._delay(failures, error)
                self._tell(doing, error, delay)
            except Exception:
                failures += 1
                delay = self._delay(failures, None)
                self._log.failure(
                    "Defect in the {verb} of {resource}; again in {delay:.1f} s",
                    verb=doing,
                    resource=self._resource,
                    delay=delay,
                )
            await deferLater(self._clock, delay)

    def _delay(self, failures: int, error: ApiError | None) -> float:
        delay = min(FIRST_DELAY * 2.0 ** min(failures - 1, 16), LONGEST_DELAY)
        delay *= self._random.uniform(0.5, 1.0)
        wish = error.retry_after if isinstance(error, Unavailable) else None
        return delay if wish is None else max(delay, wish)

    def _tell(self, doing: str, error: ApiError, delay: float) -> None:
        if isinstance(error, Gone):
            self._log.info("Listing {resource} anew: {error}", resource=self._resource, error=error)
            return
        text = str(error)
        # An outage is one line, not one per attempt.
        if self._problems.get(doing) != text:
            self._log.warn(
                "Cannot {verb} {resource}: {error}; trying again, next in {delay:.1f} s",
                verb=doing,
                resource=self._resource,
                error=error,
                delay=delay,
            )
        self._problems[doing] = text

    async def _list(self) -> None:
        found: dict[Key, T] = {}
        token = ""
        while True:
            page = await self._api.list(
                self._resource,
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
                found[key] = known  # a write of our own came in between, see record()
        self._objects = found
        self._resource_version = page.resource_version
        self.synced = True
        # Both ways: what vanished while nobody watched would otherwise leak.
        for key, old in before.items():
            if key not in found:
                self._changed(old, None)
        for key, new in found.items():
            before_it = before.get(key)
            if before_it is None or before_it.resource_version != new.resource_version:
                self._changed(before_it, new)
        self._listed()

    async def _watch(self) -> None:
        # A quiet watch says nothing for a minute: that it goes on is the sign that all is well.
        well = self._clock.callLater(SHORTEST_WATCH, self._problems.pop, "watch", None)
        try:
            await self._api.watch(
                self._resource,
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
        new = self._parse(event.object)
        old = self._objects.get(new.key)
        known = old is not None and (
            _is_behind(new, old) or (event.type != "DELETED" and _is_same(new, old))
        )
        if known:
            return  # told of by our own write already, see record()
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

"""A Kubernetes API in memory, as far as mic uses one: a test double under the contract suite.

Keeps what the real server keeps: resource versions that grow, optimistic locks, the status apart,
finalizers that hold a deleted object, watches by label selector, a history that can be cut off.
Answers come after ``latency()`` seconds of ``clock``; ``fault`` may fail a request before it acts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mic.kube.api import (
    PREPROVISIONING_IMAGES,
    ApiError,
    Conflict,
    Gone,
    Invalid,
    Json,
    NotFound,
    Page,
    Resource,
    WatchEvent,
    list_path,
    object_path,
    page_size,
)

Fault = Callable[[str, Resource, str], ApiError | None]
_Id = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    version: int
    resource: str
    before: Json | None
    after: Json | None


@dataclass(eq=False)
class _Watch:
    resource: str
    namespace: str
    selector: str
    on_event: Callable[[WatchEvent], None]
    end: Deferred[None]
    due: float = 0.0
    """When the last event arrives: later ones do not overtake it."""


class MemoryKubernetes:
    """See `mic.kube.api.KubernetesApi`; beside it, what users and the cluster do to objects."""

    def __init__(
        self,
        clock: IReactorTime,
        *,
        latency: Callable[[], float] = lambda: 0.0,
        page_size: Callable[[Resource], int] = page_size,
    ) -> None:
        self._clock = clock
        self._latency = latency
        self._page_size = page_size
        self._objects: dict[_Id, Json] = {}
        self._version = 100
        self._uids = 0
        self._history: list[_Change] = []
        self._oldest = 0
        self._watches: list[_Watch] = []
        self._lists: dict[str, tuple[int, list[Json]]] = {}  # what is left of lists, by token
        self.fault: Fault = lambda verb, resource, name: None
        self.requests: list[tuple[str, str, str]] = []
        """(verb, resource, name) of every request that came."""

    # --- KubernetesApi --------------------------------------------------------------------------

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str = "",
        continue_token: str = "",
    ) -> Page:
        list_path(resource, namespace)
        await self._arrive("list", resource, "")
        if continue_token:
            version, found = self._lists[continue_token]
            if version < self._oldest:
                where = namespace or "all namespaces"
                raise Gone(f"list {resource.plural} in {where}: continue token expired")
        else:
            version = self._version
            found = [
                _copy(body)
                for (plural, _, _), body in sorted(self._objects.items())
                if plural == str(resource) and _matches(body, namespace, label_selector)
            ]
        size = self._page_size(resource)
        page, rest = found[:size], found[size:]
        token = ""
        if rest:
            token = f"{version}-{len(self._lists)}"
            self._lists[token] = (version, rest)
        return Page(items=page, resource_version=str(version), continue_token=token)

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str = "",
        resource_version: str,
        on_event: Callable[[WatchEvent], None],
    ) -> None:
        list_path(resource, namespace)
        await self._arrive("watch", resource, "")
        since = int(resource_version)
        if since < self._oldest:
            raise Gone(f"watch {resource.plural}: too old resource version {since}")
        watch = _Watch(
            resource=str(resource),
            namespace=namespace,
            selector=label_selector,
            on_event=on_event,
            end=Deferred(),
        )
        for change in self._history:
            if change.version > since:
                self._send(watch, change)
        self._watches.append(watch)
        try:
            await watch.end
        finally:
            self._watches.remove(watch)

    async def get(self, resource: Resource, *, namespace: str, name: str) -> Json:
        object_path(resource, namespace, name)
        await self._arrive("get", resource, name)
        return _copy(self._found(resource, namespace, name))

    async def create(self, resource: Resource, body: Json) -> Json:
        metadata = body["metadata"]
        name = metadata.get("name", "")
        object_path(resource, metadata["namespace"], name or "new")
        await self._arrive("create", resource, name)
        return self.add(resource, body)

    async def replace(self, resource: Resource, body: Json) -> Json:
        _path_of(resource, body)
        await self._arrive("update", resource, body["metadata"]["name"])
        old, new = self._locked(resource, body), _copy(body)
        for kept in ("creationTimestamp", "generation", "uid"):
            if kept in old["metadata"]:
                new["metadata"][kept] = old["metadata"][kept]
        if "deletionTimestamp" in old["metadata"]:
            new["metadata"]["deletionTimestamp"] = old["metadata"]["deletionTimestamp"]
            added = set(_finalizers(new)) - set(_finalizers(old))
            if added:
                raise Invalid(f"{_asked('update', resource, body)}: metadata.finalizers")
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
        return self._store(resource, old, new)

    async def replace_status(self, resource: Resource, body: Json) -> Json:
        _path_of(resource, body, "status")
        await self._arrive("update status", resource, body["metadata"]["name"])
        old = self._locked(resource, body, "/status")
        return self._store(resource, old, {**_copy(old), "status": _copy(body["status"])})

    # --- what others do to the cluster ----------------------------------------------------------

    def add(self, resource: Resource, body: Json) -> Json:
        """As ``kubectl create``: uid, generation, version are the server's."""
        self._uids += 1
        new = _copy(body)
        new.pop("status", None)
        metadata = new["metadata"]
        if "name" not in metadata:
            metadata["name"] = f"{metadata['generateName']}{self._uids}"
        key = (str(resource), metadata["namespace"], metadata["name"])
        if key in self._objects:
            raise Conflict(f"{_asked('create', resource, new)}: it exists")
        metadata.update(uid=f"uid-{self._uids}", creationTimestamp="2026-01-01T00:00:00Z")
        if resource == PREPROVISIONING_IMAGES:
            metadata["generation"] = 1
        return self._store(resource, None, new)

    def edit(self, resource: Resource, namespace: str, name: str, change: dict[str, Any]) -> Json:
        """As ``kubectl patch --type merge``, the status included."""
        old = self._found(resource, namespace, name)
        new = _merged(old, change)
        return self._store(resource, old, new)

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """As ``kubectl delete --wait=false``."""
        old = self._found(resource, namespace, name)
        if _finalizers(old):
            if "deletionTimestamp" not in old["metadata"]:
                new = _merged(old, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
                if "generation" in new["metadata"]:
                    new["metadata"]["generation"] += 1
                self._store(resource, old, new)
            return
        self._remove(resource, old)

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """The object as it is, without a request."""
        body = self._objects.get((str(resource), namespace, name))
        return _copy(body)

    def all(self, resource: Resource) -> list[Json]:
        """Every object of a kind, without a request."""
        return [_copy(each) for key, each in self._objects.items() if key[0] == str(resource)]

    def compact(self) -> None:
        """Forget the history: any older version is gone."""
        self._oldest = self._version
        self._history.clear()

    def end_watches(self, why: ApiError | None = None) -> None:
        """End every watch, in the ordinary way or with an error."""
        for watch in list(self._watches):
            if why is None:
                watch.end.callback(None)
            else:
                watch.end.errback(why)

    def bookmark(self) -> None:
        """Send the current version to every watch, behind the events that are on their way."""
        body = {"metadata": {"resourceVersion": str(self._version)}}
        event = WatchEvent(type="BOOKMARK", object=body)
        for watch in list(self._watches):
            self._later(watch, lambda watch=watch: watch.on_event(event))  # type: ignore[misc]

    # --------------------------------------------------------------------------------------------

    async def _arrive(self, verb: str, resource: Resource, name: str) -> None:
        self.requests.append((verb, resource.plural, name))
        seconds = self._latency()
        if seconds:
            await deferLater(self._clock, seconds)
        error = self.fault(verb, resource, name)
        if error is not None:
            raise error

    def _found(self, resource: Resource, namespace: str, name: str) -> Json:
        try:
            return self._objects[(str(resource), namespace, name)]
        except KeyError:
            raise NotFound(f"get {resource.plural} {namespace}/{name}") from None

    def _locked(self, resource: Resource, body: Json, subresource: str = "") -> Json:
        asked = _asked("update", resource, body, subresource)
        metadata = body["metadata"]
        if not metadata.get("resourceVersion"):
            raise Invalid(f"{asked}: metadata.resourceVersion")
        old = self._objects.get((str(resource), metadata["namespace"], metadata["name"]))
        if old is None:
            # A uid is a precondition, and one that nothing meets.
            raise Conflict(asked) if metadata.get("uid") else NotFound(asked)
        for field in ("resourceVersion", "uid"):
            if metadata.get(field, old["metadata"][field]) != old["metadata"][field]:
                raise Conflict(f"{asked}: the object changed")
        return old

    def _store(self, resource: Resource, old: Json | None, new: Json) -> Json:
        for name in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not new["metadata"].get(name):
                new["metadata"].pop(name, None)
        if old is not None:
            if "generation" in old["metadata"] and new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if new == old:
                return _copy(old)  # a write that changes nothing makes no version
        metadata = new["metadata"]
        if "deletionTimestamp" in metadata and not _finalizers(new):
            assert old is not None
            return self._remove(resource, old)
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        self._objects[(str(resource), metadata["namespace"], metadata["name"])] = new
        self._publish(str(resource), old, new)
        return _copy(new)

    def _remove(self, resource: Resource, old: Json) -> Json:
        self._version += 1
        metadata = old["metadata"]
        del self._objects[(str(resource), metadata["namespace"], metadata["name"])]
        self._publish(str(resource), old, None)
        return _copy(old)

    def _publish(self, plural: str, before: Json | None, after: Json | None) -> None:
        change = _Change(version=self._version, resource=plural, before=before, after=after)
        self._history.append(change)
        for watch in list(self._watches):
            self._later(watch, lambda watch=watch: self._send(watch, change))  # type: ignore[misc]

    def _later(self, watch: _Watch, send: Callable[[], None]) -> None:
        """As over a network: in order, and never inside the write that caused it."""

        def arrive() -> None:
            if watch in self._watches:
                send()

        now = self._clock.seconds()
        watch.due = max(watch.due, now + self._latency())
        self._clock.callLater(watch.due - now, arrive)

    @staticmethod
    def _send(watch: _Watch, change: _Change) -> None:
        if watch.resource != change.resource:
            return
        before = change.before is not None and _matches(
            change.before, watch.namespace, watch.selector
        )
        after = change.after is not None and _matches(change.after, watch.namespace, watch.selector)
        if after:
            event = WatchEvent(
                type="MODIFIED" if before else "ADDED", object=_copy(change.after or {})
            )
        elif before:
            # The object as it was, with the version of what took it out of sight.
            body = _merged(
                change.before or {}, {"metadata": {"resourceVersion": str(change.version)}}
            )
            event = WatchEvent(type="DELETED", object=body)
        else:
            return
        watch.on_event(event)


def _copy(value: Any) -> Any:
    """A copy of JSON, many times as fast as `copy.deepcopy`, which cares for circles."""
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_copy(each) for each in value]
    return value


def _path_of(resource: Resource, body: Json, subresource: str = "") -> str:
    """The path that a write goes to; `Invalid` where a name cannot be."""
    metadata = body["metadata"]
    return object_path(resource, metadata["namespace"], metadata["name"], subresource)


def _asked(verb: str, resource: Resource, body: Json, subresource: str = "") -> str:
    metadata = body["metadata"]
    where = f"{metadata['namespace']}/{metadata.get('name', '')}"
    return f"{verb} {resource.plural}{subresource} {where}"


def _finalizers(body: Json) -> list[str]:
    return body["metadata"].get("finalizers") or []


def _matches(body: Json, namespace: str, selector: str) -> bool:
    labels = body["metadata"].get("labels") or {}
    if namespace and body["metadata"]["namespace"] != namespace:
        return False
    if not selector:
        return True
    if selector.startswith("!"):
        return selector[1:] not in labels
    name, equals, value = selector.partition("=")
    return labels.get(name) == value if equals else name in labels


def _merged(old: Json, change: dict[str, Any]) -> Json:
    """RFC 7396: null removes."""
    new = _copy(old)
    for name, value in change.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, dict) and isinstance(new.get(name), dict):
            new[name] = _merged(new[name], value)
        else:
            new[name] = _copy(value)
    return new

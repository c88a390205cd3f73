"""What mic needs of the Kubernetes API, and the ways in which it can refuse.

Knows the verbs (list, watch, get, create, replace) and how a failure is told. Leaves to the
implementations how bytes travel: `mic.kube.threads` asks a real API server, the tests have one in
memory; both pass one contract suite. Objects cross this edge as plain JSON dictionaries.

No error here carries a payload: messages name the verb, the kind, the object and the server's
reason, never what was sent or received (Secrets travel here).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mic.errors import MicError

Json = dict[str, Any]
"""One JSON object, as the API server has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of object: where the API has it, and its name there."""

    group: str
    """API group; empty for the core group."""
    version: str
    plural: str
    """The name in the path and in RBAC rules, for example ``secrets``."""

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


PREPROVISIONING_IMAGES = Resource(
    group="metal3.io", version="v1alpha1", plural="preprovisioningimages"
)
SECRETS = Resource(group="", version="v1", plural="secrets")
EVENTS = Resource(group="", version="v1", plural="events")
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases")


class ApiError(MicError):
    """The Kubernetes API did not do what it was asked for."""


class NotFound(ApiError):
    """The object (or the whole kind) does not exist (404)."""


class Conflict(ApiError):
    """The object changed since it was read (409): read again, then decide again."""


class Gone(ApiError):
    """The resource version or continue token is too old (410): list again."""


class Forbidden(ApiError):
    """Our credentials do not allow this (403), or are not accepted at all (401).

    ``right`` is the missing right as `right` words it.
    """

    def __init__(self, message: str, *, right: str) -> None:
        super().__init__(message)
        self.right = right


class Invalid(ApiError):
    """The API server rejects the content (400, 422): asking again with the same is useless."""


class Unavailable(ApiError):
    """No answer, or one that says nothing about the request (5xx): ask again later.

    ``retry_after`` is the server's own wish in seconds (Retry-After), None when it has none.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyRequests(Unavailable):
    """The API server wants to be asked less (429)."""


def right(verb: str, resource: Resource, subresource: str = "") -> str:
    """What a request needs, in the words of a Role: ``update preprovisioningimages/status``."""
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return (
        f"{verb} {plural} (API group {resource.group!r})" if resource.group else f"{verb} {plural}"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list.

    ``resource_version`` is the moment the list tells of, the same on all of its pages; a watch
    starts from there. ``continue_token`` is empty on the last page.
    """

    items: list[Json] = field(repr=False)
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """One event of a watch.

    ``type`` is ADDED, MODIFIED, DELETED or BOOKMARK; a bookmark's object has nothing but a
    resource version. An object that stops matching the label selector arrives as DELETED.
    """

    type: str
    object: Json = field(repr=False)


class KubernetesApi(Protocol):
    """The verbs. Every one may raise any `ApiError`; all are safe to cancel.

    A cancelled write may still reach the server: whoever cancels must read before it decides again.
    """

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str = "",
        continue_token: str = "",
    ) -> Page:
        """One page of the objects in ``namespace`` (empty: in all) that match the selector.

        :raises Gone: the continue token has expired.
        """

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str = "",
        resource_version: str,
        on_event: Callable[[WatchEvent], None],
    ) -> None:
        """Call ``on_event`` for each change after ``resource_version``.

        Returns when the server or the network ends the stream in the ordinary way: the caller goes
        on from the last resource version it has seen.

        :raises Gone: that resource version is too old.
        """

    async def get(self, resource: Resource, *, namespace: str, name: str) -> Json:
        """The object as it is now.

        :raises NotFound: there is none of that name.
        """

    async def create(self, resource: Resource, body: Json) -> Json:
        """Make an object of ``metadata.name``, or of a name that the server makes up from
        ``metadata.generateName``. Returns it as the server has it.

        :raises Conflict: there is one of that name.
        """

    async def replace(self, resource: Resource, body: Json) -> Json:
        """Put ``body`` (all of it but the status) in the place of what the server has.

        ``metadata.resourceVersion`` must be set: this is the optimistic lock. Returns the object as
        the server now has it.

        :raises Conflict: the object has changed since, or is not the one of ``metadata.uid`` (when
            that is set, also because there is none any more).
        :raises NotFound: there is none of that name.
        :raises Invalid: ``metadata.resourceVersion`` is not set: nothing is ever forced.
        """

    async def replace_status(self, resource: Resource, body: Json) -> Json:
        """Put ``body["status"]`` in the place of the object's status; otherwise as `replace`."""

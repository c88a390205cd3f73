"""The part of the Kubernetes API that mic needs, and the ways in which it can refuse.

Knows the verbs (list, watch, get, create, replace) and the kinds of failures. Leaves transport to
the implementations: `mic.kube.client` connects to a real API server, the tests have one in memory;
both pass one contract suite. Objects cross this edge as plain JSON dictionaries.

No error here carries a payload: messages name the verb, the kind, the object and the server's
reason, never what was sent or received (Secrets travel here).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mic.common.errors import MicError
from mic.common.kube_names import namespace_problem, quoted, subdomain_problem

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


def page_size(resource: Resource) -> int:
    """Return how many objects to list at a time.

    A Secret may have 1 MiB, and for a moment a page is in memory several times over.
    """
    return 16 if resource == SECRETS else 100


class ApiError(MicError):
    """A request to the Kubernetes API failed."""


class NotFound(ApiError):
    """The object (or the whole kind) does not exist (404)."""


class Conflict(ApiError):
    """The object changed since it was read (409): read again, then decide again."""


class Gone(ApiError):
    """The resource version or continue token is too old (410): list again."""


class Forbidden(ApiError):
    """The API server refuses the request (403).

    A right may be missing, for all objects, for a namespace or for one object; or an admission
    plugin refuses this object alone. ``right`` is the right that the request needs, as `right`
    words it.
    """

    def __init__(self, message: str, *, right: str) -> None:
        super().__init__(message)
        self.right = right


class Unauthorized(Forbidden):
    """The API server does not accept our credentials (401): it refuses every request alike."""


class Invalid(ApiError):
    """The API server rejects the content (400, 422, 413 ...), or the request has an invalid name:
    the same request will fail again."""


class Unavailable(ApiError):
    """No answer, or one that concerns every request (429, 503): retry later.

    ``retry_after`` is the delay that the server asks for (Retry-After), in seconds; None without.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyRequests(Unavailable):
    """The API server limits our rate (429)."""


class ServerError(Unavailable):
    """The API server failed at this request (500, 504 ...), and perhaps at this object alone.

    This includes an admission webhook that does not respond, and an object that is too large for
    etcd.
    """


def right(verb: str, resource: Resource, subresource: str = "") -> str:
    """Return the right that a request needs, as a Role: ``update preprovisioningimages/status``."""
    plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return (
        f"{verb} {plural} (API group {resource.group!r})" if resource.group else f"{verb} {plural}"
    )


def list_path(resource: Resource, namespace: str) -> str:
    """Return the path of a kind in a namespace, or in all when ``namespace`` is empty.

    This and `object_path` are the only places that build paths of the API. Names come from objects
    that tenants write, and the path decides which object a request is about: ``a/b`` would name a
    subresource, ``.`` the whole list. So each name is checked here.

    :raises Invalid: no namespace can have that name.
    """
    root = f"/apis/{resource.group}" if resource.group else "/api"
    if not namespace:
        return f"{root}/{resource.version}/{resource.plural}"
    _check_name(resource, "namespace", namespace, namespace_problem(namespace))
    return f"{root}/{resource.version}/namespaces/{namespace}/{resource.plural}"


def object_path(resource: Resource, namespace: str, name: str, subresource: str = "") -> str:
    """Return the path of an object in a namespace.

    :raises Invalid: no namespace, or no object, can have that name.
    """
    _check_name(resource, "namespace", namespace, namespace_problem(namespace))
    _check_name(resource, "name", name, subdomain_problem(name))
    path = f"{list_path(resource, namespace)}/{name}"
    return f"{path}/{subresource}" if subresource else path


def _check_name(resource: Resource, what: str, name: str, problem: str) -> None:
    if problem:
        raise Invalid(f"{resource.plural}: no {what} can be {quoted(name)}: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list.

    ``resource_version`` is the version of the list, the same on all of its pages; a watch starts
    from there. ``continue_token`` is empty on the last page.
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

    An invalid name (`list_path`, `object_path`) raises `Invalid`, and nothing is sent.

    A cancelled write may still reach the server: read again before the next decision.
    """

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str = "",
        continue_token: str = "",
    ) -> Page:
        """Return one page of the objects in ``namespace`` (empty: in all) that match the selector.

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

        Returns when the server or the network ends the stream in the ordinary way: the caller
        continues from the last resource version it has seen.

        :raises Gone: that resource version is too old.
        """

    async def get(self, resource: Resource, *, namespace: str, name: str) -> Json:
        """Return the object as it is now.

        :raises NotFound: there is none of that name.
        """

    async def create(self, resource: Resource, body: Json) -> Json:
        """Create an object named ``metadata.name``, or by the server from
        ``metadata.generateName``. Return it as stored.

        :raises Conflict: an object of that name exists.
        """

    async def replace(self, resource: Resource, body: Json) -> Json:
        """Replace the object, except its status, by ``body``.

        ``metadata.resourceVersion`` must be set: this is the optimistic lock. Return the object as
        stored.

        :raises Conflict: the object has changed since, or is not the one of ``metadata.uid`` (when
            that is set, also because it no longer exists).
        :raises NotFound: there is none of that name.
        :raises Invalid: ``metadata.resourceVersion`` is not set: nothing is ever forced.
        """

    async def replace_status(self, resource: Resource, body: Json) -> Json:
        """Replace the object's status by ``body["status"]``; otherwise as `replace`."""

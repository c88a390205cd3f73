"""Requests to the API server and its refusals, in words for logs and statuses.

Pure: knows paths, rights and the API's ``Status``; how bytes travel is `mic.kube.client`'s.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mic.common.text import printable
from mic.kube.api import (
    LEASES,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    Json,
    NotFound,
    Resource,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    list_path,
    object_path,
    right,
)

MAX_RETRY_AFTER = 60.0
"""Cap on Retry-After, in case a proxy asks for an hour, in seconds."""

_METHODS = {"list": "GET", "watch": "GET", "get": "GET", "create": "POST", "update": "PUT"}

_ADMISSION = re.compile(
    r"""(?:admission|failed calling(?: admission)?) webhook "[^"]{1,253}"(?: denied the request)?"""
    r"""|ValidatingAdmissionPolicy '[^']{1,253}'.{0,300} denied request"""
)
"""How a refusal by an admission policy begins, and the failure to call one."""

_RIGHTS = "deploy/kubernetes/base/rbac.yaml"
_LEASE_RIGHTS = "deploy/kubernetes/overlays/high-availability/lease-rights.yaml"
"""The files of this project that grant the rights."""

_USER = re.compile(r'User "([^"]{1,253})" cannot ')
"""How the API server names the user of a request that RBAC refuses."""

_OTHER_REASON = re.compile("exceeded quota|because it is being terminated")
"""Texts of refusals that have nothing to do with rights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: its name in errors and in RBAC, and its path.

    :raises Invalid: no object or namespace can have such a name.
    """

    verb: str
    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""
    body: Json | None = field(default=None, repr=False)
    path: str = field(init=False)

    def __post_init__(self) -> None:
        resource, namespace = self.resource, self.namespace
        if self.verb in ("list", "watch"):
            path = list_path(resource, namespace)
        elif self.verb == "create":
            # The server generates the name if it is empty.
            path = object_path(resource, namespace, self.name or "new").rpartition("/")[0]
        else:
            path = object_path(resource, namespace, self.name, self.subresource)
        object.__setattr__(self, "path", path)

    def __str__(self) -> str:
        if self.name:
            return f"{self.verb} {self.plural} {self.namespace}/{self.name}"
        return f"{self.verb} {self.plural} in {self.namespace or 'all namespaces'}"

    @property
    def method(self) -> str:
        """The HTTP method."""
        return _METHODS[self.verb]

    @property
    def plural(self) -> str:
        """The resource as RBAC rules name it, for example ``secrets``, with its subresource."""
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural

    @property
    def right(self) -> str:
        """The right that it needs, as `mic.kube.api.right` words it."""
        return right(self.verb, self.resource, self.subresource)


def refusal(
    request: Request, code: int, reason: str, status: Json, headers: Mapping[str, str]
) -> ApiError:
    """Return the API server's refusal as an error, without anything that was sent or received.

    ``reason`` is HTTP's phrase, for responses without a ``Status``; ``headers`` have names in lower
    case. Of the ``Status`` only what cannot hold a payload is used: the reason, the invalid fields,
    the message if it is about rights, and which admission policy refused.
    """
    reason = status.get("reason") or reason
    retry_after = _retry_after(headers)
    text = f"{request}: {code} {reason}".rstrip()
    message = str(status.get("message", ""))
    policy = _ADMISSION.search(message)
    if policy is not None:
        # Nothing else: reason and message are the policy's own and may quote the object.
        return _denied(f"{request}: {code}: {policy[0]}", code, request)
    if code == 401:
        text = f"{text}: the API server does not accept our credentials"
        return Unauthorized(text, right=request.right)
    if code == 403:
        if _OTHER_REASON.search(message):
            text = f"{text}: {message[:500]}"
        else:
            text = _missing_right(request, message)
        return Forbidden(text, right=request.right)
    if code == 404:
        return NotFound(text)
    if code == 409:
        return Conflict(text)
    if code == 410:
        return Gone(text)
    if code == 429:
        return TooManyRequests(text, retry_after=retry_after)
    if code in (408, 502, 503) or (code >= 500 and not status):
        # 502 comes from a proxy, and so does a response without a Status.
        return Unavailable(text, retry_after=retry_after)
    if code >= 500:
        return ServerError(text, retry_after=retry_after)
    causes = (status.get("details") or {}).get("causes") or []
    fields = ", ".join(str(cause.get("field")) for cause in causes if cause.get("field"))
    return Invalid(f"{text}: {fields}" if fields else text)


def _missing_right(request: Request, message: str) -> str:
    """Return what to grant, and to which user as far as the API server's ``message`` names it."""
    plural = request.resource.plural
    rights = _LEASE_RIGHTS if plural == LEASES.plural else _RIGHTS
    text = f"cannot {request}: 403; grant `{request.verb}` ({rights})"
    user = _USER.search(message)
    return f"{text} to {printable(user[1])}" if user is not None else text


def _denied(text: str, code: int, request: Request) -> ApiError:
    """Return the refusal by an admission policy, which concerns this object whatever its code."""
    if code in (401, 403):
        return Forbidden(text, right=request.right)
    return ServerError(text) if code in (408, 429) or code >= 500 else Invalid(text)


def status_of(content: bytes) -> Json:
    """Return the ``Status`` in a response, empty if there is none."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return Retry-After in seconds (RFC 9110 section 10.2.3); API servers send no dates there."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    return min(seconds, MAX_RETRY_AFTER) if math.isfinite(seconds) and seconds >= 0 else None

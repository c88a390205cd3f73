"""Observations of one PreprovisioningImage, and actions of reconciling it, as values.

Pure. `mic.kube.decide` maps the one to the other, `mic.kube.reconciler` carries the actions out.
Each action says whether it is a last one, or whether `decide` is called again afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mic.common.errors import BuildInvalid, NotReady
from mic.kube.builds import BuildRequest, Built
from mic.kube.objects import NetworkSecret, PreprovisioningImage, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Facts known so far about one object."""

    image: PreprovisioningImage | None
    """The object, or None when it is gone."""
    now: datetime
    host_architecture: str
    supports_architecture: bool
    """Of the object's architecture and stream."""
    supported_formats: frozenset[str]
    """Of the object's architecture and stream."""
    architectures: tuple[str, ...] = ()
    """Those that have base images, if the object's own is not supported."""
    served: bool
    """Whether ``status.imageUrl`` is an image that mic serves at this moment."""
    secret_read: bool = False
    secret: NetworkSecret | None = None
    """The acquired Secret; None after reading means that there is none."""
    outcome: Built | BuildInvalid | NotReady | None = None
    """The result of building, once that was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """The object no longer concerns mic: serve none of its images. A last action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do until the object changes; keep serving its images. A last action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddFinalizer:
    """Write the finalizer. A last action: the update queues the object again."""

    finalizers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Serve none of its images, then remove our finalizer. A last action."""

    finalizers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSecret:
    """Acquire this Secret of the object's namespace, then decide again.

    Without ``write`` it is only read: an object that is being deleted takes no new ownership.
    """

    name: str
    write: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Build this image, then decide again."""

    request: BuildRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStatus:
    """Write the status if it differs from the present one, then serve only what it names.

    A last action; ``again`` is when to reconcile again without a change, None for never.
    """

    status: Status = field(repr=False)
    again: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Serve what was built and what the status names, and no other image of the object.

    A last action, of a replica that does not write; ``again`` as in `WriteStatus`.
    """

    again: timedelta | None = None


Action = Forget | Wait | AddFinalizer | Release | ReadSecret | Build | WriteStatus

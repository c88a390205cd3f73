"""The status of a PreprovisioningImage as mic reports that of any host. Pure."""

from __future__ import annotations

from datetime import datetime

from mic.hosts.archive import HostArchive
from mic.hosts.status import HostState, HostStatus
from mic.kube.decide import ERROR, READY
from mic.kube.objects import PreprovisioningImage


def image_status(
    image: PreprovisioningImage,
    archive: HostArchive | None,
    *,
    refusal: str = "",
    script: str = "",
) -> HostStatus:
    """Return the status of an object.

    ``archive`` is that of the image which its status names and this process serves, if any.
    ``refusal`` is what the API server refuses to the object. ``script`` is the URL of the image's
    iPXE script.
    """
    ready, error = image.status.condition(READY), image.status.condition(ERROR)
    cause, reason = ready, "not reconciled yet"
    state = HostState.WAITING
    if error is not None and error.status == "True":
        state, cause, reason = HostState.FAILED, error, error.message
    elif ready is not None and ready.status == "True":
        if archive is not None:
            state, reason = HostState.READY, ""
        else:
            reason = "this process has not built its image yet"
    elif ready is not None:
        reason = ready.message
    if state is not HostState.READY and refusal:
        reason = refusal
    served = archive if state is HostState.READY else None
    return HostStatus(
        namespace=image.key.namespace,
        name=image.key.name,
        state=state,
        network=served.network if served is not None else "",
        reason=reason,
        warnings=tuple(map(str, served.warnings)) if served is not None else (),
        script=script if served is not None else "",
        since=_seconds(cause.last_transition_time) if cause is not None else float(image.created),
    )


def _seconds(stamp: str) -> float:
    """Return an RFC 3339 time in seconds since the epoch, 0 if it is malformed."""
    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return 0.0

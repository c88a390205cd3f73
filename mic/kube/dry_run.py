"""Follow the decisions about one object to their end without a write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from mic.common.errors import BuildInvalid, NotReady
from mic.kube.actions import (
    AddFinalizer,
    Build,
    Forget,
    ReadSecret,
    Release,
    Wait,
    WriteStatus,
)
from mic.kube.builds import Built, ImageProvider
from mic.kube.decide import ERROR, READY, decide
from mic.kube.objects import FINALIZER, NetworkSecret, PreprovisioningImage, Status
from mic.kube.reconciler import MOST_STEPS, observation

ReadsSecret = Callable[[str], Awaitable[NetworkSecret | None]]
"""Returns the Secret of that name in the object's namespace, None if there is none."""


def is_reconciled(image: PreprovisioningImage) -> bool:
    """Return whether mic provides images for an object: not for those that are being deleted."""
    return not (image.deleting or image.belongs_to_assisted_installer)


async def refusal(
    image: PreprovisioningImage,
    *,
    provider: ImageProvider,
    read_secret: ReadsSecret,
    now: datetime,
) -> str:
    """Return why an object would have no image, as its condition would say; empty if it has one.

    ``image`` is one that `is_reconciled`. Raises what ``read_secret`` raises.
    """
    # As a new object: what its status says now does not matter.
    image = replace(image, finalizers=(*image.finalizers, FINALIZER), status=Status())
    seen = observation(image, provider, now)
    for _ in range(MOST_STEPS):
        action = decide(seen)
        if isinstance(action, ReadSecret):
            seen = replace(seen, secret_read=True, secret=await read_secret(action.name))
        elif isinstance(action, Build):
            outcome: Built | BuildInvalid | NotReady
            try:
                outcome = await provider.build(action.request)
            except (BuildInvalid, NotReady) as error:
                outcome = error
            seen = replace(seen, outcome=outcome)
        elif isinstance(action, WriteStatus):
            status = action.status
            failed = status.condition(ERROR)
            if failed is not None and failed.status == "True":
                return failed.message
            if status.is_true(READY):
                return ""
            if isinstance(seen.outcome, NotReady):
                return str(seen.outcome)
            image = replace(image, status=status)
            seen = replace(seen, image=image)
        elif isinstance(action, AddFinalizer | Forget | Release | Wait):
            return ""
        else:
            assert_never(action)
    raise RuntimeError(f"deciding about {image.key} does not end")

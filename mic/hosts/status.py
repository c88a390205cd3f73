"""Status of a host, whether it has an image or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class HostState(StrEnum):
    """The state of a host's images."""

    READY = "ready"
    """Built from the host's current input."""
    KEPT = "kept"
    """The last change of the input failed; the last good image is served."""
    FAILED = "failed"
    """There is no image, for the given reason."""
    WAITING = "waiting"
    """Not built yet, for example because base images are still being read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStatus:
    """One host: in static mode a file's, in controller mode a PreprovisioningImage's.

    ``namespace`` is empty in static mode. ``network`` is the host's network in one line
    (``bond0.100 192.0.2.20/24``), empty without network data. ``reason`` says why the state is not
    ``READY``. ``since`` is when the state, the reason or the image last changed, in seconds since
    the epoch. ``script`` is the URL of an iPXE script, which is secret; no other text has a secret
    or a URL of an image.
    """

    namespace: str
    name: str
    state: HostState
    network: str = ""
    reason: str = ""
    warnings: tuple[str, ...] = field(default=())
    since: float = 0.0
    script: str = field(default="", repr=False)

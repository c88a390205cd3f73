"""Content of the page: the process, its base images and a row for each host."""

from __future__ import annotations

from dataclasses import dataclass

from mic.common.health import Health
from mic.downloads.state import State
from mic.hosts.status import HostStatus
from mic.images.base_state import BaseState


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The process, apart from its hosts. Times are in seconds since the epoch."""

    version: str
    mode: str
    started: float
    now: float
    addresses: tuple[str, ...]
    url: str
    serving: bool
    health: Health
    bases: tuple[BaseState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRead:
    """The latest client of a host's images, and how far it has read one of them.

    ``share`` is in per cent; ``last`` is when it read, in seconds since the epoch. ``outdated``: it
    read another version of the image.
    """

    client: str
    kind: str
    state: State
    outdated: bool
    share: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A host. ``images`` has the kind and URL of each of its images; empty where URLs are secret.

    ``published`` says whether it has an image that clients can read.
    """

    host: HostStatus
    read: LastRead | None = None
    published: bool = False
    images: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The host's name, in controller mode with its namespace."""
        return f"{self.host.namespace}/{self.host.name}" if self.host.namespace else self.host.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that the page knows at one time."""

    process: Process
    rows: tuple[Row, ...]

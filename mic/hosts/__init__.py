"""Sources of hosts, and how a host becomes an archive with a name and a URL.

Knows directories and clusters; how images are composed and served is left to others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mic.common.health import Health
from mic.hosts.status import HostStatus


class HostSource(Protocol):
    """Publishes the images of its hosts, and follows their changes."""

    def publish_boot_files(self) -> None:
        """Publish what is the same for all hosts, before any host is built."""

    async def start(self) -> None:
        """Publish the hosts that exist at the start, as far as that can be waited for."""

    async def poll(self) -> None:
        """Find changes and publish them."""

    async def stop(self) -> None:
        """Stop publishing."""

    def settled(self) -> bool:
        """Return whether all hosts that existed at the start are published.

        Only then an unknown name is a 404.
        """

    def caught_up(self) -> bool:
        """Return whether all hosts worth waiting for are published; some may still follow."""

    def health(self) -> Health:
        """Return what keeps images from being served."""

    def has_no_image(self, name: str) -> bool:
        """Return whether ``name`` is that of an image of a known host that could not be built.

        Always False where names of images are secret.
        """

    def statuses(self) -> Iterator[HostStatus]:
        """Yield the status of each host, whether it has an image or not."""

"""Controller mode: the PreprovisioningImages of a cluster as the source of hosts."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

from mic.kube.controller import Controller
from mic.kube.counts import Backlog, KubeCounts
from mic.kube.threads import ThreadedKubernetes, load_configuration
from mic.provider import PublishedImages


class ClusterHosts:
    """Publishes an image for each PreprovisioningImage and writes its URL into the status.

    Raises `mic.errors.ConfigError` when there is no usable way to an API server; one that does
    not answer is waited for.
    """

    def __init__(
        self, *, kubeconfig: str, namespace: str, images: PublishedImages, reactor: Any
    ) -> None:
        self._images = images
        self.counts = KubeCounts()
        self._api = ThreadedKubernetes(load_configuration(kubeconfig), reactor, counts=self.counts)
        self._controller = Controller(
            api=self._api,
            images=images,
            namespace=namespace,
            clock=reactor,
            now=lambda: datetime.now(UTC),
            random=Random(),  # noqa: S311 - spreads load, guards nothing
            counts=self.counts,
        )

    async def start(self) -> None:
        """Begin to reconcile; what is there at the start is done when `missing` is empty."""
        await self._images.refresh()
        self._api.startService()
        self._controller.startService()

    async def look(self) -> None:
        """Notice when files that all images share have changed; the cluster tells by itself."""
        await self._images.refresh()

    async def stop(self) -> None:
        """Let passes end for a moment, then stop asking."""
        if self._controller.running:
            await self._controller.stopService()
            await self._api.stopService()

    def backlog(self) -> Backlog:
        """What the controller has before it."""
        return self._controller.backlog()

    def missing(self) -> list[str]:
        """What is not done yet of that which was there at the start."""
        return list(self._controller.readiness().missing)

    def problems(self) -> list[str]:
        """What the API server refuses or does not answer now."""
        return list(self._controller.readiness().problems)

    def defects(self) -> list[str]:
        """What has died that never should."""
        defect = self._controller.defect
        return [defect] if defect else []

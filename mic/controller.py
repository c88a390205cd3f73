"""Controller mode: the PreprovisioningImages of a cluster as the source of hosts."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from random import Random
from typing import Any

from mic.kube.controller import Controller
from mic.kube.events import Event, EventRecorder
from mic.kube.threads import ThreadedKubernetes, load_configuration
from mic.provider import PublishedImages
from mic.web.downloads import STALL, Progress, State


class ClusterHosts:
    """Publishes an image for each PreprovisioningImage and writes its URL into the status.

    Raises `mic.errors.ConfigError` when there is no usable way to an API server; one that does
    not answer is waited for.
    """

    def __init__(
        self, *, kubeconfig: str, namespace: str, images: PublishedImages, reactor: Any
    ) -> None:
        self._images = images
        self._api = ThreadedKubernetes(load_configuration(kubeconfig), reactor)
        self._controller = Controller(
            api=self._api,
            images=images,
            namespace=namespace,
            clock=reactor,
            now=lambda: datetime.now(UTC),
            random=Random(),  # noqa: S311 - spreads load, guards nothing
        )
        self._events = EventRecorder(
            api=self._api,
            # In a pod, its name.
            instance=socket.gethostname(),
            clock=reactor,
            now=lambda: datetime.now(UTC),
        )

    async def start(self) -> None:
        """Begin to reconcile; what is there at the start is done when `missing` is empty."""
        await self._images.refresh()
        self._api.startService()
        self._controller.startService()
        self._events.start()

    async def look(self) -> None:
        """Notice when files that all images share have changed; the cluster tells by itself."""
        await self._images.refresh()

    async def stop(self) -> None:
        """Let passes end for a moment, then stop asking."""
        self._events.stop()
        if self._controller.running:
            await self._controller.stopService()
            await self._api.stopService()

    def downloaded(self, progress: Progress) -> None:
        """Have an event tell, on the image's object, what became of a download."""
        subject = self._images.subject(progress.label)
        told = _told(progress)
        if subject is None or told is None:
            return
        reason, message = told
        self._events.record(
            Event(
                subject=subject,
                reason=reason,
                message=message,
                about=progress.client,
                warning=progress.state in (State.STALLED, State.BROKEN_OFF),
            )
        )

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


def _told(progress: Progress) -> tuple[str, str] | None:
    """The reason and the message of an event; None for what the log alone tells."""
    image = f"the {progress.label.rpartition(' ')[2]} image"
    who = progress.client
    took = f"{progress.bytes} bytes in {progress.seconds:.0f} s"
    far = f"{progress.share:.1f} % of {image} read, {took}"
    if progress.state is State.DOWNLOADING:
        if progress.before is State.STALLED:
            return None
        return "ImageDownloadStarted", f"{who} starts to download {image}, {progress.size} bytes"
    if progress.state is State.COMPLETE:
        return "ImageDownloaded", f"{who} has read the whole of {image}, {took}"
    if progress.state is State.STALLED:
        return "ImageDownloadStalled", f"{who} has taken nothing for {STALL:.0f} s: {far}"
    if progress.state is State.BROKEN_OFF:
        return "ImageDownloadInterrupted", f"{who} was broken off: {far}"
    return "ImagePartlyRead", f"{who} asks for no more: {far}"

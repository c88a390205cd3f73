"""Controller mode: the PreprovisioningImages of a cluster as the source of hosts."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from mic.common.health import Health
from mic.downloads.state import STALL, State
from mic.downloads.tracker import Progress
from mic.hosts.image_status import image_status
from mic.hosts.provider import Provider
from mic.hosts.status import HostStatus
from mic.kube.client import ThreadedKubernetes
from mic.kube.configuration import load_configuration, own_namespace
from mic.kube.controller import Controller
from mic.kube.counts import Backlog, KubeCounts
from mic.kube.election import Election
from mic.kube.events import Event, EventRecorder
from mic.kube.objects import PreprovisioningImage


class ClusterHosts:
    """Publishes an image for each PreprovisioningImage and writes its URL into the status.

    With ``leader_elect`` each replica publishes, and the elected leader alone writes.

    Raises `ConfigError` when no API server is configured; one that does not respond is retried.
    """

    def __init__(
        self,
        *,
        kubeconfig: str,
        namespace: str,
        leader_elect: bool,
        images: Provider,
        reactor: Any,
    ) -> None:
        self._images = images
        random = Random()  # noqa: S311 - spreads load, protects nothing
        self.counts = KubeCounts()
        self._api = ThreadedKubernetes(load_configuration(kubeconfig), reactor, counts=self.counts)
        self._was_ready = False
        self._election: Election | None = None
        self._events = EventRecorder(
            api=self._api,
            # The name of the pod, in a pod.
            instance=socket.gethostname(),
            clock=reactor,
            now=_now,
        )
        self._controller = Controller(
            api=self._api,
            images=images,
            namespace=namespace,
            clock=reactor,
            now=_now,
            random=random,
            leads=self._leads,
            counts=self.counts,
            record=self._events.record,
        )
        if leader_elect:
            self._election = Election(
                api=self._api,
                namespace=own_namespace(kubeconfig),
                # Unique for each process: a restarted container keeps the pod's name.
                identity=f"{socket.gethostname()}_{uuid.uuid4()}",
                clock=reactor,
                monotonic=time.monotonic,
                now=_now,
                random=random,
                changed=self._controller.leadership_changed,
            )

    def _leads(self) -> bool:
        return self._election is None or self._election.leads

    def publish_boot_files(self) -> None:
        """Publish kernels and root file systems."""
        self._images.boot_files.publish_known()

    async def start(self) -> None:
        """Start reconciling; the objects that exist now are published when `settled` is true."""
        await self._images.poll()
        self._api.startService()
        self._controller.startService()
        if self._election is not None:
            self._election.startService()
        self._events.start()

    async def poll(self) -> None:
        """Read the files that all images share; changes in the cluster arrive by watches."""
        await self._images.poll()
        self._check_ready()

    async def stop(self) -> None:
        """Stop; give builds and requests in progress a moment to complete."""
        self._events.stop()
        if self._controller.running:
            await self._controller.stopService()
            if self._election is not None:
                # The next leader may start at once, unless a write of ours may still arrive.
                await self._election.stopService(release=not self._controller.stop_cancelled_writes)
            await self._api.stopService()

    def has_no_image(self, name: str) -> bool:  # noqa: ARG002 - as `HostSource` declares it
        """Return False: names of images are secret, and all unknown ones look the same."""
        return False

    def statuses(self) -> Iterator[HostStatus]:
        """Return the status of each PreprovisioningImage."""
        return map(self._status, self._controller.images())

    def _status(self, image: PreprovisioningImage) -> HostStatus:
        key = image.key
        archive = self._images.about(key.namespace, key.name, image.status.image_url)
        return image_status(
            image,
            archive,
            refusal=self._controller.refusal(key),
            script=self._images.script_url(image.status.image_url),
        )

    def backlog(self) -> Backlog:
        """Return the controller's backlog."""
        return self._controller.backlog()

    def downloaded(self, progress: Progress) -> None:
        """Record an Event about a download, on the object that the image belongs to."""
        subject = self._images.subject(progress.image)
        news = _event(progress)
        if subject is None or news is None:
            return
        reason, message = news
        self._events.record(
            Event(
                subject=subject,
                reason=reason,
                message=message,
                about=progress.client,
                warning=progress.state in (State.STALLED, State.BROKEN_OFF),
            )
        )

    def settled(self) -> bool:
        """Return whether all objects that existed at the start are reconciled."""
        return self._controller.settled

    def caught_up(self) -> bool:
        """As `settled`, except for objects of namespaces that ask for too much at once."""
        return self._controller.caught_up

    def health(self) -> Health:
        """Return the health of the controller and of leader election."""
        parts = [self._controller.health()]
        if self._election is not None:
            election = self._election.health()
            # Once ready, a replica stays so: hosts that boot read their images from it.
            parts.append(replace(election, not_ready=()) if self._was_ready else election)
        return Health.of(parts)

    def _check_ready(self) -> None:
        self._was_ready = self._was_ready or self.health().ready


def _now() -> datetime:
    return datetime.now(UTC)


def _event(progress: Progress) -> tuple[str, str] | None:
    """Return the reason and the message of an Event; None for what is only logged."""
    image = f"the {progress.image.kind.value} image"
    who = progress.client
    took = f"{progress.bytes} bytes in {progress.seconds:.0f} s"
    far = f"{progress.share:.1f} % of {image} read, {took}"
    if progress.state is State.DOWNLOADING:
        if progress.before is State.STALLED:
            return None
        return "ImageDownloadStarted", f"{who} started to download {image}, {progress.size} bytes"
    if progress.state is State.COMPLETE:
        return "ImageDownloaded", f"{who} read all of {image}, {took}"
    if progress.state is State.STALLED:
        return "ImageDownloadStalled", f"{who} has taken no data for {STALL:.0f} s: {far}"
    if progress.state is State.BROKEN_OFF:
        return "ImageDownloadInterrupted", f"{who} was interrupted: {far}"
    return "ImagePartlyRead", f"{who} stopped requesting data: {far}"

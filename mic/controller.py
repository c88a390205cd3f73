"""Controller mode: the PreprovisioningImages of a cluster as the source of hosts."""

from __future__ import annotations

import socket
import time
import uuid
from datetime import UTC, datetime
from random import Random
from typing import Any

from mic.kube.controller import Controller
from mic.kube.counts import Backlog, KubeCounts
from mic.kube.election import Election
from mic.kube.events import Event, EventRecorder
from mic.kube.threads import ThreadedKubernetes, load_configuration, own_namespace
from mic.provider import PublishedImages
from mic.web.downloads import STALL, Progress, State


class ClusterHosts:
    """Publishes an image for each PreprovisioningImage and writes its URL into the status.

    With ``leader_elect`` it publishes always, and writes while it is the one of its replicas that
    is elected to.

    Raises `mic.errors.ConfigError` when there is no usable way to an API server; one that does
    not answer is waited for.
    """

    def __init__(
        self,
        *,
        kubeconfig: str,
        namespace: str,
        leader_elect: bool,
        images: PublishedImages,
        reactor: Any,
    ) -> None:
        self._images = images
        random = Random()  # noqa: S311 - spreads load, guards nothing
        self.counts = KubeCounts()
        self._api = ThreadedKubernetes(load_configuration(kubeconfig), reactor, counts=self.counts)
        self._was_ready = False
        self._election: Election | None = None
        self._controller = Controller(
            api=self._api,
            images=images,
            namespace=namespace,
            clock=reactor,
            now=_now,
            random=random,
            leads=self._leads,
            counts=self.counts,
        )
        self._events = EventRecorder(
            api=self._api,
            # In a pod, its name.
            instance=socket.gethostname(),
            clock=reactor,
            now=_now,
        )
        if leader_elect:
            self._election = Election(
                api=self._api,
                namespace=own_namespace(kubeconfig),
                # Not the pod's name alone: a process that comes after this one is not this one.
                identity=f"{socket.gethostname()}_{uuid.uuid4()}",
                clock=reactor,
                monotonic=time.monotonic,
                now=_now,
                random=random,
                changed=self._controller.leadership_changed,
            )

    def _leads(self) -> bool:
        return self._election is None or self._election.leads

    async def start(self) -> None:
        """Begin to reconcile; what is there at the start is done when `missing` is empty."""
        await self._images.refresh()
        self._api.startService()
        self._controller.startService()
        if self._election is not None:
            self._election.startService()
        self._events.start()

    async def look(self) -> None:
        """Notice when files that all images share have changed; the cluster tells by itself."""
        await self._images.refresh()

    async def stop(self) -> None:
        """Let passes end for a moment, then stop asking."""
        self._events.stop()
        if self._controller.running:
            await self._controller.stopService()
            if self._election is not None:
                # A successor may begin at once, unless a write of ours may still arrive.
                await self._election.stopService(release=not self._controller.cut_short)
            await self._api.stopService()

    def backlog(self) -> Backlog:
        """What the controller has before it."""
        return self._controller.backlog()

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

    def settled(self) -> bool:
        """Whether all objects that were there at the start are reconciled."""
        return self._controller.settled

    def missing(self) -> list[str]:
        """What is not done yet of that which was there at the start."""
        missing = list(self._controller.readiness().missing)
        election = self._election
        if election is not None and election.forbidden and not self._was_ready:
            missing.append(election.problem)
        self._was_ready = self._was_ready or not missing
        return missing

    def problems(self) -> list[str]:
        """What the API server refuses or does not answer now."""
        problems = list(self._controller.readiness().problems)
        if self._election is not None and self._election.problem:
            problems.append(self._election.problem)
        return problems

    def defects(self) -> list[str]:
        """What has died that never should."""
        defects = [self._controller.defect]
        if self._election is not None:
            defects.append(self._election.defect)
        return [each for each in defects if each]


def _now() -> datetime:
    return datetime.now(UTC)


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

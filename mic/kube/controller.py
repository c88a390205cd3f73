"""The controller: mirrors feed the workers' queue, the reconciler handles each key.

Knows the start (which objects readiness waits for), the stop, and what the health of all this is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mic.common.health import Health
from mic.kube.api import KubernetesApi
from mic.kube.builds import ImageProvider
from mic.kube.counts import Backlog, KubeCounts
from mic.kube.decide import ERROR, READY
from mic.kube.mirrors import Mirrors
from mic.kube.objects import FINALIZER, Key, PreprovisioningImage
from mic.kube.reconciler import Reconciler
from mic.kube.reports import Record, Reports
from mic.kube.retained import Retained
from mic.kube.startup import Startup
from mic.kube.workers import SHARE, WORKERS, Workers


class Controller(Service):
    """Reconciles the PreprovisioningImages of a namespace (empty: of all).

    ``leads`` says whether it may write, before each write. While it says no, images are built and
    served as the statuses of the leading replica have them, and nothing is written at all.
    """

    def __init__(
        self,
        *,
        api: KubernetesApi,
        images: ImageProvider,
        namespace: str,
        clock: IReactorTime,
        now: Callable[[], datetime],
        random: Random,
        workers: int = WORKERS,
        share: int = SHARE,
        leads: Callable[[], bool] = lambda: True,
        counts: KubeCounts | None = None,
        record: Record = lambda _: None,
    ) -> None:
        self._log = Logger(namespace=__name__)
        self._api = api
        self._provider = images
        self._namespace = namespace
        self._clock = clock
        self._leads = leads
        self._counts = counts or KubeCounts()
        self._record = record
        self._startup: Startup | None = None  # None before the first lists are complete
        self._reached = False  # whether an object has been brought to its state
        self._settled = False
        self._was_ready = False
        self._workers = Workers(
            clock=self._clock,
            random=random,
            counts=self._counts,
            limit=workers,
            share=share,
            succeeded=self._succeeded,
            attempted=self._attempted,
            ended=self._ended,
        )
        retained = Retained(self._clock, self._expired)
        self._retained = retained
        self._mirrors = Mirrors(
            api=self._api,
            namespace=self._namespace,
            clock=self._clock,
            random=random,
            counts=self._counts,
            retained=retained,
            enqueue=self._workers.add,
            listed=self._listed,
        )
        self._reports = Reports(self._record)
        self._reconciler = Reconciler(
            api=self._api,
            provider=self._provider,
            mirrors=self._mirrors,
            retained=retained,
            workers=self._workers,
            now=now,
            leads=self._leads,
            puts_off=self._puts_off,
            reports=self._reports,
        )
        images.on_change(self._base_images_changed)

    # --- the service ----------------------------------------------------------------------------

    def startService(self) -> None:
        """List and watch; reconcile once all is listed. Not after a stop."""
        super().startService()
        self._mirrors.start()

    def stopService(self) -> Deferred[None]:
        """Stop watching; wait a moment for work under way, then cancel it."""
        super().stopService()
        self._mirrors.stop()
        self._retained.clear()
        return self._workers.stop()

    @property
    def stop_cancelled_writes(self) -> bool:
        """Whether stopping cancelled work, whose writes may still be under way."""
        return self._workers.stop_cancelled_writes

    @property
    def settled(self) -> bool:
        """Whether every object that was there at the start has been reconciled; it stays so.

        One that the API server refuses while it accepts others counts as reconciled.
        """
        return self._settled

    @property
    def caught_up(self) -> bool:
        """Whether all that readiness waits for has been reconciled since the start."""
        return self._startup is not None and self._startup.caught_up

    def health(self) -> Health:
        """Return whether every object listed at the start has its image, and what is wrong.

        A controller that was ready once stays so: hosts that are booting read their images even
        while the API server is down.
        """
        not_ready = self._not_ready()
        defect = self._defect()
        warnings = [*self._mirrors.problems(), *self._warnings()]
        if defect:
            warnings.append(defect)
        if self._was_ready:
            not_ready, warnings = [], [*not_ready, *warnings]
        return Health(
            fatal=(defect,) if defect else (),
            not_ready=tuple(not_ready),
            warnings=tuple(warnings),
        )

    def _not_ready(self) -> list[str]:
        not_ready = list(self._provider.missing())
        startup = self._startup
        if startup is None:
            waiting = ", ".join(self._mirrors.unsynced()) or "nothing; starting"
            not_ready.append(f"not listed yet: {waiting}")
        elif startup.awaited:
            not_ready.append(
                f"{startup.awaited} of the PreprovisioningImages listed at the start "
                "are not reconciled yet"
            )
        if not self.caught_up:
            not_ready += self._workers.refusals.general()
        return not_ready

    def _warnings(self) -> list[str]:
        refusals = self._workers.refusals
        warnings = refusals.general() if self.caught_up else []
        warnings += refusals.single()
        warnings += self._reports.health_warnings()
        if self._startup is not None and self._startup.late:
            warnings.append(
                f"{self._startup.late} PreprovisioningImages with large documents have no image "
                "yet: after a start they come last"
            )
        if self._reconciler.foreign and not self._leads():
            warnings.append(
                f"{self._reconciler.foreign} statuses name an image that this replica does not "
                "have: do all replicas have the same base images, settings and MIC_URL_KEY_FILE?"
            )
        return warnings

    def _defect(self) -> str:
        """Return what stopped unexpectedly, in words: only a restart helps."""
        defect = self._workers.defect
        if self.running and not defect and not all(each.running for each in self._mirrors.all):
            return "the watch of the Kubernetes API stopped unexpectedly; see the log"
        return defect

    def _check_ready(self) -> None:
        """Record that nothing is missing; called wherever something may have been the last."""
        # Called after each attempt; before it has caught up something is missing in any case.
        self._was_ready = self._was_ready or (self.caught_up and not self._not_ready())

    def images(self) -> Iterator[PreprovisioningImage]:
        """Yield the objects that are reconciled, as the API server has them."""
        return (each for each in self._mirrors.images.values() if FINALIZER in each.finalizers)

    def refusal(self, key: Key) -> str:
        """Return in words what the API server refuses to an object, empty if nothing."""
        return self._workers.refusals.text(key)

    def backlog(self) -> Backlog:
        """Return what waits to be done now, and how many objects there are."""
        informers = self._mirrors.all
        objects = dict.fromkeys((each.resource.plural for each in informers), 0)
        for each in informers:
            objects[each.resource.plural] += len(each)
        return Backlog(
            queued=len(self._workers),
            delayed=self._workers.delayed,
            objects=objects,
            leads=self._leads(),
            watches_failing=sum(bool(each.problems) or not each.synced for each in informers),
        )

    # --- what causes work -----------------------------------------------------------------------

    def _listed(self) -> None:
        self._workers.resume()
        if self._workers.started or not self._mirrors.synced:
            return
        # Only now: before, every network data Secret would be requested one by one.
        self._startup = Startup(self._mirrors.images.keys())
        self._check_startup()
        self._check_ready()
        self._workers.start(self._reconciler.reconcile)

    def leadership_changed(self) -> None:
        """Reconcile every object: `leads` has changed."""
        self._reconciler.forget_foreign()
        self._mirrors.enqueue_all()

    def _base_images_changed(self) -> None:
        # Also those that are ready: their base may be the one that was replaced.
        self._check_ready()
        self._mirrors.enqueue_all()

    # --- the start ------------------------------------------------------------------------------

    def _expired(self, key: Key) -> None:
        self._reconciler.discard_unused(key)

    def _puts_off(self, key: Key, size: int) -> bool:
        return self._startup is not None and self._startup.puts_off(key, size)

    def _check_startup(self) -> None:
        """Give up on what is refused alone, and start what was put off when its time has come."""
        startup = self._startup
        if startup is None or self._settled:
            return
        # While no object has been reached, a refusal may concern all objects.
        if self._reached and all(key in self._workers.refusals for key in startup.pending()):
            refused = list(startup.pending())
            for key in refused:
                startup.reconciled(key)
            if refused:
                self._log.warn(
                    "{count} PreprovisioningImages are not reconciled: the API server refuses them "
                    "and takes others",
                    count=len(refused),
                )
        resumed = sorted(startup.resumed())
        if resumed:
            namespaces = Counter(key.namespace for key in resumed)
            self._log.info(
                "All PreprovisioningImages are reconciled but {count} with large documents, which "
                "follow; most are in namespace {namespace}",
                count=len(resumed),
                namespace=namespaces.most_common(1)[0][0],
            )
        for key in resumed:
            self._workers.add(key)
        if startup.settled:
            self._settled = True
            self._summarise()

    def _summarise(self) -> None:
        """Log what became of the objects that existed at the start."""
        images = list(self._mirrors.images.values())
        ready = sum(each.status.is_true(READY) for each in images)
        failed = sum(each.status.is_true(ERROR) for each in images)
        waiting = len(images) - ready - failed
        more = f", {failed} failed" if failed else ""
        more += f", {waiting} waiting" if waiting > 0 else ""
        self._log.info(
            "PreprovisioningImages: {count} reconciled: {ready} ready{more}",
            count=len(images),
            ready=ready,
            more=more,
        )
        if not images and self._namespace:
            self._log.warn(
                "namespace {namespace} has no PreprovisioningImages; is its name (-namespace) "
                "right?",
                namespace=self._namespace,
            )

    # --- after each attempt ---------------------------------------------------------------------

    def _succeeded(self, key: Key, again: timedelta | None) -> None:
        if self._rests(key, again):
            self._reached = self._reached or self._mirrors.images.get(key) is not None
            if self._startup is not None:
                self._startup.reconciled(key)
        elif again is None:
            self._attempted(key)

    def _ended(self) -> None:
        self._check_startup()
        self._check_ready()

    def _attempted(self, key: Key) -> None:
        """Record an attempt that did not bring the object to rest, though the API server serves."""
        if self._startup is not None and self._startup.attempted(key):
            self._log.warn(
                "{key}: changes or fails again and again; readiness no longer waits for it", key=key
            )

    def _rests(self, key: Key, again: timedelta | None) -> bool:
        """Return whether that was the last step for now, not one on the way to an image.

        A replica that follows has done its part, unless it tries again: the leader continues.
        """
        image = self._mirrors.images.get(key)
        if image is None or image.deleting or not self._leads():
            return again is None
        return image.status.is_true(READY) or image.status.is_true(ERROR)

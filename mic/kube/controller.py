"""The controller: informers feed a work queue, workers have passes, a pass does what was decided.

Knows the effects and their order; what to do is `mic.kube.decide`'s. A pass is level-triggered:
it looks at the latest state, whatever set it off, and whatever fails is had again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import TypeVar, assert_never

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.errors import BuildInvalid, NotReady
from mic.kube.api import (
    PREPROVISIONING_IMAGES,
    SECRETS,
    ApiError,
    Conflict,
    Forbidden,
    Json,
    KubernetesApi,
    NotFound,
    Resource,
    Unavailable,
    right,
)
from mic.kube.counts import Backlog, KubeCounts
from mic.kube.decide import (
    ERROR,
    FORMATS,
    READY,
    AddFinalizer,
    Build,
    Forget,
    Observation,
    ReadSecret,
    Release,
    Wait,
    WriteStatus,
    decide,
    follow,
)
from mic.kube.images import GeneratedImage, ImageProvider
from mic.kube.objects import (
    FINALIZER,
    HANDED_OVER_LABEL,
    SECRET_LABEL,
    SECRET_LABEL_VALUE,
    Key,
    NetworkSecret,
    PreprovisioningImage,
    image_from_json,
    secret_from_json,
    secret_owned,
)
from mic.kube.queue import WorkQueue
from mic.kube.watch import Informer, Tracked

WORKERS = 4
"""Passes at once, and so requests to the API server at once beside the watches."""

FIRST_HOLD = 0.05
LONGEST_HOLD = 15.0
"""Seconds for which no pass begins after the API server refused one for reasons that concern all:
doubling with each refusal in a row, from the first to the longest."""

LONGEST_OUTAGE_RETRY = 60.0
"""Seconds: a pass that failed because of an outage is had again no later than this, while one that
failed for its own reasons backs off to the queue's 1000 s."""

STOP_SECONDS = 1.0
"""How long stopping waits for passes under way before it cancels them."""

MOST_STEPS = 8
"""Actions in one pass; the longest sequence is read, build, write. A guard against a defect."""

A = TypeVar("A")
V = TypeVar("V", bound=Tracked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether images are served for all objects, and in words what is not as it should be.

    ``missing`` keeps the process from being ready. Once it was ready it stays so: hosts that are
    booting read their images even while the API server is away. ``problems`` do not take it back.
    """

    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.missing


class _NotLeading(Exception):
    """A write was due after this replica had stopped leading."""


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
        leads: Callable[[], bool] = lambda: True,
        counts: KubeCounts | None = None,
    ) -> None:
        self._log = Logger(namespace=__name__)
        self._api = api
        self._provider = images
        self._namespace = namespace
        self._clock = clock
        self._now = now
        self._random = random
        self._worker_count = workers
        self._leads = leads
        self._counts = counts or KubeCounts()
        self._workers: list[Deferred[None]] = []
        self._reset()
        images.on_change(self._base_images_changed)

    def _reset(self) -> None:
        """As it is before the first list."""
        self._queue: WorkQueue[Key] = WorkQueue(self._clock)
        self._by_secret: dict[Key, set[Key]] = {}
        self._unreconciled: set[Key] | None = None  # None before the first lists are complete
        self._was_ready = False
        self._refused: dict[str, str] = {}
        self._foreign: set[Key] = set()  # their status names an image that we do not have
        self._outages = 0
        self._held_up: set[Key] = set()  # the API server refused their last pass, as it did all
        self._defect = ""
        self.cut_short = False
        """Whether stopping had to cancel passes, whose writes may still be under way."""
        self._images = self._informer(
            PREPROVISIONING_IMAGES, f"!{HANDED_OVER_LABEL}", image_from_json, self._image_changed
        )
        # The other half: an object labelled while nobody watched may still have our finalizer.
        self._handed_over = self._informer(
            PREPROVISIONING_IMAGES, HANDED_OVER_LABEL, image_from_json, self._handed_over_changed
        )
        self._secrets = self._informer(
            SECRETS, f"{SECRET_LABEL}={SECRET_LABEL_VALUE}", secret_from_json, self._secret_changed
        )

    def _informer(
        self,
        resource: Resource,
        label_selector: str,
        parse: Callable[[Json], V],
        changed: Callable[[V | None, V | None], None],
    ) -> Informer[V]:
        return Informer(
            api=self._api,
            resource=resource,
            namespace=self._namespace,
            label_selector=label_selector,
            parse=parse,
            changed=changed,
            listed=self._listed,
            clock=self._clock,
            random=self._random,
            restarts=self._counts.restarts,
        )

    # --- the service ----------------------------------------------------------------------------

    def startService(self) -> None:
        """List and watch; passes begin once all is listed. May follow a stop."""
        super().startService()
        self._reset()
        for informer in self._informers():
            informer.start()

    def stopService(self) -> Deferred[None]:
        """Begin no pass any more; let those under way end for a moment, then cancel them.

        A cancelled pass leaves nothing half-written: each of its writes is one request, and what
        the writes before it led to is a state from which the next process goes on.
        """
        super().stopService()
        for informer in self._informers():
            informer.stop()
        self._queue.close()
        workers, self._workers = self._workers, []
        stopped: Deferred[None] = DeferredList(workers, consumeErrors=True).addCallback(
            lambda _: None
        )
        if not stopped.called:

            def give_up() -> None:
                self.cut_short = True
                for worker in workers:
                    worker.cancel()

            impatience = self._clock.callLater(STOP_SECONDS, give_up)

            def patient(result: None) -> None:
                if impatience.active():
                    impatience.cancel()
                return result

            stopped.addCallback(patient)
        return stopped

    @property
    def defect(self) -> str:
        """What has died that never should, in words: the process is of no use without it."""
        if self._defect or not self.running:
            return self._defect
        return next(
            (
                "the watch of the Kubernetes API has died; the log tells why"
                for informer in self._informers()
                if not informer.running
            ),
            "",
        )

    @property
    def settled(self) -> bool:
        """Whether every object that was there at the start has had its pass; it stays so."""
        return self._unreconciled is not None and not self._unreconciled

    def readiness(self) -> Readiness:
        """Whether every object listed at the start has its image, and what is amiss."""
        missing = list(self._provider.missing())
        if self._unreconciled is None:
            waiting = [name for name, each in self._named_informers() if not each.synced]
            missing.append(f"not listed yet: {', '.join(waiting) or 'nothing; starting'}")
        elif self._unreconciled:
            missing.append(
                f"{len(self._unreconciled)} of the PreprovisioningImages listed at the start "
                "are not reconciled yet"
            )
        problems = [text for _, each in self._named_informers() for text in each.problems]
        problems += self._refused.values()
        if self._foreign and not self._leads():
            problems.append(
                f"{len(self._foreign)} statuses name an image that this replica does not have: "
                "do all replicas have the same base images, settings and MIC_URL_KEY_FILE?"
            )
        if self.defect:
            problems.append(self.defect)
        self._was_ready = self._was_ready or not (missing or self._refused)
        if self._was_ready:
            return Readiness(problems=(*missing, *problems))
        return Readiness(missing=(*missing, *self._refused.values()), problems=tuple(problems))

    def backlog(self) -> Backlog:
        """What waits to be done now, and how much there is of everything."""
        informers = self._informers()
        objects = dict.fromkeys((each.resource.plural for each in informers), 0)
        for each in informers:
            objects[each.resource.plural] += len(each)
        return Backlog(
            queued=len(self._queue),
            delayed=self._queue.delayed,
            objects=objects,
            leads=self._leads(),
            watches_failing=sum(bool(each.problems) or not each.synced for each in informers),
        )

    def _informers(self) -> tuple[Informer[PreprovisioningImage] | Informer[NetworkSecret], ...]:
        return (self._images, self._secrets, self._handed_over)

    def _named_informers(
        self,
    ) -> tuple[tuple[str, Informer[PreprovisioningImage] | Informer[NetworkSecret]], ...]:
        return (
            ("PreprovisioningImages", self._images),
            ("Secrets", self._secrets),
            ("PreprovisioningImages of the assisted installer", self._handed_over),
        )

    # --- what sets passes off -------------------------------------------------------------------

    def _listed(self) -> None:
        # A list after an outage is the first sign of its end: no key has to sit out the minute of
        # its own back-off. Should the server refuse again, one refusal holds them all.
        held_up, self._held_up = self._held_up, set()
        for key in held_up:
            self._queue.add(key)
        if self._workers or not all(each.synced for each in self._informers()):
            return
        # Only now: before, every network data Secret would be asked for one by one.
        self._unreconciled = set(self._images.keys())
        self._tell_when_settled()
        for _ in range(self._worker_count):
            worker = Deferred.fromCoroutine(self._work())
            worker.addErrback(self._worker_ended)
            self._workers.append(worker)

    def _tell_when_settled(self) -> None:
        if self.settled:
            count = len(self._images)
            self._log.info("All {count} PreprovisioningImages are reconciled", count=count)

    def _image_changed(
        self, old: PreprovisioningImage | None, new: PreprovisioningImage | None
    ) -> None:
        for image, present in ((old, False), (new, True)):
            if image is None:
                continue
            if image.network_data_name:
                secret = Key(image.key.namespace, image.network_data_name)
                users = self._by_secret.setdefault(secret, set())
                (users.add if present else users.discard)(image.key)
                if not users:
                    del self._by_secret[secret]
            self._queue.add(image.key)

    def _handed_over_changed(
        self, _: PreprovisioningImage | None, new: PreprovisioningImage | None
    ) -> None:
        if new is not None and FINALIZER in new.finalizers:
            self._queue.add(new.key)

    def _secret_changed(self, old: NetworkSecret | None, new: NetworkSecret | None) -> None:
        secret = new or old
        assert secret is not None  # noqa: S101
        for key in self._by_secret.get(secret.key, ()):
            self._queue.add(key)

    def leadership_changed(self) -> None:
        """`leads` answers otherwise than before: look at every object in that light."""
        self._foreign.clear()
        self._add_all()

    def _base_images_changed(self) -> None:
        # Also those that are ready: their base may be the one that was replaced.
        self._add_all()

    def _add_all(self) -> None:
        # A pass that finds nothing changed asks the API server for nothing.
        for key in self._images.keys():  # noqa: SIM118 - a method of ours, which is no mapping
            self._queue.add(key)
        for image in self._handed_over.values():
            self._handed_over_changed(None, image)

    # --- workers --------------------------------------------------------------------------------

    def _worker_ended(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        self._defect = "a worker of the controller has died; the log tells why"
        self._log.failure("A worker died", failure)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                with self._counts.one_pass(_NotLeading):
                    again = await (self._pass(key) if self._leads() else self._follow(key))
            except CancelledError:
                raise
            except _NotLeading:
                self._queue.add(key)
            except Exception as error:
                self._failed(key, error)
            else:
                self._queue.forget(key)
                self._held_up.discard(key)
                if again is not None:
                    self._queue.add_after(key, again.total_seconds())
                if self._unreconciled and self._rests(key, again):
                    self._unreconciled.discard(key)
                    self._tell_when_settled()
                if not self._was_ready:
                    self.readiness()
            finally:
                self._queue.done(key)

    def _rests(self, key: Key, again: timedelta | None) -> bool:
        """Whether a pass was the last for now, and not a step on the way to an image.

        Who follows has done all it can, unless it tries again: the next step is the leader's.
        """
        image = self._images.get(key)
        if image is None or image.deleting or not self._leads():
            return again is None
        return image.status.is_true(READY) or image.status.is_true(ERROR)

    def _failed(self, key: Key, error: Exception) -> None:
        """Have the pass again, after a delay that suits its failure."""
        if isinstance(error, Forbidden | Unavailable):
            wish = (error.retry_after or 0.0) if isinstance(error, Unavailable) else 0.0
            if not self._queue.holding:
                # Whatever else is queued would meet the same refusal, thousands of times a second.
                self._outages += 1
                hold = min(FIRST_HOLD * 2 ** min(self._outages - 1, 32), LONGEST_HOLD)
                self._queue.hold(max(hold * self._random.uniform(0.5, 1.0), wish))
                if self._outages == 1 and not isinstance(error, Forbidden):
                    self._log.warn("{key}: {error}; trying again", key=key, error=error)
            self._queue.retry(key, at_least=wish, at_most=LONGEST_OUTAGE_RETRY)
            self._held_up.add(key)
        elif isinstance(error, Conflict | NotFound):
            delay = self._queue.retry(key)
            self._log.debug(
                "{key}: {error}; again in {delay:.3f} s", key=key, error=error, delay=delay
            )
        elif isinstance(error, ApiError):
            delay = self._queue.retry(key)
            self._log.error(
                "{key}: {error}; again in {delay:.3f} s", key=key, error=error, delay=delay
            )
        else:
            delay = self._queue.retry(key)
            self._log.failure(
                "{key}: the pass failed; again in {delay:.3f} s",
                Failure(error),
                key=key,
                delay=delay,
            )

    # --- one pass -------------------------------------------------------------------------------

    async def _pass(self, key: Key) -> timedelta | None:
        """Look at the object and do what is to be done; when to look again without a change."""
        image = await self._observe(key)
        seen = self._observation(image)
        for _ in range(MOST_STEPS):
            action = decide(seen)
            if isinstance(action, Wait):
                # What was built for a status that was not written any more is named by nobody.
                named = [image.status.image_url] if image is not None else []
                self._provider.discard(key.namespace, key.name, keep=named)
                return None
            if isinstance(action, Forget):
                self._provider.discard(key.namespace, key.name)
                return None
            assert image is not None  # noqa: S101 - of nothing else is there more to do
            if isinstance(action, ReadSecret):
                secret = await self._secret(image, action)
                seen = replace(seen, secret_read=True, secret=secret)
            elif isinstance(action, Build):
                seen = replace(seen, outcome=await self._build(action))
            elif isinstance(action, AddFinalizer):
                # What an earlier object of this name had built is not this one's.
                self._provider.discard(key.namespace, key.name, keep=[image.status.image_url])
                await self._write_image(image.with_finalizers(action.finalizers))
                return None
            elif isinstance(action, Release):
                self._provider.discard(key.namespace, key.name)
                await self._write_image(image.with_finalizers(action.finalizers))
                self._log.info("{key}: released", key=key)
                return None
            elif isinstance(action, WriteStatus):
                await self._write_status(image, action)
                return action.again
            else:
                assert_never(action)
        raise RuntimeError(f"no end to the pass over {key}; last {type(action).__name__}")

    async def _follow(self, key: Key) -> timedelta | None:
        """The pass of a replica that writes nothing; when to look again without a change."""
        image = self._images.get(key)
        seen = self._observation(image)
        if image is not None and image.network_data_name:
            # Only from the mirror: the leader has it labelled, and then the watch tells of it.
            mirrored = self._secrets.get(Key(key.namespace, image.network_data_name))
            owned = mirrored is not None and mirrored.is_owned_by(image)
            seen = replace(seen, secret_read=True, secret=mirrored if owned else None)
        action = follow(seen)
        built: list[str] = []
        if isinstance(action, Build):
            outcome = await self._build(action)
            if isinstance(outcome, GeneratedImage):
                built.append(outcome.image_url)
            action = follow(replace(seen, outcome=outcome))
        assert not isinstance(action, Build)  # noqa: S101 - it has its outcome
        # As it is by now: the leader may have gone on while the image was built.
        image = self._images.get(key)
        if image is None or isinstance(action, Forget):
            self._provider.discard(key.namespace, key.name)
            self._foreign.discard(key)
            return None
        named = image.status.image_url
        self._provider.discard(key.namespace, key.name, keep=[*built, named])
        if named and image.status.is_true(READY) and not self._provider.serves(named):
            self._foreign.add(key)
        else:
            self._foreign.discard(key)
        return action.again

    def _observation(self, image: PreprovisioningImage | None) -> Observation:
        host = self._provider.host_architecture
        architecture = (image.architecture if image is not None else "") or host
        stream = image.stream if image is not None else ""
        url = image.status.image_url if image is not None else ""
        return Observation(
            image=image,
            now=self._now(),
            host_architecture=host,
            supports_architecture=self._provider.supports_architecture(architecture, stream),
            supported_formats=frozenset(
                each
                for each in FORMATS
                if self._provider.supports_format(each, architecture, stream)
            ),
            served=bool(url) and self._provider.serves(url),
        )

    async def _observe(self, key: Key) -> PreprovisioningImage | None:
        """The object as it is now: from the mirrors, else, when it left them, from the API."""
        mirrored = self._images.get(key) or self._handed_over.get(key)
        if mirrored is not None:
            return mirrored
        body = await self._get(PREPROVISIONING_IMAGES, key)
        return None if body is None else image_from_json(body)

    async def _secret(
        self, image: PreprovisioningImage, action: ReadSecret
    ) -> NetworkSecret | None:
        """The Secret, with our label and owned by ``image``; None when there is none.

        :raises Conflict: somebody else (baremetal-operator writes it too) was faster.
        """
        key = Key(image.key.namespace, action.name)
        mirrored = self._secrets.get(key)
        if mirrored is not None and mirrored.is_owned_by(image):
            return mirrored
        body = await self._get(SECRETS, key)
        if body is None:
            return None
        if not action.write:
            return secret_from_json(body)
        secret = secret_from_json(body)
        if not (secret.labelled and secret.is_owned_by(image)):
            self._insist_on_leading()
            written = await self._ask(
                right("update", SECRETS), self._api.replace(SECRETS, secret_owned(body, image))
            )
            secret = secret_from_json(written)
            self._secrets.record(secret)
        return secret

    async def _build(self, action: Build) -> GeneratedImage | BuildInvalid | NotReady:
        try:
            return await self._provider.build(action.request)
        except (BuildInvalid, NotReady) as reason:
            return reason

    async def _write_status(self, image: PreprovisioningImage, action: WriteStatus) -> None:
        status = action.status
        if status != image.status:
            self._insist_on_leading()
            written = await self._ask(
                right("update", PREPROVISIONING_IMAGES, "status"),
                self._api.replace_status(PREPROVISIONING_IMAGES, image.with_status(status)),
            )
            self._images.record(image_from_json(written))
            error = status.condition(ERROR)
            if status.is_true(READY):
                self._log.info("{key}: {kind} image ready", key=image.key, kind=status.format)
            elif (
                error is not None
                and error.status == "True"
                and error != image.status.condition(ERROR)
            ):
                self._log.warn("{key}: {error}", key=image.key, error=error.message)
        # Only now: until the write is through, whoever reads the object is led to the old URL.
        self._provider.discard(image.key.namespace, image.key.name, keep=[status.image_url])

    async def _write_image(self, body: Json) -> None:
        self._insist_on_leading()
        written = await self._ask(
            right("update", PREPROVISIONING_IMAGES),
            self._api.replace(PREPROVISIONING_IMAGES, body),
        )
        self._images.record(image_from_json(written))

    def _insist_on_leading(self) -> None:
        if not self._leads():
            raise _NotLeading

    async def _get(self, resource: Resource, key: Key) -> Json | None:
        try:
            return await self._ask(
                right("get", resource),
                self._api.get(resource, namespace=key.namespace, name=key.name),
            )
        except NotFound:
            return None

    async def _ask(self, needed: str, request: Awaitable[A]) -> A:
        """Await a request; remember which rights are refused, and that the server answers."""
        try:
            answer = await request
        except Forbidden as error:
            if error.right not in self._refused:
                self._log.error("{error}: grant it; trying again", error=error)
            self._refused[error.right] = str(error)
            raise
        except (Conflict, NotFound):
            self._answered(needed)
            raise
        self._answered(needed)
        return answer

    def _answered(self, needed: str) -> None:
        if self._outages:
            self._log.info("The Kubernetes API serves again")
        self._outages = 0
        self._refused.pop(needed, None)

"""The reconciler: observe one object, decide, and do what was decided.

Knows the effects and their order; the decision is `mic.kube.decide`'s. Level-triggered: it reads
the latest state, whatever the reason for the call. A failure is raised, and `mic.kube.workers`
retries it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from twisted.logger import Logger

from mic.common.errors import BuildInvalid, NotReady
from mic.kube.actions import (
    AddFinalizer,
    Build,
    Forget,
    Observation,
    ReadSecret,
    Release,
    Wait,
    WriteStatus,
)
from mic.kube.api import (
    PREPROVISIONING_IMAGES,
    SECRETS,
    Json,
    KubernetesApi,
    NotFound,
    Resource,
    right,
)
from mic.kube.builds import Built, ImageProvider
from mic.kube.decide import (
    ERROR,
    READY,
    decide,
    follow,
)
from mic.kube.mirrors import Mirrors
from mic.kube.objects import (
    Key,
    NetworkSecret,
    PreprovisioningImage,
    image_from_json,
    secret_from_json,
    secret_owned,
)
from mic.kube.reports import Reports
from mic.kube.retained import Retained
from mic.kube.texts import FORMATS, KERNEL_NAMES
from mic.kube.workers import NotLeading, PutOff, Workers

SECRET_POLL = timedelta(seconds=3)
SECRET_SPACING = timedelta(seconds=1)
SECRET_SLOWER = 60
"""An object whose Secret is missing or not claimed is reconciled again after the longest of these:
`SECRET_POLL`, a `SECRET_SPACING` for each object of its namespace that waits like it, and this
fraction of the delay that `decide` returns, which grows with the error's age. Never later than
`decide` says."""

MOST_STEPS = 8
"""Actions for one object in a row; the longest sequence is read, build, write. A guard against a
defect."""


class Reconciler:
    """Reconciles single objects, as the leader or as a replica that only serves.

    ``leads`` says whether this replica may write; it is called before each write. ``puts_off`` says
    whether to build a document of that many bytes later.
    """

    def __init__(
        self,
        *,
        api: KubernetesApi,
        provider: ImageProvider,
        mirrors: Mirrors,
        retained: Retained,
        workers: Workers,
        now: Callable[[], datetime],
        leads: Callable[[], bool],
        puts_off: Callable[[Key, int], bool],
        reports: Reports,
    ) -> None:
        self._log = Logger(namespace=__name__)
        self._api = api
        self._provider = provider
        self._mirrors = mirrors
        self._retained = retained
        self._workers = workers
        self._now = now
        self._leads = leads
        self._puts_off = puts_off
        self._reports = reports
        self._foreign: set[Key] = set()
        self._awaiting: dict[str, set[Key]] = {}
        """Objects that wait for a Secret which no watch reports, by namespace."""

    @property
    def foreign(self) -> int:
        """How many statuses name an image that this replica does not have."""
        return len(self._foreign)

    def forget_foreign(self) -> None:
        """Start anew with `foreign`: another replica leads."""
        self._foreign.clear()

    async def reconcile(self, key: Key) -> timedelta | None:
        """Bring the object to its state; return when to do it again without a change.

        :raises NotLeading: this replica stopped leading before a write.
        :raises PutOff: the document is large and others go first.
        """
        return await (self._lead(key) if self._leads() else self._follow(key))

    async def _lead(self, key: Key) -> timedelta | None:
        """Reconcile as the leader; return as `reconcile`."""
        image = await self._observe(key)
        seen = self._observation(image)
        for _ in range(MOST_STEPS):
            action = decide(seen)
            if isinstance(action, Wait):
                # An image built for a status that was not written is named by no status.
                self._retained.built(key, "")
                self.discard_unused(key)
                return None
            if isinstance(action, Forget):
                self._discard(key)
                return None
            assert image is not None  # noqa: S101 - all other actions concern an image
            if isinstance(action, ReadSecret):
                secret = await self._secret(image, action)
                seen = replace(seen, secret_read=True, secret=secret)
            elif isinstance(action, Build) and _lacks_document(seen):
                seen = replace(seen, secret=await self._whole_secret(key, seen))
            elif isinstance(action, Build):
                seen = replace(seen, outcome=await self._build(key, action))
            elif isinstance(action, AddFinalizer):
                # An image built for an earlier object of this name does not belong to this one.
                self._retained.built(key, "")
                self.discard_unused(key)
                await self._write_image(key, image.with_finalizers(action.finalizers))
                return None
            elif isinstance(action, Release):
                self._discard(key)
                await self._write_image(key, image.with_finalizers(action.finalizers))
                self._log.info("{key}: released", key=key)
                return None
            elif isinstance(action, WriteStatus):
                await self._write_status(image, action, seen.outcome)
                return self._next(key, action)
            else:
                assert_never(action)
        raise RuntimeError(f"reconciling {key} does not end; last action {type(action).__name__}")

    async def _follow(self, key: Key) -> timedelta | None:
        """Reconcile as a replica that does not write; return as `reconcile`."""
        image = self._mirrors.images.get(key)
        seen = self._observation(image)
        if image is not None and image.network_data_name:
            # Only from the mirror: once the leader has labelled it, the watch reports it.
            mirrored = self._mirrors.secrets.get(Key(key.namespace, image.network_data_name))
            owned = mirrored is not None and mirrored.is_owned_by(image)
            seen = replace(seen, secret_read=True, secret=mirrored if owned else None)
        action = follow(seen)
        if isinstance(action, Build) and _lacks_document(seen):
            seen = replace(seen, secret=await self._whole_secret(key, seen))
            action = follow(seen)
        built = False
        if isinstance(action, Build):
            outcome = await self._build(key, action)
            built = isinstance(outcome, Built)
            self._reports.warned(key, outcome.warnings if isinstance(outcome, Built) else ())
            action = follow(replace(seen, outcome=outcome))
        assert not isinstance(action, Build)  # noqa: S101 - it has its outcome
        # Read again: the leader may have written while the image was built.
        image = self._mirrors.images.get(key)
        if image is None or isinstance(action, Forget):
            self._discard(key)
            self._foreign.discard(key)
            return None
        if not built or image.deleting:
            self._retained.built(key, "")  # no future status will name it
        self.discard_unused(key)
        named = image.status.image_url
        if named and image.status.is_true(READY) and not self._provider.serves(named):
            self._foreign.add(key)
        else:
            self._foreign.discard(key)
        return action.again

    def _observation(self, image: PreprovisioningImage | None) -> Observation:
        return observation(image, self._provider, self._now())

    async def _observe(self, key: Key) -> PreprovisioningImage | None:
        """Return the object as it is now: from the mirrors, or from the API if it left them."""
        mirrored = self._mirrors.find(key)
        if mirrored is not None:
            return mirrored
        body = await self._get(PREPROVISIONING_IMAGES, key, of=key)
        if body is None:
            return None
        image = image_from_json(body)
        if not image.belongs_to_assisted_installer:
            self._retained.named(key, image.uid, image.status.image_url)
        return image

    async def _secret(
        self, image: PreprovisioningImage, action: ReadSecret
    ) -> NetworkSecret | None:
        """Return the Secret, labelled and owned by ``image``; None if there is none.

        A Secret without a key that mic reads is not claimed: it was named by mistake.

        :raises Conflict: another writer (for example baremetal-operator) was faster.
        """
        key = Key(image.key.namespace, action.name)
        mirrored = self._mirrors.secrets.get(key)
        if mirrored is not None and mirrored.is_owned_by(image):
            return mirrored
        body = await self._get(SECRETS, key, of=image.key)
        if body is None:
            return None
        secret = secret_from_json(body, keep_data=True)
        if not action.write or not secret.has_data:
            return secret
        if not (secret.labelled and secret.is_owned_by(image)):
            self._check_leading()
            written = await self._workers.request(
                image.key,
                right("update", SECRETS),
                self._api.replace(SECRETS, secret_owned(body, image)),
            )
            secret = secret_from_json(written, keep_data=True)
            self._mirrors.secrets.record(secret_from_json(written))
        return secret

    async def _whole_secret(self, key: Key, seen: Observation) -> NetworkSecret | None:
        """Return the observed Secret with its document, which is too large for the mirror."""
        assert seen.secret is not None  # noqa: S101
        self._check_turn(key, seen.secret.size)
        body = await self._get(SECRETS, seen.secret.key, of=key)
        return None if body is None else secret_from_json(body, keep_data=True)

    async def _build(self, key: Key, action: Build) -> Built | BuildInvalid | NotReady:
        self._check_turn(key, action.request.data.size)
        try:
            with self._workers.aside():
                image = await self._provider.build(action.request)
        except (BuildInvalid, NotReady) as reason:
            return reason
        self._retained.built(key, image.image_url)
        return image

    def _discard(self, key: Key) -> None:
        """Stop serving an object's images: it is deleted or belongs to the assisted installer."""
        self._reports.forget(key)
        self._await_secret(key, awaits=False)
        self._retained.forget(key)
        self._provider.discard(key.namespace, key.name)

    def discard_unused(self, key: Key) -> None:
        """Stop serving an object's images, except those that are retained."""
        self._provider.discard(key.namespace, key.name, keep=self._retained.urls(key))

    def _next(self, key: Key, action: WriteStatus) -> timedelta | None:
        """Return when to reconcile again: soon for a Secret that no watch reports."""
        again = action.again
        awaits = again is not None and action.status.is_true(ERROR)
        waiting = self._await_secret(key, awaits=awaits)
        if again is None or not awaits:
            return again
        return min(again, max(SECRET_POLL, again / SECRET_SLOWER, waiting * SECRET_SPACING))

    def _await_secret(self, key: Key, *, awaits: bool) -> int:
        """Record whether an object waits for a Secret; return how many of its namespace do."""
        waiting = self._awaiting.get(key.namespace)
        if waiting is None:
            if not awaits:
                return 0
            waiting = self._awaiting[key.namespace] = set()
        (waiting.add if awaits else waiting.discard)(key)
        if not waiting:
            del self._awaiting[key.namespace]
        return len(waiting)

    async def _write_status(
        self,
        image: PreprovisioningImage,
        action: WriteStatus,
        outcome: Built | BuildInvalid | NotReady | None,
    ) -> None:
        status, key = action.status, image.key
        ready = status.is_true(READY)
        error = status.condition(ERROR) if status.is_true(ERROR) else None
        if status != image.status:
            self._check_leading()
            others = set(self._retained.urls(key)) - {status.image_url}
            replaces = any(map(self._provider.serves, others))
            written = await self._workers.request(
                key,
                right("update", PREPROVISIONING_IMAGES, "status"),
                self._api.replace_status(PREPROVISIONING_IMAGES, image.with_status(status)),
            )
            self._mirrors.images.record(image_from_json(written))
            self._retained.named(key, image.uid, status.image_url)
        else:
            replaces = False
        if ready and isinstance(outcome, Built):
            self._reports.ready(
                image,
                status,
                warnings=outcome.warnings,
                changes=outcome.changes,
                script_url=outcome.script_url,
                replaces=replaces,
                same=status.image_url == image.status.image_url,
            )
        elif error is not None:
            self._reports.failed(image, error)
        if ready or error is not None:
            # Otherwise a later status will name the image that was built ahead.
            self._retained.built(key, "")
        # Only now: until the write has completed, readers of the object see the old URL.
        self.discard_unused(key)

    async def _write_image(self, key: Key, body: Json) -> None:
        self._check_leading()
        written = await self._workers.request(
            key,
            right("update", PREPROVISIONING_IMAGES),
            self._api.replace(PREPROVISIONING_IMAGES, body),
        )
        self._mirrors.images.record(image_from_json(written))

    def _check_turn(self, key: Key, size: int) -> None:
        """Raise `PutOff` if a document of ``size`` bytes is too large to be built now."""
        if self._puts_off(key, size):
            raise PutOff

    def _check_leading(self) -> None:
        if not self._leads():
            raise NotLeading

    async def _get(self, resource: Resource, key: Key, *, of: Key) -> Json | None:
        """Return the object ``key``, needed by the object ``of``; None if there is none."""
        try:
            return await self._workers.request(
                of,
                right("get", resource),
                self._api.get(resource, namespace=key.namespace, name=key.name),
            )
        except NotFound:
            return None


def observation(
    image: PreprovisioningImage | None, provider: ImageProvider, now: datetime
) -> Observation:
    """Return what is known about an object before its Secret is read and its image is built."""
    host = provider.host_architecture
    architecture = (image.architecture if image is not None else "") or host
    stream = image.stream if image is not None else ""
    url = image.status.image_url if image is not None else ""
    supported = provider.supports_architecture(architecture, stream)
    known = () if supported else sorted({host, *KERNEL_NAMES.values()})
    return Observation(
        image=image,
        now=now,
        host_architecture=host,
        supports_architecture=supported,
        architectures=tuple(each for each in known if provider.supports_architecture(each, stream)),
        supported_formats=frozenset(
            each for each in FORMATS if provider.supports_format(each, architecture, stream)
        ),
        served=bool(url) and provider.serves(url),
    )


def _lacks_document(seen: Observation) -> bool:
    return seen.secret is not None and seen.secret.lacks_document

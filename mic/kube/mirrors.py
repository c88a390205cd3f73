"""The informers of the controller: all objects that it reconciles, and who is affected by a change.

Knows which objects are watched and which images use a Secret. Leaves what to do to the reconciler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime

from mic.common.once import Once
from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json, KubernetesApi, Resource
from mic.kube.counts import KubeCounts
from mic.kube.informer import Informer, Tracked
from mic.kube.objects import (
    ASSISTED_INSTALLER_LABEL,
    FINALIZER,
    SECRET_LABEL,
    SECRET_LABEL_VALUE,
    Key,
    NetworkSecret,
    PreprovisioningImage,
    image_from_json,
    secret_from_json,
)
from mic.kube.retained import Retained

V = TypeVar("V", bound=Tracked)


class Mirrors:
    """The objects of a namespace (empty: of all) as the API server has them.

    ``enqueue`` is called with each PreprovisioningImage that a change affects, ``listed`` after
    each complete list. ``retained`` records each image URL that a status names.
    """

    def __init__(
        self,
        *,
        api: KubernetesApi,
        namespace: str,
        clock: IReactorTime,
        random: Random,
        counts: KubeCounts,
        retained: Retained,
        enqueue: Callable[[Key], None],
        listed: Callable[[], None],
    ) -> None:
        self._retained = retained
        self._enqueue = enqueue
        self._by_secret: dict[Key, set[Key]] = {}

        logged = Once()

        def informer(
            resource: Resource,
            label_selector: str,
            parse: Callable[[Json], V],
            changed: Callable[[V | None, V | None], None],
        ) -> Informer[V]:
            return Informer(
                api=api,
                resource=resource,
                namespace=namespace,
                label_selector=label_selector,
                parse=parse,
                changed=changed,
                listed=listed,
                clock=clock,
                random=random,
                restarts=counts.restarts,
                logged=logged,
            )

        self.images = informer(
            PREPROVISIONING_IMAGES,
            f"!{ASSISTED_INSTALLER_LABEL}",
            image_from_json,
            self._image_changed,
        )
        # The other half: an object labelled while mic was down may still have our finalizer.
        self.assisted = informer(
            PREPROVISIONING_IMAGES,
            ASSISTED_INSTALLER_LABEL,
            image_from_json,
            self._assisted_changed,
        )
        self.secrets = informer(
            SECRETS, f"{SECRET_LABEL}={SECRET_LABEL_VALUE}", secret_from_json, self._secret_changed
        )

    @property
    def all(self) -> tuple[Informer[PreprovisioningImage] | Informer[NetworkSecret], ...]:
        """The informers."""
        return (self.images, self.secrets, self.assisted)

    @property
    def synced(self) -> bool:
        """Whether each list has been complete since the start."""
        return all(each.synced for each in self.all)

    def start(self) -> None:
        """List and watch until `stop`."""
        for informer in self.all:
            informer.start()

    def stop(self) -> None:
        """End the watches. What is mirrored stays readable."""
        for informer in self.all:
            informer.stop()

    def unsynced(self) -> Iterator[str]:
        """Yield in words what has not been listed yet."""
        names = (
            "PreprovisioningImages",
            "Secrets",
            "PreprovisioningImages of the assisted installer",
        )
        return (name for name, each in zip(names, self.all, strict=True) if not each.synced)

    def problems(self) -> list[str]:
        """Return in words why a mirror may be out of date."""
        return list(dict.fromkeys(text for each in self.all for text in each.problems))

    def find(self, key: Key) -> PreprovisioningImage | None:
        """Return an image, also one that belongs to the assisted installer."""
        return self.images.get(key) or self.assisted.get(key)

    def enqueue_all(self) -> None:
        """Reconcile every object; where nothing changed this costs no request."""
        for key in self.images.keys():  # noqa: SIM118 - a method of ours, which is no mapping
            self._enqueue(key)
        for image in self.assisted.values():
            self._assisted_changed(None, image)

    def _image_changed(
        self, old: PreprovisioningImage | None, new: PreprovisioningImage | None
    ) -> None:
        if new is not None:
            # Here, as reconciling may miss a state: each image that was named is kept for a while.
            self._retained.named(new.key, new.uid, new.status.image_url)
        elif old is not None:
            self._retained.forget(old.key)
        for image, present in ((old, False), (new, True)):
            if image is None:
                continue
            if image.network_data_name:
                secret = Key(image.key.namespace, image.network_data_name)
                users = self._by_secret.setdefault(secret, set())
                (users.add if present else users.discard)(image.key)
                if not users:
                    del self._by_secret[secret]
            self._enqueue(image.key)

    def _assisted_changed(
        self, _: PreprovisioningImage | None, new: PreprovisioningImage | None
    ) -> None:
        if new is not None and FINALIZER in new.finalizers:
            self._enqueue(new.key)

    def _secret_changed(self, old: NetworkSecret | None, new: NetworkSecret | None) -> None:
        secret = new or old
        assert secret is not None  # noqa: S101
        for key in self._by_secret.get(secret.key, ()):
            self._enqueue(key)

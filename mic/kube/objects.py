"""The objects that reconciling looks at, as values.

Pure. Knows how Metal3's PreprovisioningImage and a network data Secret are written in JSON, and
keeps of each only what is needed. Says nothing of what should be done: that is
`mic.kube.decide`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from mic.kube.api import Json

FINALIZER = "preprovisioningimage.metal3.io"
"""The finalizer of the API's owner, Metal3: whoever provides the images sets it."""

HANDED_OVER_LABEL = "infraenvs.agent-install.openshift.io"
"""Objects with this label, whatever its value, belong to the assisted installer."""

STREAM_LABEL = "coreos.openshift.io/stream"

SECRET_LABEL = "environment.metal3.io"  # noqa: S105 - a label's name
SECRET_LABEL_VALUE = "baremetal"  # noqa: S105
"""With this label a Secret is in baremetal-operator's cache, and in ours."""

NMSTATE_KEY = "nmstate"

OWNER_API_VERSION = "metal3.io/v1alpha1"
OWNER_KIND = "PreprovisioningImage"


class Key(NamedTuple):
    """What names an object of a kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of ``status.conditions`` (Kubernetes API conventions, ``metav1.Condition``)."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    """RFC 3339, whole seconds, UTC."""
    observed_generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkData:
    """Which version of which Secret an image was made from; both empty when from none."""

    name: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """``status`` of a PreprovisioningImage. Empty strings stand for absent fields."""

    image_url: str = field(default="", repr=False)
    kernel_url: str = field(default="", repr=False)
    extra_kernel_params: str = ""
    format: str = ""
    architecture: str = ""
    network_data: NetworkData = NetworkData()
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, if any."""
        return next((each for each in self.conditions if each.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Whether there is a condition of that type and it is ``True``."""
        found = self.condition(kind)
        return found is not None and found.status == "True"

    def with_condition(self, new: Condition, *, now: datetime) -> Status:
        """This status with ``new`` in the place of the condition of its type.

        ``lastTransitionTime`` moves only when the condition's status does.
        """
        old = self.condition(new.type)
        if old is None or old.status != new.status or not old.last_transition_time:
            stamp = timestamp(now)
        else:
            stamp = old.last_transition_time
        new = replace(new, last_transition_time=stamp)
        if old is None:
            return replace(self, conditions=(*self.conditions, new))
        return replace(
            self, conditions=tuple(new if each is old else each for each in self.conditions)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprovisioningImage:
    """A PreprovisioningImage as it was seen last."""

    key: Key
    uid: str
    resource_version: str
    created: int
    """Seconds since the epoch."""
    generation: int
    handed_over: bool
    """It has the assisted installer's label."""
    deleting: bool
    finalizers: tuple[str, ...]
    stream: str
    network_data_name: str
    architecture: str
    accept_formats: tuple[str, ...]
    status: Status
    raw: Json = field(repr=False, compare=False)
    """The whole object, for the write that has to send all of it. Never changed in place."""

    def with_finalizers(self, finalizers: Iterable[str]) -> Json:
        """The object to write in order to have these finalizers and nothing else changed."""
        metadata = {**self.raw["metadata"], "finalizers": list(finalizers)}
        return {**self.raw, "metadata": metadata}

    def with_status(self, status: Status) -> Json:
        """The object to write to the status subresource, which takes nothing but the status."""
        return {
            "apiVersion": self.raw.get("apiVersion", OWNER_API_VERSION),
            "kind": self.raw.get("kind", OWNER_KIND),
            "metadata": {
                "namespace": self.key.namespace,
                "name": self.key.name,
                "uid": self.uid,
                "resourceVersion": self.resource_version,
            },
            "status": status_to_json(status),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSecret:
    """What reconciling needs of a Secret: not the other keys' values.

    ``nmstate`` is None when the Secret has no such key, and also, to keep no copy of Secrets that
    concern nobody, while no PreprovisioningImage owns it.
    """

    key: Key
    uid: str
    resource_version: str
    labelled: bool
    """It has the label that puts it into our cache."""
    owners: frozenset[tuple[str, str]]
    """(name, uid) of the PreprovisioningImages among its owners."""
    nmstate: bytes | None = field(repr=False)

    def is_owned_by(self, image: PreprovisioningImage) -> bool:
        """Whether ``image`` itself, not an earlier object of its name, is among the owners."""
        return (image.key.name, image.uid) in self.owners


def image_from_json(body: Json) -> PreprovisioningImage:
    """Read a PreprovisioningImage; what the API server does not require may be absent."""
    metadata = body["metadata"]
    spec = body.get("spec") or {}
    labels = metadata.get("labels") or {}
    return PreprovisioningImage(
        key=Key(metadata.get("namespace", ""), metadata["name"]),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        created=_seconds(metadata.get("creationTimestamp")),
        generation=metadata.get("generation", 0),
        handed_over=HANDED_OVER_LABEL in labels,
        deleting=bool(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
        stream=labels.get(STREAM_LABEL, ""),
        network_data_name=spec.get("networkDataName") or "",
        architecture=spec.get("architecture") or "",
        accept_formats=tuple(spec.get("acceptFormats") or ()),
        status=status_from_json(body.get("status") or {}),
        raw=_without_managed_fields(body),
    )


def status_from_json(body: Json) -> Status:
    """Read ``status``; absent fields become empty."""
    network_data = body.get("networkData") or {}
    return Status(
        image_url=body.get("imageUrl") or "",
        kernel_url=body.get("kernelUrl") or "",
        extra_kernel_params=body.get("extraKernelParams") or "",
        format=body.get("format") or "",
        architecture=body.get("architecture") or "",
        network_data=NetworkData(
            name=network_data.get("name") or "", version=network_data.get("version") or ""
        ),
        conditions=tuple(
            Condition(
                type=each.get("type", ""),
                status=each.get("status", ""),
                reason=each.get("reason") or "",
                message=each.get("message") or "",
                last_transition_time=each.get("lastTransitionTime") or "",
                observed_generation=each.get("observedGeneration") or 0,
            )
            for each in body.get("conditions") or ()
        ),
    )


def status_to_json(status: Status) -> Json:
    """Write ``status``; empty fields are left out."""
    fields: Json = {
        "imageUrl": status.image_url,
        "kernelUrl": status.kernel_url,
        "extraKernelParams": status.extra_kernel_params,
        "format": status.format,
        "architecture": status.architecture,
    }
    body: Json = {name: value for name, value in fields.items() if value}
    if status.network_data != NetworkData():
        body["networkData"] = {
            "name": status.network_data.name,
            "version": status.network_data.version,
        }
    body["conditions"] = [
        {
            "type": each.type,
            "status": each.status,
            "reason": each.reason,
            "message": each.message,
            "lastTransitionTime": each.last_transition_time,
            "observedGeneration": each.observed_generation,
        }
        for each in status.conditions
    ]
    return body


def secret_from_json(body: Json) -> NetworkSecret:
    """Read a Secret. No error of this function shows a value of it."""
    metadata = body["metadata"]
    owners = frozenset(
        (owner.get("name", ""), owner.get("uid", ""))
        for owner in metadata.get("ownerReferences") or ()
        if owner.get("kind") == OWNER_KIND
        and owner.get("apiVersion", "").partition("/")[0] == "metal3.io"
    )
    encoded = (body.get("data") or {}).get(NMSTATE_KEY)
    nmstate: bytes | None = None
    if encoded is not None and owners:
        try:
            nmstate = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            # The API server lets no such thing through; what it is not is NMState.
            nmstate = b"\0"
    return NetworkSecret(
        key=Key(metadata.get("namespace", ""), metadata["name"]),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        labelled=(metadata.get("labels") or {}).get(SECRET_LABEL) == SECRET_LABEL_VALUE,
        owners=owners,
        nmstate=nmstate,
    )


def secret_owned(body: Json, image: PreprovisioningImage) -> Json:
    """The Secret ``body`` with our label, and with ``image`` among its owners.

    The reference is not a controller's: baremetal-operator's own may be there beside it.
    """
    metadata = body["metadata"]
    references = [
        each for each in metadata.get("ownerReferences") or () if each.get("uid") != image.uid
    ]
    references.append(
        {
            "apiVersion": OWNER_API_VERSION,
            "kind": OWNER_KIND,
            "name": image.key.name,
            "uid": image.uid,
        }
    )
    labels = {**(metadata.get("labels") or {}), SECRET_LABEL: SECRET_LABEL_VALUE}
    kept = _without_managed_fields(body)
    return {
        **kept,
        "metadata": {**kept["metadata"], "labels": labels, "ownerReferences": references},
    }


def is_older(version: str, than: str) -> bool:
    """Whether one resource version of an object comes before another of the same object.

    Versions are decimal numbers that grow (etcd revisions; Kubernetes 1.35 made that a promise).
    Where they are not, nothing is called older.
    """
    if version.isdecimal() and than.isdecimal():
        return int(version) < int(than)
    return False


def timestamp(moment: datetime) -> str:
    """RFC 3339 as the API server writes it: UTC, whole seconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(stamp: object) -> int:
    """Seconds since the epoch of an RFC 3339 time; 0 for what is none."""
    try:
        return int(datetime.fromisoformat(str(stamp)).timestamp())
    except ValueError:
        return 0


def _without_managed_fields(body: Json) -> Json:
    # They are half of an object's size, and a write without them leaves the server's in place.
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": metadata}

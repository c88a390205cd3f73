"""The objects that are reconciled, as values.

Pure. Knows the JSON of Metal3's PreprovisioningImage and of a network data Secret, and keeps of
each only what is needed. What to do with them is decided in `mic.kube.decide`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from mic.common.host_data import HostData
from mic.kube.api import Json

FINALIZER = "preprovisioningimage.metal3.io"
"""The finalizer that Metal3 defines for the provider of the images."""

ASSISTED_INSTALLER_LABEL = "infraenvs.agent-install.openshift.io"
"""Objects with this label, whatever its value, belong to the assisted installer."""

STREAM_LABEL = "coreos.openshift.io/stream"

SECRET_LABEL = "environment.metal3.io"  # noqa: S105 - a label's name
SECRET_LABEL_VALUE = "baremetal"  # noqa: S105
"""baremetal-operator and mic only cache Secrets with this label."""

LARGE_DOCUMENT = 16 * 1024
"""Size above which an NMState document is large, in bytes; real hosts have 2 KB, rarely 5."""

NETWORK_KEYS = ("nmstate", "networkData", "value")
"""Keys of network data, by precedence: ours, and the two that baremetal-operator reads."""

_CLUSTER_API_TYPE = "cluster.x-k8s.io/secret"
_SHORT = 64  # characters of a text that objects share; conditions with longer messages are few
"""The type of Secrets that hold kubeconfigs, keys and bootstrap data, under the key ``value``."""

DATA_KEYS = {
    "network": NETWORK_KEYS,
    "kernel_arguments": ("kernelArguments",),
    "ignition": ("ignition",),
}
"""The keys of a Secret that mic reads, by the part of `HostData` that they fill.

Of several keys the first one that is not empty counts. A Secret with none of them is not claimed:
with an owner reference it would be deleted together with the PreprovisioningImage that names it by
mistake."""

MAX_KEYS = 10
MAX_KEY = 64
"""How many keys of a Secret are remembered for messages, and how many characters of each."""

OWNER_API_VERSION = "metal3.io/v1alpha1"
OWNER_KIND = "PreprovisioningImage"


class Key(NamedTuple):
    """Namespace and name of an object."""

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
    """Secret and version that an image was built from; both empty if from none."""

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
        """Return the condition of that type, if any."""
        return next((each for each in self.conditions if each.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Return whether there is a condition of that type and it is ``True``."""
        found = self.condition(kind)
        return found is not None and found.status == "True"

    def with_condition(self, new: Condition, *, now: datetime) -> Status:
        """Return this status with ``new`` in place of the condition of its type.

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
    """A PreprovisioningImage as last read."""

    key: Key
    uid: str
    resource_version: str
    created: int
    """Seconds since the epoch."""
    generation: int
    belongs_to_assisted_installer: bool
    """It has the assisted installer's label."""
    deleting: bool
    finalizers: tuple[str, ...]
    stream: str
    network_data_name: str
    architecture: str
    accept_formats: tuple[str, ...]
    status: Status
    raw: Json = field(repr=False, compare=False)
    """The object without its status, for the write that has to send the rest of it. Never changed
    in place."""

    def with_finalizers(self, finalizers: Iterable[str]) -> Json:
        """Return the object to write to change only the finalizers."""
        metadata = {**self.raw["metadata"], "finalizers": list(finalizers)}
        return {**self.raw, "metadata": metadata}

    def with_status(self, status: Status) -> Json:
        """Return the object to write to the status subresource."""
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
    """The parts of a Secret that reconciling needs, without the other keys' values.

    ``data`` has the documents of the keys that mic reads. In the mirror it is empty if no
    PreprovisioningImage owns the Secret, so that mic holds no data that it does not need, and if
    the documents are large (`LARGE_DOCUMENT`): a namespace full of them would exhaust the memory.
    ``size`` is their number of bytes in any case.
    """

    key: Key
    uid: str
    resource_version: str
    labelled: bool
    """It has the label `SECRET_LABEL`, and so is mirrored."""
    owners: frozenset[tuple[str, str]]
    """(name, uid) of the PreprovisioningImages among its owners."""
    has_data: bool
    """It has a key that mic reads (`DATA_KEYS`)."""
    keys: tuple[str, ...] = ()
    """The names of its first `MAX_KEYS` keys, if it has none that mic reads."""
    more_keys: int = 0
    """How many other keys it has."""
    data: HostData = field(default_factory=HostData)
    size: int = 0

    @property
    def lacks_document(self) -> bool:
        """Whether it has documents that are not kept here."""
        return self.size > 0 and not self.data

    def is_owned_by(self, image: PreprovisioningImage) -> bool:
        """Return whether ``image``, not an earlier object of its name, is among the owners."""
        return (image.key.name, image.uid) in self.owners


def image_from_json(body: Json) -> PreprovisioningImage:
    """Parse a PreprovisioningImage; fields that the API server does not require may be absent."""
    metadata = body["metadata"]
    spec = body.get("spec") or {}
    labels = metadata.get("labels") or {}
    return PreprovisioningImage(
        key=Key(metadata.get("namespace", ""), metadata["name"]),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        created=_seconds(metadata.get("creationTimestamp")),
        generation=metadata.get("generation", 0),
        belongs_to_assisted_installer=ASSISTED_INSTALLER_LABEL in labels,
        deleting=bool(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
        stream=labels.get(STREAM_LABEL, ""),
        network_data_name=spec.get("networkDataName") or "",
        architecture=spec.get("architecture") or "",
        accept_formats=tuple(spec.get("acceptFormats") or ()),
        status=status_from_json(body.get("status") or {}),
        raw=_writable(body),
    )


def status_from_json(body: Json) -> Status:
    """Parse ``status``; absent fields become empty."""
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
                # Most objects have the same ones.
                type=_shared(each.get("type", "")),
                status=_shared(each.get("status", "")),
                reason=_shared(each.get("reason") or ""),
                message=_shared(each.get("message") or ""),
                last_transition_time=each.get("lastTransitionTime") or "",
                observed_generation=each.get("observedGeneration") or 0,
            )
            for each in body.get("conditions") or ()
        ),
    )


def status_to_json(status: Status) -> Json:
    """Return ``status`` as JSON, without empty fields."""
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


def secret_from_json(body: Json, *, keep_data: bool = False) -> NetworkSecret:
    """Parse a Secret; with ``keep_data`` keep network data also if it is large or not owned.

    No error of this function shows a value of the Secret.
    """
    metadata = body["metadata"]
    owners = frozenset(
        (owner.get("name", ""), owner.get("uid", ""))
        for owner in metadata.get("ownerReferences") or ()
        if owner.get("kind") == OWNER_KIND
        and owner.get("apiVersion", "").partition("/")[0] == "metal3.io"
    )
    data = body.get("data") or {}
    others = {"value"} if body.get("type") == _CLUSTER_API_TYPE else set()
    encoded = {
        part: text
        for part, keys in DATA_KEYS.items()
        if (text := _first(data.get(key) for key in keys if key not in others)) is not None
    }
    # Base64 with its padding; a large document is not decoded only to be dropped.
    size = sum(len(text) * 3 // 4 - text[-2:].count("=") for text in encoded.values())
    documents = HostData()
    if encoded and (keep_data or (owners and size <= LARGE_DOCUMENT)):
        parts: dict[str, Any] = {part: _decoded(text) for part, text in encoded.items()}
        documents = HostData(**parts)
    has_data = bool(encoded)
    shown = () if has_data else sorted(data)[:MAX_KEYS]
    return NetworkSecret(
        key=Key(metadata.get("namespace", ""), metadata["name"]),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        labelled=(metadata.get("labels") or {}).get(SECRET_LABEL) == SECRET_LABEL_VALUE,
        owners=owners,
        has_data=has_data,
        keys=tuple(key[:MAX_KEY] for key in shown),
        more_keys=0 if has_data else len(data) - len(shown),
        data=documents,
        size=size,
    )


def _first(texts: Iterable[str | None]) -> str | None:
    """Return the first text that is not empty, else an empty one if there is any."""
    found = None
    for text in texts:
        if text:
            return text
        found = text if found is None else found
    return found


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        # The API server rejects this; if it happens, it is no document.
        return b"\0"


def secret_owned(body: Json, image: PreprovisioningImage) -> Json:
    """Return the Secret ``body`` with our label, and with ``image`` among its owners.

    The reference is not a controller reference: baremetal-operator may have its own.
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
    """Return whether one resource version of an object comes before another of the same object.

    Versions are decimal numbers that grow (etcd revisions; Kubernetes 1.35 made that a promise).
    Other versions are never older.
    """
    if version.isdecimal() and than.isdecimal():
        return int(version) < int(than)
    return False


def timestamp(moment: datetime) -> str:
    """Return RFC 3339 as the API server writes it: UTC, whole seconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(stamp: object) -> int:
    """Return an RFC 3339 time in seconds since the epoch, 0 if it is malformed."""
    try:
        return int(datetime.fromisoformat(str(stamp)).timestamp())
    except ValueError:
        return 0


def _writable(body: Json) -> Json:
    """Return the parts of an object that a write to it does not ignore.

    Its status, which is ignored, is half of what is left without managed fields. The names of all
    members are shared: each response has its own copies of them, half of a parsed object.
    """
    kept = {name: value for name, value in body.items() if name != "status"}
    shared: Json = _with_shared_names(_without_managed_fields(kept))
    return shared


def _shared(text: str) -> str:
    """Return an equal text that others have, too: the same few are in each object.

    Not `sys.intern`: Python 3.12 keeps for ever what that was given, and tenants choose names.
    """
    return _remembered(text) if len(text) <= _SHORT else text


@lru_cache(maxsize=1024)
def _remembered(text: str) -> str:
    return text


def _with_shared_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {_shared(name): _with_shared_names(each) for name, each in value.items()}
    return [_with_shared_names(each) for each in value] if isinstance(value, list) else value


def _without_managed_fields(body: Json) -> Json:
    # They are half of an object's size, and a write without them leaves the server's in place.
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": metadata}

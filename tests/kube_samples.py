"""Objects as users write them, and what baremetal-operator makes of a status."""

from __future__ import annotations

import base64
from typing import Any

from mic.kube.api import Json


def image_body(
    name: str,
    *,
    namespace: str = "hosts",
    secret: str = "",
    formats: tuple[str, ...] = ("iso",),
    architecture: str = "x86_64",
    labels: dict[str, str] | None = None,
) -> Json:
    spec: dict[str, Any] = {"acceptFormats": list(formats)}
    if architecture:
        spec["architecture"] = architecture
    if secret:
        spec["networkDataName"] = secret
    return {
        "apiVersion": "metal3.io/v1alpha1",
        "kind": "PreprovisioningImage",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "spec": spec,
    }


def secret_body(
    name: str,
    document: bytes | None,
    *,
    key: str = "nmstate",
    namespace: str = "hosts",
    labels: dict[str, str] | None = None,
) -> Json:
    data = {"other": base64.b64encode(b"value").decode()}
    if document is not None:
        data[key] = base64.b64encode(document).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
        "data": data,
    }


def condition(image: Json, kind: str) -> Json:
    """A condition of a PreprovisioningImage, empty when it has none of that type."""
    conditions = image.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), {})


def bmo_verdict(image: Json, secret: Json | None) -> str:
    """What baremetal-operator's host controller concludes: ``image URL``, ``error TEXT``, ``wait``.

    Its checks in its order; the first that fails means that it waits.
    """
    spec, status = image["spec"], image.get("status", {})
    if status.get("architecture", "") != spec.get("architecture", ""):
        return "wait"
    if status.get("format", "") not in spec["acceptFormats"]:
        return "wait"
    if spec.get("networkDataName"):
        if secret is None:
            return "wait"
        current = {
            "name": secret["metadata"]["name"],
            "version": secret["metadata"]["resourceVersion"],
        }
        if status.get("networkData") != current:
            return "wait"
    error = condition(image, "Error")
    if error.get("status") == "True":
        return f"error {error['message']}"
    ready = condition(image, "Ready")
    if (
        ready.get("status") == "True"
        and ready.get("observedGeneration") == image["metadata"]["generation"]
    ):
        return f"image {status.get('imageUrl', '')}"
    return "wait"

"""What an object's condition would say in the end, found out without a write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_twisted
from kube_samples import image_body, secret_body
from stub_images import StubImages

from mic.kube.dry_run import is_reconciled, refusal
from mic.kube.objects import NetworkSecret, PreprovisioningImage, image_from_json, secret_from_json

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
SECRETS = {
    "net": secret_body("net", b"interfaces: []"),
    "bad": secret_body("bad", b"garbage"),
    "other": secret_body("other", None),
}


def image(*, ready: bool = False, **how: Any) -> PreprovisioningImage:
    body = image_body("host", **how)
    body["metadata"].update(uid="u1", generation=3, resourceVersion="10")
    if ready:
        stamp = "2026-01-01T00:00:00Z"
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": stamp}
        url = "http://images.example/old.iso"
        body["status"] = {"imageUrl": url, "format": "iso", "conditions": [condition]}
    return image_from_json(body)


async def read_secret(name: str) -> NetworkSecret | None:
    body = SECRETS.get(name)
    if body is None:
        return None
    body = {**body, "metadata": {**body["metadata"], "resourceVersion": "7"}}
    return secret_from_json(body, keep_data=True)


async def refused(found: PreprovisioningImage, images: StubImages | None = None) -> str:
    return await refusal(found, provider=images or StubImages(), read_secret=read_secret, now=NOW)


@pytest.mark.parametrize(
    "how",
    [{}, {"secret": "net"}, {"formats": ("initrd",)}, {"ready": True, "secret": "net"}],
)
@pytest_twisted.ensureDeferred
async def test_an_object_that_would_have_an_image(how: dict[str, Any]) -> None:
    images = StubImages()
    assert await refused(image(**how), images) == ""
    assert images.builds == 1


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"secret": "bad"}, "Cannot generate image: line 1: that is no NMState"),
        ({"secret": "bad", "ready": True}, "Cannot generate image: line 1: that is no NMState"),
        ({"secret": "gone"}, "NetworkData secret not found: hosts/gone"),
        ({"secret": "other"}, "has no key 'nmstate'"),
        ({"secret": "no/name"}, "cannot be the name of a Secret"),
        ({"architecture": "arm64"}, "the kernel calls it aarch64"),
        ({"formats": ("qcow2",)}, "No acceptable image format supported: qcow2"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_object_that_would_have_none(how: dict[str, Any], text: str) -> None:
    assert text in await refused(image(**how))


@pytest_twisted.ensureDeferred
async def test_an_image_that_is_not_ready_yet() -> None:
    images = StubImages()
    images.not_ready = "base image x is being written"
    assert await refused(image(secret="net"), images) == "base image x is being written"


def test_objects_that_mic_provides_no_images_for() -> None:
    assert is_reconciled(image())
    label = {"infraenvs.agent-install.openshift.io": ""}
    assert not is_reconciled(image(labels=label))
    body = image_body("host")
    body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not is_reconciled(image_from_json(body))

"""Scope: the status of a PreprovisioningImage in the words of all hosts."""

from __future__ import annotations

from typing import Any

import pytest
from kube_samples import image_body

from mic.common.warning import HostWarning
from mic.hosts.archive import HostArchive
from mic.hosts.image_status import image_status
from mic.hosts.status import HostState
from mic.kube.objects import PreprovisioningImage, image_from_json

SINCE = "2026-05-01T12:00:00Z"
AT = 1777636800.0
ARCHIVE = HostArchive(
    data=b"",
    iso_data=b"",
    warnings=(HostWarning("interfaces[0]", "no address", "no address"),),
    network="eno1 192.0.2.1/24",
)


def image(*conditions: tuple[str, str, str]) -> PreprovisioningImage:
    body: dict[str, Any] = image_body("host")
    body["metadata"]["creationTimestamp"] = "1970-01-01T00:01:40Z"
    body["status"] = {
        "imageUrl": "http://images.example/secret.iso",
        "conditions": [
            {"type": kind, "status": status, "message": message, "lastTransitionTime": SINCE}
            for kind, status, message in conditions
        ],
    }
    return image_from_json(body)


READY = image(("Ready", "True", "Generated image"), ("Error", "False", ""))
FAILED = image(("Ready", "False", ""), ("Error", "True", "no such Secret"))


@pytest.mark.parametrize(
    ("of", "archive", "state", "reason"),
    [
        (READY, ARCHIVE, HostState.READY, ""),
        (READY, None, HostState.WAITING, "this process has not built its image yet"),
        (FAILED, None, HostState.FAILED, "no such Secret"),
        (FAILED, ARCHIVE, HostState.FAILED, "no such Secret"),
        (image(("Ready", "False", "Config changed")), None, HostState.WAITING, "Config changed"),
    ],
)
def test_states_and_reasons(
    of: PreprovisioningImage, archive: HostArchive | None, state: HostState, reason: str
) -> None:
    status = image_status(of, archive)
    assert (status.namespace, status.name) == ("hosts", "host")
    assert (status.state, status.reason, status.since) == (state, reason, AT)
    assert "secret.iso" not in repr(status)


def test_network_and_warnings_are_those_of_the_image_that_is_served() -> None:
    status = image_status(READY, ARCHIVE)
    assert status.network == "eno1 192.0.2.1/24"
    assert status.warnings == ("interfaces[0]: no address",)
    assert image_status(FAILED, ARCHIVE).warnings == ()


def test_an_object_without_a_status_waits_since_its_creation() -> None:
    status = image_status(image(), None)
    assert (status.state, status.since) == (HostState.WAITING, 100.0)
    assert status.reason == "not reconciled yet"


def test_a_refusal_of_the_api_server_is_the_reason() -> None:
    status = image_status(image(), None, refusal="update images: 403")
    assert status.reason == "update images: 403"
    assert image_status(READY, ARCHIVE, refusal="update images: 403").reason == ""

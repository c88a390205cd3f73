"""Scope: the decision of one pass, as a table over Metal3's contract: no clock, API or images."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kube_samples import bmo_verdict, condition, image_body, secret_body

from mic.errors import BuildInvalid, NotReady
from mic.kube.decide import (
    Action,
    AddFinalizer,
    Build,
    Forget,
    Observation,
    ReadSecret,
    Release,
    Serve,
    Wait,
    WriteStatus,
    decide,
    follow,
)
from mic.kube.images import GeneratedImage
from mic.kube.objects import (
    FINALIZER,
    HANDED_OVER_LABEL,
    NetworkData,
    NetworkSecret,
    PreprovisioningImage,
    Status,
    image_from_json,
    secret_from_json,
    secret_owned,
    status_from_json,
    status_to_json,
)

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
URL = GeneratedImage(image_url="http://x/1.iso")


def _image(*finalizers: str, status: Status | None = None, **how: Any) -> PreprovisioningImage:
    deleting = how.pop("deleting", False)
    body = image_body("host", **how)
    body["metadata"].update(uid="u1", generation=3, resourceVersion="10")
    body["metadata"]["finalizers"] = list(finalizers)
    if deleting:
        body["metadata"]["deletionTimestamp"] = "2026-05-01T11:00:00Z"
    if status is not None:
        body["status"] = status_to_json(status)
    return image_from_json(body)


def _secret(image: PreprovisioningImage, nmstate: bytes | None = b"{}", version: str = "7") -> Any:
    body = secret_owned(secret_body("net", nmstate), image)
    body["metadata"]["resourceVersion"] = version
    return secret_from_json(body)


def _seen(image: PreprovisioningImage | None, **how: Any) -> Observation:
    values: dict[str, Any] = {
        "image": image,
        "now": NOW,
        "host_architecture": "x86_64",
        "supports_architecture": True,
        "supported_formats": frozenset({"iso", "initrd"}),
        "served": True,
    }
    return Observation(**{**values, **how})


def _settle(
    image: PreprovisioningImage, *, passes: int = 1, secret: NetworkSecret | None = None, **how: Any
) -> tuple[Status, WriteStatus]:
    """The status after some passes whose writes succeed, and the last of them."""
    outcome = how.pop("outcome", URL)
    for _ in range(passes):
        seen = _seen(image, secret_read=True, secret=secret, **how)
        action: Action = decide(seen)
        if isinstance(action, Build):
            action = decide(replace(seen, outcome=outcome))
        assert isinstance(action, WriteStatus)
        image = replace(image, status=action.status)
    return image.status, action


@pytest.mark.parametrize(
    ("image", "action"),
    [
        (None, Forget()),
        (_image(), AddFinalizer(finalizers=(FINALIZER,))),
        (_image("other"), AddFinalizer(finalizers=("other", FINALIZER))),
        (_image(FINALIZER, deleting=True), Release(finalizers=())),
        (_image(deleting=True), Forget()),
        (_image("other", deleting=True), Wait()),
        (_image(FINALIZER, "other", deleting=True), Wait()),
        (
            _image(FINALIZER, "other", labels={HANDED_OVER_LABEL: ""}),
            Release(finalizers=("other",)),
        ),
        (_image("other", labels={HANDED_OVER_LABEL: "x"}), Forget()),
        (_image(FINALIZER, secret="net"), ReadSecret(name="net")),
    ],
)
def test_what_comes_before_any_status(image: PreprovisioningImage | None, action: Action) -> None:
    assert decide(_seen(image)) == action


def test_a_new_object_is_configured_first_and_built_in_the_next_pass() -> None:
    image = _image(FINALIZER)
    status, _ = _settle(image)
    assert (status.format, status.architecture, status.image_url) == ("iso", "x86_64", "")
    assert not status.is_true("Ready")
    status, write = _settle(image, passes=2)
    assert status.image_url == URL.image_url
    assert status.is_true("Ready")
    assert write.again is None
    assert decide(_seen(replace(image, status=status), outcome=URL)) == WriteStatus(status=status)


def test_a_changed_secret_takes_three_passes_and_ready_never_stands_beside_the_old_url() -> None:
    image = _image(FINALIZER, secret="net")
    ready, _ = _settle(image, passes=2, secret=_secret(image))
    image = replace(image, status=ready)
    changed = _secret(image, version="8")
    first, _ = _settle(image, secret=changed)
    assert not first.is_true("Ready")
    assert replace(first, conditions=()) == replace(ready, conditions=())
    second, _ = _settle(image, passes=2, secret=changed)
    assert (second.image_url, second.network_data) == ("", NetworkData(name="net", version="8"))
    new = GeneratedImage(image_url="http://x/2.iso")
    third, _ = _settle(image, passes=3, secret=changed, outcome=new)
    assert third.is_true("Ready")
    assert third.image_url == new.image_url


@pytest.mark.parametrize(
    ("how", "reason", "message", "again"),
    [
        (
            {"supports_architecture": False},
            "ConfigurationError",
            "Architecture not supported",
            None,
        ),
        (
            {"supported_formats": frozenset()},
            "ConfigurationError",
            "No acceptable image format supported",
            None,
        ),
        ({"secret": None}, "MissingNetworkData", "NetworkData secret not found", 10),
        (
            {"outcome": BuildInvalid("line 2: what is this")},
            "ImageBuildInvalid",
            "Cannot generate image: line 2: what is this",
            None,
        ),
    ],
)
def test_errors_say_why_clear_the_url_and_keep_lasttransitiontime(
    how: dict[str, Any], reason: str, message: str, again: int | None
) -> None:
    image = _image(FINALIZER, secret="net")
    ready, _ = _settle(image, passes=2, secret=_secret(image))
    seen = {"secret": _secret(image), **how}
    status, write = _settle(replace(image, status=ready), **seen)
    error, unready = status.condition("Error"), status.condition("Ready")
    assert error is not None
    assert unready is not None
    assert (error.status, error.reason, error.message) == ("True", reason, message)
    assert (unready.status, unready.reason) == ("False", reason)
    assert error.observed_generation == unready.observed_generation == 3
    assert (status.image_url, status.kernel_url, status.extra_kernel_params) == ("", "", "")
    assert write.again == (None if again is None else timedelta(seconds=again))
    later = {**seen, "now": NOW + timedelta(seconds=100)}
    same, write = _settle(replace(image, status=status), **later)
    assert same == status, "nothing changed, so nothing is written"
    assert write.again == (None if again is None else timedelta(seconds=again + 100))
    longest = {**seen, "now": NOW + timedelta(days=1)}
    _, write = _settle(replace(image, status=status), **longest)
    assert write.again in (None, timedelta(minutes=10))


def test_the_host_controller_shows_an_unsupported_architecture() -> None:
    image = _image(FINALIZER, secret="net", architecture="sparc")
    secret = secret_body("net", b"{}")
    secret["metadata"]["resourceVersion"] = "7"
    status, _ = _settle(image, secret=_secret(image), supports_architecture=False)
    body = {**image.raw, "status": status_to_json(status)}
    assert bmo_verdict(body, secret) == "error Architecture not supported"


def test_a_secret_without_the_key_is_an_error_that_names_both() -> None:
    image = _image(FINALIZER, secret="net")
    status, _ = _settle(image, passes=2, secret=_secret(image, None))
    error = status.condition("Error")
    assert error is not None
    assert "Secret hosts/net" in error.message
    assert "'nmstate'" in error.message


def test_not_ready_is_no_error_and_is_tried_again_after_ten_seconds() -> None:
    status, write = _settle(_image(FINALIZER), passes=2, outcome=NotReady("being copied"))
    body = {"status": status_to_json(status)}
    assert condition(body, "Ready")["message"] == "being copied"
    assert condition(body, "Error")["status"] == "False"
    assert write.again == timedelta(seconds=10)


def test_what_is_built_is_what_was_asked_for() -> None:
    labels = {"coreos.openshift.io/stream": "rhel-9"}
    image = _image(FINALIZER, secret="net", formats=("initrd",), architecture="", labels=labels)
    status, _ = _settle(image, secret=_secret(image))
    seen = _seen(replace(image, status=status), secret_read=True, secret=_secret(image))
    action = decide(seen)
    assert isinstance(action, Build)
    request = action.request
    assert (request.hostname, request.format) == ("host", "initrd")
    assert (request.architecture, request.stream) == ("x86_64", "rhel-9")
    assert request.nmstate == b"{}"
    assert status.architecture == "", "the host controller compares it with spec.architecture"


def test_an_object_on_its_way_out_gets_its_image_back_after_a_restart() -> None:
    ready, _ = _settle(_image(FINALIZER), passes=2)
    image = _image(FINALIZER, "other", deleting=True, status=ready)
    assert decide(_seen(image)) == Wait()
    assert isinstance(decide(_seen(image, served=False)), Build)
    new = GeneratedImage(image_url="http://x/2.iso")
    action = decide(_seen(image, served=False, outcome=new))
    assert isinstance(action, WriteStatus)
    assert action.status.image_url == new.image_url
    ties = _image(FINALIZER, "other", deleting=True, status=ready, secret="net")
    assert decide(_seen(ties, served=False)) == ReadSecret(name="net", write=False)


def test_a_status_survives_being_written_and_read() -> None:
    image = _image(FINALIZER, secret="net")
    status, _ = _settle(image, passes=2, secret=_secret(image))
    assert status_from_json(status_to_json(status)) == status


def test_no_secret_is_in_a_repr() -> None:
    image = _image(FINALIZER, secret="net", status=Status(image_url="http://x/capability.iso"))
    secret = _secret(image, b"password")
    assert "password" not in repr(secret)
    assert "capability" not in repr(image)
    seen = _seen(
        image, secret_read=True, secret=secret, outcome=GeneratedImage(image_url="http://x/s")
    )
    assert "password" not in repr(seen)
    assert "http://x" not in repr(seen)


def _named(image: PreprovisioningImage, secret: NetworkSecret | None = None) -> Any:
    """The object once its status names an image."""
    status, _ = _settle(image, passes=2, secret=secret)
    return replace(image, status=status)


OTHER = frozenset({"initrd"})


@pytest.mark.parametrize(
    ("image", "how", "action"),
    [
        (None, {}, Forget()),
        (_image(FINALIZER, labels={HANDED_OVER_LABEL: ""}), {}, Forget()),
        (_image(), {}, Serve()),
        (_image(FINALIZER, secret="net"), {"secret_read": True}, Serve()),
        (_image(FINALIZER), {"supports_architecture": False}, Serve()),
        (_image(FINALIZER), {"supported_formats": OTHER}, Serve()),
        (_image(FINALIZER, deleting=True), {}, Serve()),
        (_image(FINALIZER), {"outcome": URL}, Serve()),
        (_image(FINALIZER), {"outcome": BuildInvalid("no")}, Serve()),
        (_image(FINALIZER), {"outcome": NotReady("soon")}, Serve(again=timedelta(seconds=10))),
    ],
)
def test_a_replica_that_follows_serves_and_never_writes(
    image: PreprovisioningImage | None, how: dict[str, Any], action: object
) -> None:
    assert follow(_seen(image, **how)) == action


def test_a_follower_builds_what_the_leader_builds() -> None:
    image = _image(FINALIZER, secret="net")
    secret = _secret(image)
    seen = _seen(_named(image, secret), secret_read=True, secret=secret)
    assert follow(seen) == decide(seen)
    assert isinstance(follow(seen), Build)
    # And before the leader has written the configuration that leads to it.
    assert follow(replace(seen, image=image)) == follow(seen)


def test_a_follower_builds_nothing_of_a_secret_without_network_data() -> None:
    image = _image(FINALIZER, secret="net")
    seen = _seen(image, secret_read=True, secret=_secret(image, nmstate=None))
    assert follow(seen) == Serve()


def test_a_follower_builds_for_an_object_on_its_way_out_what_its_status_names() -> None:
    image = _image(FINALIZER, "bmo", secret="net", deleting=True)
    live = _image(FINALIZER, "bmo", secret="net")
    named = replace(image, status=_named(live, _secret(image)).status)
    seen = _seen(named, secret_read=True, secret=_secret(image))
    assert isinstance(follow(seen), Build)
    changed = _secret(image, version="8")
    assert follow(replace(seen, secret=changed)) == Serve()


def test_a_follower_builds_nothing_for_an_object_on_its_way_out_that_was_never_ready() -> None:
    live = _image(FINALIZER, "bmo")
    configured, _ = _settle(live)
    image = replace(_image(FINALIZER, "bmo", deleting=True), status=configured)
    assert follow(_seen(image)) == Serve()
    assert decide(_seen(image, served=False)) == Wait()

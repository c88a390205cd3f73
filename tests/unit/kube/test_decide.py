"""Scope: the decision of one pass, as a table over Metal3's contract: no clock, API or images."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kube_samples import bmo_verdict, condition, image_body, secret_body

from mic.common.errors import BuildInvalid, NotReady
from mic.kube.actions import (
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
)
from mic.kube.builds import Built
from mic.kube.decide import decide, follow
from mic.kube.objects import (
    ASSISTED_INSTALLER_LABEL,
    FINALIZER,
    LARGE_DOCUMENT,
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
URL = Built(image_url="http://x/1.iso")


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
            _image(FINALIZER, "other", labels={ASSISTED_INSTALLER_LABEL: ""}),
            Release(finalizers=("other",)),
        ),
        (_image("other", labels={ASSISTED_INSTALLER_LABEL: "x"}), Forget()),
        (_image(FINALIZER, secret="net"), ReadSecret(name="net")),
    ],
)
def test_first_action_before_any_status(image: PreprovisioningImage | None, action: Action) -> None:
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


def test_a_changed_secret_takes_three_steps_and_is_never_ready_with_the_old_url() -> None:
    image = _image(FINALIZER, secret="net")
    ready, _ = _settle(image, passes=2, secret=_secret(image))
    image = replace(image, status=ready)
    changed = _secret(image, version="8")
    new = Built(image_url="http://x/2.iso")
    first, _ = _settle(image, secret=changed, outcome=new)
    assert not first.is_true("Ready")
    assert replace(first, conditions=()) == replace(ready, conditions=())
    second, _ = _settle(image, passes=2, secret=changed, outcome=new)
    assert (second.image_url, second.network_data) == ("", NetworkData(name="net", version="8"))
    third, _ = _settle(image, passes=3, secret=changed, outcome=new)
    assert third.is_true("Ready")
    assert third.image_url == new.image_url


@pytest.mark.parametrize("outcome", [BuildInvalid("line 1: what is this"), NotReady("copied")])
def test_a_changed_secret_that_makes_no_image_takes_ready_back_first(outcome: Exception) -> None:
    image = _image(FINALIZER, secret="net")
    ready, _ = _settle(image, passes=2, secret=_secret(image))
    image = replace(image, status=ready)
    changed = _secret(image, version="8")
    first, write = _settle(image, secret=changed, outcome=outcome)
    assert not first.is_true("Ready")
    assert replace(first, conditions=()) == replace(ready, conditions=())
    assert write.again is None


def test_a_changed_secret_that_makes_the_same_image_takes_one_write() -> None:
    image = _image(FINALIZER, secret="net")
    ready, _ = _settle(image, passes=2, secret=_secret(image))
    image = replace(image, status=ready)
    status, write = _settle(image, secret=_secret(image, version="8"))
    assert status.network_data == NetworkData(name="net", version="8")
    assert replace(status, network_data=ready.network_data) == ready
    assert write.again is None
    renamed = secret_from_json(secret_owned(secret_body("other", b"{}"), image))
    image = replace(image, generation=4, network_data_name="other")
    status, _ = _settle(image, secret=renamed)
    assert status.network_data.name == "other"
    assert status.image_url == ready.image_url
    assert status.is_true("Ready")
    assert [each.observed_generation for each in status.conditions] == [4, 4]


@pytest.mark.parametrize(
    ("how", "reason", "message", "again"),
    [
        (
            {"supports_architecture": False, "architectures": ("aarch64", "s390x")},
            "ConfigurationError",
            "Architecture not supported: x86_64; there are base images for aarch64, s390x",
            None,
        ),
        (
            {"supported_formats": frozenset({"initrd"})},
            "ConfigurationError",
            "No acceptable image format supported: iso; there are base images for initrd",
            None,
        ),
        (
            {"secret": None},
            "MissingNetworkData",
            "NetworkData secret not found: hosts/net; mic notices a new Secret at once if it has "
            "the label environment.metal3.io=baremetal, and otherwise when it looks for it next",
            10,
        ),
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
    assert bmo_verdict(body, secret) == (
        "error Architecture not supported: sparc; there are base images for none"
    )


@pytest.mark.parametrize(
    ("asked", "begins"),
    [
        ("arm64", "Architecture not supported: arm64; the kernel calls it aarch64;"),
        ("AMD64", "Architecture not supported: AMD64; the kernel calls it x86_64;"),
        ("", "Architecture not supported: x86_64; there are base images for aarch64"),
        ("x\n\x1b" + "y" * 100_000, r"Architecture not supported: x\n\x1byyy"),
    ],
)
def test_names_an_architecture_as_requested(asked: str, begins: str) -> None:
    image = _image(FINALIZER, architecture=asked)
    how: dict[str, Any] = {"supports_architecture": False, "architectures": ("aarch64",)}
    error = _settle(image, **how)[0].condition("Error")
    assert error is not None
    assert error.message.startswith(begins)
    assert error.message.isprintable()
    assert len(error.message) < 300


def test_no_format_at_all_is_named() -> None:
    error = _settle(_image(FINALIZER, formats=()))[0].condition("Error")
    assert error is not None
    assert error.message == (
        "No acceptable image format supported: spec.acceptFormats is empty; "
        "there are base images for initrd, iso"
    )


@pytest.mark.parametrize("name", ["a/b", ".", "..", "A", "a..b", "%2f", "é", "a" * 254, "a\x1b"])
def test_a_name_that_no_secret_can_have_is_the_objects_error_and_nothing_is_read(name: str) -> None:
    image = _image(FINALIZER, secret=name)
    action = decide(_seen(image))
    assert isinstance(action, WriteStatus)
    assert action.again is None, "until the object changes"
    error = action.status.condition("Error")
    assert error is not None
    assert (error.status, error.reason) == ("True", "ConfigurationError")
    assert error.message.startswith(f"spec.networkDataName {name!r} cannot be the name of a Secret")
    assert error.message.isprintable()
    status = action.status
    assert (status.format, status.architecture) == ("iso", "x86_64"), "else it is shown to nobody"
    again = decide(_seen(replace(image, status=status)))
    assert again == WriteStatus(status=status)


@pytest.mark.parametrize("deleting", [False, True])
def test_a_name_that_no_secret_can_have_is_never_read_on_the_way_out_either(deleting: bool) -> None:
    ready = _settle(_image(FINALIZER), passes=2)[0]
    image = _image(FINALIZER, "other", secret="a/b", deleting=deleting, status=ready)
    assert not isinstance(decide(_seen(image, served=False)), ReadSecret)
    assert follow(_seen(image, secret_read=True)) == Serve()


def test_a_long_name_is_quoted_in_part() -> None:
    action = decide(_seen(_image(FINALIZER, secret="x" * 1_000_000)))
    assert isinstance(action, WriteStatus)
    error = action.status.condition("Error")
    assert error is not None
    assert len(error.message) < 1000


def test_a_secret_without_the_key_is_an_error_that_names_it_and_the_keys_it_has() -> None:
    image = _image(FINALIZER, secret="net")
    status, write = _settle(image, passes=2, secret=_secret(image, None))
    error = status.condition("Error")
    assert error is not None
    assert error.message == (
        "Cannot generate image: Secret hosts/net has no key 'nmstate', 'networkData' or "
        "'value' (network data), "
        "'kernelArguments' or 'ignition'; "
        "its keys are other"
    )
    assert write.again is None, "it is claimed: the watch reports changes"


@pytest.mark.parametrize("how", [{"labels": {"environment.metal3.io": "baremetal"}}, {}])
def test_an_unclaimed_secret_without_the_key_is_read_again_as_a_missing_one_is(
    how: dict[str, Any],
) -> None:
    image = _image(FINALIZER, secret="net")
    body = secret_body("net", None, **how)
    body["metadata"]["resourceVersion"] = "7"
    body["data"] = {f"key-{number:05}": "dmFsdWU=" for number in range(2000)}
    secret = secret_from_json(body)
    status, write = _settle(image, passes=2, secret=secret)
    error = status.condition("Error")
    assert error is not None
    assert error.message.endswith("key-00008, key-00009 and 1990 more")
    assert write.again == timedelta(seconds=10)
    _, write = _settle(
        replace(image, status=status), secret=secret, now=NOW + timedelta(seconds=100)
    )
    assert write.again == timedelta(seconds=110)


def test_a_secret_of_no_keys_is_said_to_have_none() -> None:
    image = _image(FINALIZER, secret="net")
    body = secret_body("net", None)
    body["data"] = None
    status, _ = _settle(image, passes=2, secret=secret_from_json(body))
    error = status.condition("Error")
    assert error is not None
    assert error.message.endswith("'kernelArguments' or 'ignition'; its keys are none")


def test_not_ready_is_no_error_and_is_tried_again_after_ten_seconds() -> None:
    status, write = _settle(_image(FINALIZER), passes=2, outcome=NotReady("being copied"))
    body = {"status": status_to_json(status)}
    assert condition(body, "Ready")["message"] == "being copied"
    assert condition(body, "Error")["status"] == "False"
    assert write.again == timedelta(seconds=10)


def test_builds_what_was_requested() -> None:
    labels = {"coreos.openshift.io/stream": "rhel-9"}
    image = _image(FINALIZER, secret="net", formats=("initrd",), architecture="", labels=labels)
    status, _ = _settle(image, secret=_secret(image))
    seen = _seen(replace(image, status=status), secret_read=True, secret=_secret(image))
    action = decide(seen)
    assert isinstance(action, Build)
    request = action.request
    assert (request.hostname, request.format) == ("host", "initrd")
    assert (request.architecture, request.stream) == ("x86_64", "rhel-9")
    assert request.data.network == b"{}"
    assert status.architecture == "", "the host controller compares it with spec.architecture"


def test_an_object_on_its_way_out_gets_its_image_back_after_a_restart() -> None:
    ready, _ = _settle(_image(FINALIZER), passes=2)
    image = _image(FINALIZER, "other", deleting=True, status=ready)
    assert decide(_seen(image)) == Wait()
    assert isinstance(decide(_seen(image, served=False)), Build)
    new = Built(image_url="http://x/2.iso")
    action = decide(_seen(image, served=False, outcome=new))
    assert isinstance(action, WriteStatus)
    assert action.status.image_url == new.image_url
    ties = _image(FINALIZER, "other", deleting=True, status=ready, secret="net")
    assert decide(_seen(ties, served=False)) == ReadSecret(name="net", write=False)


def test_an_object_on_its_way_out_gets_its_image_back_when_the_secrets_metadata_changed() -> None:
    live = _image(FINALIZER, "other", secret="net")
    ready, _ = _settle(live, passes=2, secret=_secret(live))
    image = _image(FINALIZER, "other", deleting=True, status=ready, secret="net")
    seen = _seen(image, served=False, secret_read=True, secret=_secret(image, version="8"))
    assert isinstance(decide(seen), Build)
    same = decide(replace(seen, outcome=URL))
    assert isinstance(same, WriteStatus)
    assert same.status.image_url == ready.image_url
    assert decide(replace(seen, outcome=Built(image_url="http://x/2.iso"))) == Wait()
    assert decide(replace(seen, outcome=BuildInvalid("no"))) == Wait()
    assert decide(replace(seen, secret=None)) == Wait()
    assert decide(replace(seen, secret=_secret(image, None))) == Wait()
    assert decide(replace(seen, supported_formats=frozenset())) == Wait()


def test_a_status_survives_being_written_and_read() -> None:
    image = _image(FINALIZER, secret="net")
    status, _ = _settle(image, passes=2, secret=_secret(image))
    assert status_from_json(status_to_json(status)) == status


def test_no_secret_is_in_a_repr() -> None:
    image = _image(FINALIZER, secret="net", status=Status(image_url="http://x/capability.iso"))
    secret = _secret(image, b"password")
    assert "password" not in repr(secret)
    assert "capability" not in repr(image)
    seen = _seen(image, secret_read=True, secret=secret, outcome=Built(image_url="http://x/s"))
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
        (_image(FINALIZER, labels={ASSISTED_INSTALLER_LABEL: ""}), {}, Forget()),
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


def test_a_follower_builds_the_image_of_a_deleted_object_that_its_status_names() -> None:
    image = _image(FINALIZER, "bmo", secret="net", deleting=True)
    live = _image(FINALIZER, "bmo", secret="net")
    named = replace(image, status=_named(live, _secret(image)).status)
    seen = _seen(named, secret_read=True, secret=_secret(image))
    assert isinstance(follow(seen), Build)
    # Of changed metadata may come the same image: its name tells.
    changed = _secret(image, version="8")
    assert isinstance(follow(replace(seen, secret=changed)), Build)


def test_a_follower_builds_nothing_for_an_object_on_its_way_out_that_was_never_ready() -> None:
    live = _image(FINALIZER, "bmo")
    configured, _ = _settle(live)
    image = replace(_image(FINALIZER, "bmo", deleting=True), status=configured)
    assert follow(_seen(image)) == Serve()
    assert decide(_seen(image, served=False)) == Wait()


@pytest.mark.parametrize("size", [0, 1, 2, 3, LARGE_DOCUMENT, LARGE_DOCUMENT + 1, 900_000])
def test_the_mirror_keeps_no_large_document_and_knows_its_size(size: int) -> None:
    body = secret_owned(secret_body("net", b"#" * size), _image(secret="net"))
    mirrored, whole = secret_from_json(body), secret_from_json(body, keep_data=True)
    assert mirrored.size == whole.size == size
    assert whole.data.network == b"#" * size
    assert mirrored.data.network == (None if size > LARGE_DOCUMENT else whole.data.network)
    assert mirrored.lacks_document == (size > LARGE_DOCUMENT)
    assert not whole.lacks_document
    assert mirrored.has_data


@pytest.mark.parametrize("key", ["kernelArguments", "ignition"])
def test_a_secret_without_network_data_is_a_host_on_dhcp(key: str) -> None:
    image = _image(FINALIZER, secret="net")
    body = secret_owned(secret_body("net", None), image)
    body["data"] = {key: base64.b64encode(b"quiet").decode(), "other": "b3RoZXI="}
    secret = secret_from_json(body)
    seen = _seen(image, secret_read=True, secret=secret)
    for _ in range(3):
        action = decide(seen)
        if isinstance(action, Build):
            break
        assert isinstance(action, WriteStatus)
        seen = replace(seen, image=replace(image, status=action.status))
    assert isinstance(action, Build)
    given = action.request.data
    assert given.network is None
    assert {given.kernel_arguments, given.ignition} == {b"quiet", None}

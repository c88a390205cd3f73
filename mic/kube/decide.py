"""Decides what to do about one PreprovisioningImage: from an observation to the next action.

Pure: no clock, no API, no images. `decide` is called repeatedly, each time with more observed (the
Secret read, the image built), until it returns a last action. The rules are Metal3's, as
implemented by baremetal-operator's own image controller and checked by its host controller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mic.common.errors import BuildInvalid, NotReady
from mic.common.host_data import HostData
from mic.common.kube_names import subdomain_problem
from mic.kube import texts
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
from mic.kube.builds import BuildRequest, Built
from mic.kube.objects import (
    FINALIZER,
    SECRET_LABEL,
    SECRET_LABEL_VALUE,
    Condition,
    NetworkData,
    NetworkSecret,
    PreprovisioningImage,
    Status,
)
from mic.kube.warnings import one_text

READY = "Ready"
ERROR = "Error"

IMAGE_SUCCESS = "ImageSuccess"
CONFIGURATION_ERROR = "ConfigurationError"
MISSING_NETWORK_DATA = "MissingNetworkData"
IMAGE_BUILD_INVALID = "ImageBuildInvalid"
IMAGE_BUILD_FAILED = "ImageBuildFailed"
"""The reason of the Event about an image that cannot be built."""

CONFIG_CHANGED = "Config changed"
GENERATED = "Generated image"

SHORTEST_RETRY = timedelta(seconds=10)
LONGEST_RETRY = timedelta(minutes=10)

LONGEST_MESSAGE = 32768
"""Maximum characters of a condition's message (``metav1.Condition``)."""


def decide(seen: Observation) -> Action:
    """Return the next action for one object."""
    image = seen.image
    if image is None:
        return Forget()
    ours = FINALIZER in image.finalizers
    others = tuple(each for each in image.finalizers if each != FINALIZER)
    if image.belongs_to_assisted_installer or (image.deleting and not others):
        return Release(finalizers=others) if ours else Forget()
    if image.deleting:
        # The host's owner still needs the image, to clean the host with it.
        return _keep_serving(seen, image) if ours else Wait()
    if not ours:
        return AddFinalizer(finalizers=(*image.finalizers, FINALIZER))
    if _names_a_secret(image) and not seen.secret_read:
        # Before the other checks: Metal3 shows an error only together with current network data.
        return ReadSecret(name=image.network_data_name)
    return _decide_live(seen, image)


def follow(seen: Observation) -> Forget | Build | Serve:
    """Return the next action of a replica that does not lead, after it has read the Secret.

    It serves what the leader's statuses name, and builds ahead what they will name: the leader
    builds the same image from the same input before it writes.
    """
    image = seen.image
    if image is None or image.belongs_to_assisted_installer:
        return Forget()
    secret_missing = bool(image.network_data_name) and seen.secret is None
    if (
        FINALIZER not in image.finalizers
        or secret_missing
        or not seen.supports_architecture
        or not _first_supported(seen, image)
        or (seen.secret is not None and not seen.secret.has_data)
    ):
        return Serve()
    wanted = _wanted(seen, image)
    if image.deleting and not image.status.is_true(READY):
        return Serve()  # no status will name an image
    if seen.outcome is None:
        return Build(request=_request(seen, image, wanted))
    return Serve(again=SHORTEST_RETRY if isinstance(seen.outcome, NotReady) else None)


def _keep_serving(seen: Observation, image: PreprovisioningImage) -> Action:
    """Wait, or after a restart rebuild the image that the status names."""
    if seen.served or not image.status.is_true(READY):
        return Wait()
    if _names_a_secret(image) and not seen.secret_read:
        return ReadSecret(name=image.network_data_name, write=False)
    if image.network_data_name and seen.secret is None:
        return Wait()  # the Secret is gone, or its name is invalid
    if not _first_supported(seen, image):
        return Wait()  # the base images are gone
    wanted = _wanted(seen, image)
    if isinstance(seen.outcome, NotReady):
        return WriteStatus(status=image.status, again=SHORTEST_RETRY)
    if isinstance(seen.outcome, BuildInvalid) or not _has_data(seen):
        return Wait()
    if seen.outcome is None or _configured(image.status, wanted) or _is_same(seen, image):
        return _built(seen, image, wanted)
    return Wait()  # the Secret has changed: this is not the image that the host has


def _decide_live(seen: Observation, image: PreprovisioningImage) -> Action:
    named = bool(image.network_data_name)
    # No watch reports a Secret that is absent or not labelled: poll it.
    unwatched = _names_a_secret(image) and not _is_claimed(seen.secret, image)
    if not seen.supports_architecture:
        text = texts.architecture_text(seen, image)
        return _failed(seen, image, CONFIGURATION_ERROR, text, retry=unwatched)
    if not _first_supported(seen, image):
        text = texts.format_text(seen, image)
        return _failed(seen, image, CONFIGURATION_ERROR, text, retry=unwatched)
    if named and not _names_a_secret(image):
        text = texts.name_text(image)
        return _failed(seen, image, CONFIGURATION_ERROR, text, retry=False)
    if named and seen.secret is None:
        text = (
            f"NetworkData secret not found: {image.key.namespace}/{image.network_data_name}; "
            f"mic notices a new Secret at once if it has the label "
            f"{SECRET_LABEL}={SECRET_LABEL_VALUE}, and otherwise when it looks for it next"
        )
        return _failed(seen, image, MISSING_NETWORK_DATA, text, retry=True)
    wanted = _wanted(seen, image)
    if not _configured(image.status, wanted):
        return _changed(seen, image, wanted)
    return _built(seen, image, wanted)


def _changed(seen: Observation, image: PreprovisioningImage, wanted: _Wanted) -> Action:
    """Keep the image if the new configuration gives the same one, else start to replace it.

    Hosts read images while others write to the Secret: the URL changes only if the bytes do. So the
    image is built before the status reports a change.
    """
    if image.status.is_true(READY) and _has_data(seen):
        if seen.outcome is None:
            return Build(request=_request(seen, image, wanted))
        if _is_same(seen, image):
            return _built(seen, image, wanted)
    return WriteStatus(status=_reconfigured(seen, image, wanted))


def _is_same(seen: Observation, image: PreprovisioningImage) -> bool:
    """Return whether the status names the image that was built: other bytes have another URL."""
    return isinstance(seen.outcome, Built) and seen.outcome.image_url == image.status.image_url


def _names_a_secret(image: PreprovisioningImage) -> bool:
    """Return whether the object names a Secret, by a valid name."""
    return bool(image.network_data_name) and not subdomain_problem(image.network_data_name)


def _has_data(seen: Observation) -> bool:
    """Return whether an image can be built from the Secret, if one is named."""
    return seen.secret is None or seen.secret.has_data


def _is_claimed(secret: NetworkSecret | None, image: PreprovisioningImage) -> bool:
    return secret is not None and secret.labelled and secret.is_owned_by(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Source of the image, as ``status`` names it next to the URL."""

    format: str
    architecture: str
    network_data: NetworkData


def _first_supported(seen: Observation, image: PreprovisioningImage) -> str:
    """Return the first accepted format that mic can provide, empty if there is none."""
    return next((each for each in image.accept_formats if each in seen.supported_formats), "")


def _network_data(seen: Observation) -> NetworkData:
    if seen.secret is None:
        return NetworkData()
    return NetworkData(name=seen.secret.key.name, version=seen.secret.resource_version)


def _wanted(seen: Observation, image: PreprovisioningImage) -> _Wanted:
    return _Wanted(
        format=_first_supported(seen, image),
        architecture=image.architecture,
        network_data=_network_data(seen),
    )


def _configured(status: Status, wanted: _Wanted) -> bool:
    """Return whether the status names what is wanted, with or without an image."""
    return (
        status.format == wanted.format
        and status.architecture == wanted.architecture
        and status.network_data == wanted.network_data
    )


def _reconfigured(seen: Observation, image: PreprovisioningImage, wanted: _Wanted) -> Status:
    """Return the status that is one step closer to another configuration.

    First not ready, then the new configuration without a URL, and only then the image is built: a
    consumer never sees ``Ready`` with an outdated URL, and no image is built without a status.
    """
    unready = _condition(image, READY, False, IMAGE_SUCCESS, CONFIG_CHANGED)
    if image.status.is_true(READY):
        return image.status.with_condition(unready, now=seen.now)
    emptied = replace(
        image.status,
        image_url="",
        kernel_url="",
        extra_kernel_params="",
        format=wanted.format,
        architecture=wanted.architecture,
        network_data=wanted.network_data,
    )
    no_error = _condition(image, ERROR, False, IMAGE_SUCCESS, "")
    return emptied.with_condition(unready, now=seen.now).with_condition(no_error, now=seen.now)


def _built(seen: Observation, image: PreprovisioningImage, wanted: _Wanted) -> Action:
    """Build the image, and write the result."""
    outcome = seen.outcome
    if outcome is None:
        if seen.secret is not None and not seen.secret.has_data:
            # No retry for a claimed Secret: the watch reports a key that is added later.
            retry = not _is_claimed(seen.secret, image)
            return _invalid(seen, image, texts.no_data_text(seen.secret), retry=retry)
        return Build(request=_request(seen, image, wanted))
    if isinstance(outcome, BuildInvalid):
        return _invalid(seen, image, str(outcome))
    if isinstance(outcome, NotReady):
        unready = _condition(image, READY, False, IMAGE_SUCCESS, str(outcome))
        return WriteStatus(
            status=image.status.with_condition(unready, now=seen.now), again=SHORTEST_RETRY
        )
    served = replace(
        image.status,
        image_url=outcome.image_url,
        kernel_url=outcome.kernel_url,
        extra_kernel_params=outcome.extra_kernel_params,
        format=wanted.format,
        architecture=wanted.architecture,
        network_data=wanted.network_data,
    )
    text = "; ".join(filter(None, (GENERATED, one_text(outcome.warnings))))
    ready = _condition(image, READY, True, IMAGE_SUCCESS, text)
    no_error = _condition(image, ERROR, False, IMAGE_SUCCESS, "")
    return WriteStatus(
        status=served.with_condition(ready, now=seen.now).with_condition(no_error, now=seen.now)
    )


def _invalid(
    seen: Observation, image: PreprovisioningImage, text: str, *, retry: bool = False
) -> WriteStatus:
    return _failed(seen, image, IMAGE_BUILD_INVALID, f"Cannot generate image: {text}", retry=retry)


def _request(seen: Observation, image: PreprovisioningImage, wanted: _Wanted) -> BuildRequest:
    return BuildRequest(
        namespace=image.key.namespace,
        name=image.key.name,
        uid=image.uid,
        created=image.created,
        hostname=image.key.name,
        format=wanted.format,
        architecture=wanted.architecture or seen.host_architecture,
        stream=image.stream,
        data=seen.secret.data if seen.secret is not None else HostData(),
    )


def _failed(
    seen: Observation, image: PreprovisioningImage, reason: str, message: str, *, retry: bool
) -> WriteStatus:
    """Return the status of an error, and the retry delay, which grows with the error's age.

    Metal3's host controller shows an error only if architecture, format and network data are those
    that it requested: they are set as far as they are known.
    """
    known_format = _first_supported(seen, image)
    if not known_format and not seen.supports_architecture:
        known_format = next((each for each in image.accept_formats if each in texts.FORMATS), "")
    emptied = replace(
        image.status,
        image_url="",
        kernel_url="",
        extra_kernel_params="",
        format=known_format,
        architecture=image.architecture,
        network_data=_network_data(seen),
    )
    status = emptied.with_condition(
        _condition(image, READY, False, reason, ""), now=seen.now
    ).with_condition(_condition(image, ERROR, True, reason, message), now=seen.now)
    return WriteStatus(status=status, again=_error_age_delay(seen, status) if retry else None)


def _error_age_delay(seen: Observation, status: Status) -> timedelta:
    error = status.condition(ERROR)
    assert error is not None  # noqa: S101 - the caller has just set it
    try:
        since = datetime.fromisoformat(error.last_transition_time)
    except ValueError:
        return SHORTEST_RETRY
    if since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    # A clock set back must not make the delay negative.
    age = max(seen.now - since, timedelta())
    return min(SHORTEST_RETRY + age, LONGEST_RETRY)


def _condition(
    image: PreprovisioningImage, kind: str, value: bool, reason: str, message: str
) -> Condition:
    if len(message) > LONGEST_MESSAGE:
        message = message[: LONGEST_MESSAGE - 1] + "…"
    return Condition(
        type=kind,
        status="True" if value else "False",
        reason=reason,
        message=message,
        observed_generation=image.generation,
    )

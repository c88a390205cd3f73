"""What to do about one PreprovisioningImage: from what was observed to the next action.

Pure: no clock, no API, no images. `decide` is asked again and again with ever more observed (the
Secret read, the image built) until it names an action that ends the pass. The rules are Metal3's,
as baremetal-operator's own image controller has them and as its host controller checks them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from mic.errors import BuildInvalid, NotReady
from mic.kube.images import GeneratedImage, ImageRequest
from mic.kube.objects import (
    FINALIZER,
    NMSTATE_KEY,
    Condition,
    NetworkData,
    NetworkSecret,
    PreprovisioningImage,
    Status,
)

READY = "Ready"
ERROR = "Error"

IMAGE_SUCCESS = "ImageSuccess"
CONFIGURATION_ERROR = "ConfigurationError"
MISSING_NETWORK_DATA = "MissingNetworkData"
IMAGE_BUILD_INVALID = "ImageBuildInvalid"

CONFIG_CHANGED = "Config changed"
GENERATED = "Generated image"

FORMATS = ("iso", "initrd")
"""The image formats that the API knows."""

SHORTEST_RETRY = timedelta(seconds=10)
LONGEST_RETRY = timedelta(minutes=10)

LONGEST_MESSAGE = 32768
"""Characters of a condition's message (``metav1.Condition``): a longer one is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is known so far in this pass."""

    image: PreprovisioningImage | None
    """The object, or None when it is gone."""
    now: datetime
    host_architecture: str
    supports_architecture: bool
    """Of the object's architecture and stream."""
    supported_formats: frozenset[str]
    """Of the object's architecture and stream."""
    served: bool
    """Whether ``status.imageUrl`` is an image that we serve at this moment."""
    secret_read: bool = False
    secret: NetworkSecret | None = None
    """The acquired Secret; None after reading means that there is none."""
    outcome: GeneratedImage | BuildInvalid | NotReady | None = None
    """What came of building, once that was tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """The object is no concern of ours any more: serve none of its images. Ends the pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do before the object changes; what is served stays so. Ends the pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddFinalizer:
    """Write the finalizer. Ends the pass: the update brings the object back."""

    finalizers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Serve none of its images, then take our finalizer off. Ends the pass."""

    finalizers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSecret:
    """Acquire this Secret of the object's namespace, then decide again.

    With ``write`` false it is only read: an object on its way out gets no new ties.
    """

    name: str
    write: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Have this image made, then decide again."""

    request: ImageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStatus:
    """Write the status where it differs from what is there, then serve only what it names.

    Ends the pass; ``again`` is when to have another one without any change, None for never.
    """

    status: Status = field(repr=False)
    again: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Serve what was built and what the status names, and no other image of the object.

    Ends the pass of a replica that does not write; ``again`` as in `WriteStatus`.
    """

    again: timedelta | None = None


Action = Forget | Wait | AddFinalizer | Release | ReadSecret | Build | WriteStatus


def decide(seen: Observation) -> Action:
    """The next action of a pass over one object."""
    image = seen.image
    if image is None:
        return Forget()
    ours = FINALIZER in image.finalizers
    others = tuple(each for each in image.finalizers if each != FINALIZER)
    if image.handed_over or (image.deleting and not others):
        return Release(finalizers=others) if ours else Forget()
    if image.deleting:
        # The host's owner still needs the image, to clean the host with it.
        return _keep_serving(seen, image) if ours else Wait()
    if not ours:
        return AddFinalizer(finalizers=(*image.finalizers, FINALIZER))
    if image.network_data_name and not seen.secret_read:
        # Before the other checks: an error is shown to people only beside the current network data.
        return ReadSecret(name=image.network_data_name)
    return _decide_live(seen, image)


def follow(seen: Observation) -> Forget | Build | Serve:
    """The next action of a replica that does not lead, which has read the Secret if it can.

    It serves what the leader's statuses name, and has built what they are about to name before they
    do: the leader builds the same from the same, and writes only then.
    """
    image = seen.image
    if image is None or image.handed_over:
        return Forget()
    secret_missing = bool(image.network_data_name) and seen.secret is None
    if (
        FINALIZER not in image.finalizers
        or secret_missing
        or not seen.supports_architecture
        or not _first_supported(seen, image)
        or (seen.secret is not None and seen.secret.nmstate is None)
    ):
        return Serve()
    wanted = _wanted(seen, image)
    if image.deleting and not (image.status.is_true(READY) and _configured(image.status, wanted)):
        return Serve()  # nothing will be named any more
    if seen.outcome is None:
        return Build(request=_request(seen, image, wanted))
    return Serve(again=SHORTEST_RETRY if isinstance(seen.outcome, NotReady) else None)


def _keep_serving(seen: Observation, image: PreprovisioningImage) -> Action:
    """Nothing, save after a restart: then the URL in the status leads nowhere until built again."""
    if seen.served or not image.status.is_true(READY):
        return Wait()
    if image.network_data_name and not seen.secret_read:
        return ReadSecret(name=image.network_data_name, write=False)
    wanted = _wanted(seen, image)
    if not _configured(image.status, wanted):
        return Wait()  # the Secret has gone or changed meanwhile, or so have the base images
    if isinstance(seen.outcome, NotReady):
        return WriteStatus(status=image.status, again=SHORTEST_RETRY)
    if isinstance(seen.outcome, BuildInvalid):
        return Wait()
    return _built(seen, image, wanted)


def _decide_live(seen: Observation, image: PreprovisioningImage) -> Action:
    # A Secret that is not there may come without the label that would have the watch tell of it.
    secret_missing = bool(image.network_data_name) and seen.secret is None
    if not seen.supports_architecture:
        text = "Architecture not supported"
        return _failed(seen, image, CONFIGURATION_ERROR, text, retry=secret_missing)
    if not _first_supported(seen, image):
        text = "No acceptable image format supported"
        return _failed(seen, image, CONFIGURATION_ERROR, text, retry=secret_missing)
    if secret_missing:
        text = "NetworkData secret not found"
        return _failed(seen, image, MISSING_NETWORK_DATA, text, retry=True)
    wanted = _wanted(seen, image)
    if not _configured(image.status, wanted):
        return WriteStatus(status=_reconfigured(seen, image, wanted))
    return _built(seen, image, wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What the image is to be made from: what ``status`` names beside the URL."""

    format: str
    architecture: str
    network_data: NetworkData


def _first_supported(seen: Observation, image: PreprovisioningImage) -> str:
    """The first acceptable format that we can provide; empty when there is none."""
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
    """Whether the status names what is wanted (whatever has become of the image)."""
    return (
        status.format == wanted.format
        and status.architecture == wanted.architecture
        and status.network_data == wanted.network_data
    )


def _reconfigured(seen: Observation, image: PreprovisioningImage, wanted: _Wanted) -> Status:
    """One step towards another configuration.

    First not ready, then the new configuration without a URL, and only then is it built: a consumer
    never sees ``Ready`` with an outdated URL, and no image is made that no status led to.
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
    """Have the image built, and say what came of it."""
    outcome = seen.outcome
    if outcome is None:
        if seen.secret is not None and seen.secret.nmstate is None:
            return _invalid(
                seen,
                image,
                f"Secret {seen.secret.key} has no key {NMSTATE_KEY!r} (the NMState document)",
            )
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
    ready = _condition(image, READY, True, IMAGE_SUCCESS, GENERATED)
    no_error = _condition(image, ERROR, False, IMAGE_SUCCESS, "")
    return WriteStatus(
        status=served.with_condition(ready, now=seen.now).with_condition(no_error, now=seen.now)
    )


def _invalid(seen: Observation, image: PreprovisioningImage, text: str) -> WriteStatus:
    return _failed(seen, image, IMAGE_BUILD_INVALID, f"Cannot generate image: {text}", retry=False)


def _request(seen: Observation, image: PreprovisioningImage, wanted: _Wanted) -> ImageRequest:
    return ImageRequest(
        namespace=image.key.namespace,
        name=image.key.name,
        uid=image.uid,
        created=image.created,
        hostname=image.key.name,
        format=wanted.format,
        architecture=wanted.architecture or seen.host_architecture,
        stream=image.stream,
        nmstate=seen.secret.nmstate if seen.secret is not None else None,
    )


def _failed(
    seen: Observation, image: PreprovisioningImage, reason: str, message: str, *, retry: bool
) -> WriteStatus:
    """The status of an error, and the delay of a retry that grows with the age of the error.

    Metal3's host controller shows an error only when architecture, format and network data are
    those that it wants: they are set as far as they are known.
    """
    known_format = _first_supported(seen, image)
    if not known_format and not seen.supports_architecture:
        known_format = next((each for each in image.accept_formats if each in FORMATS), "")
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

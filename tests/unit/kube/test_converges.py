"""Scope: the whole controller over the API in memory, in simulated time.

Whatever users, faults and restarts do in whatever order, once they stop, every object reaches the
state that it describes, nothing else is served, and nothing goes on asking. And at no moment does
an object say Ready beside a URL that is not its configuration's.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from kube_memory import MemoryKubernetes
from kube_replicas import START, pass_time
from kube_samples import bmo_verdict, condition, image_body, secret_body
from stub_images import StubImages
from twisted.internet.task import Clock

from mic.kube.api import (
    PREPROVISIONING_IMAGES,
    SECRETS,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Json,
    NotFound,
    Resource,
    TooManyRequests,
    Unavailable,
)
from mic.kube.controller import Controller
from mic.kube.objects import ASSISTED_INSTALLER_LABEL, FINALIZER, LARGE_DOCUMENT
from mic.kube.retained import RETAIN_SECONDS

LARGE = b"interfaces: []\n" + b"#" * LARGE_DOCUMENT
NAMES = ("a", "b", "c")
EVERYTHING = {("iso", "x86_64"), ("initrd", "x86_64")}


class Watched(MemoryKubernetes):
    """Checks each status as it is written, and remembers what each Secret version held."""

    def __init__(self, clock: Clock, images: list[StubImages], random: Random) -> None:
        super().__init__(
            clock, latency=lambda: random.choice((0.001, 0.01, 0.2)), page_size=lambda _: 2
        )
        self.images = images
        self.documents: dict[tuple[str, str], bytes | None] = {}
        self.writes: list[bool] = []
        """For each write whether it came from the replica that led."""
        self.wrong: list[Json] = []
        self.previous: dict[str, tuple[float, str]] = {}
        """By object: when its status ceased to name an image, and which."""

    def _store(self, resource: Resource, old: Json | None, new: Json) -> Json:
        stored = super()._store(resource, old, new)
        if resource == SECRETS:
            encoded = stored["data"].get("nmstate")
            document = None if encoded is None else base64.b64decode(encoded)
            metadata = stored["metadata"]
            self.documents[metadata["name"], metadata["resourceVersion"]] = document
        elif old is not None and stored.get("status") != old.get("status"):
            if not self._is_right(stored):
                self.wrong.append(stored)  # raising would be a failed request
            self._remember(old, stored)
        return stored

    def _remember(self, old: Json, new: Json) -> None:
        before, after = (each.get("status", {}).get("imageUrl", "") for each in (old, new))
        if before and before != after and before in self.images[0].served:
            self.previous[new["metadata"]["name"]] = (self._clock.seconds(), before)

    def lost(self) -> list[str]:
        """The objects whose previous image is gone before its time."""
        lost = []
        for name, (since, url) in self.previous.items():
            image = self.find(PREPROVISIONING_IMAGES, "hosts", name)
            young = self._clock.seconds() - since < RETAIN_SECONDS - 1
            if image and _lives(image) and young and url not in self.images[0].served:
                lost.append(name)
        return lost

    def _is_right(self, image: Json) -> bool:
        status = image["status"]
        ready, error = (condition(image, each).get("status") for each in ("Ready", "Error"))
        if error == "True":
            return ready == "False" and not {"imageUrl", "kernelUrl"} & status.keys()
        if ready == "False":
            return True
        served = [images.served.get(status["imageUrl"]) for images in self.images]
        request = next(filter(None, served), None)
        data = status.get("networkData")
        document = self.documents[data["name"], data["version"]] if data else None
        return (
            request is not None
            and request.uid == image["metadata"]["uid"]
            and request.format == status["format"]
            and request.data.network == document
        )


def _lives(image: Json) -> bool:
    metadata = image["metadata"]
    handed_over = ASSISTED_INSTALLER_LABEL in (metadata.get("labels") or {})
    return not handed_over and "deletionTimestamp" not in metadata


class Client:
    """One replica's way to the API, on which writes are seen by the test."""

    def __init__(self, api: Watched, leads: Callable[[], bool]) -> None:
        self._api = api
        self._leads = leads

    def __getattr__(self, verb: str) -> Any:
        if verb in ("replace", "replace_status"):
            self._api.writes.append(self._leads())
        return getattr(self._api, verb)


class World:
    """A cluster, a controller in it (or two of them, of which one leads), and hands that meddle
    with all."""

    def __init__(self, seed: int, *, replicas: int = 1) -> None:
        self.random = Random(seed)
        self.clock = Clock()
        self.keyed = replicas > 1
        self.replicas = [self._new_images() for _ in range(replicas)]
        self.leader = 0
        self.api = Watched(self.clock, self.replicas, self.random)
        self.controllers = [self.new_controller(number) for number in range(replicas)]

    def _new_images(self) -> StubImages:
        return StubImages(
            self.clock,
            latency=lambda: self.random.choice((0.0, 0.05, 1.0)),
            keyed=self.keyed,
        )

    def new_controller(self, number: int) -> Controller:
        def leads() -> bool:
            return self.leader == number

        controller = Controller(
            api=Client(self.api, leads),  # type: ignore[arg-type]
            images=self.replicas[number],
            namespace="",
            clock=self.clock,
            now=lambda: START + timedelta(seconds=self.clock.seconds()),
            random=self.random,
            leads=leads,
        )
        controller.startService()
        return controller

    def pass_time(self, seconds: float) -> None:
        pass_time(self.clock, seconds)

    def stop(self) -> None:
        for controller in self.controllers:
            stopped = controller.stopService()
            self.pass_time(3.0)
            assert stopped.called

    def meddle(self, what: str, name: str, value: int) -> None:
        """One deed; one that is impossible at the moment is none."""
        with suppress(NotFound, Conflict):
            getattr(self, what)(name, value)
            if what in ("create", "delete", "relabel"):
                self.api.previous.pop(name, None)
        self.pass_time(self.random.choice((0.0, 0.0, 0.01, 0.1, 0.5, 5.0)))
        if len(self.replicas) == 1:
            assert self.api.lost() == []

    def create(self, name: str, value: int) -> None:
        secret = f"net-{name}" if value % 3 else ""
        formats = (("iso",), ("initrd", "iso"), ("initrd",), ())[value % 4]
        architecture = ("x86_64", "", "aarch64")[value % 5 % 3]
        body = image_body(name, secret=secret, formats=formats, architecture=architecture)
        self.api.add(PREPROVISIONING_IMAGES, body)

    def create_secret(self, name: str, value: int) -> None:
        labels = {"environment.metal3.io": "baremetal"} if value % 2 else {}
        body = secret_body(f"net-{name}", _document(value), labels=labels)
        self.api.add(SECRETS, body)

    def edit_secret(self, name: str, value: int) -> None:
        data = secret_body("", _document(value))["data"]
        self.api.edit(SECRETS, "hosts", f"net-{name}", {"data": {"nmstate": None, **data}})

    def touch_secret(self, name: str, value: int) -> None:
        """As others do that keep their finalizers and annotations there."""
        change = {"metadata": {"annotations": {"touched": str(value)}}}
        self.api.edit(SECRETS, "hosts", f"net-{name}", change)

    def unlabel_secret(self, name: str, value: int) -> None:
        change = {"metadata": {"labels": None, "ownerReferences": None}}
        self.api.edit(SECRETS, "hosts", f"net-{name}", change)

    def delete_secret(self, name: str, value: int) -> None:
        self.api.delete(SECRETS, "hosts", f"net-{name}")

    def edit(self, name: str, value: int) -> None:
        secret = (f"net-{name}", f"net/{name}", f"NET-{name}", ".")[value % 13 % 4]
        body = image_body(name, secret=secret, formats=(("iso",), ("initrd",))[value % 2])
        self.api.edit(PREPROVISIONING_IMAGES, "hosts", name, {"spec": body["spec"]})

    def relabel(self, name: str, value: int) -> None:
        label = "yes" if value % 3 else None
        self._edit_metadata(name, {"labels": {ASSISTED_INSTALLER_LABEL: label}})

    def finalizers(self, name: str, value: int) -> None:
        image = self.api.find(PREPROVISIONING_IMAGES, "hosts", name) or {"metadata": {}}
        before = image["metadata"].get("finalizers") or []
        others = ["bmo"] if value % 2 else []
        if others and "bmo" not in before and "deletionTimestamp" in image["metadata"]:
            return  # the server lets nobody add finalizers then
        ours = [each for each in before if each == FINALIZER]
        self._edit_metadata(name, {"finalizers": ours + others})

    def delete(self, name: str, value: int) -> None:
        self.api.delete(PREPROVISIONING_IMAGES, "hosts", name)

    def _edit_metadata(self, name: str, change: dict[str, Any]) -> None:
        self.api.edit(PREPROVISIONING_IMAGES, "hosts", name, {"metadata": change})

    def faults(self, name: str, value: int) -> None:
        errors: list[ApiError] = [
            Unavailable("500"),
            TooManyRequests("429", retry_after=float(value % 7)),
            Forbidden("403", right="update preprovisioningimages"),
            Conflict("409"),
            Gone("410"),
        ]
        error = errors[value % len(errors)]
        often = (0.1, 0.5, 1.0)[value % 3]
        self.api.fault = lambda *_: error if self.random.random() < often else None

    def no_faults(self, name: str, value: int) -> None:
        self.api.fault = lambda *_: None

    def end_watches(self, name: str, value: int) -> None:
        if value % 2:
            self.api.compact()
        self.api.end_watches(Unavailable("reset") if value % 3 else None)

    def bookmark(self, name: str, value: int) -> None:
        self.api.bookmark()

    def base_images(self, name: str, value: int) -> None:
        for images in self.replicas:
            images.change(({("iso", "x86_64")}, EVERYTHING, set())[value % 3])

    def slow_images(self, name: str, value: int) -> None:
        for images in self.replicas:
            images.not_ready = "being copied" if value % 2 else ""

    def restart(self, name: str, value: int) -> None:
        number = value % len(self.controllers)
        stopped = self.controllers[number].stopService()
        self.pass_time(3.0)
        assert stopped.called
        self.replicas[number].served.clear()
        self.api.previous.clear()
        self.controllers[number] = self.new_controller(number)

    def elect(self, name: str, value: int) -> None:
        """Another replica leads from now on, or for a while none does."""
        self.leader = value % (len(self.controllers) + 1)
        for controller in self.controllers:
            controller.leadership_changed()

    def wait(self, name: str, value: int) -> None:
        self.pass_time((0.005, 0.1, 1.0, 30.0)[value % 4])


def _document(value: int) -> bytes | None:
    return (b"interfaces: []\n# 1", LARGE, b"garbage", None)[value % 4]


DEEDS = (
    *("create", "create_secret", "edit_secret", "wait") * 2,
    *("touch_secret", "unlabel_secret", "delete_secret"),
    *("edit", "relabel", "finalizers", "delete"),
    *(
        "faults",
        "no_faults",
        "end_watches",
        "bookmark",
        "base_images",
        "slow_images",
        "restart",
        "wait",
    ),
)


@settings(
    max_examples=150,
    deadline=None,
    # Without shrinking: it takes minutes, and the deeds are few.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(st.sampled_from(DEEDS), st.sampled_from(NAMES), st.integers(0, 59)),
        min_size=15,
        max_size=60,
    ),
)
# Deleted while its image is built, and kept by others: no status will name that image.
@example(
    36,
    [
        ("create", "a", 31),
        ("restart", "c", 19),
        ("edit", "a", 13),
        ("create_secret", "a", 5),
        ("base_images", "c", 38),
        ("unlabel_secret", "a", 56),
        ("delete_secret", "c", 15),
        ("finalizers", "a", 19),
        ("delete", "a", 3),
    ],
)
def test_every_object_reaches_the_state_it_describes(
    seed: int, deeds: list[tuple[str, str, int]]
) -> None:
    _meddle_and_settle(World(seed), deeds)


@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.integers(0, 2**32),
    st.lists(
        st.tuples(
            st.sampled_from([*DEEDS, *["elect"] * 4]), st.sampled_from(NAMES), st.integers(0, 59)
        ),
        min_size=15,
        max_size=60,
    ),
)
def test_all_replicas_come_to_serve_what_the_leading_one_writes(
    seed: int, deeds: list[tuple[str, str, int]]
) -> None:
    world = World(seed, replicas=2)
    _meddle_and_settle(world, deeds)


def _meddle_and_settle(world: World, deeds: list[tuple[str, str, int]]) -> None:
    for what, name, value in deeds:
        world.meddle(what, name, value)
    world.no_faults("", 0)
    world.slow_images("", 0)
    world.base_images("", 1)
    if world.leader == len(world.controllers):
        world.elect("", 0)
    # Longer than any back-off: a key may have begun its 1000 s when the deeds ended.
    world.pass_time(4000)
    assert world.api.wrong == []
    assert all(world.api.writes)
    for images in world.replicas:
        assert_converged(world, images)
    asked = len(world.api.requests)
    world.pass_time(200)
    # Nothing is left to ask for but the Secrets that no watch reports, every 10 s at the latest.
    unwatched = sum(
        bool(image["spec"].get("networkDataName")) and not _is_claimed(world, image)
        for image in world.api.all(PREPROVISIONING_IMAGES)
    )
    assert len(world.api.requests) - asked <= 21 * unwatched
    if world.keyed:
        _assert_that_taking_over_writes_nothing(world)
    world.stop()
    assert [call for call in world.clock.getDelayedCalls() if call.active()] == []


def _assert_that_taking_over_writes_nothing(world: World) -> None:
    before = len(world.api.writes)
    world.elect("", world.leader + 1 if world.leader == 0 else 0)
    world.pass_time(1000)
    assert world.api.writes[before:] == []
    for images in world.replicas:
        assert_converged(world, images)


def _is_claimed(world: World, image: Json) -> bool:
    secret = world.api.find(SECRETS, "hosts", image["spec"]["networkDataName"])
    metadata = {} if secret is None else secret["metadata"]
    owners = [ref["uid"] for ref in metadata.get("ownerReferences") or []]
    return image["metadata"]["uid"] in owners and "labels" in metadata


def assert_converged(world: World, images: StubImages) -> None:
    named = set()
    for image in world.api.all(PREPROVISIONING_IMAGES):
        metadata = image["metadata"]
        finalizers = metadata.get("finalizers") or []
        if ASSISTED_INSTALLER_LABEL in (metadata.get("labels") or {}):
            assert FINALIZER not in finalizers
            continue
        if "deletionTimestamp" in metadata:
            assert finalizers != [FINALIZER]
            named.add(image.get("status", {}).get("imageUrl"))
            continue
        assert FINALIZER in finalizers
        named.add(image["status"].get("imageUrl"))
        spec = image["spec"]
        secret_name = spec.get("networkDataName", "")
        secret = world.api.find(SECRETS, "hosts", secret_name) if secret_name else None
        verdict = bmo_verdict(image, secret)
        error = condition(image, "Error")
        document = None if secret is None else secret["data"].get("nmstate")
        if spec.get("architecture", "x86_64") != "x86_64":
            assert error["message"].startswith("Architecture not supported: aarch64")
        elif not spec["acceptFormats"]:
            assert error["message"].startswith("No acceptable image format supported: ")
        elif secret_name and not secret_name.startswith("net-"):
            assert error["reason"] == "ConfigurationError"
            assert error["message"].startswith(f"spec.networkDataName {secret_name!r} cannot be ")
        elif secret_name and secret is None:
            start = f"NetworkData secret not found: hosts/{secret_name}; "
            assert error["message"].startswith(start)
        elif secret is not None and (document is None or b"garbage" in base64.b64decode(document)):
            assert verdict.startswith("error Cannot generate image: ")
        else:
            assert verdict == f"image {image['status']['imageUrl']}"
            assert image["status"]["imageUrl"] in images.served
            assert image["status"]["format"] == spec["acceptFormats"][0]
        if document is not None:
            assert _is_claimed(world, image)
    assert set(images.served) <= named, "an image is served that no object names"

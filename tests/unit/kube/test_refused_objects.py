"""Scope: objects that the API server refuses, or that name what cannot be, beside a victim.

The victim becomes Ready as if it were alone, a restarted process becomes ready, and what is asked
on behalf of the others is bounded. What concerns all objects is another matter: test_converges.py
and, for rates before a real API server, tests/e2e/test_bad_days.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kube_memory import MemoryKubernetes
from kube_replicas import Replica, pass_time
from kube_samples import bmo_verdict, condition, image_body, secret_body
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from mic.kube.api import (
    PREPROVISIONING_IMAGES,
    SECRETS,
    ApiError,
    Forbidden,
    Invalid,
    Resource,
    ServerError,
    Unavailable,
    right,
)

HOSTILE = 40
NO_NAMES = ("a/b", ".", "..", "A", "a..b", "-a", "%2f", "%2e%2e", "é", "a b", "x" * 254, "a\nb")

Refuse = Callable[[str, Resource, str], ApiError | None]


def forbidden(verb: str, resource: Resource, name: str) -> ApiError:
    kind, _, subresource = verb.partition(" ")
    needed = right(kind, resource, subresource)
    return Forbidden(f"{kind} {resource.plural} {name}: 403", right=needed)


REFUSALS: dict[str, Refuse] = {
    "403": forbidden,
    "400": lambda verb, resource, name: Invalid(f"{verb} {name}: 400 BadRequest"),
    "405": lambda verb, resource, name: Invalid(f"{verb} {name}: 405 MethodNotAllowed"),
    "413": lambda verb, resource, name: Invalid(f"{verb} {name}: 413 RequestEntityTooLarge"),
    "422": lambda verb, resource, name: Invalid(f"{verb} {name}: 422 Invalid"),
    "500": lambda verb, resource, name: ServerError(f"{verb} {name}: 500 InternalError"),
    "504": lambda verb, resource, name: ServerError(f"{verb} {name}: 504 Timeout"),
    "defect": lambda verb, resource, name: ApiError(f"{verb} {name}: 418"),
}


class Cluster:
    """A controller, hostile objects ``h-N`` and a victim."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.api = MemoryKubernetes(self.clock, latency=lambda: 0.002)
        self.replica = Replica(self.api, self.clock, leads=True)

    def refuse(self, how: str, verb: str, namespace: str = "") -> None:
        """Refuse requests that concern hostile objects."""

        def fault(asked: str, resource: Resource, name: str) -> ApiError | None:
            hostile = name.startswith("h-")
            return REFUSALS[how](asked, resource, name) if hostile and asked == verb else None

        self.api.fault = fault

    def attack(self, namespace: str, name: Callable[[int], str] = lambda number: "") -> None:
        for number in range(HOSTILE):
            body = image_body(f"h-{number}", namespace=namespace, secret=name(number))
            self.api.add(PREPROVISIONING_IMAGES, body)

    def create_victim(self, namespace: str = "victim") -> None:
        self.api.add(SECRETS, secret_body("net", b"interfaces: []", namespace=namespace))
        body = image_body("victim", namespace=namespace, secret="net")
        self.api.add(PREPROVISIONING_IMAGES, body)

    def verdict(self, namespace: str = "victim") -> str:
        image = self.api.find(PREPROVISIONING_IMAGES, namespace, "victim")
        assert image is not None
        return bmo_verdict(image, self.api.find(SECRETS, namespace, "net"))

    def until_ready(self, namespace: str = "victim") -> float:
        """Seconds until the victim has its image."""
        began = self.clock.seconds()
        while not self.verdict(namespace).startswith("image "):
            pass_time(self.clock, 0.01)
            assert self.clock.seconds() - began < 60, self.verdict(namespace)
        return self.clock.seconds() - began

    def restart(self) -> None:
        """As a new process: it serves nothing yet."""
        self.replica.controller.stopService()
        pass_time(self.clock, 3.0)
        self.replica.images.served.clear()
        self.replica.start()

    def stop(self) -> None:
        self.replica.controller.stopService()
        pass_time(self.clock, 3.0)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_invalid_names_are_errors_of_their_objects_only(
    cluster: Cluster,
) -> None:
    pass_time(cluster.clock, 1.0)
    cluster.attack("tenant", lambda number: NO_NAMES[number % len(NO_NAMES)])
    cluster.create_victim()
    assert cluster.until_ready() < 1.0
    pass_time(cluster.clock, 10.0)
    for number in range(HOSTILE):
        image = cluster.api.find(PREPROVISIONING_IMAGES, "tenant", f"h-{number}")
        assert image is not None
        error = condition(image, "Error")
        assert (error["status"], error["reason"]) == ("True", "ConfigurationError")
        name = NO_NAMES[number % len(NO_NAMES)]
        assert error["message"].startswith(f"spec.networkDataName {name!r} cannot be")
    names = {name for verb, resource, name in cluster.api.requests if resource == "secrets"}
    assert names == {"", "net"}
    cluster.api.requests.clear()
    pass_time(cluster.clock, 3600.0)
    assert cluster.api.requests == []
    cluster.restart()
    pass_time(cluster.clock, 2.0)
    health = cluster.replica.controller.health()
    assert health.ready
    assert health.warnings == ()
    cluster.stop()


def test_an_object_that_gets_a_good_name_becomes_ready(cluster: Cluster) -> None:
    cluster.create_victim()
    cluster.api.edit(
        PREPROVISIONING_IMAGES, "victim", "victim", {"spec": {"networkDataName": "net/x"}}
    )
    pass_time(cluster.clock, 5.0)
    assert cluster.verdict() == "wait", "baremetal-operator has no such Secret"
    good = {"spec": {"networkDataName": "net"}}
    cluster.api.edit(PREPROVISIONING_IMAGES, "victim", "victim", good)
    assert cluster.until_ready() < 1.0
    cluster.stop()


@pytest.mark.parametrize("namespace", ["victim", "tenant"], ids=["same namespace", "another"])
@pytest.mark.parametrize("verb", ["update", "update status"])
@pytest.mark.parametrize("how", REFUSALS)
def test_refused_writes_of_some_objects_hold_up_nothing_else(
    cluster: Cluster, how: str, verb: str, namespace: str
) -> None:
    cluster.refuse(how, verb)
    cluster.attack(namespace)
    pass_time(cluster.clock, 30.0)
    cluster.create_victim()
    assert cluster.until_ready() < 1.0
    # While they come back, it stays as fast.
    for number in range(20):
        document = b"interfaces: [] # %d" % number
        data = secret_body("net", document)["data"]
        cluster.api.edit(SECRETS, "victim", "net", {"data": data})
        assert cluster.until_ready() < 1.0
        pass_time(cluster.clock, 1.0)
    cluster.stop()


@pytest.mark.parametrize("verb", ["update", "update status"])
@pytest.mark.parametrize("how", REFUSALS)
def test_becomes_ready_after_a_start_with_refused_objects(
    cluster: Cluster, how: str, verb: str
) -> None:
    cluster.create_victim()
    cluster.refuse(how, verb)
    cluster.attack("victim")
    pass_time(cluster.clock, 5.0)
    version = cluster.api.find(PREPROVISIONING_IMAGES, "victim", "victim")
    cluster.restart()
    pass_time(cluster.clock, 2.0)
    health = cluster.replica.controller.health()
    assert health.ready
    assert cluster.replica.controller.settled
    assert any("h-" in problem for problem in health.warnings)
    assert cluster.verdict().startswith("image ")
    # Its URL is derived from a key: so nothing of the victim was to be written, nothing granted.
    assert cluster.api.find(PREPROVISIONING_IMAGES, "victim", "victim") == version
    cluster.stop()


@pytest.mark.parametrize("how", REFUSALS)
def test_bounds_the_requests_for_refused_objects(cluster: Cluster, how: str) -> None:
    cluster.create_victim()
    pass_time(cluster.clock, 5.0)
    cluster.refuse(how, "update")
    cluster.attack("tenant")
    pass_time(cluster.clock, 10.0)
    cluster.api.requests.clear()
    pass_time(cluster.clock, 60.0)
    assert len(cluster.api.requests) / 60 < 3
    cluster.stop()


@pytest.mark.parametrize("how", REFUSALS)
def test_refused_objects_become_ready_when_they_are_no_longer_refused(
    cluster: Cluster, how: str
) -> None:
    cluster.create_victim()
    cluster.refuse(how, "update status")
    cluster.attack("tenant")
    pass_time(cluster.clock, 10.0)
    cluster.api.fault = lambda *_: None
    pass_time(cluster.clock, 60.0)
    for number in range(HOSTILE):
        image = cluster.api.find(PREPROVISIONING_IMAGES, "tenant", f"h-{number}")
        assert image is not None
        assert condition(image, "Ready").get("status") == "True"
    assert cluster.replica.controller.health().warnings == ()
    cluster.stop()


def test_a_role_that_lets_mic_read_some_secrets_alone_concerns_the_others_alone(
    cluster: Cluster,
) -> None:
    """``resourceNames``; or a Role in some namespaces alone."""
    cluster.api.fault = lambda verb, resource, name: (
        forbidden(verb, resource, name) if verb == "get" and name.startswith("s-") else None
    )
    cluster.attack("victim", lambda number: f"s-{number}")
    cluster.create_victim()
    assert cluster.until_ready() < 1.0
    pass_time(cluster.clock, 5.0)
    assert cluster.replica.controller.health().ready
    cluster.stop()


def test_is_not_ready_while_a_right_is_missing_for_all_objects(
    cluster: Cluster,
) -> None:
    cluster.api.fault = lambda verb, resource, name: (
        forbidden(verb, resource, name) if verb == "update status" else None
    )
    cluster.attack("tenant")
    cluster.create_victim()
    pass_time(cluster.clock, 30.0)
    health = cluster.replica.controller.health()
    assert not health.ready
    assert any("update preprovisioningimages" in each for each in health.not_ready)
    cluster.api.requests.clear()
    pass_time(cluster.clock, 60.0)
    assert len(cluster.api.requests) / 60 < 3
    cluster.api.fault = lambda *_: None
    pass_time(cluster.clock, 5.0)
    assert cluster.verdict().startswith("image ")
    assert cluster.replica.controller.health().ready
    cluster.stop()


def test_reconciles_all_objects_after_a_right_was_revoked_and_granted_again(
    cluster: Cluster,
) -> None:
    cluster.attack("tenant")
    cluster.create_victim()
    pass_time(cluster.clock, 5.0)
    cluster.api.fault = lambda verb, resource, name: (
        forbidden(verb, resource, name) if verb == "update status" else None
    )
    for number in range(HOSTILE):
        change = {"spec": {"acceptFormats": ["initrd"]}}
        cluster.api.edit(PREPROVISIONING_IMAGES, "tenant", f"h-{number}", change)
    pass_time(cluster.clock, 120.0)
    health = cluster.replica.controller.health()
    assert health.ready, "once ready, it stays so"
    assert any("update preprovisioningimages" in each for each in health.warnings)
    cluster.api.fault = lambda *_: None
    pass_time(cluster.clock, 60.0)
    for number in range(HOSTILE):
        image = cluster.api.find(PREPROVISIONING_IMAGES, "tenant", f"h-{number}") or {}
        assert image["status"]["format"] == "initrd"
        assert condition(image, "Ready")["status"] == "True"
    cluster.stop()


def test_an_outage_still_lets_everything_wait(cluster: Cluster) -> None:
    cluster.api.fault = lambda verb, resource, name: (
        Unavailable("503") if verb.startswith("update") else None
    )
    cluster.attack("tenant")
    cluster.create_victim()
    pass_time(cluster.clock, 30.0)
    cluster.api.requests.clear()
    pass_time(cluster.clock, 60.0)
    assert len(cluster.api.requests) / 60 < 1
    assert not cluster.replica.controller.health().ready
    cluster.stop()


def test_each_refusal_is_logged_once_and_not_with_each_retry(cluster: Cluster) -> None:
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"].name in ("info", "warn", "error", "critical"):
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        cluster.create_victim()
        cluster.refuse("403", "update")
        cluster.attack("tenant")
        pass_time(cluster.clock, 3600.0)
    finally:
        globalLogPublisher.removeObserver(observe)
    about = [line for line in lines if "403" in line or "refused" in line]
    assert 0 < len(about) <= HOSTILE
    cluster.stop()

"""Scope: what is wrong or doubtful with objects reaches condition, Event, log and health once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kube_memory import MemoryKubernetes
from kube_replicas import Pair, Replica, pass_time
from kube_samples import condition, image_body, secret_body
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, ApiError, Forbidden, Resource
from mic.kube.events import Event
from mic.kube.objects import image_from_json
from mic.kube.reports import Reports
from mic.kube.warnings import MAX_WARNING, MAX_WARNINGS, one_text

DOUBTFUL = b"# warn interfaces[0].ipv4: the family is off"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.info:
            found.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def pair_with(document: bytes) -> Pair:
    pair = Pair(secret_body("net", document))
    pair.pass_time(10.0)
    return pair


def put(pair: Pair, document: bytes) -> None:
    pair.api.edit(SECRETS, "hosts", "net", {"data": secret_body("net", document)["data"]})
    pair.pass_time(10.0)


def events(pair: Pair) -> list[tuple[str, bool]]:
    assert pair.follower.events == [], "the leader alone sends Events"
    return [(event.reason, event.warning) for event in pair.leader.events]


def touch(pair: Pair) -> None:
    """As baremetal-operator does, which keeps its finalizer there."""
    change = {"metadata": {"annotations": {"touched": "yes"}}}
    pair.api.edit(SECRETS, "hosts", "net", change)
    pair.pass_time(10.0)


def test_warnings_are_in_condition_event_log_and_health_once(lines: list[str]) -> None:
    text = "warning: interfaces[0].ipv4: the family is off"
    pair = pair_with(DOUBTFUL)
    touch(pair)
    ready = condition(pair.image, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "ImageSuccess")
    assert ready["message"] == f"Generated image; {text}"
    assert events(pair) == [("ImageHasWarnings", True)]
    assert pair.leader.events[0].message == text
    assert lines.count("hosts/host: interfaces[0].ipv4: the family is off") == 1
    for replica in (pair.leader, pair.follower):
        health = replica.controller.health()
        assert health.ready
        assert health.warnings == (f"1 PreprovisioningImage has warnings: hosts/host: {text}",)
    pair.stop()


def test_a_warning_that_is_over_is_logged_and_gone(lines: list[str]) -> None:
    pair = pair_with(DOUBTFUL)
    put(pair, b"interfaces: []")
    assert condition(pair.image, "Ready")["message"] == "Generated image"
    assert "hosts/host: no warnings any longer" in lines
    assert pair.leader.controller.health().warnings == ()
    assert pair.follower.controller.health().warnings == ()
    pair.stop()


def test_a_failure_is_an_event_once_and_its_end_is_another(lines: list[str]) -> None:
    pair = pair_with(b"garbage")
    touch(pair)
    assert events(pair) == [("ImageBuildFailed", True)]
    error = "Cannot generate image: line 1: that is no NMState"
    assert pair.leader.events[0].message == error
    assert lines.count(f"hosts/host: {error}") == 1
    put(pair, b"interfaces: []")
    assert events(pair) == [("ImageBuildFailed", True), ("ImageReady", False)]
    assert "hosts/host: fixed; iso image ready" in lines
    pair.stop()


def test_a_missing_secret_is_an_event_with_the_reason_of_the_condition() -> None:
    pair = pair_with(b"interfaces: []")
    pair.api.delete(SECRETS, "hosts", "net")
    pair.pass_time(10.0)
    assert events(pair) == [("MissingNetworkData", True)]
    pair.stop()


def test_a_change_that_took_effect_is_logged(lines: list[str]) -> None:
    pair = pair_with(b"interfaces: []")
    assert "hosts/host: iso image ready" in lines
    put(pair, b"interfaces: [] # new")
    assert "hosts/host: rebuilt; iso image ready" in lines
    put(pair, b"interfaces: []\n# change keyfiles eth0.nmconnection")
    assert "hosts/host: rebuilt: keyfiles eth0.nmconnection" in lines
    assert events(pair) == []
    put(pair, b"garbage")
    put(pair, b"interfaces: []\n# change kernel arguments")
    assert "hosts/host: fixed: kernel arguments" in lines
    pair.stop()


@pytest.mark.parametrize("document", [DOUBTFUL, b"garbage"])
def test_after_a_restart_each_reason_is_logged_once_and_is_no_new_event(
    document: bytes, lines: list[str]
) -> None:
    pair = pair_with(document)
    before = events(pair)
    message = pair.leader.events[0].message
    lines.clear()
    pair.leader.controller.stopService()
    pair.pass_time(2.0)
    pair.leader.start()
    pair.pass_time(10.0)
    logged = message.removeprefix("warning: ")
    assert lines.count(f"hosts/host: {logged}") == 1
    assert events(pair) == before
    pair.stop()


def test_the_start_is_summed_up(lines: list[str]) -> None:
    pair = pair_with(b"garbage")
    pair.api.add(PREPROVISIONING_IMAGES, image_body("other"))
    pair.pass_time(10.0)
    lines.clear()
    pair.leader.controller.stopService()
    pair.pass_time(2.0)
    pair.leader.start()
    pair.pass_time(10.0)
    assert "PreprovisioningImages: 2 reconciled: 1 ready, 1 failed" in lines
    pair.stop()


def test_health_names_few_objects_and_forgets_deleted_ones() -> None:
    pair = pair_with(DOUBTFUL)
    for number in range(5):
        name = f"host-{number}"
        pair.api.add(SECRETS, secret_body(name, DOUBTFUL))
        pair.api.add(PREPROVISIONING_IMAGES, image_body(name, secret=name))
    pair.pass_time(10.0)
    (warning,) = pair.leader.controller.health().warnings
    assert warning.startswith("6 PreprovisioningImages have warnings: hosts/host: warning: ")
    assert warning.endswith("; and 3 more")
    for name in ("host", *(f"host-{number}" for number in range(5))):
        pair.api.delete(PREPROVISIONING_IMAGES, "hosts", name)
    pair.pass_time(10.0)
    for replica in (pair.leader, pair.follower):
        assert replica.controller.health().warnings == ()
    pair.stop()


def test_a_late_secret_without_the_label_is_noticed_within_seconds() -> None:
    pair = pair_with(b"interfaces: []")
    pair.api.delete(SECRETS, "hosts", "net")
    pair.pass_time(300.0)
    pair.api.add(SECRETS, secret_body("net", b"interfaces: []", labels={}))
    pair.pass_time(6.0)
    assert condition(pair.image, "Ready")["status"] == "True"
    pair.stop()


def test_the_rate_of_requests_for_missing_secrets_is_bounded() -> None:
    pair = pair_with(b"interfaces: []")
    for number in range(60):
        pair.api.add(PREPROVISIONING_IMAGES, image_body(f"host-{number}", secret="none"))
    pair.pass_time(900.0)
    pair.api.requests.clear()
    pair.pass_time(600.0)
    assert len(pair.api.requests) <= 700, "about one per second in each namespace"
    pair.stop()


def test_watches_that_are_refused_the_same_right_log_it_once(lines: list[str]) -> None:
    clock = Clock()
    api = MemoryKubernetes(clock, latency=lambda: 0.01)
    text = "cannot list preprovisioningimages in all namespaces: 403; grant `list`"

    def refuse(verb: str, resource: Resource, _: str) -> ApiError | None:
        refused = verb == "list" and resource == PREPROVISIONING_IMAGES
        return Forbidden(text, right="list preprovisioningimages") if refused else None

    api.fault = refuse
    replica = Replica(api, clock, leads=True)
    pass_time(clock, 60.0)
    assert sum("grant `list`" in line for line in lines) == 1
    assert any(line.startswith("C" + text[1:] + "; trying again") for line in lines)
    assert replica.controller.health().warnings == (text,)
    replica.controller.stopService()
    pass_time(clock, 2.0)


@pytest.mark.parametrize("namespace", ["metl3", ""])
def test_a_namespace_without_objects_is_a_warning(namespace: str, lines: list[str]) -> None:
    clock = Clock()
    api = MemoryKubernetes(clock, latency=lambda: 0.01)
    replica = Replica(api, clock, leads=True, namespace=namespace)
    pass_time(clock, 5.0)
    assert "PreprovisioningImages: 0 reconciled: 0 ready" in lines
    warnings = [line for line in lines if "has no PreprovisioningImages" in line]
    assert len(warnings) == (1 if namespace else 0)
    assert all(line.startswith("namespace metl3 has no Prep") for line in warnings)
    replica.controller.stopService()
    pass_time(clock, 2.0)


def test_warnings_make_one_bounded_printable_text() -> None:
    assert one_text(()) == ""
    assert one_text(("a: b",)) == "warning: a: b"
    assert one_text(("a: b", "c: d\n")) == "warnings: a: b; c: d\\n"
    many = one_text(("x" * 10_000,) * 50)
    assert many.endswith("…; and 45 more")
    assert len(many) < (MAX_WARNINGS + 1) * (MAX_WARNING + 10)


def test_a_script_for_network_boot_is_an_event_once_and_in_no_log(lines: list[str]) -> None:
    found: list[Event] = []
    reports = Reports(found.append)
    image = image_from_json(image_body("host", secret="net"))
    for same in (False, True):
        reports.ready(
            image,
            image.status,
            warnings=(),
            script_url="http://mic/secret.ipxe",
            replaces=False,
            same=same,
        )
    assert [(event.reason, event.message, event.warning) for event in found] == [
        ("NetworkBootScript", "iPXE script: http://mic/secret.ipxe", False)
    ]
    assert not any("secret" in line for line in lines)

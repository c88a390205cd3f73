"""Scope: `mic.kube.api.KubernetesApi`, one suite for both implementations: the one in memory that
other tests build on, and the one in threads before a real API server. What the first does
otherwise than the second makes every test on top of it worth less.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from contract.conftest import Side, Watching, reactor
from kube_samples import image_body, secret_body
from kubeserver import ADMINISTRATOR, KubeServer
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from mic.kube.api import (
    EVENTS,
    LEASES,
    PREPROVISIONING_IMAGES,
    SECRETS,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    Json,
    NotFound,
    Unavailable,
    page_size,
)
from mic.kube.client import ThreadedKubernetes
from mic.kube.configuration import load_configuration

Watch = Callable[..., Watching]
inline = pytest_twisted.ensureDeferred

MARKER = "c2VjcmV0LW1hcmtlcg"
"""Stands in payloads, and must stand in nothing that an error shows."""


def image(side: Side, name: str, **how: Any) -> Json:
    return image_body(name, namespace=side.namespace, **how)


def secret(side: Side, name: str, nmstate: bytes = b"interfaces: []", **how: Any) -> Json:
    return secret_body(name, nmstate, namespace=side.namespace, **how)


def names(items: list[Json]) -> list[str]:
    return sorted(item["metadata"]["name"] for item in items)


def version(body: Json) -> int:
    return int(body["metadata"]["resourceVersion"])


# --- list ---------------------------------------------------------------------------------------


@inline
async def test_a_list_holds_what_is_in_the_namespace(side: Side) -> None:
    assert await side.everything(PREPROVISIONING_IMAGES) == []
    made = await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    elsewhere = image_body("b", namespace=side.other_namespace)
    await side.api.create(PREPROVISIONING_IMAGES, elsewhere)
    assert await side.everything(PREPROVISIONING_IMAGES) == [made]
    page = await side.api.list(PREPROVISIONING_IMAGES, namespace="")
    found = {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in page.items}
    assert {(side.namespace, "a"), (side.other_namespace, "b")} <= found
    assert version({"metadata": {"resourceVersion": page.resource_version}}) >= version(made)


@inline
async def test_a_list_obeys_label_selectors(side: Side) -> None:
    labels = {"none": {}, "empty": {"label": ""}, "one": {"label": "1"}, "two": {"label": "2"}}
    for name, each in labels.items():
        await side.api.create(PREPROVISIONING_IMAGES, image(side, name, labels=each))

    async def found(selector: str) -> list[str]:
        return names(await side.everything(PREPROVISIONING_IMAGES, selector))

    assert await found("label") == ["empty", "one", "two"]
    assert await found("!label") == ["none"]
    assert await found("label=1") == ["one"]
    assert await found("label=3") == []


@inline
async def test_a_long_list_comes_in_pages_of_one_moment(side: Side) -> None:
    size = page_size(SECRETS)
    wanted = [f"s-{number:03}" for number in range(2 * size + 5)]
    await gatherResults(
        Deferred.fromCoroutine(side.api.create(SECRETS, secret(side, name))) for name in wanted
    )
    first = await side.api.list(SECRETS, namespace=side.namespace)
    assert len(first.items) == size
    assert first.continue_token
    side.delete(SECRETS, side.namespace, wanted[-1])
    await side.api.create(SECRETS, secret(side, "z-late"))
    pages = [first]
    while pages[-1].continue_token:
        token = pages[-1].continue_token
        pages.append(await side.api.list(SECRETS, namespace=side.namespace, continue_token=token))
    assert [len(page.items) for page in pages] == [size, size, 5]
    assert names([item for page in pages for item in page.items]) == wanted
    assert {page.resource_version for page in pages} == {first.resource_version}


@inline
async def test_pages_whose_moment_is_forgotten_are_gone(side: Side) -> None:
    await gatherResults(
        Deferred.fromCoroutine(side.api.create(PREPROVISIONING_IMAGES, image(side, f"i-{number}")))
        for number in range(page_size(PREPROVISIONING_IMAGES) + 1)
    )
    page = await side.api.list(PREPROVISIONING_IMAGES, namespace=side.namespace)
    await side.api.create(PREPROVISIONING_IMAGES, image(side, "later"))
    side.expire()
    with pytest.raises(Gone):
        await side.api.list(
            PREPROVISIONING_IMAGES,
            namespace=side.namespace,
            continue_token=page.continue_token,
        )


# --- watch --------------------------------------------------------------------------------------


@inline
async def test_a_watch_reports_each_change_in_its_order(side: Side, watching: Watch) -> None:
    watch = watching(PREPROVISIONING_IMAGES, await side.version(PREPROVISIONING_IMAGES))
    made = await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    changed = side.edit(
        PREPROVISIONING_IMAGES, side.namespace, "a", {"spec": {"acceptFormats": ["initrd"]}}
    )
    side.delete(PREPROVISIONING_IMAGES, side.namespace, "a")
    await watch.until(("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a"))
    assert [event.object for event in watch.events[:2]] == [made, changed]
    versions = [version(event.object) for event in watch.events]
    assert versions == sorted(set(versions)), "the deletion has a version of its own"


@inline
async def test_a_watch_from_a_lists_version_misses_nothing_and_repeats_nothing(
    side: Side, watching: Watch
) -> None:
    await side.api.create(SECRETS, secret(side, "before"))
    since = await side.version(SECRETS)
    await side.api.create(SECRETS, secret(side, "between"))
    side.edit(SECRETS, side.namespace, "before", {"metadata": {"labels": {"a": "b"}}})
    watch = watching(SECRETS, since)
    await watch.until(("ADDED", "between"), ("MODIFIED", "before"))
    await side.api.create(SECRETS, secret(side, "after"))
    await watch.until(("ADDED", "between"), ("MODIFIED", "before"), ("ADDED", "after"))


@inline
async def test_a_watch_goes_on_from_the_version_of_any_event(side: Side, watching: Watch) -> None:
    watch = watching(SECRETS, await side.version(SECRETS))
    await side.api.create(SECRETS, secret(side, "a"))
    await side.api.create(SECRETS, secret(side, "b"))
    await watch.until(("ADDED", "a"), ("ADDED", "b"))
    again = watching(SECRETS, str(version(watch.events[0].object)))
    await again.until(("ADDED", "b"))


@inline
async def test_what_stops_matching_is_deleted_and_what_begins_to_is_added(
    side: Side, watching: Watch
) -> None:
    since = await side.version(PREPROVISIONING_IMAGES)
    without = watching(PREPROVISIONING_IMAGES, since, selector="!label")
    having = watching(PREPROVISIONING_IMAGES, since, selector="label")
    await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    labelled = {"metadata": {"labels": {"label": "x"}}}
    changed = side.edit(PREPROVISIONING_IMAGES, side.namespace, "a", labelled)
    await without.until(("ADDED", "a"), ("DELETED", "a"))
    await having.until(("ADDED", "a"))
    assert version(without.events[1].object) == version(changed)
    side.edit(PREPROVISIONING_IMAGES, side.namespace, "a", {"metadata": {"labels": None}})
    await without.until(("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a"))
    await having.until(("ADDED", "a"), ("DELETED", "a"))


@inline
async def test_a_watch_keeps_to_its_namespace_or_to_none(side: Side, watching: Watch) -> None:
    since = await side.version(SECRETS)
    here = watching(SECRETS, since)
    everywhere = watching(SECRETS, since, namespace="")
    await side.api.create(SECRETS, secret_body("b", b"", namespace=side.other_namespace))
    await side.api.create(SECRETS, secret(side, "a"))
    await everywhere.until(("ADDED", "b"), ("ADDED", "a"))
    await here.until(("ADDED", "a"))


@inline
async def test_a_watch_reports_one_kind_alone(side: Side, watching: Watch) -> None:
    watch = watching(PREPROVISIONING_IMAGES, await side.version(PREPROVISIONING_IMAGES))
    await side.api.create(SECRETS, secret(side, "s"))
    await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    await watch.until(("ADDED", "a"))


@inline
async def test_a_bookmark_is_a_version_and_no_change_and_the_end_is_no_error(
    side: Side, watching: Watch
) -> None:
    since = await side.version(PREPROVISIONING_IMAGES)
    watch = watching(PREPROVISIONING_IMAGES, since)
    everywhere = watching(PREPROVISIONING_IMAGES, since, namespace="")
    elsewhere = image_body("a", namespace=side.other_namespace)
    late = await side.api.create(PREPROVISIONING_IMAGES, elsewhere)
    await everywhere.until(("ADDED", "a"))
    side.bookmark()
    side.end_watches()
    assert watch.end is not None
    await watch.end
    assert watch.told == []
    assert watch.events
    for bookmark in watch.events:
        assert bookmark.type == "BOOKMARK"
        assert version(bookmark.object) >= version(late), "of what is out of sight, too"
        assert not bookmark.object["metadata"].keys() & {"name", "uid"}


@inline
async def test_after_cancelling_nothing_is_delivered(side: Side, watching: Watch) -> None:
    since = await side.version(SECRETS)
    watch, witness = watching(SECRETS, since), watching(SECRETS, since)
    await side.api.create(SECRETS, secret(side, "a"))
    await watch.until(("ADDED", "a"))
    side.edit(SECRETS, side.namespace, "a", {"metadata": {"labels": {"on": "its-way"}}})
    watch.cancel()
    await side.api.create(SECRETS, secret(side, "b"))
    await witness.until(("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b"))
    assert watch.told == [("ADDED", "a")]


@inline
async def test_a_watch_from_a_forgotten_version_is_gone(side: Side) -> None:
    await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    side.expire()
    await side.api.create(PREPROVISIONING_IMAGES, image(side, "b"))
    with pytest.raises(Gone):
        await side.api.watch(
            PREPROVISIONING_IMAGES,
            namespace=side.namespace,
            resource_version="1",
            on_event=lambda event: None,
        )


# --- get and create -----------------------------------------------------------------------------


@inline
async def test_get_gives_what_create_made(side: Side) -> None:
    for resource, body in (
        (PREPROVISIONING_IMAGES, image(side, "a")),
        (SECRETS, secret(side, "a")),
    ):
        made = await side.api.create(resource, body)
        assert await side.api.get(resource, namespace=side.namespace, name="a") == made
        metadata = made["metadata"]
        assert {"uid", "resourceVersion", "creationTimestamp"} <= metadata.keys()
        assert metadata["name"] == "a"
        with pytest.raises(NotFound):
            await side.api.get(resource, namespace=side.other_namespace, name="a")
        with pytest.raises(NotFound):
            await side.api.get(resource, namespace=side.namespace, name="b")


@inline
async def test_only_kinds_with_a_spec_have_generations(side: Side) -> None:
    made = await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    assert made["metadata"]["generation"] == 1
    assert "generation" not in (await side.api.create(SECRETS, secret(side, "a")))["metadata"]


@inline
async def test_the_server_makes_up_names(side: Side) -> None:
    body = image(side, "")
    del body["metadata"]["name"]
    body["metadata"]["generateName"] = "host-"
    made = [
        (await side.api.create(PREPROVISIONING_IMAGES, body))["metadata"]["name"] for _ in range(3)
    ]
    assert len(set(made)) == 3
    assert all(name.startswith("host-") and name != "host-" for name in made)
    assert names(await side.everything(PREPROVISIONING_IMAGES)) == sorted(made)


@inline
async def test_a_name_is_taken_once(side: Side) -> None:
    first = await side.api.create(SECRETS, secret(side, "a"))
    with pytest.raises(Conflict):
        await side.api.create(SECRETS, secret(side, "a", b"other"))
    assert await side.api.get(SECRETS, namespace=side.namespace, name="a") == first
    side.delete(SECRETS, side.namespace, "a")
    second = await side.api.create(SECRETS, secret(side, "a"))
    assert second["metadata"]["uid"] != first["metadata"]["uid"]


@inline
async def test_create_takes_no_status(side: Side) -> None:
    body = {**image(side, "a"), "status": {"imageUrl": "http://x"}}
    made = await side.api.create(PREPROVISIONING_IMAGES, body)
    assert "status" not in made


@inline
async def test_leases_are_made_read_and_replaced_under_their_lock(side: Side) -> None:
    lease: Json = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "leader", "namespace": side.namespace},
        "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15},
    }
    made = await side.api.create(LEASES, lease)
    with pytest.raises(Conflict):
        await side.api.create(LEASES, lease)
    assert await side.api.get(LEASES, namespace=side.namespace, name="leader") == made
    taken = {**made, "spec": {**made["spec"], "holderIdentity": "two"}}
    written = await side.api.replace(LEASES, taken)
    assert written["spec"]["holderIdentity"] == "two"
    with pytest.raises(Conflict):
        await side.api.replace(LEASES, {**made, "spec": {"holderIdentity": "three"}})
    with pytest.raises(NotFound):
        await side.api.get(LEASES, namespace=side.namespace, name="other")


@inline
async def test_events_are_made(side: Side) -> None:
    made = await side.api.create(
        EVENTS,
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "host-", "namespace": side.namespace},
            "involvedObject": {
                "apiVersion": "metal3.io/v1alpha1",
                "kind": "PreprovisioningImage",
                "namespace": side.namespace,
                "name": "host",
            },
            "reason": "Fetched",
            "message": "a BMC read the image",
            "type": "Normal",
        },
    )
    assert made["metadata"]["name"].startswith("host-")
    assert made["reason"] == "Fetched"


@inline
async def test_a_namespace_on_its_way_out_forbids_what_is_new(
    server: Side, kube: KubeServer
) -> None:
    """As if a right were missing: what is refused in one namespace may be granted in others."""
    kube.ask("DELETE", f"/api/v1/namespaces/{server.other_namespace}")
    with pytest.raises(Forbidden, match="because it is being terminated"):
        await server.api.create(SECRETS, secret_body("new", b"", namespace=server.other_namespace))
    await server.api.create(SECRETS, secret(server, "new"))


# --- replace ------------------------------------------------------------------------------------


@inline
async def test_replace_writes_all_but_the_status(side: Side) -> None:
    await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    old = side.edit_status(
        PREPROVISIONING_IMAGES, side.namespace, "a", {"status": {"imageUrl": "http://x"}}
    )
    metadata = {**old["metadata"], "finalizers": ["example.com/x"], "labels": {"a": "b"}}
    new = await side.api.replace(
        PREPROVISIONING_IMAGES, {**old, "metadata": metadata, "status": {"imageUrl": "http://y"}}
    )
    assert new["metadata"]["finalizers"] == ["example.com/x"]
    assert new["metadata"]["labels"] == {"a": "b"}
    assert new["metadata"]["generation"] == 1, "metadata is not the spec"
    assert new["status"] == {"imageUrl": "http://x"}
    assert version(new) > version(old)
    spec = {**new["spec"], "acceptFormats": ["initrd"]}
    newer = await side.api.replace(PREPROVISIONING_IMAGES, {**new, "spec": spec})
    assert newer["metadata"]["generation"] == 2
    assert newer["metadata"]["creationTimestamp"] == old["metadata"]["creationTimestamp"]
    assert await side.api.get(PREPROVISIONING_IMAGES, namespace=side.namespace, name="a") == newer


@inline
async def test_replace_writes_all_of_a_secret(side: Side) -> None:
    old = await side.api.create(SECRETS, secret(side, "a", b"one"))
    data = {"nmstate": secret(side, "a", b"two")["data"]["nmstate"]}
    new = await side.api.replace(SECRETS, {**old, "data": data})
    assert new["data"] == data
    assert version(new) > version(old)


@inline
async def test_replace_status_writes_nothing_but_the_status(side: Side) -> None:
    old = await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    body = {
        **old,
        "metadata": {**old["metadata"], "labels": {"a": "b"}, "finalizers": ["example.com/x"]},
        "spec": {"acceptFormats": ["initrd"]},
        "status": {"imageUrl": "http://x", "format": "iso"},
    }
    new = await side.api.replace_status(PREPROVISIONING_IMAGES, body)
    assert new["status"] == {"imageUrl": "http://x", "format": "iso"}
    assert new["spec"] == old["spec"]
    assert new["metadata"]["generation"] == 1
    assert not new["metadata"].keys() & {"labels", "finalizers"}
    assert version(new) > version(old)
    body = {**new, "status": {"format": "initrd"}}
    del body["spec"]
    newer = await side.api.replace_status(PREPROVISIONING_IMAGES, body)
    assert newer["status"] == {"format": "initrd"}, "in the place of the whole"
    assert newer["spec"] == old["spec"]


WRITES: tuple[tuple[str, Callable[[Side], Callable[[Json], Awaitable[Json]]]], ...] = (
    ("an image", lambda side: lambda body: side.api.replace(PREPROVISIONING_IMAGES, body)),
    (
        "an image's status",
        lambda side: (
            lambda body: side.api.replace_status(
                PREPROVISIONING_IMAGES, {**body, "status": {"format": "iso"}}
            )
        ),
    ),
    ("a Secret", lambda side: lambda body: side.api.replace(SECRETS, body)),
)


@pytest.fixture(params=WRITES, ids=lambda write: write[0])
def write(request: pytest.FixtureRequest, side: Side) -> Callable[[Json], Awaitable[Json]]:
    """One of the writes under optimistic locking."""
    return request.param[1](side)  # type: ignore[no-any-return]


async def _written(side: Side, request: pytest.FixtureRequest) -> Json:
    """An object of the kind that `write` writes."""
    if request.node.callspec.params["write"][0] == "a Secret":
        return await side.api.create(SECRETS, secret(side, "a"))
    return await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))


Write = Callable[[Json], Awaitable[Json]]


@inline
async def test_a_write_that_changes_nothing_makes_no_version(
    side: Side, watching: Watch, write: Write, request: pytest.FixtureRequest
) -> None:
    once = await write(await _written(side, request))
    again = await write(once)
    assert again == once


@inline
async def test_a_write_to_what_has_changed_is_a_conflict(
    side: Side, write: Write, request: pytest.FixtureRequest
) -> None:
    old = await _written(side, request)
    resource = SECRETS if old["kind"] == "Secret" else PREPROVISIONING_IMAGES
    now = side.edit(resource, side.namespace, "a", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Conflict):
        await write(old)
    assert await side.api.get(resource, namespace=side.namespace, name="a") == now


@inline
async def test_a_write_without_a_version_is_invalid_and_never_forced(
    side: Side, write: Write, request: pytest.FixtureRequest
) -> None:
    old = await _written(side, request)
    resource = SECRETS if old["kind"] == "Secret" else PREPROVISIONING_IMAGES
    metadata = {name: v for name, v in old["metadata"].items() if name != "resourceVersion"}
    for unlocked in (metadata, {**metadata, "resourceVersion": ""}):
        with pytest.raises(Invalid):
            await write({**old, "metadata": {**unlocked, "labels": {"a": "b"}}})
    assert await side.api.get(resource, namespace=side.namespace, name="a") == old


@inline
async def test_a_write_to_an_earlier_object_of_that_name_is_a_conflict(
    side: Side, write: Write, request: pytest.FixtureRequest
) -> None:
    old = await _written(side, request)
    resource = SECRETS if old["kind"] == "Secret" else PREPROVISIONING_IMAGES
    side.delete(resource, side.namespace, "a")
    new = await _written(side, request)
    claimed = {**new["metadata"], "uid": old["metadata"]["uid"], "labels": {"a": "b"}}
    with pytest.raises(Conflict):
        await write({**new, "metadata": claimed})


@inline
async def test_a_write_to_what_is_gone_is_refused(
    side: Side, write: Write, request: pytest.FixtureRequest
) -> None:
    old = await _written(side, request)
    resource = SECRETS if old["kind"] == "Secret" else PREPROVISIONING_IMAGES
    side.delete(resource, side.namespace, "a")
    with pytest.raises(Conflict):
        await write(old)  # it names the uid, and there is none
    metadata = {name: value for name, value in old["metadata"].items() if name != "uid"}
    with pytest.raises(NotFound):
        await write({**old, "metadata": metadata})


# --- deletion -----------------------------------------------------------------------------------


@inline
async def test_finalizers_hold_a_deleted_object(side: Side, watching: Watch) -> None:
    body = image(side, "a")
    body["metadata"]["finalizers"] = ["example.com/x", "example.com/y"]
    made = await side.api.create(PREPROVISIONING_IMAGES, body)
    watch = watching(PREPROVISIONING_IMAGES, made["metadata"]["resourceVersion"])
    side.delete(PREPROVISIONING_IMAGES, side.namespace, "a")
    held = await side.api.get(PREPROVISIONING_IMAGES, namespace=side.namespace, name="a")
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["generation"] == 2, "deletion is something to act on"
    side.delete(PREPROVISIONING_IMAGES, side.namespace, "a")
    assert held == await side.api.get(PREPROVISIONING_IMAGES, namespace=side.namespace, name="a")

    def with_finalizers(old: Json, *finalizers: str) -> Json:
        return {**old, "metadata": {**old["metadata"], "finalizers": list(finalizers)}}

    with pytest.raises(Invalid):
        await side.api.replace(
            PREPROVISIONING_IMAGES,
            with_finalizers(held, "example.com/x", "example.com/y", "example.com/z"),
        )
    one = await side.api.replace(PREPROVISIONING_IMAGES, with_finalizers(held, "example.com/y"))
    assert one["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
    status = await side.api.replace_status(
        PREPROVISIONING_IMAGES, {**one, "status": {"format": "iso"}}
    )
    await side.api.replace(PREPROVISIONING_IMAGES, with_finalizers(status))
    with pytest.raises(NotFound):
        await side.api.get(PREPROVISIONING_IMAGES, namespace=side.namespace, name="a")
    changes = [("MODIFIED", "a")] * 3
    await watch.until(*changes, ("DELETED", "a"))


# --- errors -------------------------------------------------------------------------------------


def assert_says_nothing(error: ApiError, *marks: str) -> None:
    """No mark is in anything that a log may make of the error."""
    shown = [
        str(error),
        repr(error),
        repr(error.args),
        "".join(traceback.format_exception(error)),
        Failure(error).getTraceback(),
        Failure(error).getErrorMessage(),
    ]
    for mark in (MARKER, *marks):
        assert not [text for text in shown if mark in text]


@inline
async def test_errors_name_verb_kind_and_object_and_no_payload(side: Side) -> None:
    marked = {**secret(side, "a"), "data": {"nmstate": MARKER + "=="}}
    made = await side.api.create(SECRETS, marked)
    with pytest.raises(Conflict, match="create secrets") as caught:
        await side.api.create(SECRETS, marked)
    assert_says_nothing(caught.value)
    side.edit(SECRETS, side.namespace, "a", {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Conflict, match=f"update secrets {side.namespace}/a") as caught:
        await side.api.replace(SECRETS, made)
    assert_says_nothing(caught.value)
    unlocked = {name: v for name, v in made["metadata"].items() if name != "resourceVersion"}
    with pytest.raises(Invalid, match=f"update secrets {side.namespace}/a") as invalid:
        await side.api.replace(SECRETS, {**made, "metadata": unlocked})
    assert_says_nothing(invalid.value)
    side.delete(SECRETS, side.namespace, "a")
    unnamed = {name: v for name, v in made["metadata"].items() if name != "uid"}
    with pytest.raises(NotFound, match=f"update secrets {side.namespace}/a") as absent:
        await side.api.replace(SECRETS, {**made, "metadata": unnamed})
    assert_says_nothing(absent.value)
    with pytest.raises(NotFound, match=f"get secrets {side.namespace}/a"):
        await side.api.get(SECRETS, namespace=side.namespace, name="a")


@pytest.mark.parametrize(
    "name",
    ["a/b", ".", "..", "A", "a%2fb", "%2e%2e", "é", "a b", "", "x" * 254, "a?watch=1", "a#b"],
)
@inline
async def test_a_name_that_cannot_be_is_invalid_and_nothing_is_asked(side: Side, name: str) -> None:
    """``a/b`` would be a subresource, ``.`` the whole list."""
    made = await side.api.create(PREPROVISIONING_IMAGES, image(side, "a"))
    await side.api.create(SECRETS, secret(side, "a", b"interfaces: []"))
    asked = side.asked()

    def renamed(**metadata: str) -> Json:
        return {**made, "metadata": {**made["metadata"], **metadata}}

    bodies = [renamed(name=name), renamed(namespace=name)]
    tries: list[Callable[[], Awaitable[object]]] = [
        lambda: side.api.get(SECRETS, namespace=side.namespace, name=name),
        lambda: side.api.get(SECRETS, namespace=name, name="a"),
        lambda: side.api.get(LEASES, namespace=name, name=name),
        lambda: side.api.create(PREPROVISIONING_IMAGES, bodies[1]),
    ]
    for body in bodies:
        tries.append(lambda body=body: side.api.replace(PREPROVISIONING_IMAGES, body))  # type: ignore[misc]
        tries.append(lambda body=body: side.api.replace_status(PREPROVISIONING_IMAGES, body))  # type: ignore[misc]
    if name:  # an empty namespace means all of them
        tries.append(lambda: side.api.list(SECRETS, namespace=name))
        tries.append(
            lambda: side.api.watch(
                SECRETS, namespace=name, resource_version="1", on_event=lambda event: None
            )
        )
        tries.append(lambda: side.api.create(PREPROVISIONING_IMAGES, bodies[0]))
    for each in tries:
        with pytest.raises(Invalid) as caught:
            await each()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000
    assert side.asked() == asked


# --- what only a real server does ---------------------------------------------------------------


@inline
async def test_what_the_server_rejects_is_invalid_and_named_by_its_field(server: Side) -> None:
    body = image(server, "a")
    body["spec"]["acceptFormats"] = [MARKER]  # the server quotes it
    with pytest.raises(Invalid, match=r"spec\.acceptFormats") as caught:
        await server.api.create(PREPROVISIONING_IMAGES, body)
    assert_says_nothing(caught.value)
    undecodable = {**secret(server, "a"), "data": {"nmstate": MARKER + "!"}}
    with pytest.raises(Invalid) as caught:
        await server.api.create(SECRETS, undecodable)
    assert_says_nothing(caught.value)


@pytest.fixture
def as_mic(kube: KubeServer, tmp_path: Path, server: Side) -> Callable[..., ThreadedKubernetes]:
    """The edge with another token, our account's unless one is given."""

    def start(token: str = "", url: str = "") -> ThreadedKubernetes:
        config = kube.kubeconfig(tmp_path / f"as-{len(token)}", token=token, url=url)
        api = ThreadedKubernetes(load_configuration(str(config)), reactor, threads=2)
        api.startService()
        return api

    return start


@inline
async def test_a_missing_right_is_named(
    server: Side, as_mic: Callable[..., ThreadedKubernetes]
) -> None:
    api = as_mic()
    with pytest.raises(Forbidden, match=r"cannot create secrets .*: 403; grant `create`") as caught:
        await api.create(SECRETS, {**secret(server, "a"), "data": {"nmstate": MARKER + "=="}})
    assert caught.value.right == "create secrets"
    assert_says_nothing(caught.value)
    with pytest.raises(Forbidden) as caught:
        await api.watch(
            LEASES.__class__(group="metal3.io", version="v1alpha1", plural="baremetalhosts"),
            namespace=server.namespace,
            resource_version="1",
            on_event=lambda event: None,
        )
    assert caught.value.right == "watch baremetalhosts (API group 'metal3.io')"
    await api.stopService()


@inline
async def test_a_token_that_is_not_accepted_is_not_shown(
    server: Side, as_mic: Callable[..., ThreadedKubernetes]
) -> None:
    api = as_mic(token=MARKER)
    with pytest.raises(Forbidden, match="does not accept our credentials") as caught:
        await api.get(SECRETS, namespace=server.namespace, name="a")
    assert_says_nothing(caught.value)
    await api.stopService()


@inline
async def test_a_server_that_is_not_there_is_unavailable(
    server: Side, as_mic: Callable[..., ThreadedKubernetes]
) -> None:
    api = as_mic(token=ADMINISTRATOR, url="http://127.0.0.1:1")
    with pytest.raises(Unavailable, match="update secrets x/a: no answer") as caught:
        await api.replace(
            SECRETS,
            {
                "metadata": {"name": "a", "namespace": "x", "resourceVersion": "1"},
                "data": {"nmstate": MARKER},
            },
        )
    assert_says_nothing(caught.value, ADMINISTRATOR)
    with pytest.raises(Unavailable, match="watch secrets in all namespaces: no answer"):
        await api.watch(SECRETS, namespace="", resource_version="1", on_event=lambda event: None)
    await api.stopService()
    with pytest.raises(Unavailable, match="not running"):
        await api.get(SECRETS, namespace=server.namespace, name="a")


@inline
async def test_connections_are_reused_and_a_second_start_is_possible(server: Side) -> None:
    api = server.api
    assert isinstance(api, ThreadedKubernetes)
    await api.create(SECRETS, secret(server, "a"))
    await api.stopService()
    api.startService()
    assert names(await server.everything(SECRETS)) == ["a"]

"""Scope: the controller on bad days of a real API server: nothing is lost and nothing spins.

Each test that lets time pass prints and bounds the request rate of that time, which
docs/design/controller.md states. A counting proxy stands between the two, and answers in the
server's place where it should fail.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from kube_samples import condition
from kubecluster import Cluster, run
from kubeproxy import Fault
from kubeserver import KubeServer
from stub_images import StubImages
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater

from mic.kube.api import SECRETS
from mic.kube.builds import BuildRequest
from mic.kube.client import READ_TIMEOUT
from mic.kube.objects import ASSISTED_INSTALLER_LABEL

reactor = cast(Any, _reactor)
HOSTS = 20


def _say(what: str, rate: float) -> None:
    print(f"request rate, {what}: {rate:.2f}/s")


async def _say_all(cluster: Cluster, what: str) -> int:
    """How many requests there were, once there are no more."""
    count = await cluster.all_asked()
    print(f"requests in all, {what}: {count}")
    return count


def _create_hosts(cluster: Cluster, count: int = HOSTS) -> None:
    for number in range(count):
        cluster.create_secret(f"net-{number}", b"interfaces: []")
        cluster.create_image(f"host-{number}", secret=f"net-{number}")


async def _all_ready(cluster: Cluster, count: int = HOSTS) -> None:
    urls = [await cluster.until_image(f"host-{number}") for number in range(count)]
    assert set(urls) == set(cluster.images.served)


async def _all_but_host_1(cluster: Cluster, before: set[str]) -> None:
    """As it is after host-0 got another document, host-1 was deleted and ``new`` created."""
    new = {await cluster.until_image(name) for name in ("host-0", "host-2", "new")}
    assert len(new & before) == 1
    # The old image of host-0, which it may be booting from, is served on; that of host-1 is not.
    old = set(cluster.images.served) - new
    assert len(old) == 1
    assert old < before


@run
async def test_the_api_server_is_down_at_the_start(cluster: Cluster) -> None:
    _create_hosts(cluster, 3)
    cluster.kube.kill_apiserver()
    try:
        controller = cluster.start_controller()
        rate = await cluster.quiet(6.0)
        assert not controller.health().ready
        assert controller.health().warnings
    finally:
        cluster.kube.start_apiserver()
    _say("API server down at the start", rate)
    assert rate < 5
    await _all_ready(cluster, 3)
    await cluster.until(lambda: controller.health().ready, "readiness")


@run
async def test_the_api_server_goes_away_and_comes_back_without_its_history(
    cluster: Cluster,
) -> None:
    _create_hosts(cluster, 3)
    controller = cluster.start_controller()
    await _all_ready(cluster, 3)
    await cluster.until(lambda: controller.health().ready, "readiness")
    cluster.kube.kill_apiserver()
    cluster.proxy.cut_watches()
    rate = await cluster.quiet(8.0)
    assert controller.health().ready, "hosts that boot read on"
    assert controller.health().warnings
    # What happened meanwhile, to be found by listing alone: the versions we know are compacted.
    cluster.proxy.fault = lambda verb, path: Fault(code=503, reason="ServiceUnavailable")
    cluster.kube.start_apiserver()
    cluster.edit_secret("net-0", b"interfaces: [] # other")
    cluster.delete_image("host-1")
    cluster.create_image("new")
    cluster.kube.compact()
    cluster.kube.kill_apiserver()
    cluster.kube.start_apiserver()
    before = set(cluster.images.served)
    cluster.proxy.fault = lambda verb, path: None
    await cluster.until(lambda: cluster.image("host-1") is None, "the end of host-1")
    await _all_but_host_1(cluster, before)
    await cluster.until(lambda: not controller.health().warnings, "no problems left")
    _say("API server down in mid-flight", rate)
    assert rate < 5


@run
async def test_versions_that_are_too_old_lead_to_a_new_list(cluster: Cluster) -> None:
    cluster.start_controller()
    cluster.create_image("a")
    await cluster.until_image("a")
    cluster.proxy.fault = lambda verb, path: (
        Fault(code=410, reason="Expired") if verb.startswith("watch") else None
    )
    cluster.proxy.cut_watches()
    rate = await cluster.quiet(5.0)
    cluster.proxy.fault = lambda verb, path: None
    cluster.create_image("b")
    await cluster.until_image("b")
    _say("every watch too old", rate)
    assert rate < 8


@pytest_twisted.ensureDeferred
async def test_the_servers_own_word_that_a_version_is_too_old_leads_to_a_new_list(
    tmp_path: Path,
) -> None:
    """As it comes from a real server: an ERROR event in an answer that began with 200."""
    # Without the cache, which goes on knowing what etcd has forgotten.
    kube = KubeServer(tmp_path, "--watch-cache=false")
    cluster = Cluster(kube, tmp_path)
    try:
        kube.start()
        kube.install()
        cluster.start()
        await _outlive_a_compaction(cluster)
    finally:
        await cluster.stop()
        kube.stop()


async def _outlive_a_compaction(cluster: Cluster) -> None:
    _create_hosts(cluster, 3)
    cluster.start_controller()
    await _all_ready(cluster, 3)
    cluster.proxy.hold_watches(True)
    cluster.proxy.cut_watches()
    cluster.edit_secret("net-0", b"interfaces: [] # other")
    cluster.delete_image("host-1")
    cluster.create_image("new")
    cluster.kube.compact()
    before = set(cluster.images.served)
    cluster.proxy.hold_watches(False)
    await cluster.until(lambda: cluster.image("host-1") is None, "the end of host-1")
    await _all_but_host_1(cluster, before)
    for number in range(5):
        if any("410" in line and "anew" in line for line in cluster.log):
            return
        # On a busy machine a watch that is cut may be too young to be continued: it lists again.
        await cluster.until(lambda: len(cluster.proxy.watches) == 3, "three watches")
        await deferLater(reactor, 1.5)
        cluster.proxy.hold_watches(True)
        cluster.proxy.cut_watches()
        cluster.edit_secret("net-0", b"interfaces: [] # once more %d" % number)
        cluster.kube.compact()
        cluster.proxy.hold_watches(False)
        await cluster.until(lambda: len(cluster.proxy.watches) == 3, "three watches")
    pytest.fail("no watch learnt that its version is too old")


async def _refused(cluster: Cluster, fault: Fault) -> float:
    """Requests per second while the server refuses writes of many objects; then all get ready."""
    _create_hosts(cluster)
    cluster.proxy.fault = lambda verb, path: fault if verb.startswith("update") else None
    controller = cluster.start_controller()
    await deferLater(reactor, 1.0)
    rate = await cluster.quiet(6.0)
    if fault.code == 403:
        assert any("update preprovisioningimages" in each for each in controller.health().not_ready)
        assert any("update preprovisioningimages" in line for line in cluster.log)
    assert not controller.health().ready
    cluster.proxy.fault = lambda verb, path: None
    await _all_ready(cluster)
    await cluster.until(lambda: controller.health().ready, "readiness")
    _say(f"writes of {HOSTS} objects answered with {fault.code}", rate)
    return rate


@run
async def test_writes_are_answered_with_500(cluster: Cluster) -> None:
    assert await _refused(cluster, Fault(code=500, reason="InternalError")) < 10


@run
async def test_writes_are_answered_with_429(cluster: Cluster) -> None:
    fault = Fault(code=429, reason="TooManyRequests", headers={"Retry-After": "1"})
    assert await _refused(cluster, fault) < 10


@run
async def test_writes_are_answered_with_403(cluster: Cluster) -> None:
    assert await _refused(cluster, Fault(code=403, reason="Forbidden")) < 10


@run
async def test_everything_is_answered_with_403(cluster: Cluster) -> None:
    cluster.create_image("host")
    cluster.proxy.fault = lambda verb, path: Fault(code=403, reason="Forbidden")
    controller = cluster.start_controller()
    rate = await cluster.quiet(5.0)
    problems = " ".join(controller.health().warnings)
    assert "cannot list preprovisioningimages" in problems
    assert "cannot list secrets" in problems
    cluster.proxy.fault = lambda verb, path: None
    await cluster.until_image("host")
    _say("everything answered with 403", rate)
    assert rate < 8


@run
async def test_a_watch_is_cut_in_the_middle_of_an_event(cluster: Cluster) -> None:
    cluster.create_secret("net", b"interfaces: []")
    cluster.create_image("host", secret="net")
    cluster.start_controller()
    url = await cluster.until_image("host")
    cluster.proxy.forget()
    for number in range(3):
        cluster.proxy.cut_watches(b'{"type":"MODIFIED","object":{"metadata":{"na')
        cluster.edit_secret("net", b"interfaces: [] # %d" % number)
        url = await cluster.until_image("host", other_than=url)
    assert url in cluster.images.served
    # The one before that is kept until mic hears of the status that names this one.
    await cluster.until(lambda: len(cluster.images.served) == 2, "it and the one before")
    # Each time a list or a watch anew for each of three, and three writes.
    assert await _say_all(cluster, "three watches cut, three times, at an edit each") <= 36


@run
async def test_an_error_in_a_watch_is_reported_without_its_message(cluster: Cluster) -> None:
    controller = cluster.start_controller()
    cluster.create_image("host")
    await cluster.until_image("host")
    seen: list[str] = []
    for code in (500, 403):
        status = {"code": code, "reason": "Odd", "message": "secret-payload"}
        event = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"
        cluster.proxy.cut_watches(event)
        await cluster.until(lambda: controller.health().warnings, "a problem")
        seen += controller.health().warnings
        await cluster.until(lambda: not controller.health().warnings, "no problem left")
    assert any("watch preprovisioningimages in" in text and "500 Odd" in text for text in seen)
    assert any("grant `watch`" in text for text in seen)
    assert not [text for text in (*seen, *cluster.log) if "secret-payload" in text]


@run
async def test_a_storm_of_conflicts_on_one_object(cluster: Cluster) -> None:
    cluster.create_image("host")
    cluster.start_controller()
    cluster.proxy.forget()
    for number in range(150):
        cluster.edit_image("host", {"metadata": {"annotations": {"storm": str(number)}}})
        await deferLater(reactor, 0.01)
    count = cluster.proxy.count()
    writes = sum(n for what, n in count.items() if what.startswith("update"))
    print(f"writes in a storm of 150 foreign ones: {writes}")
    assert writes <= 150
    await cluster.until_image("host")
    await cluster.all_asked(2.0)


@run
async def test_an_object_is_recreated_while_its_image_is_built(cluster: Cluster) -> None:
    old = cluster.create_image("host")

    def recreate(request: BuildRequest) -> None:
        cluster.images.building = lambda request: None
        cluster.edit_image("host", {"metadata": {"finalizers": None}})
        cluster.delete_image("host")
        cluster.create_image("host")

    cluster.images.building = recreate
    cluster.start_controller()
    url = await cluster.until_image("host")
    assert set(cluster.images.served) == {url}
    assert cluster.images.served[url].uid != old["metadata"]["uid"]
    assert await _say_all(cluster, "start, and one object recreated while built") <= 24


@run
async def test_an_object_is_deleted_while_its_image_is_built(cluster: Cluster) -> None:
    cluster.create_image("host")

    def delete(request: BuildRequest) -> None:
        cluster.images.building = lambda request: None
        cluster.delete_image("host")

    cluster.images.building = delete
    cluster.start_controller()
    await cluster.until(lambda: cluster.image("host") is None, "the end of the object")
    await cluster.until(lambda: not cluster.images.served, "no image left")
    assert await _say_all(cluster, "start, and one object deleted while built") <= 22


@run
async def test_an_object_is_handed_over_while_its_image_is_built(cluster: Cluster) -> None:
    cluster.create_image("host")

    def label(request: BuildRequest) -> None:
        cluster.images.building = lambda request: None
        cluster.edit_image("host", {"metadata": {"labels": {ASSISTED_INSTALLER_LABEL: "x"}}})

    cluster.images.building = label
    cluster.start_controller()
    await cluster.until(
        lambda: (
            ASSISTED_INSTALLER_LABEL
            in ((cluster.image("host") or {})["metadata"].get("labels") or {})
            and "finalizers" not in (cluster.image("host") or {})["metadata"]
        ),
        "our finalizer gone",
    )
    assert cluster.images.served == {}
    assert not (cluster.image("host") or {})["status"].get("imageUrl")
    assert await _say_all(cluster, "start, and one object handed over while built") <= 20


@run
async def test_a_secret_is_deleted_and_brought_back(cluster: Cluster) -> None:
    cluster.create_secret("net", b"interfaces: []")
    cluster.create_image("host", secret="net")
    cluster.start_controller()
    url = await cluster.until_image("host")
    cluster.kube.delete(SECRETS, cluster.namespace, "net")
    await cluster.until(
        lambda: (
            condition(cluster.image("host") or {}, "Error").get("reason") == "MissingNetworkData"
        ),
        "the error",
    )
    _say("a Secret is missing", await cluster.quiet(2.0))
    assert set(cluster.images.served) == {url}, "the host may be reading"
    # Without the label, the watch does not report it: found by asking again, after 3 s.
    cluster.create_secret("net", b"interfaces: []")
    assert await cluster.until_image("host") == url, "the same image"


@run
async def test_a_secret_as_large_as_they_come(cluster: Cluster) -> None:
    # 1 MiB over all keys is the most that a Secret may hold; "other" has five bytes.
    document = (b"interfaces: []\n#").ljust(1024 * 1024 - len("value"), b"x")
    cluster.create_secret("net", document)
    cluster.create_image("host", secret="net")
    cluster.start_controller()
    url = await cluster.until_image("host")
    assert cluster.images.served[url].data.network == document
    assert await _say_all(cluster, "start, and one object with a Secret of 1 MiB") <= 20


@run
async def test_garbage_is_reported_once_and_asked_for_no_more(cluster: Cluster) -> None:
    cluster.create_secret("net", b"garbage")
    cluster.create_image("host", secret="net")
    cluster.start_controller()
    assert "that is no NMState" in await cluster.until_error("host")
    assert await _say_all(cluster, "start, and one object with garbage for NMState") <= 20


@run
async def test_a_namespace_is_being_deleted(cluster: Cluster) -> None:
    _create_hosts(cluster, 3)
    cluster.start_controller()
    await _all_ready(cluster, 3)
    # What the namespace controller does, in the order that is the worst for us.
    cluster.kube.ask("DELETE", f"/api/v1/namespaces/{cluster.namespace}")
    for number in range(3):
        cluster.kube.delete(SECRETS, cluster.namespace, f"net-{number}")
    for number in range(3):
        cluster.delete_image(f"host-{number}")
    for number in range(3):
        gone = f"host-{number}"
        await cluster.until(
            lambda gone=gone: cluster.image(gone) is None,  # type: ignore[misc]
            f"the end of {gone}",
        )
    await cluster.until(lambda: not cluster.images.served, "no image left")
    await cluster.all_asked()  # each object that vanished is asked for once more
    rate = await cluster.quiet(2.0)
    _say("a namespace on its way out", rate)
    assert rate == 0


@run
async def test_a_controller_that_stops_in_mid_pass_leaves_nothing_half_written(
    cluster: Cluster,
) -> None:
    _create_hosts(cluster)
    cluster.start_controller()
    await cluster.until(
        lambda: cluster.proxy.count()["update preprovisioningimages/status"] > 5, "mid-flight"
    )
    began = reactor.seconds()
    await cluster.stop_controllers()
    assert reactor.seconds() - began < READ_TIMEOUT / 2, "sooner than requests time out"
    for number in range(HOSTS):
        status = (cluster.image(f"host-{number}") or {}).get("status") or {}
        if condition({"status": status}, "Ready").get("status") == "True":
            assert status["imageUrl"] in cluster.images.served
    images = cluster.images = StubImages()
    cluster.start_controller(images)
    await _all_ready(cluster)


def test_our_manifests_grant_what_is_used_and_nothing_else(kube: KubeServer) -> None:
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
    plurals = ("preprovisioningimages.metal3.io", "secrets")
    allowed = {(v, plural) for plural in plurals for v in verbs if kube.account_may(v, plural)}
    assert allowed == {
        (v, plural) for plural in plurals for v in ("get", "list", "watch", "update")
    }
    for verb in verbs:
        status = "preprovisioningimages.metal3.io/status"
        assert kube.account_may(verb, status) == (verb == "update")
    assert [verb for verb in verbs if kube.account_may(verb, "events")] == ["create"]
    assert not kube.account_may("list", "configmaps")

"""Scope: the controller against a real API server, with only the rights of our manifests.

From objects that users create, edit and delete to statuses, finalizers and Secrets, as Metal3's
contract has them. The images are a stub's; what goes wrong is in test_bad_days.py.
"""

from __future__ import annotations

from kube_samples import condition
from kubecluster import Cluster, Watcher, run

from mic.kube.api import SECRETS, Json
from mic.kube.objects import ASSISTED_INSTALLER_LABEL, FINALIZER


def _short(status: Json) -> tuple[object, ...]:
    """A status as one line: the conditions' states and messages, and what the rest names."""
    image = {"status": status}
    ready, error = condition(image, "Ready"), condition(image, "Error")
    return (
        f"{ready.get('status')} {ready.get('reason')} {ready.get('message')}",
        f"{error.get('status')} {error.get('reason')} {error.get('message')}",
        bool(status.get("imageUrl")),
        status.get("format"),
        (status.get("networkData") or {}).get("version"),
    )


@run
async def test_a_watcher_sees_exactly_the_statuses_of_the_contract(cluster: Cluster) -> None:
    watcher = Watcher(cluster, "host")
    await watcher.start()
    cluster.create_secret("net", b"interfaces: []")
    cluster.create_image("host", secret="net")
    cluster.start_controller()
    first = await cluster.until_image("host")
    before = (cluster.secret("net") or {})["metadata"]["resourceVersion"]
    cluster.edit_secret("net", b"interfaces: [] # other")
    second = await cluster.until_image("host")
    after = (cluster.secret("net") or {})["metadata"]["resourceVersion"]
    await cluster.until(lambda: len(watcher.statuses()) >= 6, "six statuses")
    await watcher.stop()
    changed, generated = "ImageSuccess Config changed", "ImageSuccess Generated image"
    assert [_short(status) for status in watcher.statuses()] == [
        ("None None None", "None None None", False, None, None),
        (f"False {changed}", "False ImageSuccess ", False, "iso", before),
        (f"True {generated}", "False ImageSuccess ", True, "iso", before),
        (f"False {changed}", "False ImageSuccess ", True, "iso", before),
        (f"False {changed}", "False ImageSuccess ", False, "iso", after),
        (f"True {generated}", "False ImageSuccess ", True, "iso", after),
    ]
    assert first != second
    assert set(cluster.images.served) == {first, second}, "a BMC may still read the first"


@run
async def test_the_secret_is_labelled_and_owned_and_its_data_untouched(cluster: Cluster) -> None:
    old = cluster.create_secret("net", b"interfaces: []")
    image = cluster.create_image("host", secret="net")
    cluster.start_controller()
    await cluster.until_image("host")
    secret = cluster.secret("net") or {}
    assert secret["data"] == old["data"]
    assert secret["metadata"]["labels"] == {"environment.metal3.io": "baremetal"}
    assert secret["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "metal3.io/v1alpha1",
            "kind": "PreprovisioningImage",
            "name": "host",
            "uid": image["metadata"]["uid"],
        }
    ]


@run
async def test_an_image_costs_four_writes_and_then_nothing(cluster: Cluster) -> None:
    cluster.create_secret("net", b"interfaces: []")
    cluster.start_controller()
    await cluster.until(lambda: cluster.proxy.count()["watch secrets"] == 1, "the watches")
    cluster.create_image("host", secret="net")
    await cluster.until_image("host")
    writes = {what: n for what, n in cluster.proxy.count().items() if what.startswith("update")}
    assert writes == {
        "update preprovisioningimages": 1,
        "update secrets": 1,
        "update preprovisioningimages/status": 2,
    }
    await cluster.all_asked(2.0)


@run
async def test_deletion_waits_for_others_and_then_releases_the_object(cluster: Cluster) -> None:
    cluster.create_image("host")
    cluster.start_controller()
    url = await cluster.until_image("host")
    cluster.edit_image("host", {"metadata": {"finalizers": [FINALIZER, "test/cleaning"]}})
    cluster.delete_image("host")
    await cluster.quiet(1.0)
    assert url in cluster.images.served, "the host is being cleaned with it"
    cluster.edit_image("host", {"metadata": {"finalizers": [FINALIZER]}})
    await cluster.until(lambda: cluster.image("host") is None, "the end of the object")
    assert cluster.images.served == {}


@run
async def test_an_object_on_its_way_out_is_served_again_after_a_restart(cluster: Cluster) -> None:
    cluster.create_secret("net", b"interfaces: []")
    cluster.create_image("host", secret="net")
    cluster.start_controller()
    url = await cluster.until_image("host")
    cluster.edit_image("host", {"metadata": {"finalizers": [FINALIZER, "test/cleaning"]}})
    cluster.delete_image("host")
    await cluster.stop_controllers()
    cluster.images.served.clear()
    cluster.start_controller()
    again = await cluster.until_image("host", other_than=url)
    assert again in cluster.images.served
    cluster.edit_image("host", {"metadata": {"finalizers": [FINALIZER]}})
    await cluster.until(lambda: cluster.image("host") is None, "the end of the object")


@run
async def test_a_labelled_object_is_handed_over_with_nothing_else_written(cluster: Cluster) -> None:
    cluster.create_image("host")
    cluster.start_controller()
    await cluster.until_image("host")
    status = (cluster.image("host") or {})["status"]
    cluster.edit_image("host", {"metadata": {"labels": {ASSISTED_INSTALLER_LABEL: "x"}}})
    await cluster.until(
        lambda: "finalizers" not in (cluster.image("host") or {})["metadata"], "our finalizer gone"
    )
    assert (cluster.image("host") or {})["status"] == status
    assert cluster.images.served == {}


@run
async def test_an_object_labelled_while_no_one_watched_is_handed_over(cluster: Cluster) -> None:
    cluster.create_image("host")
    cluster.start_controller()
    await cluster.until_image("host")
    await cluster.stop_controllers()
    cluster.edit_image("host", {"metadata": {"labels": {ASSISTED_INSTALLER_LABEL: "x"}}})
    cluster.start_controller()
    await cluster.until(
        lambda: "finalizers" not in (cluster.image("host") or {})["metadata"], "our finalizer gone"
    )


@run
async def test_errors_reach_the_host_controller(cluster: Cluster) -> None:
    cluster.create_secret("garbage", b"garbage")
    cluster.create_secret("keyless", None)
    cluster.create_image("garbage", secret="garbage")
    cluster.create_image("keyless", secret="keyless")
    cluster.create_image("foreign", architecture="aarch64")
    cluster.start_controller()
    assert await cluster.until_error("garbage") == (
        "Cannot generate image: line 1: that is no NMState"
    )
    assert "has no key 'nmstate'" in await cluster.until_error("keyless")
    assert await cluster.until_error("foreign") == (
        "Architecture not supported: aarch64; there are base images for x86_64"
    )
    await cluster.all_asked()
    cluster.edit_secret("garbage", b"interfaces: []")
    await cluster.until_image("garbage")


@run
async def test_base_images_that_come_late_serve_those_who_wait(cluster: Cluster) -> None:
    cluster.images.usable = set()
    cluster.create_image("host", formats=("initrd",))
    controller = cluster.start_controller()
    assert (await cluster.until_error("host")).startswith("Architecture not supported: x86_64")
    # The watch reports a reconciliation's write before its own request returns.
    await cluster.until(
        lambda: controller.health().not_ready == ("there is no base image",), "the pass to end"
    )
    cluster.images.change({("iso", "x86_64"), ("initrd", "x86_64")})
    url = await cluster.until_image("host")
    status = (cluster.image("host") or {})["status"]
    assert url.endswith(".initramfs")
    assert status["kernelUrl"]
    assert status["extraKernelParams"].startswith("coreos.live.rootfs_url=")
    await cluster.until(lambda: controller.health().ready, "readiness")


@run
async def test_after_a_restart_each_object_has_a_new_url_and_one_write(cluster: Cluster) -> None:
    for number in range(5):
        cluster.create_secret(f"net-{number}", b"interfaces: []")
        cluster.create_image(f"host-{number}", secret=f"net-{number}")
    cluster.start_controller()
    old = [await cluster.until_image(f"host-{number}") for number in range(5)]
    await cluster.stop_controllers()
    cluster.images.served.clear()
    cluster.proxy.forget()
    controller = cluster.start_controller()
    assert not controller.health().ready
    await cluster.until(lambda: controller.health().ready, "readiness")
    new = [await cluster.until_image(f"host-{number}") for number in range(5)]
    assert set(new) == set(cluster.images.served)
    assert not set(new) & set(old)
    writes = {what: n for what, n in cluster.proxy.count().items() if what.startswith("update")}
    assert writes == {"update preprovisioningimages/status": 5}


@run
async def test_secrets_of_others_are_left_alone(cluster: Cluster) -> None:
    before = cluster.create_secret("bmc", None, labels={"environment.metal3.io": "baremetal"})
    cluster.create_image("host")
    cluster.start_controller()
    await cluster.until_image("host")
    assert cluster.kube.find(SECRETS, cluster.namespace, "bmc") == before

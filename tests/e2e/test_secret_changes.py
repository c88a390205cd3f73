"""Scope: others write to a host's Secret while it reads its image, with mic as processes.

A real API server, a range each millisecond from each process, and the writes of all counted.
In one process and in less time: tests/functional/test_secret_changes.py.
"""

from __future__ import annotations

from e2e import controller
from e2e.replicas import Pair, Replica, document, run_pair
from kubecluster import Cluster, Watcher, run
from range_poller import RangePoller
from twisted.internet.threads import deferToThread

from mic.kube.api import SECRETS

CHANGES = 1000


async def _touch(cluster: Cluster, image: str, secret: str, count: int) -> None:
    """Change the Secret's metadata, and wait for the status each time."""
    url = await cluster.until_image(image)
    watcher = Watcher(cluster, image)
    await watcher.start()
    try:
        for number in range(count):
            change = {"metadata": {"finalizers": [f"example.com/{number}"]}}
            changed = cluster.kube.edit(SECRETS, cluster.namespace, secret, change)
            await cluster.until(
                lambda changed=changed: watcher.verdict(changed) == f"image {url}",  # type: ignore[misc]
                "the same image",
                interval=0.005,
            )
    finally:
        await watcher.stop()
    change = {"metadata": {"finalizers": None}}
    cluster.kube.edit(SECRETS, cluster.namespace, secret, change)


async def _poller(replica: Replica, url: str) -> RangePoller:
    return await deferToThread(RangePoller, replica.daemon.tcp, "/" + url.rpartition("/")[2])


@run_pair
async def test_no_reader_of_any_replica_notices_a_thousand_changes_of_metadata(pair: Pair) -> None:
    url = pair.urls[0]
    pollers = [await _poller(replica, url) for replica in pair.replicas]
    try:
        before = len(pair.leader.writes())
        sizes = [replica.daemon.resident() for replica in pair.replicas]
        await _touch(pair.cluster, "host-0", "net-0", CHANGES)
        reads = [await deferToThread(poller.stop) for poller in pollers]
        writes = len(pair.leader.writes()) - before
        grown = [
            replica.daemon.resident() - size
            for replica, size in zip(pair.replicas, sizes, strict=True)
        ]
    finally:
        for poller in pollers:
            poller.kill()
    print(f"{CHANGES} changes, {writes} writes; ranges read: {reads}; memory grew by {grown} bytes")
    assert writes <= CHANGES + 1
    assert pair.follower.writes() == []
    assert max(grown) < 8 * 2**20
    for replica in pair.replicas:
        assert replica.daemon.whole_log.count("host-0: iso image ready") <= 1


@run_pair
async def test_both_replicas_go_on_with_the_old_image_of_other_network_data(pair: Pair) -> None:
    old = pair.urls[0]
    pollers = [await _poller(replica, old) for replica in pair.replicas]
    try:
        for name in ("other0", "eth0", "other0"):
            pair.cluster.edit_secret("net-0", document(name))
            url = await pair.cluster.until_image("host-0")
            assert (url == old) == (name == "eth0")
        for replica in pair.replicas:
            await pair.cluster.until(
                lambda replica=replica: replica.get(url).status == 200,  # type: ignore[misc]
                "the new image",
            )
        for poller in pollers:
            await deferToThread(poller.stop)
    finally:
        for poller in pollers:
            poller.kill()


@run
async def test_with_random_names_no_reader_notices_either(cluster: Cluster) -> None:
    cluster.create_secret("net", document("eth0"))
    cluster.create_image("host", secret="net")
    daemon = controller.start(cluster.folder / "mic", cluster.kubeconfig, cluster.namespace)
    try:
        url = await cluster.until_image("host")
        target = "/" + url.rpartition("/")[2]
        poller = await deferToThread(RangePoller, daemon.tcp, target)
        try:
            cluster.proxy.forget()
            await _touch(cluster, "host", "net", 200)
            cluster.edit_secret("net", document("eth1"))
            await cluster.until_image("host", other_than=url)
            await deferToThread(poller.stop)
        finally:
            poller.kill()
        # One for each of the former, three for the new image, and one for the finalizer.
        assert cluster.proxy.count()["update preprovisioningimages/status"] <= 200 + 3 + 1
    finally:
        await deferToThread(daemon.stop)

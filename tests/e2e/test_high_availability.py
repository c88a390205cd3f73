"""Scope: two controllers as processes, one real API server: the leader dies, or is told to go.

One writer at any time, statuses that stay as they are, the same bytes, tag and date from each
replica, and a download by ranges that goes on at the other one. A counting proxy stands before
the API server for each replica, so that it is seen who writes what, and when.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from typing import Any, cast

import urllib3
from functional.daemon import Daemon
from functional.media import Media, make_media
from kubecluster import Cluster, run
from kubeproxy import FaultProxy
from twisted.internet import reactor as _reactor
from twisted.internet.threads import deferToThread

from mic.kube.api import LEASES, Json
from mic.kube.election import LEASE_NAME, LEASE_SECONDS, RETRY_SECONDS

reactor = cast(Any, _reactor)

HOSTS = 5
_KEY = "0123456789abcdef0123456789abcdef"
_ROOTFS = 8 * 1024 * 1024
_RANGE = 64 * 1024


class Replica:
    """A controller process, and its own way to the API server."""

    def __init__(self, cluster: Cluster, media: Media, name: str) -> None:
        self._cluster = cluster
        self._media = media
        self.name = name
        self.proxy = FaultProxy(cluster.kube.url)
        self.proxy.start()
        self.starts = 0
        self.start()

    def start(self) -> None:
        folder = self._cluster.folder
        key = folder / "key"
        key.write_text(f"{_KEY}\n")
        namespace = self._cluster.namespace
        kubeconfig = self._cluster.kube.kubeconfig(
            folder / f"config-{self.name}", url=self.proxy.url, namespace=namespace
        )
        if self.starts:
            self.daemon.kill()
        self.starts += 1
        self.daemon = Daemon(
            folder / f"log-{self.name}-{self.starts}",
            [
                *("controller", "-kubeconfig", str(kubeconfig), "-namespace", namespace),
                *("-images-bind-addr", "127.0.0.1:0", "-metrics-addr", "0"),
                *("-images-publish-addr", "http://images.example", "-leader-elect"),
            ],
            {
                "DEPLOY_ISO": str(self._media.directory / "coreos.iso"),
                "IRONIC_AGENT_IMAGE": "quay.example/ipa",
                "IRONIC_BASE_URL": "http://ironic.example",
                "MIC_URL_KEY_FILE": str(key),
            },
        )

    async def settled(self) -> None:
        """Wait until it serves what there is."""
        await self._cluster.until(
            lambda: " are reconciled" in self.daemon.whole_log, f"all that {self.name} serves"
        )

    def writes(self) -> list[float]:
        """When it wrote anything but its Lease and its Events."""
        return [
            moment
            for moment, what in self.proxy.requests
            if what.split()[0] in ("update", "patch", "create")
            and what.split()[1] not in ("leases", "events")
        ]

    def get(self, url: str, start: int | None = None, etag: str = "") -> Any:
        """The answer to a GET, of a range when one begins somewhere; blocks."""
        headers = {}
        if start is not None:
            headers["Range"] = f"bytes={start}-{start + _RANGE - 1}"
            headers["If-Range"] = etag
        host, port = self.daemon.tcp
        where = f"http://{host}:{port}/{url.rpartition('/')[2]}"
        return urllib3.request("GET", where, headers=headers, retries=False, timeout=30)

    async def asked(self, url: str, **how: Any) -> Any:
        return await deferToThread(self.get, url, **how)

    async def end(self) -> None:
        self.daemon.kill()
        await self.proxy.stop()


class Pair:
    """Two replicas of which one leads, and hosts whose images are ready."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        cluster.kube.grant_leases(cluster.namespace)
        media = make_media(cluster.folder / "images", rootfs=_ROOTFS).write()
        self.replicas = [Replica(cluster, media, name) for name in "ab"]

    async def start(self) -> None:
        for replica in self.replicas:
            await replica.settled()
        for number in range(HOSTS):
            self.cluster.create_secret(f"net-{number}", _document(f"eth{number}"))
            self.cluster.create_image(f"host-{number}", secret=f"net-{number}")
        self.urls = [await self.cluster.until_image(f"host-{n}") for n in range(HOSTS)]
        self.leader, self.follower = sorted(self.replicas, key=lambda each: not each.writes())

    async def end(self) -> None:
        for replica in self.replicas:
            await replica.end()

    def lease(self) -> Json:
        found = self.cluster.kube.find(LEASES, self.cluster.namespace, LEASE_NAME)
        return (found or {}).get("spec", {})

    def versions(self) -> list[str]:
        images = [self.cluster.image(f"host-{n}") or {} for n in range(HOSTS)]
        return [image["metadata"]["resourceVersion"] for image in images]


def _document(interface: str) -> bytes:
    return f"interfaces:\n- name: {interface}\n  type: ethernet\n  state: up\n".encode()


def run_pair(test: Callable[[Pair], Any]) -> Any:
    """A test as a coroutine of a `Pair` that is up."""

    async def with_pair(cluster: Cluster) -> None:
        pair = Pair(cluster)
        try:
            await pair.start()
            await test(pair)
        finally:
            await pair.end()

    with_pair.__name__ = test.__name__
    return run(with_pair)


@run_pair
async def test_both_serve_every_image_alike_and_one_alone_writes(pair: Pair) -> None:
    assert pair.leader.writes()
    assert pair.follower.writes() == []
    for url in pair.urls:
        first, second = await pair.leader.asked(url), await pair.follower.asked(url)
        assert first.status == second.status == 200
        assert first.data == second.data
        for name in ("ETag", "Last-Modified", "Content-Length"):
            assert first.headers[name] == second.headers[name]
    for replica in pair.replicas:
        for url in pair.urls:
            assert url.rpartition("/")[2] not in replica.daemon.whole_log


@run_pair
async def test_the_leader_is_killed_during_downloads_and_updates(pair: Pair) -> None:
    url = pair.urls[0]
    answer = await pair.follower.asked(url)
    assert answer.status == 200
    whole, etag = answer.data, answer.headers["ETag"]
    before = pair.versions()
    cluster = pair.cluster

    read = bytearray()
    killed = False
    server = pair.leader
    for number in itertools.count():
        if len(read) == len(whole):
            break
        answer = await server.asked(url, start=len(read), etag=etag)
        assert answer.status == 206, (number, server.daemon.whole_log)
        read += answer.data
        if number == 40:
            cluster.edit_secret("net-4", _document("other4"))
            pair.leader.daemon.kill()
            killed, server = True, pair.follower
    assert killed
    assert bytes(read) == whole

    new = await cluster.until_image("host-4", other_than=pair.urls[4])
    assert (await pair.follower.asked(new)).status == 200
    assert pair.lease()["leaseTransitions"] == 1
    # One writer at any time, and none for as long as the Lease of the dead one was good.
    pause = min(pair.follower.writes()) - max(pair.leader.writes())
    assert pause > 0
    print(f"statuses written again {pause:.1f} s after the last write of the killed leader")
    assert pair.versions()[:4] == before[:4], "statuses of the others stay as they are"

    # What comes back follows, names everything alike, and has nothing to write.
    written = len(pair.leader.writes())
    versions = pair.versions()
    pair.leader.start()
    await pair.leader.settled()
    for each in (*pair.urls[:4], new):
        assert (await pair.leader.asked(each)).status == 200
    assert len(pair.leader.writes()) == written
    assert pair.versions() == versions


@run_pair
async def test_a_leader_that_is_told_to_go_hands_over_at_once(pair: Pair) -> None:
    before = pair.versions()
    pair.leader.daemon.process.terminate()
    began = reactor.seconds()
    await pair.cluster.until(lambda: "Leading" in pair.follower.daemon.whole_log, "a new leader")
    took = reactor.seconds() - began
    print(f"a new leader {took:.1f} s after SIGTERM to the old one")
    assert took < LEASE_SECONDS - RETRY_SECONDS, "it need not run out"
    await pair.cluster.until(
        lambda: pair.leader.daemon.process.poll() is not None, "the end of the old leader"
    )
    assert pair.leader.daemon.process.returncode == 0
    pair.cluster.edit_secret("net-0", _document("other0"))
    await pair.cluster.until_image("host-0", other_than=pair.urls[0])
    assert max(pair.leader.writes()) < min(pair.follower.writes())
    assert pair.versions()[1:] == before[1:]


@run_pair
async def test_a_leader_cut_off_from_the_api_server_writes_nothing_after_its_successor(
    pair: Pair,
) -> None:
    # Suspended: it wakes with its old belief, and with work in its queue.
    pair.leader.daemon.process.send_signal(signal.SIGSTOP)
    try:
        pair.cluster.edit_secret("net-0", _document("other0"))
        await pair.cluster.until_image("host-0", other_than=pair.urls[0])
    finally:
        pair.leader.daemon.process.send_signal(signal.SIGCONT)
    await pair.cluster.until(lambda: _following(pair.leader), "the old leader follows")
    pair.cluster.edit_secret("net-1", _document("other1"))
    new = await pair.cluster.until_image("host-1", other_than=pair.urls[1])
    assert max(pair.leader.writes()) < min(pair.follower.writes())
    await pair.cluster.until(lambda: pair.leader.get(new).status == 200, "the image at both")


def _following(replica: Replica) -> bool:
    return (
        "Following" in replica.daemon.whole_log or "No longer leading" in replica.daemon.whole_log
    )

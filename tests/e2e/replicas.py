"""Two controllers as processes before one real API server, each behind a counting proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import urllib3
from functional.daemon import Daemon
from functional.media import Media, make_media
from kubecluster import Cluster, run
from kubeproxy import FaultProxy
from twisted.internet.threads import deferToThread

from mic.kube.api import LEASES, Json
from mic.kube.election import LEASE_NAME

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
            lambda: " reconciled: " in self.daemon.whole_log, f"all that {self.name} serves"
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
            self.cluster.create_secret(f"net-{number}", document(f"eth{number}"))
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


def document(interface: str) -> bytes:
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

"""Scope: a controller's process over minutes: an outage that lasts, and churn without end.

Slow by nature and cheap all the same: an outage is spent waiting.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any, cast

import urllib3
from e2e import controller
from functional.daemon import Daemon
from kubecluster import Cluster, run
from kubeproxy import Fault
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from mic.kube.informer import LONGEST_DELAY
from mic.kube.workers import LONGEST_PAUSE, WORKERS

reactor = cast(Any, _reactor)

OTHER = b"interfaces:\n- name: eth1\n  type: ethernet\n  state: up\n"
"""Another document than all hosts have at first, which makes another image."""

OUTAGE = 120.0
"""Seconds: longer than it takes every back-off for outages to reach its longest."""

LONGEST = LONGEST_DELAY + LONGEST_PAUSE + 10.0
"""Seconds within which all is well again: until the next list, and for the last refusal's hold;
the rest is for a slow machine."""


async def _status(daemon: Daemon, url: str) -> int:
    """How the process answers for an image; asked in a thread, as the proxy lives in ours."""
    where = controller.served(daemon, url)
    answer = await deferToThread(urllib3.request, "HEAD", where, timeout=5, retries=False)
    return answer.status


async def _all_served(cluster: Cluster, daemon: Daemon, names: list[str]) -> dict[str, str]:
    """Wait until baremetal-operator would use an image of each object, and see it served."""
    urls = {name: await cluster.until_image(name) for name in names}
    for url in urls.values():
        assert await _status(daemon, url) == 200
    return urls


@run
async def test_an_outage_of_minutes_is_sat_out_and_over_within_the_longest_back_off(
    cluster: Cluster,
) -> None:
    for number in range(5):
        cluster.create_secret(f"net-{number}", b"interfaces: []")
        cluster.create_image(f"host-{number}", secret=f"net-{number}")
    names = [f"host-{number}" for number in range(5)]
    daemon = controller.start(cluster.folder / "mic", cluster.kubeconfig, cluster.namespace)
    try:
        await cluster.until(lambda: " serving " in daemon.whole_log, "serving")
        before = await _all_served(cluster, daemon, names)
        # Work in hand, which the outage cuts short.
        cluster.proxy.fault = lambda verb, path: (
            Fault(code=500, reason="InternalError") if verb.startswith("update") else None
        )
        cluster.edit_secret("net-0", OTHER)
        cluster.create_image("late")
        await cluster.until(lambda: cluster.proxy.count()["update preprovisioningimages"], "work")
        cluster.kube.kill_apiserver()
        cluster.proxy.cut_watches()
        cluster.proxy.fault = lambda verb, path: None
        cluster.proxy.forget()
        spent = daemon.processor_time()
        began = time.monotonic()
        while time.monotonic() - began < OUTAGE:
            for url in before.values():
                assert await _status(daemon, url) == 200
            await deferLater(reactor, 5.0)
        rate = len(cluster.proxy.requests) / OUTAGE
        late = sum(1 for when, _ in cluster.proxy.requests if when > began + OUTAGE / 2)
        spent = daemon.processor_time() - spent
        # It comes back, and things happen before anybody is let in again.
        cluster.proxy.fault = lambda verb, path: Fault(code=503, reason="ServiceUnavailable")
        cluster.kube.start_apiserver()
        cluster.edit_secret("net-1", OTHER)
        cluster.delete_image("host-2")
        cluster.create_image("new")
        cluster.proxy.fault = lambda verb, path: None
        began = reactor.seconds()
        alive = ["host-0", "host-1", "host-3", "host-4", "late", "new"]

        def recovered() -> bool:
            return cluster.image("host-2") is None and all(
                cluster.verdict(name).startswith("image ") for name in alive
            )

        await cluster.until(recovered, "all as it should be", LONGEST)
        took = reactor.seconds() - began
        after = await _all_served(cluster, daemon, alive)
        assert {name for name in alive[:4] if before[name] != after[name]} == {"host-0", "host-1"}
        for name in ("host-0", "host-1"):
            assert await _status(daemon, before[name]) == 200, "a BMC may be reading it"
        # Released first, then gone.
        assert await _status(daemon, before["host-2"]) == 404
    finally:
        await deferToThread(daemon.stop)
    print(
        f"request rate in {OUTAGE:.0f} s without an API server: {rate:.2f}/s, "
        f"{late / (OUTAGE / 2):.2f}/s in its second half; {spent} ticks of CPU; "
        f"back to normal after {took:.1f} s"
    )
    assert rate < 2
    assert late / (OUTAGE / 2) <= 0.6


ROUNDS = 14
EARLY = 4
"""The round whose end the last one is compared with: by then every path has been taken."""

HOSTS = 12
GROWTH = 3 * 1024 * 1024
"""Bytes that resident memory may differ by: arenas of the allocator, not what rounds leave."""


@run
async def test_churn_and_faults_leave_nothing_behind(cluster: Cluster) -> None:
    chance = random.Random(1)
    daemon = controller.start(cluster.folder / "mic", cluster.kubeconfig, cluster.namespace)
    faults = (
        Fault(code=500, reason="InternalError"),
        Fault(code=429, reason="TooManyRequests", headers={"Retry-After": "0"}),
        Fault(code=409, reason="Conflict"),
    )

    def fault(verb: str, path: str) -> Fault | None:
        return chance.choice(faults) if chance.random() < 0.03 else None

    sizes: list[tuple[int, int, int]] = []
    try:
        await cluster.until(lambda: " serving " in daemon.whole_log, "serving")
        for number in range(ROUNDS):
            cluster.proxy.fault = fault
            await _round(cluster, daemon, number)
            cluster.proxy.fault = lambda verb, path: None
            await cluster.until(lambda: len(cluster.proxy.watches) == 3, "three watches")
            sizes.append(
                (
                    daemon.resident(),
                    daemon.descriptors(),
                    len(os.listdir(f"/proc/{daemon.pid}/task")),
                )
            )
    finally:
        await deferToThread(daemon.stop)
    for number, (resident, descriptors, threads) in enumerate(sizes):
        size = f"{resident / 2**20:.1f} MiB, {descriptors} descriptors, {threads} threads"
        print(f"after round {number}: {size}")
    early, late = sizes[EARLY], sizes[-1]
    assert late[0] - early[0] < GROWTH
    assert late[1] <= max(each[1] for each in sizes[: EARLY + 1])
    # Pools grow on demand up to their sizes; a thread left behind by each round would exceed that.
    assert late[2] <= max(each[2] for each in sizes[: EARLY + 1]) + WORKERS


async def _round(cluster: Cluster, daemon: Daemon, number: int) -> None:
    """Objects come, their Secrets change, they go."""
    names = [f"host-{number}-{each}" for each in range(HOSTS)]
    for name in names:
        cluster.create_secret(name, b"interfaces: []\n#" + bytes(60_000).replace(b"\0", b"x"))
        cluster.create_image(name, secret=name)
    before = [await cluster.until_image(name) for name in names]
    if number % 2:
        cluster.proxy.cut_watches(b'{"type":"MODIFIED","object":{"metadata":{"na')
    for name in names:
        cluster.edit_secret(name, OTHER)
    after = [await cluster.until_image(name) for name in names]
    assert not set(before) & set(after)
    assert await _status(daemon, after[0]) == 200
    for name in names:
        cluster.delete_image(name)
        cluster.kube.ask("DELETE", f"/api/v1/namespaces/{cluster.namespace}/secrets/{name}")
    for name in names:
        await cluster.until(
            lambda name=name: cluster.image(name) is None,  # type: ignore[misc]
            f"the end of {name}",
        )
    assert await _status(daemon, after[0]) == 404

"""Scope: two controllers as processes, one real API server: the leader dies, or is stopped.

One writer at any time, statuses that stay as they are, the same bytes, tag and date from each
replica, and a download by ranges that goes on at the other one. A counting proxy stands before
the API server for each replica, so that it is seen who writes what, and when.
"""

from __future__ import annotations

import itertools
import signal
from typing import Any, cast

from e2e.replicas import Pair, Replica, document, run_pair
from twisted.internet import reactor as _reactor

from mic.kube.election import LEASE_SECONDS, RETRY_SECONDS

reactor = cast(Any, _reactor)


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
            cluster.edit_secret("net-4", document("other4"))
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
async def test_a_leader_that_is_asked_to_go_hands_over_at_once(pair: Pair) -> None:
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
    pair.cluster.edit_secret("net-0", document("other0"))
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
        pair.cluster.edit_secret("net-0", document("other0"))
        await pair.cluster.until_image("host-0", other_than=pair.urls[0])
    finally:
        pair.leader.daemon.process.send_signal(signal.SIGCONT)
    await pair.cluster.until(lambda: _following(pair.leader), "the old leader follows")
    pair.cluster.edit_secret("net-1", document("other1"))
    new = await pair.cluster.until_image("host-1", other_than=pair.urls[1])
    assert max(pair.leader.writes()) < min(pair.follower.writes())
    await pair.cluster.until(lambda: pair.leader.get(new).status == 200, "the image at both")


def _following(replica: Replica) -> bool:
    return (
        "Following" in replica.daemon.whole_log or "No longer leading" in replica.daemon.whole_log
    )

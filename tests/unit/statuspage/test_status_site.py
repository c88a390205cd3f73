"""Collecting what the status page shows; HTTP is in tests/functional/test_status_page.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from mic.common.health import Health
from mic.common.threads import Threads
from mic.hosts.status import HostState, HostStatus
from mic.statuspage.overview import Overview, Process, Row
from mic.statuspage.status_site import MAX_CONNECTIONS, Overviews, StatusSite


class Bench:
    """A thousand hosts, and how many of them were asked for so far."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked = 0
        self.overviews = Overviews(self.clock, self.process, self.rows)

    def process(self) -> Process:
        return Process(
            version="1",
            mode="static",
            started=0.0,
            now=1.0,
            addresses=(),
            url="",
            serving=True,
            health=Health(),
            bases=(),
        )

    def rows(self) -> Iterator[Row]:
        for number in range(1000):
            self.asked += 1
            status = HostStatus(namespace="", name=f"w-{number}", state=HostState.READY)
            yield Row(host=status)

    def ask(self) -> Deferred[Overview]:
        return Deferred.fromCoroutine(self.overviews.current())

    def collect(self) -> None:
        for _ in range(100):
            self.clock.advance(0)


@pytest_twisted.ensureDeferred
async def test_collects_a_few_hosts_per_turn_of_the_loop() -> None:
    from twisted.internet import reactor

    bench = Bench()
    overviews = Overviews(reactor, bench.process, bench.rows)
    collected = Deferred.fromCoroutine(overviews.current())
    turns = []
    while not collected.called:
        before = bench.asked
        await deferLater(reactor, 0)  # type: ignore[arg-type]
        turns.append(bench.asked - before)
    assert len((await collected).rows) == bench.asked == 1000
    assert len(turns) >= 10
    assert max(turns) < 200
    overviews.stop()


@pytest_twisted.ensureDeferred
async def test_all_who_ask_within_a_second_share_one_overview() -> None:
    bench = Bench()
    first, second = bench.ask(), bench.ask()
    bench.collect()
    overview = await first
    assert len(overview.rows) == 1000
    assert await second is overview
    assert await bench.ask() is overview
    assert bench.asked == 1000
    bench.clock.advance(1.5)
    # Nothing is kept for nobody.
    assert bench.clock.getDelayedCalls() == []
    again = bench.ask()
    bench.collect()
    assert await again is not overview
    bench.overviews.stop()
    assert bench.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_a_failure_is_not_remembered() -> None:
    bench = Bench()
    failing = iter([True, False])

    def rows() -> Iterator[Row]:
        if next(failing):
            raise ValueError("a defect")
        yield from ()

    overviews = Overviews(bench.clock, bench.process, rows)
    try:
        await overviews.current()
    except ValueError:
        pass
    else:
        raise AssertionError("no failure")
    assert (await overviews.current()).rows == ()
    overviews.stop()


@pytest_twisted.ensureDeferred
async def test_many_connections_at_once_close_as_many_old_ones() -> None:
    """The event loop accepts many in one turn, and closes what is aborted in the next."""
    from twisted.internet import reactor

    bench = Bench()
    threads = Threads(reactor, size=1)
    threads.startService()
    site = StatusSite(reactor, bench.overviews, threads, ())
    port = reactor.listenTCP(  # type: ignore[attr-defined]
        0, site, interface="127.0.0.1", backlog=4 * MAX_CONNECTIONS
    )
    # All in this turn: none of them is accepted yet.
    address = ("127.0.0.1", port.getHost().port)
    clients = [socket.create_connection(address, 10) for _ in range(2 * MAX_CONNECTIONS)]
    try:
        # The last one to make room for the last one that came.
        with pytest.raises(ConnectionResetError):
            await threads.run(clients[MAX_CONNECTIONS - 1].recv, 1)
        assert len(site.channels) == MAX_CONNECTIONS
    finally:
        await port.stopListening()
        for channel in list(site.channels):
            channel.transport.abortConnection()
        await deferLater(reactor, 0)  # type: ignore[arg-type]
        for client in clients:
            client.close()
        await threads.stopService()

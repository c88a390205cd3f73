"""Order of builds when the number of concurrent builds is limited."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from mic.common.fair import FairQueue


class Turns:
    """Grants turns, at most ``limit`` at a time and ``share`` to each owner, in a fair order.

    The order depends on the cost of each turn: see `mic.common.fair`. An owner with little to do
    waits only for the turns in progress, however much others have queued. For the reactor's thread.
    """

    def __init__(self, limit: int = 1, share: int = 1) -> None:
        self._limit = limit
        self._share = share
        self._waiting: FairQueue[Hashable, Deferred[None]] = FairQueue()
        self._owners: Counter[Hashable] = Counter()
        """Turns in progress, by owner."""
        self._granting = False

    def __len__(self) -> int:
        """Return the number of waiting turns."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, owner: Hashable, cost: int = 1) -> AsyncIterator[None]:
        """Wait for a turn and hold it during the ``with`` statement.

        Cancelling the wait removes it from the queue.
        """
        granted: Deferred[None] = Deferred(lambda each: self._waiting.remove(owner, each))
        self._waiting.add(owner, granted, cost)
        self._grant()
        await granted
        try:
            yield
        finally:
            self._owners[owner] -= 1
            if not self._owners[owner]:
                del self._owners[owner]
            self._waiting.resume(owner)
            self._grant()

    def _grant(self) -> None:
        if self._granting:
            return  # a turn that ends at once calls this again
        self._granting = True
        try:
            while self._owners.total() < self._limit:
                following = self._waiting.pop()
                if following is None:
                    return
                owner, granted = following
                self._owners[owner] += 1
                if self._owners[owner] >= self._share:
                    self._waiting.suspend(owner)
                granted.callback(None)
        finally:
            self._granting = False

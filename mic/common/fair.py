"""A queue that is fair between owners: no owner's work delays all work of another.

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): each item has a cost, and the queue
has a clock in units of cost. An item starts at the clock's time or at the end of the owner's
previous item, whichever is later. The item with the earliest start is next; of several, the one
with the earliest end. So owners with work take turns, each gets the same cost done over time, and
an owner with little work is served before one with much. With items of equal cost this is a round
robin.

Pure.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Owner = TypeVar("Owner", bound=Hashable)
Item = TypeVar("Item")

_SLACK = 64
"""Number of remembered owners that may be without waiting items."""


class FairQueue(Generic[Owner, Item]):
    """Waiting items by owner; those of one owner keep their order.

    An operation takes logarithmic time in the number of owners.
    """

    def __init__(self) -> None:
        self._waiting: dict[Owner, deque[tuple[Item, int]]] = {}
        self._line: list[tuple[int, int, int, Owner]] = []
        """A heap of start and end (in cost) of each owner's first item, and its ticket."""
        self._tickets: dict[Owner, int] = {}
        """The valid ticket in the heap of each owner in line."""
        self._suspended: set[Owner] = set()
        self._ends: dict[Owner, int] = {}
        """End of the last item of each owner, unless that is in the past."""
        self._most_ends = _SLACK
        """Number of ends that triggers a clean-up."""
        self._now = 0
        self._issued = 0
        self._items = 0

    def __len__(self) -> int:
        """Return the number of waiting items."""
        return self._items

    def add(self, owner: Owner, item: Item, cost: int = 1) -> None:
        """Queue ``item`` after the others of ``owner``; ``cost`` is at least 1."""
        waiting = self._waiting.get(owner)
        if waiting is None:
            waiting = self._waiting[owner] = deque()
        waiting.append((item, max(cost, 1)))
        self._items += 1
        if len(waiting) == 1:
            self._line_up(owner)

    def pop(self) -> tuple[Owner, Item] | None:
        """Return and remove the next item; None if all belong to suspended owners."""
        while self._line:
            start, end, ticket, owner = heapq.heappop(self._line)
            if self._tickets.get(owner) != ticket:
                continue
            del self._tickets[owner]
            waiting = self._waiting[owner]
            item, _ = waiting.popleft()
            self._items -= 1
            self._now = start
            self._ends[owner] = end
            if waiting:
                self._line_up(owner)
            else:
                del self._waiting[owner]
            self._forget_the_past()
            return owner, item
        return None

    def remove(self, owner: Owner, item: Item) -> None:
        """Remove an item; ignore one that is not in the queue."""
        waiting = self._waiting.get(owner, deque())
        index = next((at for at, (each, _) in enumerate(waiting) if each is item), None)
        if index is None:
            return
        del waiting[index]
        self._items -= 1
        self._tickets.pop(owner, None)
        if waiting:
            self._line_up(owner)
        else:
            del self._waiting[owner]

    def suspend(self, owner: Owner) -> None:
        """Hold the items of ``owner`` until `resume`; it does not make up for missed turns."""
        self._suspended.add(owner)
        self._tickets.pop(owner, None)

    def resume(self, owner: Owner) -> None:
        """Release the items of a suspended ``owner``."""
        self._suspended.discard(owner)
        if owner in self._waiting and owner not in self._tickets:
            self._line_up(owner)

    def clear(self) -> None:
        """Drop all items."""
        self._waiting.clear()
        self._line.clear()
        self._tickets.clear()
        self._items = 0

    def _line_up(self, owner: Owner) -> None:
        if owner in self._suspended:
            return
        _, cost = self._waiting[owner][0]
        start = max(self._now, self._ends.get(owner, 0))
        self._issued += 1
        self._tickets[owner] = self._issued
        heapq.heappush(self._line, (start, start + cost, self._issued, owner))

    def _forget_the_past(self) -> None:
        if not self._waiting:
            # The queue is empty: all owners start anew.
            self._ends.clear()
            self._line.clear()
        elif len(self._ends) > max(self._most_ends, 2 * len(self._waiting) + _SLACK):
            self._ends = {owner: end for owner, end in self._ends.items() if end > self._now}
            # Not earlier than that: owners that come once and never wait for each other, such as
            # the files of a directory, all end later than now, and ten thousand would be looked at
            # for each item.
            self._most_ends = 2 * len(self._ends) + _SLACK

"""Tracks the objects that existed at the start, and which of them readiness waits for.

A restarted process is ready when every object has its image again. A namespace can delay that only
to a degree: large documents beyond `LARGE_SHARE` are put off until all others are done, and an
object that does not settle is given up on. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from mic.kube.objects import LARGE_DOCUMENT, Key

LARGE_SHARE = 256 * 1024
"""Total size of large documents per namespace that are not put off, in bytes."""

ATTEMPTS = 12
"""Fruitless attempts after which readiness does not wait for an object: it changes without end, or
fails for its own reasons. An image takes three, and more when others write as well."""


class Startup:
    """The objects to reconcile after a start.

    `settled` and `caught_up` become true and stay so.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._left = set(keys)
        self._put_off: set[Key] = set()
        self._late: set[Key] = set()  # put off once, and built now
        self._attempts: Counter[Key] = Counter()
        self._large: Counter[str] = Counter()  # bytes of large documents, by namespace
        self._counted: set[Key] = set()  # the objects that have these
        self._caught_up = not self._left

    @property
    def settled(self) -> bool:
        """Whether every object is done or given up on: no further names will appear."""
        return not self._left

    @property
    def caught_up(self) -> bool:
        """Whether all objects are done that were not put off: readiness waits for these only."""
        return self._caught_up

    @property
    def awaited(self) -> int:
        """How many objects readiness waits for."""
        return 0 if self._caught_up else len(self._left) - len(self._put_off)

    @property
    def late(self) -> int:
        """How many objects, put off before, have no image yet."""
        return len(self._put_off) + len(self._late)

    def pending(self) -> Iterator[Key]:
        """Yield the objects that are not done and not put off."""
        return (key for key in self._left if key not in self._put_off)

    def reconciled(self, key: Key) -> None:
        """Record that the object is done, gone or given up on."""
        self._left.discard(key)
        self._put_off.discard(key)
        self._late.discard(key)
        self._attempts.pop(key, None)
        self._check()

    def attempted(self, key: Key) -> bool:
        """Record an attempt that did not settle the object; return whether it is given up on now.

        Not for attempts that fail for reasons that concern all objects.
        """
        if key not in self._left:
            return False
        self._attempts[key] += 1
        if self._attempts[key] < ATTEMPTS:
            return False
        self.reconciled(key)
        return True

    def puts_off(self, key: Key, size: int) -> bool:
        """Return whether to put off the object, whose document has ``size`` bytes.

        If so, `resumed` returns the object when its time has come.
        """
        if self._caught_up or key not in self._left or size <= LARGE_DOCUMENT:
            return False
        if key not in self._counted:
            self._counted.add(key)
            self._large[key.namespace] += size
            if self._large[key.namespace] > LARGE_SHARE:
                self._put_off.add(key)
                self._check()
        return key in self._put_off

    def resumed(self) -> set[Key]:
        """Return the objects that were put off and are due now; each is returned once."""
        if not self._caught_up:
            return set()
        resumed, self._put_off = self._put_off, set()
        self._late |= resumed
        return resumed

    def _check(self) -> None:
        self._caught_up = self._caught_up or len(self._left) == len(self._put_off)

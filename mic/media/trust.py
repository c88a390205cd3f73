"""Bound the reads of a file whose attributes change repeatedly."""

from __future__ import annotations


class Trust:
    """For how long to trust a file whose attributes change repeatedly.

    Each change costs another read of the whole file. A few are acceptable; a script that runs
    ``chmod`` in a loop would keep the disk busy and clients waiting forever. So each digest that
    found the same bytes counts, with more weight when the attributes changed even while it was
    computed. After several of them the file is trusted for a while: first for 5 seconds, at most
    for 300, but always ten times as long as the digest took. All times are in seconds.
    """

    __slots__ = ("_count", "_grace", "_last")

    _MOST = 8.0
    _FORGET_ONE = 30.0
    _WHILE_MOVING = 4.0
    _SHORTEST = 5.0
    _LONGEST = 300.0
    _SHARE = 10.0

    def __init__(self) -> None:
        self._count = 0.0
        self._last = 0.0
        self._grace = 0.0

    def after(self, now: float, took: float, *, moved: bool) -> float:
        """Count a digest that found the same bytes; return how long to trust the file.

        0: the next change of its attributes puts it in doubt again. ``moved``: they changed while
        the digest was computed.
        """
        self._count = max(0.0, self._count - (now - self._last) / self._FORGET_ONE)
        if not self._count:
            self._grace = 0.0
        self._last = now
        self._count += self._WHILE_MOVING if moved else 1.0
        if self._count <= self._MOST:
            return 0.0
        self._grace = min(max(2 * self._grace, self._SHORTEST), self._LONGEST)
        return max(self._grace, self._SHARE * took)

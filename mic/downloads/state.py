"""The states of a download, and how far it is. Pure."""

from __future__ import annotations

from enum import StrEnum

STALL = 30.0
"""Seconds without progress after which a body that is open counts as stalled."""


class State(StrEnum):
    """The state of a download."""

    DOWNLOADING = "downloading"
    STALLED = "stalled"
    """A body is open and has made no progress for `STALL` seconds."""
    COMPLETE = "complete"
    """Every byte was read."""
    BROKEN_OFF = "broken off"
    """Over; its last body was cut short."""
    QUIET = "quiet"
    """Over: the client stopped requesting data. Clients that need some ranges only end so."""


def share(read: int, size: int) -> float:
    """Return per cent with one decimal, rounded down: 100 means every byte."""
    return 1000 * read // size / 10 if size else 100.0

"""Counts of responses: of the whole process, by kind of image, never by name or client."""

from __future__ import annotations

from collections import Counter

from mic.common.durations import Durations
from mic.media.base import SERVED

NONE = "none"
"""The kind of a request that asks for no image of ours."""

FIRST_BYTE = (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
"""Seconds: from an image in memory to one whose base must be read again first."""

BODIES = (0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds: from a range on a fast network to a whole image through a BMC."""


class Answers:
    """Responses to requests for one kind of image; ``bytes`` counts bodies of images.

    ``statuses`` has the ``usual`` ones from the start: so the first of them is a rise, and no new
    number.
    """

    __slots__ = ("bodies", "bytes", "first_byte", "statuses")

    def __init__(self, *usual: int) -> None:
        # No Counter: adding to an item of one costs four times as much.
        self.statuses = dict.fromkeys(usual, 0)
        self.bytes = 0
        self.first_byte = Durations(FIRST_BYTE)
        self.bodies = Durations(BODIES)

    def count(self, status: int) -> None:
        """Count an answer."""
        self.statuses[status] = self.statuses.get(status, 0) + 1


class Served:
    """Answers by kind, and connections that we ended before our time by reason."""

    def __init__(self) -> None:
        # The very members of Kind as keys: found by identity, for each small range.
        self.answers: dict[str, Answers] = {kind: Answers(200, 206, 304, 503) for kind in SERVED}
        self.answers[NONE] = Answers(400, 404, 503)
        self.broken_off: Counter[str] = Counter(slow_request=0, stalled=0, source=0)

"""Counters of the Kubernetes room: by kind and outcome, never by name."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from twisted.internet.defer import CancelledError

from mic.common.durations import Durations
from mic.kube.api import (
    PREPROVISIONING_IMAGES,
    SECRETS,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    TooManyRequests,
    Unavailable,
)

PASSES = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0)
REQUESTS = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0)
"""Seconds."""

_OUTCOMES: tuple[tuple[type[Exception], str], ...] = (
    (NotFound, "not_found"),
    (Conflict, "conflict"),
    (Gone, "gone"),
    (Forbidden, "forbidden"),
    (Invalid, "invalid"),
    (TooManyRequests, "too_many_requests"),
    (Unavailable, "unavailable"),
)
OK = "ok"
DEFECT = "defect"
"""Outcome of a failure that the API server did not cause: a defect of mic."""

OUTCOMES = (OK, *(name for _, name in _OUTCOMES), DEFECT)


def outcome(error: Exception) -> str:
    """Return the name under which an error is counted."""
    return next((name for kind, name in _OUTCOMES if isinstance(error, kind)), DEFECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The work that waits for the controller."""

    queued: int
    """Objects that wait for a worker."""
    delayed: int
    """Objects that are scheduled for later: after a failure, or because of their status."""
    objects: Mapping[str, int]
    """Objects known, by the plural of their kind."""
    leads: bool
    """Whether this replica writes."""
    watches_failing: int
    """Watches whose mirror may be out of date."""


class KubeCounts:
    """Requests, passes and restarts of watches, since the process started.

    ``now`` gives seconds; their start means nothing.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """By verb, resource (with its subresource) and outcome."""
        self.request_seconds: dict[str, Durations] = {}
        """By verb; without watches, which last as long as they are allowed to."""
        self.passes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.pass_seconds = Durations(PASSES)
        self.restarts: Counter[tuple[str, str]] = Counter(
            {
                (resource.plural, reason): 0
                for resource in (PREPROVISIONING_IMAGES, SECRETS)
                for reason in ("ended", *OUTCOMES[1:])
            }
        )
        """By resource and reason; ``ended`` is the ordinary end of a watch."""

    def one_request(self, verb: str, resource: str) -> AbstractContextManager[None]:
        """Count the block as a request, unless it is cancelled."""

        def over(result: str, seconds: float) -> None:
            self.requests[verb, resource, result] += 1
            if verb != "watch":
                found = self.request_seconds.get(verb)
                if found is None:
                    found = self.request_seconds[verb] = Durations(REQUESTS)
                found.add(seconds)

        return self._one(over)

    def one_pass(self, *uncounted: type[Exception]) -> AbstractContextManager[None]:
        """Count the block as a pass over an object, unless it is cancelled or raises one of
        ``uncounted``."""

        def over(result: str, seconds: float) -> None:
            self.passes[result] += 1
            self.pass_seconds.add(seconds)

        return self._one(over, *uncounted)

    @contextmanager
    def _one(
        self, over: Callable[[str, float], None], *uncounted: type[Exception]
    ) -> Iterator[None]:
        passed_on: tuple[type[Exception], ...] = (CancelledError, *uncounted)
        began = self._now()
        try:
            yield
        except passed_on:
            raise
        except Exception as error:
            over(outcome(error), self._now() - began)
            raise
        else:
            over(OK, self._now() - began)

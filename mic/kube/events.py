"""Events: what happened to an object, as ``kubectl describe`` shows it.

Best effort: events wait in a bounded queue, are sent one at a time, and are dropped rather than
block anything. They are also bounded per object, so that one object cannot displace the events of
others.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.kube.api import (
    EVENTS,
    ApiError,
    Forbidden,
    Json,
    KubernetesApi,
    ServerError,
    Unavailable,
)
from mic.kube.objects import OWNER_API_VERSION, OWNER_KIND, timestamp

COMPONENT = "machine-image-customizer"
"""The reporting component."""

WINDOW = 600.0
MOST_IN_WINDOW = 8
"""Maximum of different events per object in a window of so many seconds. Repetitions are counted,
and reported with the next event of their kind."""

QUEUE = 256
"""Maximum of queued events; further ones are dropped."""

LONGEST_WAIT = 300.0
"""Seconds after which an event that could not be sent is dropped."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between attempts while the API server does not answer, doubling."""

SERVER_ERROR_PAUSE = 10.0
"""Seconds without events for a namespace after the API server failed at one of its events."""

FORBIDDEN_PAUSE = 600.0
"""Seconds without events for a namespace after the right to create them was refused there. 403 is
also the response for a namespace that is being deleted: it says nothing about others."""

_MOST_OBJECTS = 4096
_LONGEST_MESSAGE = 1024
_LONGEST_NAME = 253
_LONGEST_INSTANCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference:
    """A PreprovisioningImage; its ``uid`` differs from that of an earlier one of the same name."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an object.

    Two events with the same reason and the same ``about`` (a client) are repetitions.
    """

    subject: ObjectReference
    reason: str
    message: str
    about: str
    warning: bool = False


@dataclass(slots=True, kw_only=True)
class _Suppressed:
    """How often an event was suppressed since it was last sent, and when first."""

    count: int = 0
    first: datetime | None = None


@dataclass(slots=True, kw_only=True)
class _History:
    """The events of an object that were sent and suppressed in the window since ``since``."""

    since: float
    sent: set[tuple[str, str]] = field(default_factory=set)
    suppressed: dict[tuple[str, str], _Suppressed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queued:
    namespace: str
    body: Json = field(repr=False)
    until: float


class EventRecorder:
    """Sends events to the API server. ``instance`` names this process.

    ``now`` is the time that events carry.
    """

    def __init__(
        self,
        *,
        api: KubernetesApi,
        instance: str,
        clock: IReactorTime,
        now: Callable[[], datetime],
    ) -> None:
        self._log = Logger(namespace=__name__)
        self._api = api
        self._instance = instance[:_LONGEST_INSTANCE]
        self._clock = clock
        self._now = now
        self._histories: OrderedDict[str, _History] = OrderedDict()
        self._queue: deque[_Queued] = deque()
        self._sending: Deferred[None] | None = None
        self._running = False
        self._refused = False
        self._silent_until: dict[str, float] = {}  # by namespace
        self._dropped = 0

    @property
    def queued(self) -> int:
        """How many events wait to be sent."""
        return len(self._queue)

    @property
    def remembered(self) -> int:
        """How many objects have a history."""
        return len(self._histories)

    @property
    def suppressed(self) -> int:
        """How many kinds of events are suppressed, of all objects."""
        return sum(len(history.suppressed) for history in self._histories.values())

    def start(self) -> None:
        """Start sending."""
        self._running = True

    def stop(self) -> None:
        """Stop sending; drop what is queued."""
        self._running = False
        self._queue.clear()
        if self._sending is not None:
            self._sending.cancel()

    def record(self, event: Event) -> None:
        """Queue an event unless there are too many; never blocks, never fails."""
        silent_until = self._silent_until.get(event.subject.namespace, 0.0)
        if not self._running or self._clock.seconds() < silent_until:
            return
        suppressed = self._due(event)
        if suppressed is None:
            return
        if len(self._queue) >= QUEUE:
            self._dropped += 1
            return
        until = self._clock.seconds() + LONGEST_WAIT
        namespace, body = event.subject.namespace, self._body(event, suppressed)
        self._queue.append(_Queued(namespace=namespace, body=body, until=until))
        if self._sending is None:
            sending = self._sending = Deferred.fromCoroutine(self._send())
            sending.addErrback(self._failed)
            sending.addBoth(self._ended)

    def _due(self, event: Event) -> _Suppressed | None:
        """Return what was suppressed before ``event``, or None to suppress this one too."""
        now = self._clock.seconds()
        uid, key = event.subject.uid, (event.reason, event.about)
        history = self._histories.setdefault(uid, _History(since=now))
        if now - history.since >= WINDOW:
            history.since = now
            history.sent.clear()
            self._histories.move_to_end(uid)
        oldest = next(iter(self._histories.values()))
        if len(self._histories) > _MOST_OBJECTS or now - oldest.since >= 2 * WINDOW:
            self._histories.popitem(last=False)
        if key in history.sent or len(history.sent) >= MOST_IN_WINDOW:
            if key in history.suppressed or len(history.suppressed) < MOST_IN_WINDOW:
                suppressed = history.suppressed.setdefault(key, _Suppressed(first=self._now()))
                suppressed.count += 1
            return None
        history.sent.add(key)
        return history.suppressed.pop(key, _Suppressed())

    def _body(self, event: Event, suppressed: _Suppressed) -> Json:
        subject = event.subject
        now = self._now()
        # Named as client-go does, except that the number is random.
        stem = subject.name[: _LONGEST_NAME - 17].rstrip(".-")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "namespace": subject.namespace,
                "name": f"{stem}.{secrets.token_hex(8)}",
            },
            "involvedObject": {
                "apiVersion": OWNER_API_VERSION,
                "kind": OWNER_KIND,
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:_LONGEST_MESSAGE],
            "count": 1 + suppressed.count,
            "firstTimestamp": timestamp(suppressed.first or now),
            "lastTimestamp": timestamp(now),
            # kubectl shows the first; the others replace it.
            "source": {"component": COMPONENT, "host": self._instance},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }

    async def _send(self) -> None:
        """Send what is queued, oldest first."""
        pause = FIRST_PAUSE
        failing: dict[str, float] = {}  # namespaces that are skipped for a while
        while self._queue:
            now = self._clock.seconds()
            while self._queue and now > self._queue[0].until:
                self._dropped += 1
                self._queue.popleft()
            due = (each for each in self._queue if failing.get(each.namespace, 0.0) <= now)
            queued = next(due, None)
            if queued is None:
                await deferLater(self._clock, FIRST_PAUSE)
                continue
            try:
                await self._api.create(EVENTS, queued.body)
            except Forbidden as error:
                self._forbidden(error, queued.namespace)
                continue
            except ServerError:
                # Perhaps a webhook or a quota of that namespace: the others do not wait for it.
                failing[queued.namespace] = now + SERVER_ERROR_PAUSE
                continue
            except Unavailable as error:
                await deferLater(self._clock, max(pause, error.retry_after or 0.0))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except ApiError as error:
                # For example a namespace that is being deleted: it will never be accepted.
                self._log.debug("{error}", error=error)
            else:
                self._refused = False
            pause = FIRST_PAUSE
            self._queue.remove(queued)
        if self._dropped:
            self._log.info("{count} events could not be sent", count=self._dropped)
            self._dropped = 0

    def _forbidden(self, error: Forbidden, namespace: str) -> None:
        if not self._refused:
            self._log.warn(
                "{error}: Events are disabled for this namespace; downloads are only logged",
                error=error,
            )
        self._refused = True
        self._queue = deque(each for each in self._queue if each.namespace != namespace)
        now = self._clock.seconds()
        silent = {name: until for name, until in self._silent_until.items() if until > now}
        self._silent_until = {**silent, namespace: now + FORBIDDEN_PAUSE}

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._queue.clear()
            self._log.failure("Events cannot be sent", failure)

    def _ended(self, _: None) -> None:
        self._sending = None

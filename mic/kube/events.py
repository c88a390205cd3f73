"""Events: what happened to an object, for those who ask ``kubectl describe``.

Events are a courtesy: they wait in a bounded queue, are sent one at a time, and are dropped rather
than hold anything up. They are bounded per object, too, as one that is told of without end would
push out those of others.
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

from mic.kube.api import EVENTS, ApiError, Forbidden, Json, KubernetesApi, Unavailable
from mic.kube.objects import OWNER_API_VERSION, OWNER_KIND, timestamp

COMPONENT = "machine-image-customizer"
"""Who reports, as events say it."""

WINDOW = 600.0
MOST_IN_WINDOW = 8
"""In so many seconds an object gets at most so many events, no two of them the same. What comes
again meanwhile is counted, and told with the next one of its kind."""

QUEUE = 256
"""Events that wait at most; further ones are dropped."""

LONGEST_WAIT = 300.0
"""Seconds after which an event that could not be sent is dropped."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between attempts while the API server does not answer, doubling."""

FORBIDDEN_PAUSE = 600.0
"""Seconds for which nothing is sent to a namespace once the right to do so was refused there. 403
is also the answer for a namespace that is being deleted: it says nothing of others."""

_MOST_OBJECTS = 4096
_LONGEST_MESSAGE = 1024
_LONGEST_NAME = 253
_LONGEST_INSTANCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference:
    """A PreprovisioningImage; the ``uid`` tells it from an earlier one of the same name."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened to an object.

    Two events with the same reason and the same ``about`` (a client) are the same again.
    """

    subject: ObjectReference
    reason: str
    message: str
    about: str
    warning: bool = False


@dataclass(slots=True, kw_only=True)
class _Repeated:
    """How often something came since it was last told, and when first."""

    count: int = 0
    first: datetime | None = None


@dataclass(slots=True, kw_only=True)
class _Told:
    """What was told of an object in the window that began at ``since``, and what was not."""

    since: float
    sent: set[tuple[str, str]] = field(default_factory=set)
    repeated: dict[tuple[str, str], _Repeated] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    namespace: str
    body: Json = field(repr=False)
    until: float


class EventRecorder:
    """Sends events to the API server. ``instance`` names this process among its like.

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
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._queue: deque[_Waiting] = deque()
        self._sending: Deferred[None] | None = None
        self._running = False
        self._refused = False
        self._silent_until: dict[str, float] = {}  # by namespace
        self._dropped = 0

    def start(self) -> None:
        """Send from now on."""
        self._running = True

    def stop(self) -> None:
        """Send nothing any more; what waits is dropped."""
        self._running = False
        self._queue.clear()
        if self._sending is not None:
            self._sending.cancel()

    def record(self, event: Event) -> None:
        """Have an event sent, if it is not too much; never blocks, never fails."""
        silent_until = self._silent_until.get(event.subject.namespace, 0.0)
        if not self._running or self._clock.seconds() < silent_until:
            return
        repeated = self._due(event)
        if repeated is None:
            return
        if len(self._queue) >= QUEUE:
            self._dropped += 1
            return
        until = self._clock.seconds() + LONGEST_WAIT
        namespace, body = event.subject.namespace, self._body(event, repeated)
        self._queue.append(_Waiting(namespace=namespace, body=body, until=until))
        if self._sending is None:
            sending = self._sending = Deferred.fromCoroutine(self._send())
            sending.addErrback(self._failed)
            sending.addBoth(self._ended)

    def _due(self, event: Event) -> _Repeated | None:
        """What of its kind came before ``event`` untold, if that is to be told; else None."""
        now = self._clock.seconds()
        uid, key = event.subject.uid, (event.reason, event.about)
        told = self._told.setdefault(uid, _Told(since=now))
        if now - told.since >= WINDOW:
            told.since = now
            told.sent.clear()
            self._told.move_to_end(uid)
        if len(self._told) > _MOST_OBJECTS:
            self._told.popitem(last=False)
        if key in told.sent or len(told.sent) >= MOST_IN_WINDOW:
            if key in told.repeated or len(told.repeated) < MOST_IN_WINDOW:
                repeated = told.repeated.setdefault(key, _Repeated(first=self._now()))
                repeated.count += 1
            return None
        told.sent.add(key)
        return told.repeated.pop(key, _Repeated())

    def _body(self, event: Event, repeated: _Repeated) -> Json:
        subject = event.subject
        now = self._now()
        # As client-go names them, but for the number, which is random here.
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
            "count": 1 + repeated.count,
            "firstTimestamp": timestamp(repeated.first or now),
            "lastTimestamp": timestamp(now),
            # The first is what kubectl shows, the others are what replaces it.
            "source": {"component": COMPONENT, "host": self._instance},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }

    async def _send(self) -> None:
        """Send what waits, the oldest first."""
        pause = FIRST_PAUSE
        while self._queue:
            waiting = self._queue[0]
            if self._clock.seconds() > waiting.until:
                self._dropped += 1
                self._queue.popleft()
                continue
            try:
                await self._api.create(EVENTS, waiting.body)
            except Forbidden as error:
                self._forbidden(error, waiting.namespace)
                continue
            except Unavailable as error:
                await deferLater(self._clock, max(pause, error.retry_after or 0.0))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            except ApiError as error:
                # The namespace is on its way out, say: this one will never be taken.
                self._log.debug("{error}", error=error)
            else:
                self._refused = False
            pause = FIRST_PAUSE
            self._queue.popleft()
        if self._dropped:
            self._log.info("{count} events could not be sent", count=self._dropped)
            self._dropped = 0

    def _forbidden(self, error: Forbidden, namespace: str) -> None:
        if not self._refused:
            self._log.warn("{error}: downloads there are told of in this log alone", error=error)
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

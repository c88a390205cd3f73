"""Download one file: attempts, redirections, retries, and the limits that a server must keep to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from mic.common.backoff import Backoff
from mic.common.text import printable
from mic.fetch.connect import REMEDIES, Connections
from mic.fetch.explain import explain, is_distrust, is_lasting
from mic.fetch.failure import FetchError, Retryable
from mic.fetch.location import Location, redirected
from mic.fetch.verdict import Body, Fields, Held, Redirect, range_fields, verdict

_MAX_REDIRECTIONS = 10
_BACKOFF = Backoff(first=1.0, longest=30.0, jitter=0.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits that a server must keep to; times in seconds.

    ``connect`` and ``head`` are for a connection and the head of a response. A body must have
    ``least`` bytes in each ``interval``. ``failures`` is the number of attempts in a row that may
    fail without ``progress`` bytes more than ever before; ``size`` is the most bytes of a file.
    """

    connect: float = 30.0
    head: float = 60.0
    interval: float = 60.0
    least: int = 60 * 1024
    failures: int = 6
    progress: int = 1024 * 1024
    size: int = 16 * 1024**3
    backoff: Backoff = _BACKOFF


class Sink(Protocol):
    """Where the bytes of a file go. ``held`` is what is there; the methods may raise `OSError`."""

    @property
    def held(self) -> Held:
        """State of the download."""
        ...

    def begin(self, total: int | None, validator: str) -> None:
        """Note which version the bytes belong to that follow."""
        ...

    def complete(self) -> None:
        """Note that the bytes are all there are."""
        ...

    def restart(self) -> None:
        """Forget everything."""
        ...

    def write(self, data: bytes) -> None:
        """Append bytes."""
        ...


class Memory:
    """A small file in memory."""

    def __init__(self) -> None:
        self.held = Held()
        self._parts: list[bytes] = []

    @property
    def data(self) -> bytes:
        """The content."""
        return b"".join(self._parts)

    def begin(self, total: int | None, validator: str) -> None:
        """Note which version the bytes belong to that follow."""
        self.held = replace(self.held, total=total, validator=validator)

    def complete(self) -> None:
        """Note that the bytes are all there are."""
        self.held = replace(self.held, total=self.held.size)

    def restart(self) -> None:
        """Forget everything."""
        self._parts.clear()
        self.held = Held()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        self._parts.append(data)
        self.held = replace(self.held, size=self.held.size + len(data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """Listens to a download: sentences about retries, and how much of how much is there."""

    note: Callable[[str], None] = lambda _: None
    progress: Callable[[int, int | None], None] = lambda _, __: None


class Transfer:
    """Downloads files, one at a time."""

    def __init__(
        self,
        reactor: Any,
        connections: Connections,
        watching: Watching,
        limits: Limits = Limits(),
        random: Random | None = None,
    ) -> None:
        self._reactor = reactor
        self._connections = connections
        self._watching = watching
        self._limits = limits
        self._random = random or Random()  # noqa: S311

    async def run(
        self, location: Location, sink: Sink, *, limit: int | None = None, verified: bool = False
    ) -> None:
        """Download a file of ``limit`` bytes at most.

        ``verified``: the caller knows its digest. Otherwise a body without a length is refused that
        ends with the connection: nothing shows whether it is complete.
        Raises `FetchError`, and `OSError` of the sink.
        """
        failures = 0
        most = sink.held.size
        size = min(limit or self._limits.size, self._limits.size)
        while not self._is_complete(sink.held):
            try:
                await self._attempt(location, sink, size, verified=verified)
            except Retryable as error:
                if error.afresh:
                    sink.restart()
                # Compared with the most ever: a server that lets us start again and again makes
                # no progress.
                if sink.held.size >= most + self._limits.progress:
                    failures = 0
                most = max(most, sink.held.size)
                failures += 1
                if failures >= self._limits.failures:
                    raise FetchError(f"{error}; gave up after {failures} attempts") from None
                delay = self._limits.backoff.delay(
                    failures, random=self._random, at_least=error.retry_after
                )
                self._watching.note(f"{error}; retrying in {delay:.0f} s")
                await deferLater(self._reactor, delay, lambda: None)

    @staticmethod
    def _is_complete(held: Held) -> bool:
        return held.total is not None and held.size == held.total and held.size > 0

    async def _attempt(self, location: Location, sink: Sink, limit: int, *, verified: bool) -> None:
        here = location
        for _ in range(_MAX_REDIRECTIONS + 1):
            response = await self._head(here, sink.held)
            try:
                what = self._verdict(response, sink.held)
                if isinstance(what, Redirect):
                    following = redirected(here, what.target)
                    _discard(response)
                    here = following
                    continue
                if what.total is not None and what.total > limit:
                    raise FetchError(f"has {what.total} bytes; {limit} are expected at most")
            except (FetchError, Retryable) as error:
                _discard(response)
                if str(error).startswith(here.shown):
                    raise
                raise _prefixed(error, here) from None
            await self._body(here, response, what, sink, limit, verified=verified)
            return
        raise FetchError(f"{location.shown}: more than {_MAX_REDIRECTIONS} redirections")

    async def _head(self, here: Location, held: Held) -> Any:
        asked = self._connections.get(here, range_fields(held))
        asked.addTimeout(self._limits.head + self._limits.connect, self._reactor)
        try:
            return await asked
        except (FetchError, Retryable) as error:
            raise _prefixed(error, here) from None
        except Exception as error:
            raise await self._explained(error, here) from None

    async def _explained(self, error: Exception, here: Location) -> FetchError | Retryable:
        distrust = await self._connections.distrust(here) if is_distrust(error) else None
        words = explain(error, here.shown, self._limits.connect, REMEDIES, distrust=distrust)
        kind = FetchError if is_lasting(error) else Retryable
        return kind(f"{here.shown}: {words}")

    def _verdict(self, response: Any, held: Held) -> Body | Redirect:
        fields = {
            name.decode("latin-1").lower(): [value.decode("latin-1") for value in values]
            for name, values in response.headers.getAllRawHeaders()
        }
        length = response.length if isinstance(response.length, int) else None
        return verdict(response.code, Fields(fields), length, held, datetime.now(UTC))

    async def _body(
        self,
        here: Location,
        response: Any,
        body: Body,
        sink: Sink,
        limit: int,
        *,
        verified: bool,
    ) -> None:
        try:
            if body.start != sink.held.size:
                sink.restart()
            sink.begin(body.total, body.validator)
        except OSError:
            _discard(response)
            raise
        receiver = _Receiver(self._reactor, sink, limit, self._limits, self._watching.progress)
        response.deliverBody(receiver)
        try:
            ended = await receiver.done
        except (FetchError, Retryable) as error:
            raise _prefixed(error, here) from None
        held = sink.held
        if isinstance(ended, ResponseDone):
            if held.total is None:
                sink.complete()
            elif held.size != held.total:
                # A part that is shorter than asked for, or a second one that was.
                raise Retryable(_short(here, held))
        elif isinstance(ended, PotentialDataLoss):
            if not verified:
                raise FetchError(
                    f"{here.shown}: the server does not send the length of the file, so nothing "
                    "shows whether it is complete: give its digest with -sha256"
                )
            sink.complete()
        else:
            raise Retryable(_short(here, held))
        if not sink.held.size:
            raise FetchError(f"{here.shown}: the file is empty")


def _short(here: Location, held: Held) -> str:
    of = f" of {held.total}" if held.total is not None else ""
    return f"{here.shown}: the connection ended after {held.size}{of} bytes"


def _prefixed(error: FetchError | Retryable, here: Location) -> FetchError | Retryable:
    words = f"{here.shown}: {printable(str(error))}"
    if isinstance(error, Retryable):
        return Retryable(words, afresh=error.afresh, retry_after=error.retry_after)
    return FetchError(words)


def _discard(response: Any) -> None:
    """Close the connection of a response whose body is not wanted."""
    response.deliverBody(_Closing())


class _Closing(TwistedProtocol):
    def connectionMade(self) -> None:
        assert self.transport is not None  # noqa: S101
        self.transport.loseConnection()


class _Receiver(TwistedProtocol):
    """Writes a body into a sink.

    ``done`` has why the body ended as Twisted says it. It fails with the sink's `OSError`, and with
    `FetchError` or `Retryable` for a body that is too long or too slow.
    """

    def __init__(
        self,
        reactor: Any,
        sink: Sink,
        limit: int,
        limits: Limits,
        progress: Callable[[int, int | None], None],
    ) -> None:
        self.done: Deferred[BaseException] = Deferred(lambda _: self._stop())
        self._reactor = reactor
        self._sink = sink
        self._limit = limit
        self._limits = limits
        self._progress = progress
        self._since = 0
        self._watch: Any = None

    def connectionMade(self) -> None:
        """Begin to watch the pace."""
        self._watch = self._reactor.callLater(self._limits.interval, self._check_pace)

    def dataReceived(self, data: bytes) -> None:
        """Write the bytes."""
        if self.done.called:
            return
        held = self._sink.held
        if held.total is not None and held.size + len(data) > held.total:
            self._fail(Retryable("sent more bytes than it announced", afresh=True))
            return
        if held.size + len(data) > self._limit:
            self._fail(FetchError(f"sends more than {self._limit} bytes, which is too much"))
            return
        try:
            self._sink.write(data)
        except OSError as error:
            self._fail(error)
            return
        self._since += len(data)
        held = self._sink.held
        self._progress(held.size, held.total)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body ended."""
        if not self.done.called:
            self._stop()
            self.done.callback(reason.value or ConnectionError())

    def _check_pace(self) -> None:
        if self._since < self._limits.least:
            self._watch = None
            self._fail(
                Retryable(
                    f"sent {self._since} bytes in {self._limits.interval:.0f} s, which is too slow"
                )
            )
            return
        self._since = 0
        self._watch = self._reactor.callLater(self._limits.interval, self._check_pace)

    def _fail(self, error: Exception) -> None:
        self._stop()
        self.done.errback(error)

    def _stop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self.transport is not None:
            self.transport.loseConnection()


async def read_small(transfer: Transfer, location: Location, limit: int) -> bytes:
    """Download a small file into memory; raises `FetchError`."""
    sink = Memory()
    await transfer.run(location, sink, limit=limit, verified=True)
    return sink.data

"""Many slow HTTP clients in one process, each of which compares every byte with what it must be.

They read at a pace and keep their receive buffers small, so that what they have not asked for yet
waits in the server. What each kind does is said at its method.
"""

from __future__ import annotations

import random
import re
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet import reactor as _reactor
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from zope.interface import implementer

reactor = cast(Any, _reactor)

_RECEIVE_BUFFER = 32 * 1024
_RANGE = 64 * 1024
_REMEMBERED = 20
_STOPPED = (CancelledError, ConnectingCancelledError)
"""How a reader ends that is cancelled, the second while it connects."""


class Expected:
    """An image as it must be, in ``parts`` one after the other: most of it is shared.

    It is ``stale`` from the moment when something was done after which the server may cease to
    serve it; until then it must be there.
    """

    def __init__(self, label: str, target: str, parts: Iterable[bytes | memoryview]) -> None:
        self.label = label
        self.target = target
        self.etag = ""
        self.stale = False
        self._parts: list[tuple[int, int, bytes | memoryview]] = []
        self.size = 0
        for part in parts:
            self._parts.append((self.size, self.size + len(part), part))
            self.size += len(part)

    def matches(self, start: int, data: bytes) -> bool:
        """Whether ``data`` is what the image holds from ``start``."""
        stop = start + len(data)
        if stop > self.size:
            return False
        held = b"".join(
            bytes(part[max(start, first) - first : min(stop, last) - first])
            for first, last, part in self._parts
            if first < stop and start < last
        )
        return held == data


@dataclass(slots=True)
class Answer:
    """The head of an answer, and how much of its body has come."""

    status: int
    fields: dict[str, str]
    length: int
    received: int = 0

    @property
    def start(self) -> int:
        """Where in the image the body begins."""
        found = re.match(r"bytes (\d+)-", self.fields.get("content-range", ""))
        return int(found[1]) if found else 0


class Lost(Exception):
    """The connection ended before the answer did."""


class Left(Exception):
    """The client itself went away, as it meant to."""


class Wire(Protocol):
    """A client's connection: one request after the other, bodies taken at ``rate`` bytes/s."""

    transport: Any

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._head = b""
        self._answer: Answer | None = None
        self._bodyless = False
        self._done: Deferred[Answer] | None = None
        self._take: Callable[[Answer, bytes], float] = lambda answer, data: 0
        self._resume: Any = None
        self.lost = False

    def connectionMade(self) -> None:
        """Take little ahead of what is read."""
        sock = self.transport.getHandle()
        sock = sock if isinstance(sock, socket.socket) else self.transport.transport.socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)

    def ask(
        self,
        image: Expected,
        *fields: str,
        method: str = "GET",
        take: Callable[[Answer, bytes], float],
    ) -> Deferred[Answer]:
        """One request; fires when the answer is whole, fails with `Lost` or what ``take`` raises.

        ``take`` gets pieces of the body, and returns for how many seconds to rest after each.
        """
        self._take = take
        self._bodyless = method == "HEAD"
        self._head, self._answer = b"", None
        self._done = Deferred(lambda _: self.leave())
        if self.lost:
            self._fail(Failure(Lost("before the request")))
        else:
            lines = [f"{method} {image.target} HTTP/1.1", "Host: soak", *fields, "", ""]
            self.transport.write("\r\n".join(lines).encode())
        return self._done

    def send(self, data: bytes) -> Deferred[Answer]:
        """Bytes that are no whole request; fails with `Lost` when the server has had enough."""
        self._done = Deferred(lambda _: self.leave())
        self.transport.write(data)
        return self._done

    def leave(self) -> None:
        """Go away without a word."""
        if self._resume is not None and self._resume.active():
            self._resume.cancel()
        if not self.lost:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Take what came, then rest for as long as the pace wants it."""
        rest = len(data) / self._rate
        if self._answer is None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return None
            self._answer = _answer(head.decode("latin-1"))
            if self._bodyless or self._answer.status in (204, 304):
                self._answer.length = 0
        answer = self._answer
        if data:
            if answer.received + len(data) > answer.length:
                return self._fail(Failure(AssertionError("bytes after the body's end")))
            try:
                rest += self._take(answer, data)
            except Exception:
                return self._fail(Failure())
            answer.received += len(data)
        if answer.received == answer.length:
            done, self._done = self._done, None
            if done is not None:
                done.callback(answer)
        elif rest > 0.001:
            self.transport.pauseProducing()
            self._resume = reactor.callLater(rest, self._go_on)
        return None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """An answer under way will not come to its end."""
        self.lost = True
        if self._resume is not None and self._resume.active():
            self._resume.cancel()
        answer = self._answer
        where = f"at {answer.received} of {answer.length} bytes" if answer else "before the answer"
        self._fail(Failure(Lost(where)))

    def _go_on(self) -> None:
        if not self.lost:
            self.transport.resumeProducing()

    def _fail(self, why: Failure) -> None:
        done, self._done = self._done, None
        if done is not None and not done.called:
            done.errback(why)


def _answer(head: str) -> Answer:
    status, *lines = head.split("\r\n")
    pairs = (line.partition(":") for line in lines)
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Answer(
        status=int(status.split()[1]), fields=fields, length=int(fields.get("content-length", 0))
    )


@implementer(IOpenSSLClientConnectionCreator)
class _AnyCertificate:
    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """What came of all the reading: counts of what may happen, sentences for what may not."""

    bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    wrong_count: int = 0

    def went_wrong(self, what: str) -> None:
        """Note what must not happen; the first few in words."""
        self.wrong_count += 1
        if len(self.wrong) < _REMEMBERED:
            self.wrong.append(what)


class Readers:
    """``count`` slow readers of the images that ``choose`` gives (None: none to read now).

    ``tls`` is the port for those who use TLS, a tenth, where there is one.
    """

    def __init__(
        self,
        *,
        port: int,
        tls: int = 0,
        count: int,
        rate: float,
        choose: Callable[[], Expected | None],
        rest: float,
        patience: float,
        seed: int,
    ) -> None:
        self._ports = (port, tls)
        self._rate = rate
        self._choose = choose
        self._rest = rest
        self._patience = patience
        self._random = random.Random(seed)
        self.outcomes = Outcomes()
        self.wires: set[Wire] = set()
        kinds = 7 * [self.whole] + 6 * [self.ranges] + 4 * [self.leaving] + 2 * [self.resting]
        kinds += [self.silent]
        # Spread over the kinds: reader 20 n + 19 is silent, and so on.
        self._kinds = [kinds[(number * 7) % len(kinds)] for number in range(count)]
        self._running: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin, spread over some seconds: two hundred at once is another test."""
        for number, kind in enumerate(self._kinds):
            tls = bool(self._ports[1]) and number % 10 == 3
            life = Deferred.fromCoroutine(self._live(kind, number * 0.02, tls))
            life.addErrback(lambda why: None if why.check(*_STOPPED) else self._died(why))
            self._running.append(life)

    def stop(self) -> None:
        """Have all go away in the middle of what they do."""
        running, self._running = self._running, []
        for life in running:
            life.cancel()
        for wire in list(self.wires):
            wire.leave()

    def _died(self, why: Failure) -> None:
        self.outcomes.went_wrong(f"a reader died: {why.getTraceback()}")

    async def _live(
        self, kind: Callable[[Expected, bool], Coroutine[Any, Any, None]], delay: float, tls: bool
    ) -> None:
        await deferLater(reactor, delay)
        while True:
            image = self._choose()
            if image is None:
                await deferLater(reactor, 1.0)
                continue
            try:
                await kind(image, tls)
            except Left:
                self.outcomes.counts["went away"] += 1
            except Lost as lost:
                self.outcomes.went_wrong(f"{image.label}, {kind.__name__}: broken off {lost}")
            except _Gone:
                await deferLater(reactor, 0.5)
            except AssertionError as error:
                self.outcomes.went_wrong(f"{image.label}, {kind.__name__}: {error}")
                await deferLater(reactor, 1.0)

    # --- kinds of readers -----------------------------------------------------------------------

    async def whole(self, image: Expected, tls: bool) -> None:
        """Ironic, UEFI: whole images, one or two on a connection."""
        wire = await self._connect(tls)
        try:
            if self._random.random() < 0.5:
                await self._read(wire, image)
                image = self._choose() or image
            await self._read(wire, image, "Connection: close")
        finally:
            self._hang_up(wire)

    async def ranges(self, image: Expected, tls: bool) -> None:
        """A BMC: HEAD, then closed ranges on one connection, one after the other, with jumps."""
        wire = await self._connect(tls)
        try:
            answer = await wire.ask(image, method="HEAD", take=_nothing)
            self._check(image, answer)
            assert answer.fields["content-length"] == str(image.size), "HEAD reports another size"
            position = 0
            for _ in range(1 + image.size // _RANGE // 2):
                if self._random.random() < 0.1:
                    position = self._random.randrange(image.size)
                stop = min(position + self._random.choice((2048, 16384, _RANGE)), image.size)
                await self._read(wire, image, f"Range: bytes={position}-{stop - 1}")
                await deferLater(reactor, (stop - position) / self._rate)
                position = stop % image.size
        finally:
            self._hang_up(wire)

    async def leaving(self, image: Expected, tls: bool) -> None:
        """Goes away in the middle of a body, comes back, and goes on where it was by If-Range."""
        position = 0
        while position < image.size:
            wire = await self._connect(tls)
            leave = position + self._random.randrange(image.size // 4, image.size)
            fields = [f"Range: bytes={position}-"]
            if image.etag:
                fields.append(f"If-Range: {image.etag}")
            taken = position

            def so_far(end: int, leave: int = leave) -> float:
                nonlocal taken
                taken = end
                if end >= leave:
                    raise Left
                return 0

            try:
                await self._read(wire, image, *fields, after=so_far)
            except Left:
                self.outcomes.counts["went away"] += 1
            finally:
                self._hang_up(wire)
            position = taken

    async def resting(self, image: Expected, tls: bool) -> None:
        """Takes nothing for a while, twice in a body, and goes on."""
        wire = await self._connect(tls)
        marks = [self._random.randrange(image.size) for _ in range(2)]

        def rest(end: int) -> float:
            passed = [mark for mark in marks if mark < end]
            for mark in passed:
                marks.remove(mark)
            return self._rest * len(passed)

        try:
            await self._read(wire, image, "Connection: close", after=rest)
        finally:
            self._hang_up(wire)

    async def silent(self, image: Expected, tls: bool) -> None:
        """Half a request, which is given up after seconds; or an answer that is never taken."""
        wire = await self._connect(tls)
        try:
            # A small one would be in the client's own buffer before it rests.
            if self._random.random() < 0.8 or image.size < 8 * _RANGE:
                done = wire.send(b"GET /half-a-requ")
            else:
                # Once: what is in the client's own buffer would make it rest again and again, and
                # while it rests it does not hear that it was sent away.
                rests = iter([self._patience])
                done = wire.ask(image, take=lambda answer, data: next(rests, 0.0))
            done.addTimeout(2 * self._patience, reactor)
            await done
            # Even such a client learns that an image is gone.
            assert image.stale, "an answer to a client that takes none"
        except TimeoutError:
            raise AssertionError("a client that takes nothing is never sent away") from None
        except Lost:
            self.outcomes.counts["silent ones sent away"] += 1
        finally:
            self._hang_up(wire)

    # --- what they have in common ---------------------------------------------------------------

    async def _connect(self, tls: bool) -> Wire:
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", self._ports[tls])
        if tls:
            endpoint = wrapClientTLS(_AnyCertificate(), endpoint)
        wire = await connectProtocol(endpoint, Wire(self._rate))
        self.wires.add(wire)
        self.outcomes.counts["connections"] += 1
        return wire

    def _hang_up(self, wire: Wire) -> None:
        wire.leave()
        self.wires.discard(wire)

    async def _read(
        self,
        wire: Wire,
        image: Expected,
        *fields: str,
        after: Callable[[int], float] = lambda end: 0,
    ) -> None:
        """Read a body to its end; ``after`` gets the end of each piece in the image."""

        def take(answer: Answer, data: bytes) -> float:
            if answer.status not in (200, 206):
                return 0
            start = answer.start + answer.received
            assert image.matches(start, data), f"wrong bytes in {start}-{start + len(data)}"
            self.outcomes.bytes += len(data)
            return after(start + len(data))

        answer = await wire.ask(image, *fields, take=take)
        self._check(image, answer)
        part = any(each.startswith("Range:") for each in fields)
        assert answer.status == (206 if part else 200), f"status {answer.status}"
        if not part:
            assert answer.length == image.size, f"{answer.length} bytes for {image.size}"
        self.outcomes.counts["ranges" if part else "whole images"] += 1

    def _check(self, image: Expected, answer: Answer) -> None:
        if answer.status in (404, 503):
            if not image.stale:
                raise AssertionError(f"status {answer.status}, though nothing has changed")
            self.outcomes.counts[f"{answer.status} for images of the past"] += 1
            raise _Gone
        etag = answer.fields.get("etag", "")
        assert image.etag in ("", etag), "another tag under the same name"
        image.etag = etag


class _Gone(Exception):
    """The image is not served any more, as may be."""


def _nothing(_answer: Answer, _data: bytes) -> float:
    raise AssertionError("HEAD is answered with a body")

"""The site: one resource that serves images by the last segment of the path.

The HTTP contract follows RFC 9110 and RFC 9112; what clients insist on beyond them (BMC
firmware, Ironic, UEFI HTTP boot, sushy-tools) is said where it matters. Nothing here knows who
publishes images.
"""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mic.errors import MicError
from mic.image.layout import Piece, memory
from mic.image.store import Entry, Image
from mic.images import Images
from mic.threads import Threads
from mic.web.body import SMALL, ImageBody, read_cached
from mic.web.channel import ImageChannel, Limits
from mic.web.conditions import Conditions, Outcome, evaluate, format_date, range_applies
from mic.web.downloads import Downloads
from mic.web.fastlane import FastLane
from mic.web.headers import SERVER, content_range, image_head
from mic.web.ranges import ByteRange, Unsatisfiable, parse
from mic.web.served import NONE, Answers, Served
from mic.web.transport import FileTransport

RETRY_AFTER = 10
"""Seconds after which a client may ask again for an image whose base is not there."""

_REQUEST_BODY_LIMIT = 64 * 1024
_TOLD = 1000
"""How many things that are told once are remembered; past that they may be told again."""
_ROOT_TEXT = b"mic, the machine image customizer. Images have URLs of their own.\n"


class ImageRequest(Request):
    """A request whose own body is thrown away: no method we serve has a use for one.

    ``began`` is when it was there, whole, in seconds of the reactor; ``kind`` is that of the image
    it asks for.
    """

    _received = 0
    began = 0.0
    kind: str = NONE

    channel: ImageChannel

    @property
    def answers(self) -> Answers:
        """Where its answer is counted."""
        return self.channel.site.served.answers[self.kind]

    def write(self, data: bytes) -> None:
        """Send some of the answer, before the first of it its head."""
        if not self.startedWriting:
            self.answers.count(self.code)
        super().write(data)

    def gotLength(self, length: int | None) -> None:
        """The length of the request's body is known, or not (None)."""
        # Twisted would keep it in memory or in a temporary file; we may have neither.
        self.content = io.BytesIO()
        if length is not None and length > _REQUEST_BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Throw a piece of the request's body away."""
        self._received += len(data)
        if self._received > _REQUEST_BODY_LIMIT:
            self._refuse()

    def _refuse(self) -> None:
        # No "100 Continue" after the refusal.
        self.requestHeaders.removeHeader(b"Expect")
        self.channel.refuse(b"413 Content Too Large")


class ImageResource(Resource):
    """Every path: the last segment is the name of an image, whatever precedes it."""

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        images: Images,
        downloads: Downloads,
        reactor: IReactorTime,
        readers: Threads,
        settled: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._images = images
        self._downloads = downloads
        self._reactor = reactor
        self._readers = readers
        self._settled = settled
        self._reasons: dict[str, str] = {}
        self._refusing = False

    def render(self, request: ImageRequest) -> int:
        """Answer a request: at once where the base is loaded, else when it is."""
        request.began = self._reactor.seconds()
        request.setHeader(b"Server", SERVER)
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return _plain(request, http.NOT_ALLOWED, b"Only GET and HEAD are served.\n")
        name = unquote_to_bytes(request.path.rpartition(b"/")[2])
        if not name:
            return _plain(request, http.OK, _ROOT_TEXT)
        entry = self._images.entry(name.decode("utf-8", "replace"))
        if entry is None and not self._settled():
            # It may be one that was there before a restart.
            request.setHeader(b"Retry-After", b"%d" % RETRY_AFTER)
            return _plain(request, http.SERVICE_UNAVAILABLE, b"Images are still being built.\n")
        if entry is None:
            return _plain(request, http.NOT_FOUND, b"There is no such image.\n")
        request.kind = entry.content.kind
        try:
            image = self._images.current(entry)
        except MicError as error:
            return self._unavailable(request, entry, error)
        if image is not None:
            return self._answer(request, image)
        self._answer_later(request, entry)
        return NOT_DONE_YET

    def _answer_later(self, request: ImageRequest, entry: Entry) -> None:
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        async def wait() -> None:
            try:
                image = await self._images.image(entry)
            except MicError as error:
                if not gone:
                    self._unavailable(request, entry, error)
            else:
                if not gone:
                    self._answer(request, image)

        def failed(failure: Failure) -> None:
            self._log.failure("{image}: cannot be served", failure, image=entry.content.label)
            if not gone:
                _plain(request, http.INTERNAL_SERVER_ERROR, b"Internal error.\n")

        Deferred.fromCoroutine(wait()).addErrback(failed)

    def _unavailable(self, request: ImageRequest, entry: Entry, error: MicError) -> int:
        label, reason = entry.content.label, str(error)
        if self._reasons.get(label) != reason:
            if len(self._reasons) == _TOLD:
                self._reasons.clear()
            # Once, not for each of a BMC's thousands of attempts.
            self._reasons[label] = reason
            self._log.warn("{image}: {error}", image=label, error=reason)
        request.setHeader(b"Retry-After", b"%d" % RETRY_AFTER)
        # The reason names files of ours: it is in the log, for those who may read it.
        text = b"The base of this image cannot be used now; mic's log says why.\n"
        return _plain(request, http.SERVICE_UNAVAILABLE, text)

    def _answer(self, request: ImageRequest, image: Image) -> int:
        self._reasons.pop(image.label, None)
        get = request.requestHeaders.getRawHeaders
        etag = image.etag.encode()
        for name, value in image_head(image).fields:
            request.responseHeaders.setRawHeaders(name, [value])
        if image.last_modified > time.time():
            # Two changes within a second: no Date may be older than Last-Modified
            # (RFC 9110 section 8.8.2.1).
            request.setHeader(b"Date", format_date(image.last_modified))
        conditions = Conditions(
            if_match=_joined(get(b"If-Match")),
            if_none_match=_joined(get(b"If-None-Match")),
            if_modified_since=_joined(get(b"If-Modified-Since")),
            if_unmodified_since=_joined(get(b"If-Unmodified-Since")),
        )
        outcome = evaluate(conditions, etag, image.last_modified)
        if outcome is Outcome.NOT_MODIFIED:
            request.setResponseCode(http.NOT_MODIFIED)
            request.responseHeaders.removeHeader(b"Content-Type")
            request.finish()
            return NOT_DONE_YET
        if outcome is Outcome.FAILED:
            return _plain(request, http.PRECONDITION_FAILED, b"A precondition failed.\n")

        wanted = _joined(get(b"Range"))
        ranges: tuple[ByteRange, ...] | None = None
        # Ranges are defined for GET alone (RFC 9110 section 14.2).
        if wanted is not None and request.method == b"GET":
            if range_applies(_joined(get(b"If-Range")), etag, image.last_modified):
                try:
                    ranges = parse(wanted, image.size)
                except Unsatisfiable:
                    request.setHeader(b"Content-Range", b"bytes */%d" % image.size)
                    text = b"No byte of this range is in the image.\n"
                    return _plain(request, http.REQUESTED_RANGE_NOT_SATISFIABLE, text)
        if ranges is None:
            return self._send(request, image, (ByteRange(start=0, stop=image.size),))
        request.setResponseCode(http.PARTIAL_CONTENT)
        return self._send(request, image, ranges)

    def _send(self, request: ImageRequest, image: Image, ranges: tuple[ByteRange, ...]) -> int:
        heads = [b""]
        tail = b""
        if len(ranges) > 1:
            boundary = hashlib.blake2b(image.etag.encode() + repr(ranges).encode(), digest_size=16)
            separator = boundary.hexdigest().encode()
            heads = [_part_head(separator, each, image) for each in ranges]
            tail = b"\r\n--%s--\r\n" % separator
            multipart = b"multipart/byteranges; boundary=" + separator
            request.setHeader(b"Content-Type", multipart)
        elif request.code == http.PARTIAL_CONTENT:
            request.setHeader(
                b"Content-Range", content_range(ranges[0].start, ranges[0].stop, image.size)
            )
        length = sum(map(len, heads)) + sum(map(len, ranges)) + len(tail)
        request.setHeader(b"Content-Length", b"%d" % length)
        if request.method == b"HEAD":
            request.write(b"")
            request.finish()
            return NOT_DONE_YET

        if len(ranges) == 1 and length <= SMALL:
            start, stop = ranges[0].start, ranges[0].stop
            try:
                data = read_cached(image.layout.pieces(start, stop))
            except Exception:
                self._cut(request, image.label, Failure())
                return NOT_DONE_YET
            if data is not None:
                self._downloads.count(
                    image.label,
                    request.channel.client,
                    image.etag,
                    size=image.size,
                    start=start,
                    stop=stop,
                )
                request.answers.bytes += length
                request.answers.first_byte.add(self._reactor.seconds() - request.began)
                request.write(data)
                request.finish()
                return NOT_DONE_YET
        elif self._downloads.full:
            return self._too_many(request)

        pieces = chain(_pieces(image, heads, ranges), (memory(tail),) if tail else ())
        self._stream(request, image, pieces, length, _Offsets(heads, ranges))
        return NOT_DONE_YET

    def _too_many(self, request: ImageRequest) -> int:
        if not self._refusing:
            self._refusing = True
            self._log.warn(
                "MIC_MAX_DOWNLOADS ({limit}) reached: more are refused", limit=self._downloads.limit
            )
        for name in (b"ETag", b"Last-Modified", b"Content-Range"):
            request.responseHeaders.removeHeader(name)
        request.setHeader(b"Retry-After", b"%d" % RETRY_AFTER)
        text = b"As many downloads as are allowed are under way.\n"
        return _plain(request, http.SERVICE_UNAVAILABLE, text)

    def _stream(
        self,
        request: ImageRequest,
        image: Image,
        pieces: Iterator[Piece],
        length: int,
        offsets: _Offsets,
    ) -> None:
        if not self._downloads.full:
            # Small bodies are sent beyond the limit.
            self._refusing = False
        download = self._downloads.begin(
            image.label, request.channel.client, image.etag, image.size
        )

        answers = request.answers
        began = self._reactor.seconds()
        silent = True

        def wrote(count: int) -> None:
            nonlocal silent
            if silent and count:
                silent = False
                answers.first_byte.add(self._reactor.seconds() - request.began)
            answers.bytes += count
            for start, stop in offsets.advance(count):
                self._downloads.wrote(download, start, stop)

        def over(*, whole: bool) -> None:
            answers.bodies.add(self._reactor.seconds() - began)
            self._downloads.end(download, whole=whole)

        body = ImageBody(pieces, length, self._soon, self._readers.run, wrote)
        request.notifyFinish().addCallbacks(lambda _: over(whole=True), lambda _: over(whole=False))
        request.registerProducer(body, True)
        # The head goes out before what is written to the transport itself.
        request.write(b"")
        transport = request.channel.transport
        consumer = transport if isinstance(transport, FileTransport) else request
        # The Deferred stays silent when the client goes away: the channel stops the body then.
        done = body.startProducing(consumer)
        # These hold no image: when the client goes away they are left to the garbage collector,
        # and with them a base file that may have been deleted.
        label = image.label
        done.addCallbacks(lambda _: _finish(request), lambda why: self._cut(request, label, why))
        done.addErrback(lambda why: self._log.failure("{image}", why, image=label))

    def _soon(self, call: Any) -> object:
        return self._reactor.callLater(0, call)

    def _cut(self, request: ImageRequest, label: str, why: Failure) -> None:
        """Break off: the client sees a body shorter than announced, and asks again."""
        self._log.error(
            "{image}: body for {client} broken off: {error}",
            image=label,
            client=request.channel.client,
            error=why.getErrorMessage(),
        )
        request.channel.site.served.broken_off["source"] += 1
        request.channel.abortConnection()


def _finish(request: ImageRequest) -> None:
    request.unregisterProducer()
    request.finish()


def _joined(values: Any) -> bytes | None:
    """A header field's value; several lines are one list (RFC 9110 section 5.3)."""
    return None if not values else b", ".join(values)


def _plain(request: ImageRequest, code: int, text: bytes) -> int:
    """Answer with a line of text. HEAD gets its length alone, and without Twisted's log line,
    which shows the path."""
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Content-Length", b"%d" % len(text))
    request.responseHeaders.removeHeader(b"Content-Disposition")
    request.write(text)
    request.finish()
    return NOT_DONE_YET


def _part_head(separator: bytes, part: ByteRange, image: Image) -> bytes:
    return b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n" % (
        separator,
        image.content_type.encode(),
        content_range(part.start, part.stop, image.size),
    )


def _pieces(image: Image, heads: list[bytes], ranges: tuple[ByteRange, ...]) -> Iterator[Piece]:
    for head, part in zip(heads, ranges, strict=True):
        if head:
            yield memory(head)
        yield from image.layout.pieces(part.start, part.stop)


class _Offsets:
    """Turns counts of body bytes into ranges of the image, leaving out multipart heads."""

    def __init__(self, heads: list[bytes], ranges: tuple[ByteRange, ...]) -> None:
        self._left: list[tuple[int | None, int]] = [
            each
            for head, part in zip(heads, ranges, strict=True)
            for each in ((None, len(head)), (part.start, len(part)))
            if each[1]
        ]

    def advance(self, count: int) -> Iterator[tuple[int, int]]:
        """The ranges of the image among the next ``count`` bytes of the body."""
        while count and self._left:
            start, length = self._left[0]
            step = min(count, length)
            if start is not None:
                yield start, start + step
            rest = (None if start is None else start + step, length - step)
            self._left[:1] = [rest] if rest[1] else []
            count -= step


class ImageSite(Site):
    """The site to listen with; ``channels`` are its open connections, with these ``limits``.

    ``settled`` says whether all names are known: until then an unknown one may come later.
    ``served`` counts what it serves.
    """

    protocol = ImageChannel  # type: ignore[assignment]
    displayTracebacks = False
    noisy = False
    _log = Logger()

    def __init__(
        self,
        images: Images,
        downloads: Downloads,
        reactor: Any,
        readers: Threads,
        *,
        settled: Callable[[], bool],
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        super().__init__(
            ImageResource(images, downloads, reactor, readers, settled),
            ImageRequest,
            timeout=self.limits.idle,
            reactor=reactor,
        )
        self.served = Served()
        self.fast_lane = FastLane(images, downloads, self.served, time.time)
        self.channels: set[ImageChannel] = set()
        self._tls_failures: set[tuple[str, str]] = set()

    def tls_failed(self, client: str, reason: str) -> None:
        """Log why a client gets nothing, once: a BMC tries again and again, and tells nobody."""
        if len(self._tls_failures) == _TOLD:
            self._tls_failures.clear()
        if (client, reason) not in self._tls_failures:
            self._tls_failures.add((client, reason))
            self._log.warn("{client}: no TLS connection: {error}", client=client, error=reason)

    def log(self, _request: http.Request) -> None:
        """Write nothing: downloads are logged, not requests."""

    def acceptableProtocols(self) -> list[bytes]:
        """What TLS may negotiate: with HTTP/2 Twisted would use another channel than ours."""
        return [b"http/1.1"]

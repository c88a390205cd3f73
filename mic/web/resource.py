"""Images as a resource: the last segment of the path is the name of an image.

The HTTP contract follows RFC 9110 and RFC 9112; what clients require beyond them (BMC firmware,
Ironic, UEFI HTTP boot, sushy-tools) is noted where it matters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from mic.common.errors import MicError, NotReady
from mic.common.threads import Threads
from mic.downloads.tracker import Downloads
from mic.images.store import Entry, Image, ImageId, Store
from mic.media.basefile import BaseFile
from mic.media.layout import Piece
from mic.web.body import SMALL, ImageBody, read_cached, takes_views
from mic.web.conditions import Conditions, Outcome, evaluate, format_date, range_applies
from mic.web.headers import OWN_AGENT, content_range, image_head
from mic.web.multipart import Offsets, Parts, Span
from mic.web.ranges import ByteRange, Unsatisfiable, parse
from mic.web.request import ImageRequest, cut, plain
from mic.web.request_head import path_of
from mic.web.stream import Stream
from mic.web.transport import FileTransport

RETRY_AFTER = 10
"""Delay after which a client may retry while a base image is not available, in seconds."""

MAX_WAIT = 30.0
"""Upper bound on the time that a request waits for its base image, or at start for its name to be
known, in seconds; clients give up soon after."""

MAX_REMEMBERED = 1000
"""Upper bound on the problems remembered to log each once; after that they may be logged again."""

_ROOT_TEXT = b"mic, the machine image customizer. Images have URLs of their own.\n"


class ImageResource(Resource):
    """Answers every path: the last segment is the name of an image."""

    isLeaf = True
    _log = Logger()

    def __init__(
        self,
        images: Store,
        downloads: Downloads,
        reactor: IReactorTime,
        readers: Threads,
        *,
        settled: Callable[[], bool],
        has_no_image: Callable[[str], bool] = lambda _: False,
    ) -> None:
        super().__init__()
        self._images = images
        self._downloads = downloads
        self._reactor = reactor
        self._readers = readers
        self._settled = settled
        self._has_no_image = has_no_image
        self._reasons: dict[ImageId, str] = {}
        self._refusing = False
        self._held: dict[ImageRequest, IDelayedCall] | None = None

    def hold(self) -> None:
        """Let requests for unknown names wait until `release`: a BMC gives up after a 404.

        Each waits for `MAX_WAIT` at most: a directory of hosts may be on a medium that hangs.
        """
        self._held = {}

    def release(self) -> None:
        """Answer the requests that wait, and no longer let any wait."""
        held, self._held = self._held or {}, None
        for request, giving_up in list(held.items()):
            del held[request]
            _cancel(giving_up)
            request.process()

    def _hold(self, request: ImageRequest) -> None:
        if self._held is not None:
            held = self._held
            held[request] = self._reactor.callLater(MAX_WAIT, _still_building, request)
            # When the client leaves, and when the request is answered.
            request.notifyFinish().addBoth(lambda _: _cancel(held.pop(request, None)))

    def render(self, request: ImageRequest) -> int:
        """Answer a request, at once if its base is loaded, otherwise as soon as it is."""
        request.began = self._reactor.seconds()
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return plain(request, http.NOT_ALLOWED, b"Only GET and HEAD are served.\n")
        path = path_of(request.path)
        if path is None:
            text = b"The request target is not a path or a URL.\n"
            return plain(request, http.BAD_REQUEST, text)
        name = unquote_to_bytes(path.rpartition(b"/")[2])
        if not name:
            return plain(request, http.OK, _ROOT_TEXT)
        shown = name.decode("utf-8", "replace")
        entry = self._images.entry(shown)
        if entry is None and self._held is not None:
            self._hold(request)
            return NOT_DONE_YET
        if entry is None and not self._settled():
            # A name from before a restart may be published soon.
            return _still_building(request)
        if entry is None and self._has_no_image(shown):
            host = name.rpartition(b".")[0]
            return plain(request, http.NOT_FOUND, host + b" has no image: see mic's log\n")
        if entry is None:
            return plain(request, http.NOT_FOUND, b"There is no such image.\n")
        request.kind = entry.content.kind
        try:
            image = self._images.loaded(entry)
        except MicError as error:
            return self._unavailable(request, entry, error)
        if image is not None:
            return self._answer(request, image)
        self._answer_later(request, entry)
        return NOT_DONE_YET

    def _answer_later(self, request: ImageRequest, entry: Entry) -> None:
        label = entry.content.id
        gone: list[Failure] = []
        waiting = Deferred.fromCoroutine(self._images.load(entry))

        def left(why: Failure) -> None:
            gone.append(why)
            waiting.cancel()

        def failed(why: Failure) -> None:
            if gone:
                return
            if why.check(TimeoutError):
                reason = f"its base image is being read, which has taken {MAX_WAIT:.0f} s so far"
                self._unavailable(request, entry, NotReady(reason))
            elif isinstance(why.value, MicError):
                self._unavailable(request, entry, why.value)
            else:
                self._log.failure("{image}: cannot be served", why, image=label)
                plain(request, http.INTERNAL_SERVER_ERROR, b"Internal error.\n")

        request.notifyFinish().addErrback(left)
        waiting.addTimeout(MAX_WAIT, self._reactor)
        waiting.addCallback(lambda image: self._answer(request, image))
        waiting.addErrback(failed)

    def _unavailable(self, request: ImageRequest, entry: Entry, error: MicError) -> int:
        label, reason = entry.content.id, str(error)
        if self._reasons.get(label) != reason:
            if len(self._reasons) == MAX_REMEMBERED:
                self._reasons.clear()
            # Once: a BMC tries thousands of times.
            self._reasons[label] = reason
            self._log.warn("{image}: {error}", image=label, error=reason)
        request.setHeader(b"Retry-After", b"%d" % RETRY_AFTER)
        # The reason names files of this machine: it is in the log only.
        text = b"The base of this image cannot be used now; mic's log says why.\n"
        return plain(request, http.SERVICE_UNAVAILABLE, text)

    def _answer(self, request: ImageRequest, image: Image) -> int:
        self._reasons.pop(image.id, None)
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
            return plain(request, http.PRECONDITION_FAILED, b"A precondition failed.\n")

        wanted = _joined(get(b"Range"))
        ranges: tuple[ByteRange, ...] | None = None
        # Also for HEAD, unlike RFC 9110 section 14.2: clients probe for ranges with it, and the
        # file servers of Go and nginx answer.
        if wanted is not None:
            if range_applies(_joined(get(b"If-Range")), etag, image.last_modified):
                try:
                    ranges = parse(wanted, image.size)
                except Unsatisfiable:
                    request.setHeader(b"Content-Range", b"bytes */%d" % image.size)
                    text = b"No byte of this range is in the image.\n"
                    return plain(request, http.REQUESTED_RANGE_NOT_SATISFIABLE, text)
        if ranges is None:
            return self._send(request, image, (ByteRange(start=0, stop=image.size),))
        request.setResponseCode(http.PARTIAL_CONTENT)
        return self._send(request, image, ranges)

    def _send(self, request: ImageRequest, image: Image, ranges: tuple[ByteRange, ...]) -> int:
        parts = Parts(image, ranges) if len(ranges) > 1 else None
        if parts is not None:
            length = parts.length
            request.setHeader(b"Content-Type", parts.content_type)
        else:
            length = len(ranges[0])
            if request.code == http.PARTIAL_CONTENT:
                request.setHeader(
                    b"Content-Range", content_range(ranges[0].start, ranges[0].stop, image.size)
                )
        request.setHeader(b"Content-Length", b"%d" % length)
        if request.method == b"HEAD":
            request.write(b"")
            request.finish()
            return NOT_DONE_YET

        if parts is not None:
            if self._downloads.refuses(image.id):
                return self._too_many(request)
            self._stream(request, image, parts.pieces(image), length, parts.spans())
            return NOT_DONE_YET
        start, stop = ranges[0].start, ranges[0].stop
        taken = 0
        if length <= SMALL:
            try:
                data = read_cached(image.layout.pieces(start, stop))
            except Exception:
                cut(request.channel, image.id, Failure())
                return NOT_DONE_YET
            if data is not None:
                taken = self._send_now(request, image, start, data)
                if taken == length:
                    request.finish()
                    return NOT_DONE_YET
        elif self._downloads.refuses(image.id):
            return self._too_many(request)
        pieces = image.layout.pieces(start + taken, stop)
        self._stream(
            request, image, pieces, length - taken, iter([(start + taken, length - taken)])
        )
        return NOT_DONE_YET

    def _send_now(self, request: ImageRequest, image: Image, start: int, data: bytes) -> int:
        """Send a small body, and return how many bytes the client took at once."""
        transport = request.channel.transport
        if isinstance(transport, FileTransport):
            # Sends the head before what is written to the transport directly.
            request.write(b"")
            taken = transport.write_now(b"", memoryview(data))
        else:
            request.write(data)
            taken = len(data)
        if taken:
            if not _is_own(request):
                self._downloads.count(
                    image.id,
                    request.channel.client,
                    image.etag,
                    size=image.size,
                    start=start,
                    stop=start + taken,
                )
            request.answers.bytes += taken
            request.answers.first_byte.add(self._reactor.seconds() - request.began)
        return taken

    def _too_many(self, request: ImageRequest) -> int:
        if not self._refusing:
            self._refusing = True
            self._log.warn(
                "MIC_MAX_DOWNLOADS ({limit}) reached: more are refused", limit=self._downloads.limit
            )
        for name in (b"ETag", b"Last-Modified", b"Content-Range"):
            request.responseHeaders.removeHeader(name)
        request.setHeader(b"Retry-After", b"%d" % RETRY_AFTER)
        text = b"The limit of simultaneous downloads is reached; try again later.\n"
        return plain(request, http.SERVICE_UNAVAILABLE, text)

    def _stream(
        self,
        request: ImageRequest,
        image: Image,
        pieces: Iterator[Piece],
        length: int,
        spans: Iterator[Span],
    ) -> None:
        if not self._downloads.full:
            # Small bodies are sent beyond the limit.
            self._refusing = False
        begin = self._downloads.begin_unrecorded if _is_own(request) else self._downloads.begin
        download = begin(image.id, request.channel.client, image.etag, image.size)
        stream = Stream(request, self._downloads, download, Offsets(spans), self._reactor)
        body = self.body(pieces, length, stream.wrote)
        request.notifyFinish().addCallbacks(stream.is_whole, stream.is_cut)
        request.registerProducer(body, True)
        # Sends the head before what is written to the transport directly.
        request.write(b"")
        request.forget_headers()
        transport = request.channel.transport
        consumer: Any = transport if takes_views(transport) else request
        # The Deferred does not fire if the client disconnects: the channel stops the body then.
        done = body.startProducing(consumer)
        done.addCallbacks(stream.finish, stream.cut)
        done.addErrback(stream.log)

    def body(
        self,
        pieces: Iterator[Piece],
        length: int,
        wrote: Callable[[int], None] = lambda _: None,
    ) -> ImageBody:
        """Return a body of ``pieces``; ``wrote`` is called with each number of bytes sent."""
        return ImageBody(pieces, length, self._soon, self._readers.run, wrote, verify=self._verify)

    def _verify(self, file: BaseFile) -> Deferred[None]:
        return Deferred.fromCoroutine(self._images.verify(file))

    def _soon(self, call: Any) -> object:
        return self._reactor.callLater(0, call)


def _still_building(request: ImageRequest) -> int:
    request.setHeader(b"Retry-After", b"%d" % RETRY_AFTER)
    return plain(request, http.SERVICE_UNAVAILABLE, b"Images are still being built.\n")


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


def _is_own(request: ImageRequest) -> bool:
    """Return whether a command of mic asks, such as ``mic show``: that is no download."""
    agent = request.requestHeaders.getRawHeaders(b"User-Agent")
    return agent is not None and agent[0].startswith(OWN_AGENT)


def _joined(values: Any) -> bytes | None:
    """Return a header field's value; several lines are one list (RFC 9110 section 5.3)."""
    return None if not values else b", ".join(values)

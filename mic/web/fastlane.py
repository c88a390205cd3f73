"""The fast lane: a small range of an image, asked for in the plainest way.

A BMC reads an image in thousands of such requests, and what they cost is Python. So a GET with
one closed range and nothing unusual in its head is answered here from its bytes alone, without
a request object; with the same images, ranges, header fields and accounting as the normal way,
and the same bytes. Anything else is left to the normal way, whatever is wrong with it.

Where the package of ``native/`` is installed, it parses and sends; see `mic.web.native`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import ITransport
from twisted.web.http import datetimeToString

from mic.common.errors import MicError
from mic.downloads.tracker import Downloads
from mic.images.store import Image, Store
from mic.media.basefile import BaseFile
from mic.media.layout import FileRange, Layout
from mic.web.body import SMALL
from mic.web.headers import SERVER, ImageHead, image_head
from mic.web.native import Native, Senders
from mic.web.request_head import HOST
from mic.web.stats import Served
from mic.web.transport import FileTransport

_LONGEST_HEAD = 2048
# Fields that change nothing in our answers. All others, doubled ranges and conditions among
# them, are not plain; nor is a name that would have to be decoded.
_IGNORED = (
    # With the plus, HOST gives nothing back either.
    rb"(?:(?i:Host):[ ]*+" + HOST + rb"+[ ]*+\r\n"
    # The agent of mic's own commands is not counted as a reader: see mic.web.resource.
    rb"|(?i:User-Agent):[ ]*+(?!mic/)[ -~]*+\r\n"
    rb"|(?i:Accept|Accept-Encoding|Accept-Language|Authorization|Cache-Control"
    rb"|Pragma):[ -~]*+\r\n|(?i:Connection: keep-alive)\r\n)*+"
)
_PLAIN = re.compile(
    rb"GET /(?:[A-Za-z0-9._~/-]*/)?([A-Za-z0-9._~-]++) HTTP/1\.1\r\n"
    + _IGNORED
    + rb"Range: bytes=([0-9]{1,18})-([0-9]{1,18})\r\n"
    + _IGNORED
    + rb"\r\n"
)
_RANGE = b"\r\nRange: bytes="
_START = b"HTTP/1.1 206 Partial Content\r\nServer: %s\r\nDate: " % SERVER


class Connection(Protocol):
    """The connection that a request came on."""

    client: str
    """What the downloads of its client are counted under."""

    def answered(self) -> None:
        """Note that a request is answered."""

    def send_rest(self, image: Image, start: int, stop: int) -> None:
        """Send the bytes ``start`` to ``stop`` of ``image`` as the client takes them."""


def plain_request(data: bytes) -> tuple[str, int, int] | None:
    """Return the name, first and last byte of one whole plain request, None for anything else."""
    if len(data) > _LONGEST_HEAD or (match := _PLAIN.fullmatch(data)) is None:
        return None
    if data.lower().count(b"\r\nhost:") != 1:
        # HTTP/1.1 requires one: the normal way refuses the request.
        return None
    name, first, last = match.groups()
    return name.decode(), int(first), int(last)


class FastLane:
    """Answers plain requests. ``clock`` gives seconds since the epoch.

    ``native`` is the compiled module; None: it is not installed.
    """

    def __init__(
        self,
        images: Store,
        downloads: Downloads,
        served: Served,
        clock: Callable[[], float],
        native: Native | None,
    ) -> None:
        self._images = images
        self._downloads = downloads
        self._answers = served.answers
        self._clock = clock
        self._plain_request = plain_request if native is None else native.plain_request
        self.senders = None if native is None else Senders(native)
        self._second = 0
        self.start = b""
        # One for all: what is in it goes out, or is read again, before the next request comes.
        self._buffer = memoryview(bytearray(SMALL))

    def serve(self, data: bytes, transport: ITransport, connection: Connection) -> bool:
        """Answer ``data`` if it is one whole plain request; return whether it is."""
        request = self._plain_request(data)
        if request is None:
            return False
        name, start, last = request
        image = self.image(name)
        if image is None:
            return False
        stop = min(last + 1, image.layout.size)
        if not 0 < stop - start <= SMALL:
            return False
        taken = self._send(image, start, stop, transport)
        if taken is None:
            return False
        self.sent(image, start, stop, taken, connection)
        if self.senders is not None and isinstance(transport, FileTransport):
            if taken == stop - start and self.senders.of(image) is not None:
                transport.shortcut = _Repeat(self, data, name, transport, connection)
        return True

    def image(self, name: str) -> Image | None:
        """Return the image of a name, None if the normal way has to answer."""
        entry = self._images.entry(name)
        image = None if entry is None else entry.composed
        now = self._clock()
        if image is None or image.last_modified > now:
            return None
        if int(now) != self._second:
            self._second = int(now)
            self.start = b"%s%s\r\n" % (_START, datetimeToString(self._second))
        return image

    def sent(self, image: Image, start: int, stop: int, taken: int, connection: Connection) -> None:
        """Count an answer, of whose body ``taken`` bytes went out, and send the rest."""
        answers = self._answers[image.id.kind]
        answers.statuses[206] += 1
        answers.bytes += stop - start
        self._downloads.count(
            image.id,
            connection.client,
            image.etag,
            size=image.layout.size,
            start=start,
            stop=stop,
        )
        connection.answered()
        if taken < stop - start:
            connection.send_rest(image, start + taken, stop)

    def _send(self, image: Image, start: int, stop: int, transport: ITransport) -> int | None:
        """Return how many bytes of the body were sent, None if the normal way has to answer."""
        fields = image_head(image)
        if self.senders is None or not isinstance(transport, FileTransport):
            return self._send_read(image, fields, start, stop, transport)
        sender = self.senders.of(image)
        if sender is not None and transport.is_clear:
            sent = sender.send(transport.fileno(), start, stop, self.start)
            if isinstance(sent, bytes):
                transport.write(sent)
                return 0
            if sent is not None:
                return sent
        taken = self._send_read(image, fields, start, stop, transport)
        if taken is not None:
            self.senders.renew(image)
        return taken

    def _send_read(
        self, image: Image, fields: ImageHead, start: int, stop: int, transport: ITransport
    ) -> int | None:
        """Read, check and send in Python; see `_send`."""
        length = stop - start
        body = self._buffer[:length]
        try:
            if not _fill(body, image.layout, start):
                return None
            # After the read: a base that is still current was not written to before that. When
            # another base comes into force, the image is dropped at once.
            if not image.base.is_current():
                return None
        except (OSError, MicError):
            return None
        # Content-Range as `mic.web.headers.content_range` has it, without a call.
        head = b"%s%sContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n" % (
            self.start,
            fields.lines,
            start,
            stop - 1,
            image.layout.size,
            length,
        )
        if isinstance(transport, FileTransport):
            return transport.write_now(head, body)
        transport.write(head + body)
        return length


class _Repeat:
    """Answers the request that came last on a connection, when it comes with another range.

    A client sends the same head each time. What does not start and end as the last one did takes
    the whole way again, and so does what cannot be sent here.
    """

    __slots__ = ("_after", "_before", "_connection", "_fd", "_lane", "_name", "_transport")

    def __init__(
        self,
        lane: FastLane,
        data: bytes,
        name: str,
        transport: FileTransport,
        connection: Connection,
    ) -> None:
        self._lane = lane
        self._name = name
        self._transport = transport
        self._connection = connection
        self._fd = transport.fileno()
        before, field, rest = data.partition(_RANGE)
        self._before = before + field
        self._after = rest[rest.index(b"\r\n") :]

    def __call__(self) -> bytes | None:
        """Receive a request and answer it; return what came if it is not answered."""
        lane = self._lane
        image = lane.image(self._name)
        sender = None if image is None or lane.senders is None else lane.senders.of(image)
        if image is None or sender is None:
            return self._transport.receive()
        answer = sender.answer(self._fd, self._before, self._after, lane.start)
        if isinstance(answer, bytes):
            return answer
        start, stop, taken = answer
        if isinstance(taken, bytes):
            self._transport.write(taken)
            taken = 0
        if taken < stop - start:
            self._transport.shortcut = None
        lane.sent(image, start, stop, taken, self._connection)
        return None


def _fill(buffer: memoryview, layout: Layout, position: int) -> bool:
    """Fill ``buffer`` from ``position`` of an image, if that needs no wait; return whether it did.

    What is read of a file is right only if the file is checked afterwards. Raises `OSError`.
    """
    while True:
        piece, inner = layout.locate(position)
        count = len(piece) - inner
        # Most ranges end in the piece where they begin; that costs no view of a part.
        whole = count >= len(buffer)
        part = buffer if whole else buffer[:count]
        if isinstance(piece, FileRange):
            source = piece.source
            if not isinstance(source, BaseFile):
                return False
            if not source.cache.readinto(part, piece.start + inner):
                return False
        else:
            part[:] = piece.data[inner : inner + len(part)]
        if whole:
            return True
        buffer = buffer[count:]
        position += count

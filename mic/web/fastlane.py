"""The fast lane: a small range of an image, asked for in the plainest way.

A BMC reads an image in thousands of such requests, and what they cost is Python. So a GET with
one closed range and nothing unusual in its head is answered here from its bytes alone, without
a request object; with the same images, ranges, header fields and accounting as the normal way,
and the same bytes. Anything else is left to the normal way, whatever is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.internet.interfaces import ITransport
from twisted.web.http import datetimeToString

from mic.errors import MicError
from mic.image.basefile import BaseFile
from mic.image.layout import FileRange
from mic.images import Images
from mic.web.body import SMALL
from mic.web.downloads import Downloads
from mic.web.headers import SERVER, content_range, image_head
from mic.web.ranges import resolve
from mic.web.served import Served
from mic.web.transport import FileTransport

_LONGEST_HEAD = 2048
# Fields that change nothing in our answers. All others, doubled ranges and conditions among
# them, are not plain; nor is a name that would have to be decoded.
_IGNORED = (
    rb"(?:(?i:Host|User-Agent|Accept|Accept-Encoding|Accept-Language|Authorization|Cache-Control"
    rb"|Pragma):[ -~]*+\r\n|(?i:Connection: keep-alive)\r\n)*+"
)
_PLAIN = re.compile(
    rb"GET /(?:[A-Za-z0-9._~/-]*/)?([A-Za-z0-9._~-]++) HTTP/1\.1\r\n"
    + _IGNORED
    + rb"Range: bytes=([0-9]{1,18})-([0-9]{1,18})\r\n"
    + _IGNORED
    + rb"\r\n"
)
_START = b"HTTP/1.1 206 Partial Content\r\nServer: %s\r\nDate: " % SERVER


class FastLane:
    """Answers plain requests. ``clock`` gives seconds since the epoch."""

    def __init__(
        self, images: Images, downloads: Downloads, served: Served, clock: Callable[[], float]
    ) -> None:
        self._images = images
        self._downloads = downloads
        self._answers = served.answers
        self._clock = clock
        self._second = 0
        self._start = b""
        # One for all: what is in it goes out, or is copied, before the next request comes.
        self._buffer = memoryview(bytearray(SMALL))

    def serve(self, data: bytes, client: str, transport: ITransport) -> bool:
        """Answer ``data`` if it is one whole plain request; else do nothing. Tells which."""
        if len(data) > _LONGEST_HEAD or (match := _PLAIN.fullmatch(data)) is None:
            return False
        name, first, last = match.groups()
        entry = self._images.entry(name.decode())
        image = None if entry is None else entry.composed
        if entry is None or image is None:
            return False
        size = image.layout.size
        part = resolve(first, last, size)
        if part is None:
            return False
        start, stop = part
        length = stop - start
        if not 0 < length <= SMALL:
            return False
        piece, inner = image.layout.locate(start)
        if not isinstance(piece, FileRange) or inner + length > len(piece):
            return False
        if not isinstance(piece.source, BaseFile):
            return False
        body = self._buffer[:length]
        try:
            if not piece.source.cache.readinto(body, piece.start + inner):
                return False
            # After the read: an image that is still current was not written to before that.
            if self._images.current(entry) is not image:
                return False
        except (OSError, MicError):
            return False
        now = self._clock()
        if image.last_modified > now:
            return False
        if int(now) != self._second:
            self._second = int(now)
            self._start = b"%s%s\r\n" % (_START, datetimeToString(self._second))
        head = b"%s%sContent-Range: %s\r\nContent-Length: %d\r\n\r\n" % (
            self._start,
            image_head(image).lines,
            content_range(start, stop, size),
            length,
        )
        answers = self._answers[entry.content.kind]
        answers.statuses[206] += 1
        answers.bytes += length
        self._downloads.count(image.label, client, image.etag, size=size, start=start, stop=stop)
        if isinstance(transport, FileTransport):
            transport.write_now(head, body)
        else:
            transport.write(head + body)
        return True

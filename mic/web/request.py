"""One request, and the short answers that need no image."""

from __future__ import annotations

import io
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.http_headers import Headers
from twisted.web.server import NOT_DONE_YET, Request

from mic.images.store import ImageId
from mic.web.channel import ImageChannel
from mic.web.headers import SERVER
from mic.web.stats import NONE, Answers

_log = Logger()


class ImageRequest(Request):
    """A request without its body, which the channel discards.

    ``began`` is when it was complete, in seconds of the reactor; ``kind`` is the kind of image that
    it requests.
    """

    began = 0.0
    kind: str = NONE

    channel: ImageChannel

    @property
    def answers(self) -> Answers:
        """The counts that its answer goes into."""
        return self.channel.site.served.answers[self.kind]

    def gotLength(self, _length: int | None) -> None:
        """Take the length of the request's body, None if it is chunked."""
        # Twisted would make a temporary file for a large one; mic may have no directory for it.
        self.content = io.BytesIO()

    def process(self) -> None:
        """Answer, also ``OPTIONS *``: Twisted's own answer discloses its version."""
        site: Any = self.channel.site
        self.site = site
        self.setHeader(b"Server", SERVER)
        self.setHeader(b"Date", http.datetimeToString())
        try:
            site.resource.render(self)
        except Exception:
            self.processingFailed(Failure())

    def write(self, data: bytes) -> None:
        """Send a part of the answer; the first part follows the head."""
        if not self.startedWriting:
            self.answers.count(self.code)
        super().write(data)

    def forget_headers(self) -> None:
        """Release all header fields: those of the answer are sent."""
        self.requestHeaders = self.responseHeaders = _NO_HEADERS


_NO_HEADERS = Headers()


def plain(request: ImageRequest, code: int, text: bytes) -> int:
    """Answer with a line of text; return what `Resource.render` returns.

    HEAD gets its length alone, without Twisted's log line, which shows the path.
    """
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Content-Length", b"%d" % len(text))
    request.responseHeaders.removeHeader(b"Content-Disposition")
    request.write(text)
    request.finish()
    return NOT_DONE_YET


def cut(channel: ImageChannel, label: ImageId, why: Failure) -> None:
    """Abort a body: its client receives less than announced and requests the rest again."""
    channel.site.served.broken_off["source"] += 1
    _log.error(
        "{image}: body for {client} broken off: {error}",
        image=label,
        client=channel.client,
        error=why.getErrorMessage(),
    )
    channel.abortConnection()

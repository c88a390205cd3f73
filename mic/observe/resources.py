"""Small pages over HTTP: shared by the health port and the status port."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from twisted.web.http import NOT_ALLOWED, NOT_FOUND, Request
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request as SiteRequest

_METHODS = (b"GET", b"HEAD")
_MAX_BODY = 1 << 20
TEXT = b"text/plain; charset=utf-8"
"""The content type of plain text."""


class PageRequest(SiteRequest):
    """A request whose response does not disclose the Twisted version, without its body."""

    _dropped = 0

    def write(self, data: bytes) -> None:
        """Write a part of the response; set ``Server`` before the first."""
        if not self.startedWriting:
            self.setHeader(b"Server", b"mic")
        super().write(data)

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002
        """Keep nothing of a body: Twisted would write a large one to a temporary file."""
        self.content = io.BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Drop a part of a body; close the connection of a client that sends too much."""
        self._dropped += len(data)
        if self._dropped > _MAX_BODY:
            transport: Any = self.channel.transport
            transport.abortConnection()


def text_answer(request: Request, code: int, text: str) -> bytes:
    """Return the body of a response in plain text, and set its fields; nothing for a HEAD."""
    body = text.encode()
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", TEXT)
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return b"" if request.method == b"HEAD" else body


class Directory(Resource):
    """A path without children but those that are added.

    Others are 404 in plain text, with the ``paths`` that there are.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self._paths = paths

    def getChild(self, path: bytes, request: Request) -> IResource:  # noqa: ARG002
        """Return the 404."""
        return _NotFound(self._paths)


class _NotFound(Resource):
    """An unknown path; the response does not quote it, because it is untrusted."""

    isLeaf = True

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self._paths = paths

    def render(self, request: Request) -> bytes:
        """Name the paths that there are."""
        return text_answer(
            request, NOT_FOUND, f"There is no such page; mic has {', '.join(self._paths)} here.\n"
        )


class Page(Directory):
    """A page that is rendered for each request, without pages below it."""

    def render(self, request: Request) -> int | bytes:
        """Return the page; refuse other methods than GET and HEAD."""
        if request.method in _METHODS:
            answer: int | bytes = super().render(request)
            return answer
        request.setHeader(b"Allow", b", ".join(_METHODS))
        return text_answer(request, NOT_ALLOWED, "This page has GET and HEAD only.\n")

    def render_GET(self, request: Request) -> int | bytes:
        """Return the page."""
        raise NotImplementedError

    def render_HEAD(self, request: Request) -> int | bytes:
        """Return no body, with the length of the page."""
        page = self.render_GET(request)
        if isinstance(page, int):
            return page  # it is written later, without its body
        # Twisted's own does the same, with a warning in the log.
        request.setHeader(b"Content-Length", b"%d" % len(page))
        return b""

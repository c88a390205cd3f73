"""The body of a request: read to its end and thrown away (RFC 9112 sections 6 and 7). Pure."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Protocol

from mic.web.request_head import MAX_BODY, Refusal, field

_CRLF = bytearray(b"\r\n")
_MAX_LINE = 1024
_MAX_LINES = 64 * 1024
"""Upper bound on what a chunked body has besides its content, in bytes."""

# Extensions are as good as never used; what is in them does not matter.
_SIZE = re.compile(rb"([0-9A-Fa-f]+)(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
# 0x10000 has five, and is the largest that is allowed.
_DIGITS = 5


class Body(Protocol):
    """A request body that is being received."""

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes: what follows the body in them, or None while it is not over.

        Raises `Refusal` for a body that is malformed or too large.
        """


class FixedBody:
    """A body of ``length`` bytes."""

    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; see `Body`."""
        taken = min(self._left, len(data))
        self._left -= taken
        return None if self._left else data[taken:]


class _Part(Enum):
    SIZE = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILER = auto()


class ChunkedBody:
    """A body in chunks, possibly with trailers.

    Lines end in CR and LF here, unlike in a head: where a proxy in front of mic sees the end of a
    chunk must be where mic sees it.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._next = _Part.SIZE
        self._left = 0
        self._content = 0
        self._lines = 0

    def feed(self, data: bytes) -> bytes | None:
        """Take the next bytes; see `Body`."""
        self._buffer += data
        while True:
            if self._next is _Part.CONTENT:
                taken = min(self._left, len(self._buffer))
                del self._buffer[:taken]
                self._left -= taken
                if self._left:
                    return None
                self._next = _Part.CONTENT_END
            if self._next is _Part.CONTENT_END and not _CRLF.startswith(self._buffer[:2]):
                raise Refusal(400, "A chunk is longer than its size says.")
            line = self._line()
            if line is None:
                return None
            if self._next is _Part.TRAILER and not line:
                return bytes(self._buffer)
            self._take(line)

    def _take(self, line: bytes) -> None:
        if self._next is _Part.TRAILER:
            field(line)
        elif self._next is _Part.SIZE:
            self._left = _chunk_size(line)
            self._content += self._left
            if self._content > MAX_BODY:
                raise Refusal(413, f"A request's body may have {MAX_BODY} bytes.")
            self._next = _Part.CONTENT if self._left else _Part.TRAILER
        else:
            self._next = _Part.SIZE

    def _line(self) -> bytes | None:
        """Take the next line without its end; None while there is none."""
        end = self._buffer.find(b"\n")
        whole = self._buffer[: end if end >= 0 else len(self._buffer)]
        if len(whole) > _MAX_LINE:
            raise Refusal(400, "A line of the chunked body is too long.")
        if b"\r" in whole[:-1] or (end >= 0 and not whole.endswith(b"\r")):
            raise Refusal(400, "A line of the chunked body does not end in CR LF.")
        if end < 0:
            return None
        del self._buffer[: end + 1]
        self._lines += end + 1
        if self._lines > _MAX_LINES:
            raise Refusal(413, "The chunked body has too many chunks or trailers.")
        return bytes(whole[:-1])


def _chunk_size(line: bytes) -> int:
    match = _SIZE.fullmatch(line)
    if match is None:
        raise Refusal(400, "The size of a chunk is not a hexadecimal number.")
    digits = match[1].lstrip(b"0") or b"0"
    return int(digits, 16) if len(digits) <= _DIGITS else MAX_BODY + 1

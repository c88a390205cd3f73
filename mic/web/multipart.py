"""Bodies of several ranges: ``multipart/byteranges`` (RFC 9110 section 14.6). Pure.

Heads of parts are made when their turn comes: a body that a client does not read holds the ranges
alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mic.media.layout import Piece, memory
from mic.web.headers import content_range
from mic.web.ranges import ByteRange

if TYPE_CHECKING:
    from mic.images.store import Image

Span = tuple[int | None, int]
"""Consecutive bytes of a body: where in the image they begin (None: they are not of the image),
and how many they are."""


class Parts:
    """A multipart body of ``ranges`` of ``image``; equal for equal ranges and entity tags."""

    def __init__(self, image: Image, ranges: tuple[ByteRange, ...]) -> None:
        seed = image.etag.encode() + repr(ranges).encode()
        self._separator = hashlib.blake2b(seed, digest_size=16).hexdigest().encode()
        self._ranges = ranges
        self._part_type = image.content_type.encode()
        self._size = image.size
        self.length = sum(length for _, length in self.spans())
        """Length of the body in bytes."""

    @property
    def content_type(self) -> bytes:
        """The value of Content-Type."""
        return b"multipart/byteranges; boundary=" + self._separator

    def pieces(self, image: Image) -> Iterator[Piece]:
        """The pieces of the body."""
        for part in self._ranges:
            yield memory(self._head(part))
            yield from image.layout.pieces(part.start, part.stop)
        yield memory(self._tail)

    def spans(self) -> Iterator[Span]:
        """The body as spans, in order."""
        for part in self._ranges:
            yield None, len(self._head(part))
            yield part.start, len(part)
        yield None, len(self._tail)

    def _head(self, part: ByteRange) -> bytes:
        return b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n" % (
            self._separator,
            self._part_type,
            content_range(part.start, part.stop, self._size),
        )

    @property
    def _tail(self) -> bytes:
        return b"\r\n--%s--\r\n" % self._separator


class Offsets:
    """Turns counts of body bytes into ranges of the image."""

    __slots__ = ("_left", "_spans", "_start")

    def __init__(self, spans: Iterator[Span]) -> None:
        self._spans = spans
        self._start: int | None = None
        self._left = 0

    def advance(self, count: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges of the image among the next ``count`` bytes of the body."""
        while count:
            if not self._left:
                self._start, self._left = next(self._spans)
            step = min(count, self._left)
            if self._start is not None:
                yield self._start, self._start + step
                self._start += step
            self._left -= step
            count -= step

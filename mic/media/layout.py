"""An image as a value: an ordered list of pieces that together are its bytes.

A piece is a range of a base file, or bytes in memory. A `Layout` knows its length and yields the
pieces of any byte range. It has no cursor and opens nothing, so any number of requests can use one
layout at the same time. Reading a piece is left to the code that serves it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Source(Protocol):
    """A random-access source of bytes, such as one version of a base file."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange:
    """The bytes ``start`` (inclusive) to ``stop`` (exclusive) of a source."""

    source: Source
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop <= self.source.size:
            raise ValueError(
                f"range {self.start}-{self.stop} outside a source of {self.source.size} bytes"
            )

    def __len__(self) -> int:
        return self.stop - self.start

    def part(self, start: int, stop: int) -> FileRange:
        """Return the part from ``start`` to ``stop``, relative to this piece."""
        return FileRange(source=self.source, start=self.start + start, stop=self.start + stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes in memory. The repr does not show them: archives contain secrets."""

    data: memoryview = field(repr=False)

    def __len__(self) -> int:
        return len(self.data)

    def part(self, start: int, stop: int) -> Memory:
        """Return the part from ``start`` to ``stop``, without a copy."""
        return Memory(data=self.data[start:stop])


Piece = FileRange | Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Pieces that replace as many bytes of a source, from ``offset``."""

    offset: int
    pieces: tuple[Piece, ...]

    @property
    def length(self) -> int:
        """Number of replaced bytes."""
        return sum(len(piece) for piece in self.pieces)


_ZEROS = memoryview(bytes(256 * 1024))


def zeros(length: int) -> Iterator[Memory]:
    """Yield pieces of ``length`` zero bytes in total that share one block of memory."""
    while length > 0:
        step = min(length, len(_ZEROS))
        yield Memory(data=_ZEROS[:step])
        length -= step


def memory(data: bytes) -> Memory:
    """Return a piece over ``data``, without a copy."""
    return Memory(data=memoryview(data))


class Layout:
    """The bytes of an image: its pieces in order, and their total `size`.

    Immutable. Empty pieces are dropped, and never yielded.
    """

    __slots__ = ("_pieces", "_starts", "size")

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._pieces: Sequence[Piece] = tuple(piece for piece in pieces if len(piece))
        starts: list[int] = []
        size = 0
        for piece in self._pieces:
            starts.append(size)
            size += len(piece)
        self._starts = starts
        self.size = size

    def __repr__(self) -> str:
        return f"<Layout of {len(self._pieces)} pieces, {self.size} bytes>"

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._pieces)

    @classmethod
    def of(cls, source: Source) -> Layout:
        """Return the layout of all bytes of a source."""
        return cls([FileRange(source=source, start=0, stop=source.size)])

    def patched(self, patches: Iterable[Patch]) -> Layout:
        """Return this layout with patches applied; the length stays the same.

        Raises `ValueError` when patches overlap or reach past the end.
        """
        pieces: list[Piece] = []
        position = 0
        for patch in sorted(patches, key=lambda p: p.offset):
            if patch.offset < position:
                raise ValueError(f"patches overlap at byte {patch.offset}")
            if patch.offset + patch.length > self.size:
                raise ValueError(f"a patch ends at {patch.offset + patch.length} of {self.size}")
            pieces.extend(self.pieces(position, patch.offset))
            pieces.extend(patch.pieces)
            position = patch.offset + patch.length
        pieces.extend(self.pieces(position, self.size))
        return Layout(pieces)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """Return the non-empty pieces of the bytes ``start`` to ``stop`` (exclusive).

        Raises `ValueError` for a range outside the image.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"range {start}-{stop} outside an image of {self.size} bytes")
        return self._walk(start, stop)

    def locate(self, position: int) -> tuple[Piece, int]:
        """Return the piece with the byte at ``position``, and its offset in that piece.

        ``position`` must be inside the image; not checked, because every small range comes here.
        """
        index = bisect_right(self._starts, position) - 1
        return self._pieces[index], position - self._starts[index]

    def _walk(self, start: int, stop: int) -> Iterator[Piece]:
        index = max(bisect_right(self._starts, start) - 1, 0)
        while start < stop:
            piece = self._pieces[index]
            origin = self._starts[index]
            end = min(stop, origin + len(piece))
            whole = start == origin and end == origin + len(piece)
            yield piece if whole else piece.part(start - origin, end - origin)
            start = end
            index += 1

    def read(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes from ``offset``, read at once: a layout is a `Source`.

        Raises `ValueError` for a range outside the image.
        """
        return b"".join(
            piece.source.read(piece.start, len(piece))
            if isinstance(piece, FileRange)
            else bytes(piece.data)
            for piece in self.pieces(offset, offset + length)
        )

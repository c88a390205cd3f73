"""An image as a value: ordered pieces that together are its bytes.

A piece is a range of a base file, or bytes held in memory. A `Layout` knows its length and
yields the pieces of any byte range; it has no cursor and opens nothing, so any number of
requests may walk one layout at the same time. Reading a piece is the business of whoever
serves it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Source(Protocol):
    """Something with bytes at offsets, such as one version of a base file."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly the ``length`` bytes from ``offset``."""


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
        """The piece of this piece from ``start`` to ``stop``, counted from its own start."""
        return FileRange(source=self.source, start=self.start + start, stop=self.start + stop)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes held in memory. Not in the repr: they are archives with secrets in them."""

    data: memoryview = field(repr=False)

    def __len__(self) -> int:
        return len(self.data)

    def part(self, start: int, stop: int) -> Memory:
        """The piece of this piece from ``start`` to ``stop``, without a copy."""
        return Memory(data=self.data[start:stop])


Piece = FileRange | Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Pieces that take the place of as many bytes of a source, from ``offset``."""

    offset: int
    pieces: tuple[Piece, ...]

    @property
    def length(self) -> int:
        """How many bytes of the source are hidden."""
        return sum(len(piece) for piece in self.pieces)


_ZEROS = memoryview(bytes(256 * 1024))


def zeros(length: int) -> Iterator[Memory]:
    """Pieces of ``length`` zero bytes that all share one block of memory."""
    while length > 0:
        step = min(length, len(_ZEROS))
        yield Memory(data=_ZEROS[:step])
        length -= step


def memory(data: bytes) -> Memory:
    """A piece over ``data``, without a copy."""
    return Memory(data=memoryview(data))


class Layout:
    """The bytes of an image: its pieces in order, and their sum in `size`.

    Immutable. Empty pieces are dropped, so that none is ever yielded.
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

    @classmethod
    def patched(cls, source: Source, patches: Iterable[Patch]) -> Layout:
        """``source`` with each patch laid over it; the length stays the source's.

        Raises `ValueError` when patches overlap or reach past the end.
        """
        pieces: list[Piece] = []
        position = 0
        for patch in sorted(patches, key=lambda p: p.offset):
            if patch.offset < position:
                raise ValueError(f"patches overlap at byte {patch.offset}")
            pieces.append(FileRange(source=source, start=position, stop=patch.offset))
            pieces.extend(patch.pieces)
            position = patch.offset + patch.length
        if position > source.size:
            raise ValueError(f"a patch ends at {position}, the source at {source.size}")
        pieces.append(FileRange(source=source, start=position, stop=source.size))
        return cls(pieces)

    def pieces(self, start: int, stop: int) -> Iterator[Piece]:
        """The non-empty pieces that make the bytes ``start`` to ``stop`` (exclusive).

        Raises `ValueError` for a range that is not inside the image.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"range {start}-{stop} outside an image of {self.size} bytes")
        return self._walk(start, stop)

    def locate(self, position: int) -> tuple[Piece, int]:
        """The piece that holds the byte at ``position``, and where in that piece it is.

        ``position`` must be inside the image: this is the path of a million small ranges.
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

    def read(self, start: int, stop: int) -> bytes:
        """The bytes ``start`` to ``stop``, read at once: for small ranges and for tools."""
        return b"".join(
            piece.source.read(piece.start, len(piece))
            if isinstance(piece, FileRange)
            else bytes(piece.data)
            for piece in self.pieces(start, stop)
        )

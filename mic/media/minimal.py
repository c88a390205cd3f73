"""The minimal ISO: a live ISO without its root file system, rebuilt from the full one.

``/coreos/miniso.dat`` of a CoreOS live ISO describes it (coreos-installer, ``src/miniso.rs``): what
both have in common by sectors, and the rest, which is less than a megabyte, compressed. Nothing is
copied: the minimal ISO is a layout of the pieces of the full one and of bytes in memory. The file
is untrusted, so every number is checked and the unpacking is bounded.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mic.media import coreos
from mic.media.iso9660 import SECTOR, Iso, IsoError
from mic.media.layout import Layout, Memory, Patch, Piece, memory, zeros

DATA: Final = "/coreos/miniso.dat"

_MAGIC: Final = b"MINISO\0\0"
_VERSION: Final = 1
_MAX_FILE: Final = 1024 * 1024
"""Most bytes of the file, as in coreos-installer."""
_MAX_REST: Final = 16 * 1024 * 1024
"""Most bytes that the compressed part may unpack to; real ones have 0.4 to 0.75 MB."""
_MAX_SIZE: Final = 4 << 30
"""Most bytes of a minimal ISO; real ones have some 100 MB."""
_MEMORY: Final = 256 * 1024 * 1024  # for the decompressor
_DIGEST_LENGTH: Final = 32
_CHUNK: Final = 1024 * 1024
# Sizes of the numbers that the bytes 251, 252 and 253 announce (bincode's variable-length form).
_WIDE: Final = {251: 2, 252: 4, 253: 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimalIso:
    """A minimal ISO as a layout, and the SHA-256 that it must have before it is customised."""

    layout: Layout
    digest: bytes

    def is_genuine(self) -> bool:
        """Return whether the minimal ISO has the promised digest. Reads all of it: for a thread.

        The digest is that of the release. An ISO whose kernel arguments or config were changed in
        its areas is genuine too: the areas count as they were released. Raises `IsoError` when the
        layout is no live ISO, and what its source raises.
        """
        return _digest(_as_released(self.layout)) == self.digest


def minimal_iso(iso: Iso, source: Layout) -> MinimalIso:
    """Return the minimal ISO of a full live ISO, of which ``source`` has the bytes.

    Its pieces are those of ``source``, so that it is served as the full one is.
    Raises `IsoNotFound` when the ISO has no description of one, `IsoError` when that is damaged.
    """
    fields = _Fields(iso.read(DATA, _MAX_FILE))
    if fields.take(len(_MAGIC)) != _MAGIC:
        raise IsoError(f"{DATA} does not start as such a file does")
    version = fields.number()
    if version != _VERSION:
        raise IsoError(f"{DATA} has version {version}, only {_VERSION} is supported")
    fields.take(fields.number())  # the version of the program that wrote it
    ranges = list(_ranges(fields, source))
    digest = fields.take(_DIGEST_LENGTH)
    rest = memoryview(_unpacked(fields.take(fields.number())))
    return MinimalIso(layout=Layout(_pieces(source, ranges, rest)), digest=digest)


def _ranges(fields: _Fields, source: Layout) -> Iterator[tuple[int, int, int]]:
    """Yield where bytes are in the minimal ISO, and where they start and stop in the full one."""
    end = 0
    for _ in range(fields.number()):
        offset, start, length = fields.number() * SECTOR, fields.number() * SECTOR, fields.number()
        if offset < end:
            raise IsoError(f"{DATA}: its parts are out of order or overlap")
        end = offset + length
        if end > _MAX_SIZE:
            raise IsoError(f"{DATA} describes more than {_MAX_SIZE} bytes")
        if start + length > source.size:
            raise IsoError(f"{DATA} describes bytes past the end of the ISO image")
        yield offset, start, start + length


def _pieces(
    source: Layout, ranges: list[tuple[int, int, int]], rest: memoryview
) -> Iterator[Piece]:
    position = used = 0
    for offset, start, stop in ranges:
        gap = offset - position
        if used + gap > len(rest):
            raise IsoError(f"{DATA} is too short for the minimal ISO that it describes")
        yield Memory(data=rest[used : used + gap])
        yield from source.pieces(start, stop)
        used += gap
        position = offset + stop - start
    yield Memory(data=rest[used:])


def _unpacked(data: bytes) -> bytes:
    stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)
    try:
        content = stream.decompress(data, _MAX_REST + 1)
    except lzma.LZMAError as error:
        raise IsoError(f"{DATA} is damaged: {error}") from None
    if len(content) > _MAX_REST:
        raise IsoError(f"{DATA} unpacks to more than {_MAX_REST} bytes")
    if not stream.eof:
        raise IsoError(f"{DATA} is cut off")
    return content


class _Fields:
    """The fields of the file in their order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            raise IsoError(f"{DATA} is cut off")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def number(self) -> int:
        (first,) = self.take(1)
        if first < min(_WIDE):
            return first
        if first not in _WIDE:
            raise IsoError(f"{DATA} has a number of an unknown size")
        return int.from_bytes(self.take(_WIDE[first]), "little")


def _as_released(layout: Layout) -> Layout:
    """Return an ISO with its areas as the release has them: default arguments, no config."""
    iso = Iso(layout)
    area = coreos.embed_area(iso, layout)
    patches = [Patch(offset=area.offset, pieces=tuple(zeros(area.length)))]
    arguments = coreos.kernel_arguments(iso, layout)
    if arguments is not None:
        patches += [
            Patch(offset=each.extent.offset, pieces=(memory(each.filled(arguments.default)),))
            for each in arguments.areas
        ]
    return layout.patched(patches)


def _digest(layout: Layout) -> bytes:
    digest = hashlib.sha256()
    for start in range(0, layout.size, _CHUNK):
        digest.update(layout.read(start, min(_CHUNK, layout.size - start)))
    return digest.digest()

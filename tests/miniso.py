"""``/coreos/miniso.dat`` as coreos-installer writes it, for ISOs that tests make."""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from toys import Bytes

from mic.media.coreos import ROOTFS
from mic.media.iso9660 import SECTOR, Iso
from mic.media.isowriter import write_iso
from mic.media.minimal import DATA

RESERVED = 16 * 1024
"""Bytes of the file in an ISO."""


def number(value: int) -> bytes:
    """A number in the variable-length form of bincode."""
    if value < 251:
        return bytes([value])
    for mark, size in ((251, 2), (252, 4)):
        if value < 1 << (8 * size):
            return bytes([mark]) + value.to_bytes(size, "little")
    return b"\xfd" + value.to_bytes(8, "little")


def description(
    *,
    magic: bytes = b"MINISO\0\0",
    version: int = 1,
    ranges: Sequence[tuple[int, int, int]] = (),
    digest: bytes = bytes(32),
    rest: bytes = b"",
    packed: bytes | None = None,
) -> bytes:
    """The file; ``ranges`` are the sector in the minimal ISO, that in the full one, the length."""
    stream = lzma.compress(rest) if packed is None else packed
    fields = [magic, number(version), number(3), b"1.0", number(len(ranges))]
    fields += [number(each) for entry in ranges for each in entry]
    return b"".join([*fields, digest, number(len(stream)), stream])


def described(full: bytes, minimal: bytes, paths: Iterable[str]) -> tuple[int, bytes]:
    """The description of a minimal ISO, and the offset of the space for it in the full one.

    ``paths`` are those of files that both have.
    """
    iso, other = Iso(Bytes(full)), Iso(Bytes(minimal))
    ranges = set()
    for path in paths:
        there, here = iso.find(path), other.find(path)
        content = minimal[here.offset : here.offset + here.length]
        if content and full[there.offset : there.offset + there.length] == content:
            ranges.add((here.offset // SECTOR, there.offset // SECTOR, here.length))
    ends = [(0, 0)]
    ends += sorted((at * SECTOR, at * SECTOR + length) for at, _, length in ranges)
    rest = b"".join(minimal[end:start] for (_, end), (start, _) in pairwise(ends))
    rest += minimal[ends[-1][1] :]
    digest = hashlib.sha256(minimal).digest()
    data = description(ranges=sorted(ranges), digest=digest, rest=rest)
    assert len(data) <= RESERVED
    return iso.find(DATA).offset, data


def with_minimal(files: Mapping[str, bytes]) -> bytes:
    """The full ISO of files, which describes its minimal one."""
    few = {path: content for path, content in files.items() if path != ROOTFS}
    full = write_iso({**files, DATA: bytes(RESERVED)})
    place, data = described(full, write_iso(few), few)
    return full[:place] + data + full[place + len(data) :]

"""Byte ranges (RFC 9110 section 14), from the header's text to what to send. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_PARTS = 16
"""More ranges than this in one request are a flood (RFC 9110 section 14.2): send it all."""

_SPEC = re.compile(rb"([0-9]*)-([0-9]*)", re.ASCII)
_MAX_HEADER = 4096
# No image has more bytes than a number of this many digits counts.
_MAX_DIGITS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """The bytes ``start`` (inclusive) to ``stop`` (exclusive)."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Unsatisfiable(Exception):
    """The header is well-formed, but no range of it is inside the image."""


def parse(header: bytes, size: int) -> tuple[ByteRange, ...] | None:
    """The ranges to send of an image of ``size`` bytes, in the order asked for.

    None means: as if there were no header. That is so for another unit, for malformed text, and
    for what section 14.2 lets a server ignore: many ranges, or more bytes than the image has.
    Raises `Unsatisfiable`.
    """
    unit, equals, text = header.partition(b"=")
    if not equals or unit.strip().lower() != b"bytes" or len(text) > _MAX_HEADER:
        return None
    ranges: list[ByteRange] = []
    specs = [spec for spec in (part.strip(b" \t") for part in text.split(b",")) if spec]
    if not specs:
        return None
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None or spec == b"-":
            return None
        first, last = match.groups()
        if len(first) > _MAX_DIGITS or len(last) > _MAX_DIGITS:
            return None
        if first and last and int(last) < int(first):
            return None
        found = resolve(first, last, size)
        if found is not None:
            ranges.append(ByteRange(start=found[0], stop=found[1]))
    if not ranges:
        raise Unsatisfiable
    if len(specs) > MAX_PARTS or (len(ranges) > 1 and sum(map(len, ranges)) > size):
        return None
    return tuple(ranges)


def resolve(first: bytes, last: bytes, size: int) -> tuple[int, int] | None:
    """Start and stop of the range between two numbers as sent, one of which may be empty.

    None where no byte of an image of ``size`` bytes is in it.
    """
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else None
    start = int(first)
    if start >= size:
        return None
    return start, min(int(last) + 1, size) if last else size

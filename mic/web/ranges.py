"""Byte ranges (RFC 9110 section 14), from the header's text to what to send. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_PARTS = 16
"""More ranges than this in one request are a flood (RFC 9110 section 14.2): send it all."""

_SPEC = re.compile(rb"([0-9]*)-([0-9]*)", re.ASCII)
_MAX_HEADER = 4096
# No image has a byte at a position of more digits: they all mean the same. `int` may raise for
# thousands of them.
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
    """Return the ranges to send of an image of ``size`` bytes, in the requested order.

    None means: as if there were no header. That is so for another unit, for malformed text, and
    for what section 14.2 lets a server ignore: many ranges, or more bytes than the image has.
    Raises `Unsatisfiable`.
    """
    unit, equals, text = header.partition(b"=")
    if not equals or unit.strip(b" \t").lower() != b"bytes" or len(text) > _MAX_HEADER:
        return None
    ranges: list[ByteRange] = []
    specs = [spec for spec in (part.strip(b" \t") for part in text.split(b",")) if spec]
    if not specs:
        return None
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None or spec == b"-":
            return None
        first, last = map(_without_zeros, match.groups())
        if first and last and (len(last), last) < (len(first), first):
            return None
        found = resolve(_bounded(first), _bounded(last), size)
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


def _without_zeros(digits: bytes) -> bytes:
    return digits.lstrip(b"0") or digits[:1]


def _bounded(digits: bytes) -> bytes:
    return digits if len(digits) <= _MAX_DIGITS else b"9" * _MAX_DIGITS

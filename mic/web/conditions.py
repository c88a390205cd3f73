"""Conditional requests (RFC 9110 section 13): what the validators of a request lead to. Pure."""

from __future__ import annotations

import email.utils
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

# An entity tag (section 8.8.3), weak or strong. A list of them may have empty elements
# (section 5.6.1.2), but not hold anything else.
_TAG = re.compile(rb'[ \t]*(?:(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*)?(?:,|\Z)')


class Outcome(Enum):
    """Result of a request's conditions."""

    PROCEED = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The conditional header fields of a GET or HEAD request, as sent, or None."""

    if_match: bytes | None = None
    if_none_match: bytes | None = None
    if_modified_since: bytes | None = None
    if_unmodified_since: bytes | None = None
    if_range: bytes | None = None


def evaluate(conditions: Conditions, etag: bytes, last_modified: int) -> Outcome:
    """Return the outcome for these validators, in the order of section 13.2.2."""
    if conditions.if_match is not None:
        if not _matches(conditions.if_match, etag, weak=False):
            return Outcome.FAILED
    elif conditions.if_unmodified_since is not None:
        date = parse_date(conditions.if_unmodified_since)
        if date is not None and last_modified > date:
            return Outcome.FAILED
    if conditions.if_none_match is not None:
        if _matches(conditions.if_none_match, etag, weak=True):
            return Outcome.NOT_MODIFIED
    elif conditions.if_modified_since is not None:
        date = parse_date(conditions.if_modified_since)
        if date is not None and last_modified <= date:
            return Outcome.NOT_MODIFIED
    return Outcome.PROCEED


def range_applies(if_range: bytes | None, etag: bytes, last_modified: int) -> bool:
    """Return whether ``Range`` applies, given ``If-Range`` (section 13.1.5).

    Our dates are strong: they move with every change of the bytes, by at least a second.
    """
    if if_range is None:
        return True
    value = if_range.strip()
    if value.startswith((b'"', b"W/")):
        return value == etag
    return parse_date(value) == last_modified


def _matches(header: bytes, etag: bytes, *, weak: bool) -> bool:
    if header.strip() == b"*":
        return True
    position = 0
    found = False
    while position < len(header):
        match = _TAG.match(header, position)
        if match is None:
            return False
        is_weak, tag = match.groups()
        found = found or (tag == etag and (weak or not is_weak))
        position = match.end()
    return found


def parse_date(text: bytes) -> int | None:
    """Return an HTTP date in any form of section 5.6.7 as seconds since the epoch.

    None for what is no date: such a header field is ignored.
    """
    try:
        parsed = email.utils.parsedate_tz(text.decode("ascii"))
        if parsed is None or parsed[9] != 0:
            # Section 5.6.7: always GMT.
            return None
        # Not `mktime_tz`: to that, the 40th of November is a day in December.
        return int(datetime(*parsed[:6], tzinfo=UTC).timestamp())
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def format_date(seconds: int) -> bytes:
    """Return seconds since the epoch in the preferred form of an HTTP date."""
    return email.utils.formatdate(seconds, usegmt=True).encode()

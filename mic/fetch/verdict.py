"""Decisions about the head of a response. Pure.

Rules: RFC 9110 sections 13.1.5 (If-Range), 14.4 (Content-Range), 15.3.7 and 15.5.17.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from mic.common.text import printable
from mic.fetch.failure import FetchError, Retryable

MAX_RETRY_AFTER = 60.0
"""Cap on Retry-After, in seconds, in case a proxy asks for an hour."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_STRONG = re.compile(r'"[\x21\x23-\x7e]*"')
_REDIRECTIONS = frozenset({301, 302, 303, 307, 308})
RETRIED = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed later."""
_WORDS = {
    401: "it wants other credentials (https://USER:PASSWORD@HOST/PATH)",
    403: "access is forbidden, or the file is not there",
    404: "there is no such file",
    407: "the proxy wants other credentials (http://USER:PASSWORD@PROXY)",
    410: "the file was removed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """State of a download: ``size`` bytes of ``total``, which is None if it is not known.

    ``validator`` identifies the version: a strong entity tag or a date; empty without one.
    """

    size: int = 0
    total: int | None = None
    validator: str = ""

    @property
    def can_continue(self) -> bool:
        """Whether the rest can be asked for."""
        return self.size > 0 and bool(self.validator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The body is taken: it begins at ``start`` of a file of ``total`` bytes (None: unknown)."""

    start: int
    total: int | None
    validator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """The file is elsewhere: a URL, maybe a relative one."""

    target: str


class Fields:
    """The header fields of a response; names in lower case."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        self._fields = fields

    def one(self, name: str) -> str:
        """Return the value of a field, the first one if there are more; empty without."""
        values = self._fields.get(name) or ("",)
        return values[0].strip()


def range_fields(held: Held) -> dict[str, str]:
    """Return the header fields that ask for the rest of what is held; none for the whole file."""
    if not held.can_continue:
        return {}
    return {"Range": f"bytes={held.size}-", "If-Range": held.validator}


def verdict(
    status: int, fields: Fields, length: int | None, held: Held, now: datetime
) -> Body | Redirect:
    """Return what to do about a response to a request with `range_fields`.

    ``length`` is that of the body, None if it is not known beforehand. Raises `Retryable` or
    `FetchError`.
    """
    if status in _REDIRECTIONS:
        target = fields.one("location")
        if not target:
            raise FetchError(f"answers {status} without saying where the file is")
        return Redirect(target=target)
    if status in RETRIED or status >= 500:
        after = _retry_after(fields.one("retry-after"), now)
        raise Retryable(f"answers {status}", retry_after=after)
    if status == 416 and held.can_continue:
        raise Retryable("does not have the rest of the file", afresh=True)
    if status not in (200, 206):
        words = _WORDS.get(status)
        raise FetchError(f"answers {status}{f': {words}' if words else ''}")
    encoding = fields.one("content-encoding").lower()
    if encoding not in ("", "identity"):
        raise FetchError(
            f"sends the file compressed (Content-Encoding: {printable(encoding[:20])}) although "
            "it was asked not to: its digest would be that of other bytes"
        )
    if status == 200:
        return Body(start=0, total=length, validator=_validator(fields))
    return _part(fields, length, held)


def _part(fields: Fields, length: int | None, held: Held) -> Body:
    if not held.can_continue:
        raise FetchError("answers 206, a part of the file, although the whole was asked for")
    match = _CONTENT_RANGE.fullmatch(fields.one("content-range"))
    if match is None:
        raise Retryable("sent a part of the file without a usable Content-Range", afresh=True)
    first, last, total = map(int, match.groups())
    changed = held.total is not None and held.total != total
    tag = fields.one("etag")
    if tag and _STRONG.fullmatch(held.validator):
        changed = changed or tag != held.validator
    if changed:
        raise Retryable("the file changed on the server", afresh=True)
    if first != held.size or not first <= last < total:
        raise Retryable("sent another part of the file than it was asked for", afresh=True)
    if length is not None and length != last - first + 1:
        raise Retryable("sent a part of the file whose length is not as announced", afresh=True)
    return Body(start=first, total=total, validator=held.validator)


def _validator(fields: Fields) -> str:
    """Return what identifies a version strongly enough for If-Range (RFC 9110, 8.8.2.2 and 13.1.5).

    A date does if it is at least a minute older than the answer: files may change within a second,
    and clocks differ.
    """
    tag = fields.one("etag")
    if _STRONG.fullmatch(tag):
        return tag
    modified, answered = _date(fields.one("last-modified")), _date(fields.one("date"))
    if modified is None or answered is None or answered - modified < timedelta(minutes=1):
        return ""
    value = fields.one("last-modified")
    return value if value.isascii() and value.isprintable() else ""


def _retry_after(value: str, now: datetime) -> float | None:
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER)
    date = _date(value)
    if date is None:
        return None
    return min(max((date - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)

"""Which hosts a page shows, and in which order: the query of its URL."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlencode

from mic.downloads.state import State
from mic.hosts.status import HostState
from mic.statuspage.overview import Row

ROWS: Final = 100
"""Number of hosts on one page."""

_LONGEST: Final = 4096  # bytes of a query
_LONGEST_TEXT: Final = 100  # characters of a filter
_MOST_PAGES: Final = 1_000_000


_Choice = TypeVar("_Choice", bound=StrEnum)


class Show(StrEnum):
    """Which hosts are shown."""

    ALL = "all"
    PROBLEMS = "problems"
    """Without a current image."""
    WARNINGS = "warnings"
    READING = "reading"
    """A client is reading an image."""
    NEVER = "never"
    """No client has read an image."""


class Sort(StrEnum):
    """By what hosts are sorted."""

    ATTENTION = "attention"
    """Those that need attention first."""
    HOST = "host"
    NETWORK = "network"
    IMAGE = "image"
    READER = "reader"
    READ = "read"
    SINCE = "since"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A filter, an order and the number of a page, from 1."""

    text: str = ""
    show: Show = Show.ALL
    sort: Sort = Sort.ATTENTION
    descending: bool = False
    page: int = 1

    @classmethod
    def parse(cls, query: str) -> Query:
        """Return the query of a URL; what is unknown or malformed counts as not given."""
        try:
            fields = parse_qs(query[:_LONGEST], max_num_fields=20)
        except ValueError:
            fields = {}
        page = _first(fields, "page")
        number = int(page) if re.fullmatch(r"[0-9]{1,7}", page, re.ASCII) else 1
        return cls(
            text=_first(fields, "q").strip()[:_LONGEST_TEXT],
            show=_choice(Show, _first(fields, "show"), Show.ALL),
            sort=_choice(Sort, _first(fields, "sort"), Sort.ATTENTION),
            descending=_first(fields, "order") == "desc",
            page=min(max(number, 1), _MOST_PAGES),
        )

    @property
    def url(self) -> str:
        """The relative URL of the page; what has its default is left out."""
        given = {
            "q": self.text,
            "show": self.show if self.show is not Show.ALL else "",
            "sort": self.sort if self.sort is not Sort.ATTENTION else "",
            "order": "desc" if self.descending else "",
            "page": str(self.page) if self.page > 1 else "",
        }
        # An empty reference would be this page, with the query that it has.
        return "?" + urlencode({name: value for name, value in given.items() if value})

    def sorted_by(self, sort: Sort) -> Query:
        """Return the query in another order, or in this one the other way round."""
        return replace(
            self, sort=sort, descending=self.sort is sort and not self.descending, page=1
        )

    def turned_to(self, page: int) -> Query:
        """Return the query for another page."""
        return replace(self, page=page)


def _first(fields: Mapping[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0]


def _choice(kind: type[_Choice], text: str, default: _Choice) -> _Choice:
    try:
        return kind(text)
    except ValueError:
        return default


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The rows of one page, ``first`` of which is the ``first``-th of ``matching`` ones.

    ``counts`` has the numbers of all hosts, before the filter.
    """

    rows: tuple[Row, ...]
    first: int
    matching: int
    page: int
    pages: int
    counts: Mapping[Show, int]


def select(rows: Sequence[Row], query: Query) -> Selection:
    """Return the rows that a query asks for; a page behind the last one is the last one."""
    counts: Counter[Show] = Counter()
    wanted = query.text.casefold()
    found = []
    for row in rows:
        kinds = _kinds(row)
        counts.update(kinds)
        if query.show in kinds and (not wanted or wanted in _text(row)):
            found.append(row)
    # Sorted by name first: the order of what is equal stays.
    found.sort(key=_by_name)
    if query.sort is Sort.HOST:
        if query.descending:
            found.reverse()
    else:
        found.sort(key=_KEYS[query.sort], reverse=query.descending)
    pages = max(-(-len(found) // ROWS), 1)
    page = min(query.page, pages)
    start = (page - 1) * ROWS
    return Selection(
        rows=tuple(found[start : start + ROWS]),
        first=start + 1,
        matching=len(found),
        page=page,
        pages=pages,
        counts={show: counts[show] for show in Show},
    )


def _kinds(row: Row) -> list[Show]:
    kinds = [Show.ALL]
    if row.host.state is not HostState.READY:
        kinds.append(Show.PROBLEMS)
    if row.host.warnings:
        kinds.append(Show.WARNINGS)
    if row.read is None:
        kinds.append(Show.NEVER)
    elif row.read.state in (State.DOWNLOADING, State.STALLED):
        kinds.append(Show.READING)
    return kinds


def _text(row: Row) -> str:
    host = row.host
    client = row.read.client if row.read is not None else ""
    parts = (row.name, host.network, host.state, host.reason, *host.warnings, client)
    return "\n".join(parts).casefold()


_DIGITS: Final = re.compile(r"[0-9]+")
_STATES: Final = (HostState.FAILED, HostState.KEPT, HostState.WAITING, HostState.READY)


def _attention(row: Row) -> tuple[int, bool, bool]:
    stalled = row.read is not None and row.read.state is State.STALLED
    return (_STATES.index(row.host.state), not stalled, not row.host.warnings)


def _natural(text: str) -> str:
    """Return a key that sorts ``worker-2`` before ``worker-10``."""
    return _DIGITS.sub(_padded, text.casefold())


def _padded(digits: re.Match[str]) -> str:
    return digits[0].zfill(12)


def _by_name(row: Row) -> tuple[str, str]:
    return _natural(row.host.namespace), _natural(row.host.name)


_KEYS: Final[Mapping[Sort, Callable[[Row], Any]]] = {
    Sort.ATTENTION: _attention,
    Sort.NETWORK: lambda row: (not row.host.network, _natural(row.host.network)),
    Sort.IMAGE: lambda row: (row.host.state, not row.host.warnings),
    Sort.READER: lambda row: (
        (False, _natural(row.read.client)) if row.read is not None else (True, "")
    ),
    Sort.READ: lambda row: (row.read is None, row.read.share if row.read is not None else 0),
    # The latest change first.
    Sort.SINCE: lambda row: -row.host.since,
}

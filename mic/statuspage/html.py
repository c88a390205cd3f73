"""The page as HTML.

Everything that comes from outside goes through `_text` or `_attribute`. There is no script but our
own, and no style but our own: the policy names their digests, so that even a text that was not
escaped could not run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from mic.common.text import printable
from mic.common.units import duration, size_text
from mic.downloads.state import State
from mic.hosts.status import HostState
from mic.images.base_state import BaseState
from mic.statuspage.overview import LastRead, Overview, Process, Row
from mic.statuspage.query import Query, Selection, Show, Sort, select
from mic.statuspage.script import SCRIPT
from mic.statuspage.style import STYLE

_LONGEST: Final = 400  # characters of one text
_MOST: Final = 20  # entries of a list
_MOST_WARNINGS: Final = 4  # of a host

_STATES: Final = {
    HostState.READY: ("good", "ready"),
    HostState.KEPT: ("bad", "last good image"),
    HostState.FAILED: ("bad", "no image"),
    HostState.WAITING: ("wait", "waiting"),
}
_SHOWN: Final = {
    Show.ALL: "all hosts",
    Show.PROBLEMS: "without a current image",
    Show.WARNINGS: "with warnings",
    Show.READING: "being read",
    Show.NEVER: "never read",
}
_COLUMNS: Final = (
    (Sort.HOST, "Host"),
    (Sort.NETWORK, "Network"),
    (Sort.IMAGE, "Image"),
    (Sort.ATTENTION, "Warning or reason"),
    (Sort.READER, "Last reader"),
    (Sort.READ, "Read"),
    (Sort.SINCE, "Since"),
)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY: Final = (
    f"default-src 'none'; script-src 'sha256-{_digest(SCRIPT)}'; "
    f"style-src 'sha256-{_digest(STYLE)}'; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page."""


def render(overview: Overview, query: Query) -> bytes:
    """Return the page, in UTF-8. Its size is bounded, however many hosts there are."""
    selection = select(overview.rows, query)
    return "".join(_page(overview, query, selection)).encode()


def _page(overview: Overview, query: Query, selection: Selection) -> Iterator[str]:
    process = overview.process
    word = _readiness_word(process)[1]
    count = _count(len(overview.rows))
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>mic: {word}, {count}</title><style>{STYLE}</style></head><body>"
    )
    yield '<header><h1>mic</h1><div id="process" data-live>'
    yield from _process(process)
    yield "</div></header><main>"
    yield (
        '<p class="card" id="stale" role="alert" hidden>mic does not answer: what is shown may be '
        "outdated. The page tries again.</p>"
    )
    yield '<div class="pair"><section class="card" id="readiness" aria-live="polite" data-live>'
    yield from _readiness(process)
    yield '</section><section class="card" id="bases" data-live>'
    yield from _bases(process.bases)
    yield '</section></div><section class="card"><h2>Hosts</h2>'
    yield from _form(query)
    yield '<div class="wide"><div id="hosts" data-live>'
    yield from _hosts(process, query, selection)
    yield "</div></div></section></main>"
    yield "<noscript><p>Without JavaScript, reload the page to see changes.</p></noscript>"
    yield f"<script>{SCRIPT}</script></body></html>\n"


def _process(process: Process) -> Iterator[str]:
    since = _time(process.started, process.now)
    yield (
        f'<p class="soft">{_text(process.mode)} mode, version {_text(process.version)}, '
        f"running for {since}, on {_text(', '.join(process.addresses) or 'no address yet')}"
    )
    yield f", published as {_text(process.url)}</p>" if process.url else "</p>"


def _readiness_word(process: Process) -> tuple[str, str]:
    if process.health.fatal:
        return "bad", "broken"
    if process.health.not_ready:
        return "bad", "not ready"
    return ("good", "ready") if process.serving else ("wait", "starting")


def _readiness(process: Process) -> Iterator[str]:
    kind, word = _readiness_word(process)
    health = process.health
    meaning = {
        "broken": "A part of mic has stopped. Only a restart helps.",
        "not ready": "Some images cannot be served:",
        "ready": "Images are served.",
        "starting": "Images are served as soon as all hosts are built.",
    }[word]
    yield f'<h2>Readiness</h2><p><span class="word {kind}">{word}</span> {meaning}</p>'
    yield from _list([*health.fatal, *health.not_ready])
    if health.warnings:
        number = len(health.warnings)
        yield f'<details id="warnings"><summary>{_count(number, "warning")}</summary>'
        yield from _list(health.warnings)
        yield "</details>"


def _list(lines: Sequence[str]) -> Iterator[str]:
    if not lines:
        return
    yield "<ul>"
    yield from (f"<li>{_text(line)}</li>" for line in lines[:_MOST])
    if len(lines) > _MOST:
        yield f"<li>and {len(lines) - _MOST:,} more</li>"
    yield "</ul>"


def _bases(bases: Sequence[BaseState]) -> Iterator[str]:
    yield "<h2>Base images</h2>"
    if not bases:
        yield '<p class="soft">none read yet</p>'
        return
    yield "<ul>"
    for base in bases[:_MOST]:
        if base.problem:
            yield f'<li><span class="word bad">unusable</span> {_text(base.problem)}</li>'
        else:
            volume = f"{_text(base.volume)}, " if base.volume else ""
            yield (
                f"<li>{_text(base.path)}: {volume}{_text(base.kind)}, {size_text(base.size)}, "
                f"digest {_text(base.digest)}</li>"
            )
    yield "</ul>"


def _form(query: Query) -> Iterator[str]:
    yield (
        '<form method="get" role="search"><input type="search" name="q" maxlength="100" '
        f'aria-label="Filter hosts" placeholder="name, address, reason …" '
        f'value="{_attribute(query.text)}">'
        '<select name="show" aria-label="Which hosts" data-empty="all">'
    )
    for show, words in _SHOWN.items():
        chosen = " selected" if show is query.show else ""
        yield f'<option value="{show}"{chosen}>{words}</option>'
    sort = query.sort if query.sort is not Sort.ATTENTION else ""
    order = "desc" if query.descending else ""
    yield (
        f'</select><input type="hidden" name="sort" value="{sort}">'
        f'<input type="hidden" name="order" value="{order}"><button>Filter</button>'
        '<label class="soft" data-script hidden><input type="checkbox" id="auto" checked> '
        "refresh every 5 s</label></form>"
    )


def _hosts(process: Process, query: Query, selection: Selection) -> Iterator[str]:
    yield from _counts(selection)
    if not selection.rows:
        yield f"<p>{_nothing(process, selection)}</p>"
        return
    yield "<table><thead><tr>"
    for sort, title in _COLUMNS:
        yield _heading(query, sort, title)
    yield "</tr></thead><tbody>"
    for row in selection.rows:
        yield from _row(row, process.now)
    yield "</tbody></table>"
    yield from _pages(query, selection)


def _nothing(process: Process, selection: Selection) -> str:
    if selection.counts[Show.ALL]:
        return 'No host matches the filter. <a href="?" data-here id="all">Show all hosts</a>.'
    if not process.serving:
        return "No hosts yet: mic is starting."
    if process.mode == "static":
        return "No hosts: put a file NAME.yaml into the directory of -nmstate-dir."
    return "No hosts: there is no PreprovisioningImage that mic serves."


def _counts(selection: Selection) -> Iterator[str]:
    yield '<nav aria-label="Numbers of hosts">'
    yield f"<span>{_count(selection.counts[Show.ALL])}</span>"
    for show in (Show.PROBLEMS, Show.WARNINGS, Show.READING, Show.NEVER):
        number = selection.counts[show]
        if number:
            link = _attribute(Query(show=show).url)
            yield f'<a href="{link}" data-here id="show-{show}">{number:,} {_SHOWN[show]}</a>'
    yield "</nav>"


def _heading(query: Query, sort: Sort, title: str) -> str:
    order = arrow = ""
    if query.sort is sort:
        order = f' aria-sort="{"descending" if query.descending else "ascending"}"'
        arrow = " ▼" if query.descending else " ▲"
    link = _attribute(query.sorted_by(sort).url)
    inside = f'<a href="{link}" data-here id="sort-{sort}">{title}{arrow}</a>'
    return f'<th scope="col"{order}>{inside}</th>'


def _row(row: Row, now: float) -> Iterator[str]:
    host = row.host
    links = " ".join(
        f'<a href="{_attribute(url)}" rel="noreferrer">{_text(kind)}</a>'
        for kind, url in row.images
    )
    yield f'<tr><th scope="row">{_text(row.name)}'
    yield f'<div class="images">{links}</div></th>' if links else "</th>"
    yield f'<td class="network" data-label="Network">{_text(host.network)}</td>'
    kind, word = _STATES[host.state]
    yield f'<td data-label="Image"><span><span class="word {kind}">{word}</span>'
    yield (
        ' <span class="word doubt">warning</span></span></td>' if host.warnings else "</span></td>"
    )
    yield '<td class="note" data-label="Why">'
    yield from _notes(row)
    yield "</td>"
    yield from _reader(row, now)
    since = _time(host.since, now) if host.since else ""
    yield f'<td class="since" data-label="Since">{since}</td></tr>'


def _notes(row: Row) -> Iterator[str]:
    host = row.host
    warnings = host.warnings[:_MOST_WARNINGS]
    texts = [*([host.reason] if host.reason else []), *warnings]
    if not texts:
        return
    yield "<div>"
    yield from (f"<p>{_text(text)}</p>" for text in texts)
    if len(host.warnings) > len(warnings):
        more = len(host.warnings) - len(warnings)
        yield f'<p class="soft">and {more:,} more: mic status {_text(row.name)}</p>'
    yield "</div>"


def _reader(row: Row, now: float) -> Iterator[str]:
    read = row.read
    if read is None:
        never = '<span class="soft">never read</span>' if row.published else ""
        yield f'<td class="reader" data-label="Reader">{never}</td><td data-label="Read"></td>'
        return
    ago = _time(read.last, now)
    yield (
        f'<td class="reader" data-label="Reader"><div>{_text(read.client)}'
        f'<div class="soft">{_text(read.kind)}, {_read_state(read)}, {ago} ago</div></div></td>'
    )
    if read.outdated:
        yield '<td data-label="Read"></td>'
        return
    share = f"{read.share:.1f}"
    yield (
        f'<td class="read" data-label="Read"><div><progress max="100" value="{share}" '
        f'aria-label="share of the image that was read">{share} %</progress> {share} %</div></td>'
    )


def _read_state(read: LastRead) -> str:
    if read.outdated:
        return "older version"
    if read.state is State.STALLED:
        return f'<span class="word bad">{State.STALLED}</span>'
    return _text(read.state)


def _pages(query: Query, selection: Selection) -> Iterator[str]:
    if selection.pages == 1:
        return
    page = selection.page
    last = selection.first + len(selection.rows) - 1
    targets = [
        ("first", "First", 1, page > 1),
        ("previous", "Previous", page - 1, page > 1),
        ("next", "Next", page + 1, page < selection.pages),
        ("last", "Last", selection.pages, page < selection.pages),
    ]
    yield '<nav aria-label="Pages">'
    yield f"<span>{selection.first:,} to {last:,} of {selection.matching:,}</span>"
    for id, words, target, possible in targets:
        if possible:
            link = _attribute(query.turned_to(target).url)
            yield f'<a href="{link}" data-here id="{id}">{words}</a>'
        else:
            yield f'<span class="soft">{words}</span>'
    yield "</nav>"


def _count(number: int, noun: str = "host") -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _time(then: float, now: float) -> str:
    """Return how long ago a time is, with the time itself for those who point at it."""
    try:
        stamp = datetime.fromtimestamp(then, UTC)
    except (OverflowError, OSError, ValueError):
        return "?"
    return (
        f'<time datetime="{stamp:%Y-%m-%dT%H:%M:%SZ}" title="{stamp:%Y-%m-%d %H:%M:%S} UTC">'
        f"{duration(now - then)}</time>"
    )


def _text(text: str) -> str:
    """Return untrusted text as HTML: short, printable, escaped."""
    more = "…" if len(text) > _LONGEST else ""
    return escape(printable(text[:_LONGEST])) + more


def _attribute(text: str) -> str:
    """Return untrusted text as the value of an attribute in double quotes, unshortened."""
    return escape(printable(text), quote=True)

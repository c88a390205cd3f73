"""The report of ``mic status``: the answer of an admin socket (`mic.observe.admin`) as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mic.common.text import printable
from mic.common.units import duration, size_text
from mic.downloads.state import State, share
from mic.hosts.status import HostState

_NEVER = "never fetched"
_OUTDATED = "older version"
_ORDER = (
    State.STALLED,
    State.DOWNLOADING,
    State.BROKEN_OFF,
    State.QUIET,
    State.COMPLETE,
    _OUTDATED,
    _NEVER,
)
_COLUMNS = ("IMAGE", "SIZE", "LAST FETCHED", "BY", "READ", "STATE", "DOWNLOADS", "CUSTOMISED")


def report(answer: dict[str, Any], *, pid: int, uid: int, limit: int) -> Iterator[str]:
    """Yield the lines of the report, with at most ``limit`` rows of images, 0 for all.

    ``pid`` and ``uid`` are those of the process that gave the ``answer``.

    Raises `LookupError`, `TypeError` or `ValueError` when ``answer`` is malformed.
    """
    now = float(answer["now"])
    since = datetime.fromtimestamp(float(answer["started"]), UTC)
    yield (
        f"mic {printable(answer['version'])}, {printable(answer['mode'])} mode, "
        f"process {pid} of user {uid}"
    )
    yield f"running since {since:%Y-%m-%d %H:%M:%S} UTC ({duration(now - since.timestamp())})"
    yield f"listening on {words(answer['addresses'])}, published as {printable(answer['url'])}"
    if answer["http_addresses"]:
        yield f"plain HTTP on {words(answer['http_addresses'])}"
    missing, problems = [*answer["defects"], *answer["missing"]], answer["problems"]
    if missing or not answer["serving"]:
        yield "NOT READY" + ("" if missing else ": starting")
        yield from (f"  {printable(line)}" for line in missing)
    else:
        yield "ready"
    if problems:
        yield "problems:"
        yield from (f"  {printable(line)}" for line in problems)
    yield "base images:" if answer["bases"] else "base images: none read yet"
    for base in answer["bases"]:
        yield f"  {printable(base['path'])}: {_base(base)}"
    yield from _hosts(answer["hosts"], now, limit)
    bodies = answer["bodies"]
    most = f" of at most {int(bodies['limit'])}" if bodies["limit"] else ""
    rows = sorted(
        (row for image in answer["images"] for row in _rows(image)), key=lambda row: row.rank
    )
    yield f"open bodies: {int(bodies['open'])}{most}; {_summary(rows)}"
    yield ""
    shown = rows[:limit] if limit else rows
    # Most images have nothing in the last column: it is left out then.
    last = None if any(row.customised for row in shown) else -1
    yield from _table([_COLUMNS[:last], *(row.cells(now)[:last] for row in shown)])
    if len(shown) < len(rows):
        yield f"... and {len(rows) - len(shown)} more: name a host, or add -all"


def _hosts(hosts: list[dict[str, Any]], now: float, limit: int) -> Iterator[str]:
    """Yield what is wrong with hosts: those without a current image first, then warnings."""
    lines = [
        line for host in hosts if host["state"] != HostState.READY for line in _failure(host, now)
    ]
    if lines:
        yield "hosts without an image, or whose last change failed:"
        yield from _limited(lines, limit)
    warnings = [
        f"  {host_names(host)[-1]}: {printable(text)}"
        for host in hosts
        for text in host["warnings"]
    ]
    if warnings:
        yield "warnings about hosts:"
        yield from _limited(warnings, limit)
    scripts = [
        f"  {host_names(host)[-1]}: {printable(host['script'])}"
        for host in hosts
        if host.get("script")
    ]
    if scripts:
        yield "iPXE scripts:"
        yield from _limited(scripts, limit)


def _failure(host: dict[str, Any], now: float) -> Iterator[str]:
    state = {
        HostState.KEPT: "its last good image stays",
        HostState.FAILED: "no image",
        HostState.WAITING: "waiting",
    }[HostState(host["state"])]
    since = duration(now - float(host["since"])) if host["since"] else "the start"
    yield (
        f"  {printable(host_names(host)[-1])}: {state} since {since}: {printable(host['reason'])}"
    )


def _limited(lines: list[str], limit: int) -> Iterator[str]:
    yield from lines[:limit] if limit else lines
    if limit and len(lines) > limit:
        yield f"  ... and {len(lines) - limit} more: name a host, or add -all"


def _base(base: dict[str, Any]) -> str:
    if base["problem"]:
        return printable(base["problem"])
    volume = f"{printable(base['volume'])}, " if base["volume"] else ""
    digest = printable(base["digest"])
    return f"{volume}{printable(base['kind'])}, {size_text(int(base['size']))}, digest {digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """An image and one of its readers, or an image without readers."""

    label: str
    size: int | None
    published: bool
    state: str
    last: float
    client: str
    share: float
    downloads: int
    customised: str

    @property
    def rank(self) -> tuple[int, float, str]:
        """Sort key: states that need attention first, then the latest."""
        return (_ORDER.index(self.state), -self.last, self.label)

    def cells(self, now: float) -> tuple[str, ...]:
        never = self.state == _NEVER
        return (
            printable(self.label),
            "-" if self.size is None else size_text(self.size),
            "-" if never else f"{duration(now - self.last)} ago",
            "-" if never else printable(self.client),
            "-" if never or self.state == _OUTDATED else f"{self.share:.1f} %",
            self.state if self.published else f"{self.state}, image gone",
            str(self.downloads),
            self.customised or "-",
        )


def _rows(image: dict[str, Any]) -> Iterator[_Row]:
    label, published = printable(image["label"]), bool(image["published"])
    size = None if image["size"] is None else int(image["size"])
    customised = ", ".join(map(printable, image.get("customised", ())))
    for reader in image["readers"]:
        yield _Row(
            label=label,
            size=size,
            published=published,
            state=_OUTDATED if reader["outdated"] else State(reader["state"]),
            last=float(reader["last"]),
            client=reader["client"],
            share=share(int(reader["read"]), int(reader["size"])),
            downloads=int(reader["downloads"]),
            customised=customised,
        )
    if not image["readers"]:
        yield _Row(
            label=label,
            size=size,
            published=published,
            state=_NEVER,
            last=0.0,
            client="",
            share=0.0,
            downloads=0,
            customised=customised,
        )


def _summary(rows: Sequence[_Row]) -> str:
    states = [row.state for row in rows]
    counted = [f"{states.count(state)} {state}" for state in _ORDER if state in states]
    images = len({row.label for row in rows})
    return f"images: {images}" + (f" ({', '.join(counted)})" if counted else "")


def _table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def words(values: object) -> str:
    """Return a list for people."""
    return (
        ", ".join(printable(str(each)) for each in values)
        if isinstance(values, list)
        else "nothing"
    )


def host_names(host: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of a host: its own and, in a namespace, that with the namespace."""
    namespace, name = host["namespace"], host["name"]
    return (name, f"{namespace}/{name}") if namespace else (name,)

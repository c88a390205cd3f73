"""``mic status``: what a running mic on this machine does, and who boots from what.

Finds the admin sockets (`mic.admin`) of its network namespace and prints what one of them tells.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mic.admin import PREFIX, credentials
from mic.config import Flag
from mic.errors import MicError
from mic.image.base import Kind
from mic.run import parse_or_exit
from mic.text import printable
from mic.web.downloads import State, share

_FLAGS = (
    Flag(name="json", default="false", meaning="print the whole answer as JSON", switch=True),
    Flag(name="pid", default="", meaning="process to ask where several run"),
    Flag(name="all", default="false", meaning="print more than 50 rows", switch=True),
)
_ROWS = 50
_SOCKETS = "/proc/self/net/unix"
_NAME = re.compile(rf"@({re.escape(PREFIX)}[0-9a-f]{{16}})")
_LISTENS = 0x10000  # __SO_ACCEPTCON (linux/net.h)
_MOST_INSTANCES = 64
_MOST_BYTES = 64 << 20
_PATIENCE = 10.0

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
_COLUMNS = ("IMAGE", "SIZE", "LAST FETCHED", "BY", "READ", "STATE", "DOWNLOADS")


class StatusError(MicError):
    """The status cannot be told; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A running mic and what it says."""

    pid: int
    uid: int
    told: dict[str, Any] = field(repr=False)


def main(arguments: Sequence[str]) -> int:
    """Print the status; 1 with the reason on stderr where there is none."""
    operands: list[str] = []
    flags = parse_or_exit(
        "mic status [NAMESPACE/NAME or HOST or IMAGE]", arguments, _FLAGS, operands
    )
    if len(operands) > 1 or (flags["pid"] and not flags["pid"].isdecimal()):
        sys.stderr.write("mic status: name one image or host at most, and a number as -pid\n")
        return 2
    try:
        instance = _one(find(int(flags["pid"] or 0)), int(flags["pid"] or 0))
        try:
            told = instance.told
            if operands:
                told = {**told, "images": _named(told["images"], operands[0])}
            if flags["json"] == "true":
                text = json.dumps(told, indent=2) + "\n"
            else:
                limit = 0 if operands or flags["all"] == "true" else _ROWS
                text = "".join(f"{line}\n" for line in report(instance, told, limit))
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            raise StatusError(
                f"process {instance.pid} answers what this mic does not understand: "
                "use the mic command of its own version"
            ) from None
    except (StatusError, OSError) as error:
        sys.stderr.write(f"mic status: {error}\n")
        return 1
    sys.stdout.write(text)
    return 0


def find(pid: int = 0) -> list[Instance]:
    """The running instances that may be asked, or the one of process ``pid``.

    Raises `StatusError` when some run and none of them can be asked.
    """
    instances: list[Instance] = []
    problems: list[str] = []
    asked = 0
    for name in _sockets():
        if asked == _MOST_INSTANCES:
            break
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_PATIENCE)
            try:
                sock.connect(f"\0{name}")
            except OSError:
                continue  # it has ended meanwhile
            peer = credentials(sock)
            if pid and peer.pid not in (0, pid):
                continue
            # What other users say would be no more than what they want us to believe.
            if os.geteuid() not in (0, peer.uid):
                problems.append(
                    f"process {peer.pid} belongs to user {peer.uid}: "
                    "run mic status as that user or as root"
                )
                continue
            asked += 1
            try:
                told = _read(sock)
            except (OSError, ValueError) as error:
                problems.append(f"process {peer.pid} of user {peer.uid}: {error}")
                continue
        number = peer.pid or told["pid"]
        if not pid or pid == number:
            instances.append(Instance(pid=number, uid=peer.uid, told=told))
    if problems and not instances:
        raise StatusError("; ".join(problems))
    return instances


def _sockets() -> Iterator[str]:
    """Names of the admin sockets that somebody listens on."""
    found: dict[str, None] = {}
    with open(_SOCKETS, encoding="utf-8", errors="replace") as file:
        for line in file:
            # Num RefCount Protocol Flags Type St Inode Path: proc(5)
            fields = line.split()
            match = _NAME.fullmatch(fields[-1]) if len(fields) == 8 else None
            if match is not None and int(fields[3], 16) & _LISTENS:
                found[match[1]] = None
    yield from found


def _read(sock: socket.socket) -> dict[str, Any]:
    """What is told, the images as a list in it; raises `OSError` or `ValueError` where that is
    nothing usable."""
    parts: list[bytes] = []
    size = 0
    end = time.monotonic() + _PATIENCE
    while part := sock.recv(1 << 20):
        parts.append(part)
        size += len(part)
        sock.settimeout(max(end - time.monotonic(), 0.001))
        if size > _MOST_BYTES:
            raise ValueError("it tells more than can be true")
    try:
        told, *images = [json.loads(line) for line in b"".join(parts).splitlines()]
        if images.pop() is not None:
            raise ValueError
        return {**told, "pid": int(told["pid"]), "images": images}
    except (LookupError, TypeError, ValueError, RecursionError):
        raise ValueError("it breaks off, or is no mic of this version") from None


def _one(instances: Sequence[Instance], pid: int) -> Instance:
    if not instances:
        which = f"process {pid} is no mic" if pid else "no mic runs"
        raise StatusError(
            f"{which} in this network namespace; of one in a container ask inside: "
            "kubectl exec, podman exec"
        )
    if len(instances) > 1:
        lines = [
            f"  -pid {each.pid}  user {each.uid}, {_word(each.told.get('mode'))} mode, "
            f"on {_words(each.told.get('addresses'))}"
            for each in sorted(instances, key=lambda each: each.pid)
        ]
        raise StatusError("\n".join(["several run, choose one:", *lines]))
    return instances[0]


def _word(value: object) -> str:
    return printable(str(value))


def _words(values: object) -> str:
    return ", ".join(map(_word, values)) if isinstance(values, list) else "nothing"


def _named(images: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The images of a host, an object or a label; raises `StatusError` when there are none."""
    found = [image for image in images if name in _names(image["label"])]
    if not found:
        raise StatusError(f"there is no image of {printable(name)}: mic status -all names them all")
    return found


def _names(label: str) -> set[str]:
    """What an image may be called by: its label, the host's or object's name, with namespace or
    without."""
    names = {label}
    for kind in Kind:
        for ending in (f".{kind.value}", f" {kind.value}"):
            if label.endswith(ending):
                owner = label.removesuffix(ending)
                names |= {owner, owner.rpartition("/")[2]}
    return names


def report(instance: Instance, told: dict[str, Any], limit: int) -> Iterator[str]:
    """Lines for people. At most ``limit`` rows of images, 0 for all of them.

    Raises `LookupError`, `TypeError` or `ValueError` where ``told`` is no status.
    """
    now = float(told["now"])
    since = datetime.fromtimestamp(float(told["started"]), UTC)
    yield (
        f"mic {printable(told['version'])}, {printable(told['mode'])} mode, "
        f"process {instance.pid} of user {instance.uid}"
    )
    yield f"running since {since:%Y-%m-%d %H:%M:%S} UTC ({_duration(now - since.timestamp())})"
    yield f"listening on {_words(told['addresses'])}, published as {printable(told['url'])}"
    if told["http_addresses"]:
        yield f"plain HTTP on {_words(told['http_addresses'])}"
    missing, problems = [*told["defects"], *told["missing"]], told["problems"]
    if missing or not told["serving"]:
        yield "NOT READY" + ("" if missing else ": starting")
        yield from (f"  {printable(line)}" for line in missing)
    else:
        yield "ready"
    if problems:
        yield "problems:"
        yield from (f"  {printable(line)}" for line in problems)
    yield "base images:" if told["bases"] else "base images: none read yet"
    for base in told["bases"]:
        yield f"  {printable(base['path'])}: {_base(base)}"
    bodies = told["bodies"]
    most = f" of at most {int(bodies['limit'])}" if bodies["limit"] else ""
    rows = sorted(
        (row for image in told["images"] for row in _rows(image)), key=lambda row: row.rank
    )
    yield f"open bodies: {int(bodies['open'])}{most}; {_summary(rows)}"
    yield ""
    shown = rows[:limit] if limit else rows
    yield from _table([_COLUMNS, *(row.cells(now) for row in shown)])
    if len(shown) < len(rows):
        yield f"... and {len(rows) - len(shown)} more: name a host, or give -all"


def _base(base: dict[str, Any]) -> str:
    if base["problem"]:
        return printable(base["problem"])
    volume = f"{printable(base['volume'])}, " if base["volume"] else ""
    digest = printable(base["digest"])
    return f"{volume}{printable(base['kind'])}, {_size(int(base['size']))}, digest {digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """An image and one of its readers, or an image without any."""

    label: str
    size: int | None
    published: bool
    state: str
    last: float
    client: str
    share: float
    downloads: int

    @property
    def rank(self) -> tuple[int, float, str]:
        """What calls for attention comes first, then what is the latest."""
        return (_ORDER.index(self.state), -self.last, self.label)

    def cells(self, now: float) -> tuple[str, ...]:
        never = self.state == _NEVER
        return (
            printable(self.label),
            "-" if self.size is None else _size(self.size),
            "-" if never else f"{_duration(now - self.last)} ago",
            "-" if never else printable(self.client),
            "-" if never or self.state == _OUTDATED else f"{self.share:.1f} %",
            self.state if self.published else f"{self.state}, image gone",
            str(self.downloads),
        )


def _rows(image: dict[str, Any]) -> Iterator[_Row]:
    label, published = printable(image["label"]), bool(image["published"])
    size = None if image["size"] is None else int(image["size"])
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


def _duration(seconds: float) -> str:
    """A time span in its largest unit, as one says it."""
    for unit, length, least in (("days", 86400, 2), ("h", 3600, 2), ("min", 60, 2)):
        if seconds >= least * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(int(seconds), 0)} s"


def _size(count: int) -> str:
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"

"""``mic status``: what a running mic on this machine serves, and which client reads which image.

Finds the admin sockets (`mic.observe.admin`) of its network namespace and prints the answer of
one of them.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mic.cli.flags import Command
from mic.cli.status_report import host_names, report, words
from mic.common.errors import MicError
from mic.common.text import printable
from mic.observe.admin import PREFIX, credentials
from mic.settings.table import Flag

_FLAGS = (
    Flag(name="json", default="false", help="print the whole answer as JSON", switch=True),
    Flag(name="pid", default="", help="process to query when several run"),
    Flag(name="all", default="false", help="print more than 50 rows", switch=True),
)
COMMAND = Command(
    program="mic status",
    summary="Show what a running mic serves, and which client reads which image.",
    example="mic status worker-0",
    flags=_FLAGS,
    synopsis="[NAMESPACE/NAME or HOST or IMAGE]",
)
_ROWS = 50
SOCKETS = "/proc/self/net/unix"
"""The Unix sockets of this network namespace: proc(5)."""
_NAME = re.compile(rf"@({re.escape(PREFIX)}[0-9a-f]{{16}})")
_LISTENS = 0x10000  # __SO_ACCEPTCON (linux/net.h)
_MAX_INSTANCES = 64
_MAX_BYTES = 64 << 20
_TIMEOUT = 10.0


class StatusError(MicError):
    """The status is not available; the message gives the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A running mic and its answer."""

    pid: int
    uid: int
    answer: dict[str, Any] = field(repr=False)


def main(arguments: Sequence[str]) -> int:
    """Print the status; return 1 with the reason on stderr when there is none."""
    operands: list[str] = []
    flags = COMMAND.parse(arguments, operands)
    if len(operands) > 1 or (flags["pid"] and not flags["pid"].isdecimal()):
        sys.stderr.write("mic status: give at most one image or host, and a number for -pid\n")
        return 2
    try:
        instance = _one(find(int(flags["pid"] or 0)), int(flags["pid"] or 0))
        try:
            answer = instance.answer
            if operands:
                answer = _about(answer, operands[0])
            if flags["json"] == "true":
                text = json.dumps(answer, indent=2) + "\n"
            else:
                limit = 0 if operands or flags["all"] == "true" else _ROWS
                found = report(answer, pid=instance.pid, uid=instance.uid, limit=limit)
                text = "".join(f"{line}\n" for line in found)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
            raise StatusError(
                f"process {instance.pid} gave an answer that this version of mic does not "
                "understand: use the mic command of its own version"
            ) from None
    except (StatusError, OSError) as error:
        sys.stderr.write(f"mic status: {error}\n")
        return 1
    sys.stdout.write(text)
    return 0


def find(pid: int = 0) -> list[Instance]:
    """Return the running instances that this user may query, or the one of process ``pid``.

    Raises `StatusError` when some run and none of them can be queried.
    """
    instances: list[Instance] = []
    problems: list[str] = []
    asked = 0
    for name in _sockets():
        if asked == _MAX_INSTANCES:
            break
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_TIMEOUT)
            try:
                sock.connect(f"\0{name}")
            except OSError:
                continue  # it has ended in the meantime
            peer = credentials(sock)
            if pid and peer.pid not in (0, pid):
                continue
            # Any user can listen on such a name: trust only our own user and root.
            if os.geteuid() not in (0, peer.uid):
                problems.append(
                    f"process {peer.pid} belongs to user {peer.uid}: "
                    "run mic status as that user or as root"
                )
                continue
            asked += 1
            try:
                answer = _read(sock)
            except (OSError, ValueError) as error:
                problems.append(f"process {peer.pid} of user {peer.uid}: {error}")
                continue
        number = peer.pid or answer["pid"]
        if not pid or pid == number:
            instances.append(Instance(pid=number, uid=peer.uid, answer=answer))
    if problems and not instances:
        raise StatusError("; ".join(problems))
    return instances


def _sockets() -> Iterator[str]:
    """Yield the names of admin sockets that a process listens on."""
    found: dict[str, None] = {}
    with open(SOCKETS, encoding="utf-8", errors="replace") as file:
        for line in file:
            # Num RefCount Protocol Flags Type St Inode Path: proc(5)
            fields = line.split()
            match = _NAME.fullmatch(fields[-1]) if len(fields) == 8 else None
            if match is not None and int(fields[3], 16) & _LISTENS:
                found[match[1]] = None
    yield from found


def _read(sock: socket.socket) -> dict[str, Any]:
    """Return the answer, with its images as a list.

    Raises `OSError` or `ValueError` when there is no usable answer.
    """
    parts: list[bytes] = []
    size = 0
    end = time.monotonic() + _TIMEOUT
    while part := sock.recv(1 << 20):
        parts.append(part)
        size += len(part)
        sock.settimeout(max(end - time.monotonic(), 0.001))
        if size > _MAX_BYTES:
            raise ValueError("response exceeds 64 MiB")
    try:
        answer, *lines = [json.loads(line) for line in b"".join(parts).splitlines()]
        if lines.pop() is not None:
            raise ValueError
        hosts = [line["host"] for line in lines if "host" in line]
        images = [line for line in lines if "host" not in line]
        return {**answer, "pid": int(answer["pid"]), "hosts": hosts, "images": images}
    except (LookupError, TypeError, ValueError, RecursionError):
        raise ValueError("incomplete response, or another version of mic") from None


def _one(instances: Sequence[Instance], pid: int) -> Instance:
    if not instances:
        which = f"process {pid} is not mic" if pid else "mic is not running"
        raise StatusError(
            f"{which} in this network namespace; for one in a container run mic status inside: "
            "kubectl exec, podman exec"
        )
    if len(instances) > 1:
        lines = [
            f"  -pid {each.pid}  user {each.uid}, {printable(str(each.answer.get('mode')))} mode, "
            f"on {words(each.answer.get('addresses'))}"
            for each in sorted(instances, key=lambda each: each.pid)
        ]
        raise StatusError("\n".join(["several processes run; choose one:", *lines]))
    return instances[0]


def _about(answer: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the answer about one host, object or label; raise `StatusError` if it is unknown."""
    images = [image for image in answer["images"] if name in _names(image)]
    hosts = [host for host in answer["hosts"] if name in host_names(host)]
    if not images and not hosts:
        raise StatusError(f"there is no image of {printable(name)}: mic status -all names them all")
    return {**answer, "images": images, "hosts": hosts}


def _names(image: dict[str, Any]) -> tuple[object, ...]:
    """Return the names of an image: its label, its host or object, with and without namespace."""
    namespace, name = image.get("namespace"), image.get("name")
    names = (image["label"], name)
    return (*names, f"{namespace}/{name}") if namespace else names

"""``mic fetch``: download a base image, verify it, and put it into its place all at once."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from mic.cli.flags import Command, UsageError, shown, similar
from mic.cli.foreground import exit_process
from mic.common.text import printable
from mic.common.threads import Threads
from mic.fetch.connect import Connections
from mic.fetch.failure import FetchError
from mic.fetch.job import Fetched, Job, Wanted
from mic.fetch.location import is_url
from mic.fetch.metadata import ARCHITECTURE_ALIASES, MAX_METADATA, Kind, is_digest
from mic.fetch.transfer import Limits, Transfer, Watching
from mic.fetch.verification import trust_root
from mic.media.base import ARCHITECTURES
from mic.settings.table import Flag, Variable

_PROGRAM = "mic fetch"
FLAGS = (
    Flag(name="output", help="file to write, DIR/NAME.iso", required=True),
    Flag(
        name="stream-json",
        help="stream metadata with URL and digest: a file, a URL, or - for standard input",
    ),
    Flag(
        name="arch",
        help="architecture of the image; empty: this machine's",
        choices=ARCHITECTURES,
    ),
    Flag(
        name="kind",
        default=Kind.ISO.value,
        help=f"what is downloaded: {', '.join(Kind)}",
        choices=tuple(Kind),
    ),
    Flag(name="sha256", help="SHA-256 that the file must have, 64 hexadecimal digits"),
    Flag(
        name="gpg-keyring",
        help="file with the public keys that may have signed it; needs the program gpgv",
    ),
    Flag(
        name="signature",
        help="URL or file of the signature; empty: the one in the stream metadata, else URL.sig",
    ),
    Flag(name="ca", help="PEM file with the authorities to trust instead of the system's"),
    Flag(
        name="resume",
        default="false",
        help="keep what was received if it ends early, and continue it in the next run",
        switch=True,
    ),
)
"""The flags of the command."""

_VARIABLES = tuple(
    Variable(name=name, field="", help=text)
    for name, text in (
        ("HTTPS_PROXY", "proxy for https:// URLs"),
        ("HTTP_PROXY", "proxy for http:// URLs"),
        ("NO_PROXY", "hosts, domains and networks that are reached without a proxy"),
        ("SSL_CERT_FILE", "PEM file with the authorities to trust instead of the system's"),
    )
)
COMMAND = Command(
    program=_PROGRAM,
    summary="Download a base image, verify it, and replace the file at once.",
    example="mic fetch -stream-json stable.json -output /srv/mic/coreos.iso",
    flags=FLAGS,
    synopsis="[URL]",
    variables=_VARIABLES,
)
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MAX_URL = 8192


def main(arguments: Sequence[str]) -> int:
    """Download a file; return 1 if that fails, with the reason on stderr."""
    operands: list[str] = []
    flags = COMMAND.parse(arguments, operands)
    try:
        wanted = _wanted(operands, flags)
    except UsageError as error:
        sys.stderr.write(f"{_PROGRAM}: {error}; see {_PROGRAM} -h\n")
        return 2
    # Never by return: a thread may wait for a name server that does not answer.
    return exit_process(_fetch(wanted, flags["ca"]))


def _wanted(operands: Sequence[str], flags: dict[str, str]) -> Wanted:
    """Return what to download; raise `UsageError`."""
    (url, *more) = operands or [""]
    if more:
        raise UsageError("name one URL")
    if not flags["output"]:
        raise UsageError("-output is missing")
    if flags["output"] == "-":
        raise UsageError("-output names a file: it is verified before anything reads it")
    if flags["stream-json"] == "-" and url == "-":
        raise UsageError("the URL and -stream-json cannot both be standard input")
    if not url and not flags["stream-json"]:
        raise UsageError("name a URL, or -stream-json")
    if url and url != "-" and not is_url(url):
        raise UsageError(f"'{shown(url)}' is not a URL")
    if flags["sha256"] and not is_digest(flags["sha256"]):
        raise UsageError("-sha256 must have 64 hexadecimal digits")
    if flags["signature"] and not flags["gpg-keyring"]:
        raise UsageError("-signature needs -gpg-keyring")
    kinds = {kind.value: kind for kind in Kind}
    if flags["kind"] not in kinds:
        found = similar(flags["kind"], kinds)
        hint = f"; did you mean {found}?" if found else ""
        raise UsageError(f"-kind is {', '.join(kinds)}{hint}")
    given = flags["arch"].lower()
    return Wanted(
        output=flags["output"],
        url=url,
        stream_json=flags["stream-json"],
        kind=kinds[flags["kind"]],
        architecture=ARCHITECTURE_ALIASES.get(given, given) or platform.machine(),
        any_architecture=not given and not flags["stream-json"],
        sha256=flags["sha256"],
        keyring=flags["gpg-keyring"],
        signature=flags["signature"],
        resume=flags["resume"] == "true",
    )


def _fetch(wanted: Wanted, ca: str) -> int:
    try:
        # Before there is a reactor: it could not be interrupted then.
        given = _read_input(MAX_METADATA + 1) if wanted.stream_json == "-" else b""
        if wanted.url == "-":
            wanted = replace(wanted, url="" if wanted.stream_json else _read_url())
    except KeyboardInterrupt:
        return _interrupted(signal.SIGINT)
    except FetchError as error:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
        return 1
    return _run(wanted, ca, given)


def _run(wanted: Wanted, ca: str, given: bytes) -> int:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    output = _Output(sys.stderr.isatty(), time.monotonic, sys.stderr.write)
    outcome: list[Fetched | Failure] = []
    ended_by: list[int] = []
    threads = Threads(reactor)
    limits = Limits()

    async def run() -> Fetched:
        job = Job(wanted, threads, note=output.note, given=given)
        try:
            connections = Connections(
                reactor, os.environ, trust=trust_root(ca), timeout=limits.connect
            )
            watching = Watching(note=output.note, progress=output.progress)
            return await job.run(Transfer(reactor, connections, watching, limits=limits))
        finally:
            job.close()

    def start() -> None:
        task = Deferred.fromCoroutine(run())

        def cancel(number: int, _: object) -> None:
            ended_by.append(number)
            reactor.callFromThread(task.cancel)

        for number in _SIGNALS:
            # One that is ignored stays so: nohup.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, cancel)
        task.addBoth(outcome.append)
        # Not stop(): that waits for threads.
        task.addBoth(lambda _: reactor.crash())

    threads.startService()
    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=False)
    output.clear()
    (result,) = outcome
    if isinstance(result, Failure):
        return _failed(result, ended_by)
    for warning in result.warnings:
        output.note(f"warning: {warning}")
    sys.stdout.write(_described(wanted.output, result))
    return 0


def _failed(failure: Failure, ended_by: Sequence[int]) -> int:
    error = failure.value
    if isinstance(error, CancelledError) and ended_by:
        return _interrupted(ended_by[0])
    if isinstance(error, FetchError):
        sys.stderr.write(f"{_PROGRAM}: {printable(str(error))}\n")
    else:
        failure.printTraceback(sys.stderr)
    return 1


def _described(path: str, fetched: Fetched) -> str:
    parts = [f"{fetched.size} bytes", f"sha256 {fetched.sha256}"]
    if fetched.volume:
        parts.append(f"volume {fetched.volume}")
    if fetched.key:
        parts.append(f"signed by {fetched.key}")
    unchanged = "" if fetched.is_new else "unchanged, "
    return f"{printable(path)}: {unchanged}{', '.join(parts)}\n"


def _interrupted(number: int) -> int:
    sys.stderr.write(f"{_PROGRAM}: interrupted\n")
    return 128 + number


def _read_url() -> str:
    text = _read_input(_MAX_URL).decode("utf-8", "replace").strip()
    if not is_url(text):
        raise FetchError("standard input does not hold a URL")
    return text


def _read_input(limit: int) -> bytes:
    if sys.stdin is None:
        raise FetchError("standard input is closed")
    try:
        return sys.stdin.buffer.read(limit)
    except OSError as error:
        raise FetchError(f"standard input: {error.strerror or error}") from None


class _Output:
    """Shows how far a download is: a line that changes on a terminal, lines elsewhere."""

    _CLEAR = "\r\x1b[K"
    _MIB = 1 << 20
    _BAR = 24
    _ON_TERMINAL = 0.2
    _ELSEWHERE = 10.0

    def __init__(
        self, is_terminal: bool, clock: Callable[[], float], write: Callable[[str], Any]
    ) -> None:
        self._is_terminal = is_terminal
        self._clock = clock
        self._write = write
        self._began: tuple[float, int] | None = None
        self._shown = clock()
        self._is_shown = False

    def note(self, text: str) -> None:
        """Print a sentence."""
        self.clear()
        self._write(f"{_PROGRAM}: {printable(text)}\n")

    def progress(self, done: int, total: int | None) -> None:
        """Show how much of how much was received, if it is time for that."""
        now = self._clock()
        if self._began is None or done < self._began[1]:
            self._began = (now, done)
        if now - self._shown < (self._ON_TERMINAL if self._is_terminal else self._ELSEWHERE):
            return
        self._shown = now
        began, first = self._began
        rate = (done - first) / max(now - began, 0.001)
        text = self._text(done, total, rate)
        if self._is_terminal:
            self._is_shown = True
            self._write(f"{self._CLEAR}{text}")
            sys.stderr.flush()
        else:
            self._write(f"{_PROGRAM}: {text}\n")

    def _text(self, done: int, total: int | None, rate: float) -> str:
        if not total:
            return f"{done / self._MIB:.0f} MiB, {rate / self._MIB:.1f} MiB/s"
        left = (total - done) / rate if rate else 0.0
        text = (
            f"{100 * done // total} %, {done / self._MIB:.0f} of {total / self._MIB:.0f} MiB, "
            f"{rate / self._MIB:.1f} MiB/s, {int(left) // 60}:{int(left) % 60:02} left"
        )
        if not self._is_terminal:
            return text
        filled = self._BAR * done // total
        return f"[{'#' * filled}{' ' * (self._BAR - filled)}] {text}"

    def clear(self) -> None:
        """Remove the line that changes."""
        if self._is_shown:
            self._is_shown = False
            self._write(self._CLEAR)

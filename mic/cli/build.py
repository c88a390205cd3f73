"""``mic build``: write the image of a host to a file, byte for byte as mic would serve it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mic.cli.flags import Command, UsageError
from mic.common.errors import BaseUnavailable, BuildInvalid, MicError
from mic.common.problems import DocumentInvalid
from mic.common.text import printable
from mic.common.threads import Threads
from mic.hosts.examine import Examination
from mic.hosts.files import HostFile, read_host
from mic.hosts.findings import Severity
from mic.images.export import ExportError, Progress, check_target, write_file, write_stream
from mic.images.store import Entry, Image
from mic.media.base import IMAGES, Kind
from mic.media.basefile import BaseChanged
from mic.settings.load import Inspected, inspect
from mic.settings.model import Mode, Settings
from mic.settings.table import Flag, variables_of

_PROGRAM = "mic build"
_FLAGS = (
    Flag(
        name="output",
        help="file to write, NAME.iso or NAME.initramfs; - is standard output",
        required=True,
    ),
    Flag(
        name="kind",
        help="iso or initramfs; needed if the name of the file does not say it",
        choices=IMAGES,
    ),
)
COMMAND = Command(
    program=_PROGRAM,
    summary="Write the image of a host to a file, with the bytes that mic would serve.",
    example="mic build worker-0.yaml -output worker-0.iso",
    flags=_FLAGS,
    synopsis="HOST.yaml",
    variables=variables_of(Mode.STATIC),
)
_ENDED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CLEAR = "\r\x1b[K"


def main(arguments: Sequence[str]) -> int:
    """Write an image; return 1 if that is impossible, with all reasons on stderr."""
    operands: list[str] = []
    flags = COMMAND.parse(arguments, operands)
    if os.path.isdir(flags["output"]):
        return _failed([f"{printable(flags['output'])} is a directory; name a file"])
    try:
        kind = _kind(operands, flags["output"], flags["kind"])
    except UsageError as error:
        sys.stderr.write(f"{_PROGRAM}: {error}; see {_PROGRAM} -h\n")
        return 2
    try:
        return _build(operands[0], kind, flags["output"])
    except _Ended as end:
        sys.stderr.write(f"{_PROGRAM}: interrupted\n")
        return 128 + end.number


def _kind(operands: Sequence[str], output: str, kind: str) -> Kind:
    """Return the kind of image to write; raise `UsageError`."""
    if len(operands) != 1:
        raise UsageError("name one host file")
    if operands[0] == "-":
        raise UsageError("standard input has no host name: name a file")
    if not output:
        raise UsageError("-output is missing")
    kinds = {each.value: each for each in IMAGES}
    if kind and kind not in kinds:
        raise UsageError("-kind is iso or initramfs")
    implied = os.path.splitext(output)[1].removeprefix(".").lower()
    if kind and implied in kinds and kind != implied:
        raise UsageError(f"-kind {kind} does not go with the name {printable(output)}")
    if not kind and implied not in kinds:
        name = "standard output" if output == "-" else printable(output)
        raise UsageError(f"-kind is missing: {name} may be an iso or an initramfs")
    return kinds[kind or implied]


class _Ended(BaseException):
    """A signal ends the process."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Raise `_Ended` for a signal that would end the process, so that it can tidy up."""
    # One that is ignored stays so: nohup.
    before = {
        number: handler
        for number in _ENDED_BY
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }

    def end(number: int, _: object) -> None:
        # Another one must not end the tidying up.
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise _Ended(number)

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _build(path: str, kind: Kind, output: str) -> int:
    # Static mode needs a directory, which is not read here.
    inspected = inspect(Mode.STATIC, os.environ, {"nmstate-dir": "/"})
    try:
        target = "" if output == "-" else _target(path, output, inspected.settings)
    except ExportError as error:
        return _failed([str(error)])
    if not target and (sys.stdout is None or sys.stdout.isatty()):
        return _failed(["standard output is a terminal or closed: redirect it"])
    made = _made(inspected, path, kind)
    if made is None:
        return 1
    sys.stderr.writelines(f"{_PROGRAM}: warning: {each}\n" for each in made.warnings)
    if made.image is None:
        return _failed(made.problems)
    layout = made.image.layout
    try:
        with _ended_by_signals(), _progress() as progress:
            if target:
                write_file(layout, target, progress)
            else:
                write_stream(layout, sys.stdout.fileno(), "standard output", progress)
    except MicError as error:
        return _failed([str(error)])
    except BaseChanged as error:
        return _failed([f"base image {error}; try again"])
    return 0


def _target(path: str, output: str, settings: Settings) -> str:
    stem = os.path.splitext(path)[0]
    inputs = (path, f"{stem}.kargs", f"{stem}.ign")
    return check_target(output, settings.bases, settings.host_architecture, inputs)


def _failed(problems: Sequence[str]) -> int:
    sys.stderr.writelines(f"{_PROGRAM}: {printable(problem)}\n" for problem in problems)
    return 1


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show how much is written, on a terminal only, and clear the line at the end."""
    shown = -1

    def show(done: int, size: int) -> None:
        nonlocal shown
        percent = 100 * done // size
        if is_shown and percent != shown:
            shown = percent
            sys.stderr.write(f"{_CLEAR}{_PROGRAM}: {percent} %")
            sys.stderr.flush()

    is_shown = sys.stderr.isatty()
    try:
        yield show
    finally:
        if shown >= 0:
            sys.stderr.write(_CLEAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """An image, or the problems because of which there is none, and warnings."""

    image: Image | None = None
    problems: Sequence[str] = ()
    warnings: Sequence[str] = ()


def _made(inspected: Inspected, path: str, kind: Kind) -> _Made | None:
    """Return the image of a host; None for a defect, whose traceback is on stderr.

    Raises `_Ended` after a signal.
    """
    done: list[_Made] = []
    stopping: list[bool] = []

    async def make(reactor: Any) -> None:
        reactor.addSystemEventTrigger("before", "shutdown", stopping.append, True)
        threads = Threads(reactor)
        threads.startService()
        host = await threads.run(read_host, path)
        made = await _composed(Examination(inspected, reactor, threads), host, kind)
        await threads.stopService()
        if not stopping:
            done.append(made)

    try:
        react(lambda reactor: Deferred.fromCoroutine(make(reactor)))
    except SystemExit as end:
        if not done and not end.code:
            # A signal stopped the reactor, which knows SIGINT and SIGTERM.
            raise _Ended(signal.SIGINT) from None
    return done[0] if done else None


async def _composed(examination: Examination, host: HostFile, kind: Kind) -> _Made:
    """Return the image of a host, or all that is wrong with the settings and the host."""
    await examination.examine_settings(builds=True)
    findings = examination.findings
    problems = [each.text for each in findings if each.severity is Severity.ERROR]
    warnings = [each.text for each in findings if each.severity is Severity.WARNING]
    if host.note:
        warnings.append(f"{host.path}: {host.note}")
    image: Image | None = None
    try:
        if host.problem:
            raise BuildInvalid(host.problem)
        if problems:
            # No image, but the document may have problems too.
            await examination.convert(host.given.network or b"")
        else:
            image = await _image(examination, host, kind)
    except BaseUnavailable as error:
        problems.append(str(error))
    except DocumentInvalid as error:
        problems += [f"{host.path}: {each}" for each in error.problems]
    except MicError as error:
        problems.append(f"{host.path}: {error}")
    warnings += [f"{host.path}: {each}" for each in examination.doubts]
    warnings += [doubt.text for doubt in examination.bases.doubts() if doubt.evidence]
    return _Made(
        image=image,
        problems=[_one_line(each) for each in problems],
        warnings=[_one_line(each) for each in warnings],
    )


async def _image(examination: Examination, host: HostFile, kind: Kind) -> Image:
    """Return the image that static mode would serve; raises `BuildInvalid` or `NotReady`."""
    name = os.path.splitext(os.path.basename(host.path))[0]
    content = (await examination.contents(name, host.given))[kind]
    return await examination.images.load(Entry(str(content.id), content, date=0))


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))

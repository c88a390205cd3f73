"""``mic keyfiles``: what a host will get from an NMState document."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mic.config import Flag
from mic.errors import ConfigError, MicError
from mic.nmstate import Keyfile, NMStateInvalid, to_yaml
from mic.nmstate.backends import VARIABLE, chosen
from mic.nmstate.conversion import Conversion
from mic.run import parse_or_exit
from mic.threads import Threads

_FLAGS = (Flag(name="output", default="", meaning="directory to write the keyfiles to"),)
_LIMIT = 4 << 20  # bytes read of a file: more than any document may have


def main(arguments: Sequence[str]) -> int:
    """Print or write the keyfiles of documents; status 1 with the reasons where there are any."""
    operands: list[str] = []
    flags = parse_or_exit("mic keyfiles FILE...", arguments, _FLAGS, operands)
    if not operands:
        sys.stderr.write("mic keyfiles: name one file or more; - is standard input\n")
        return 2
    made: list[tuple[str, tuple[Keyfile, ...]]] = []
    problems: list[str] = []

    async def convert(reactor: Any) -> None:
        threads = Threads(reactor)
        threads.startService()
        conversion = Conversion(chosen(os.environ.get(VARIABLE, "")), reactor, threads)
        for name in operands:
            try:
                made.append((name, await conversion.keyfiles(_content(name))))
            except MicError as error:
                told = error.problems if isinstance(error, NMStateInvalid) else (str(error),)
                problems.extend(f"{name}: {line}" for problem in told for line in [_line(problem)])
            except OSError as error:
                problems.append(f"{name}: {error.strerror}")
        await threads.stopService()

    async def convert_or_tell(reactor: Any) -> None:
        try:
            await convert(reactor)
        except ConfigError as error:
            problems.extend(error.problems)

    try:
        react(lambda reactor: Deferred.fromCoroutine(convert_or_tell(reactor)))
    except SystemExit as end:
        if end.code:
            return 1
    if flags["output"] and not problems:
        problems += _written(flags["output"], made)
    elif not flags["output"]:
        _print(made, several=len(operands) > 1)
    sys.stderr.writelines(f"mic keyfiles: {problem}\n" for problem in problems)
    return 1 if problems else 0


def _line(problem: str) -> str:
    return " ".join(problem.split())


def _content(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(_LIMIT)
    with open(name, "rb") as file:
        return file.read(_LIMIT)


def _print(made: Iterable[tuple[str, tuple[Keyfile, ...]]], *, several: bool) -> None:
    for name, keyfiles in made:
        if several:
            sys.stdout.write(f"--- # {_line(name)}\n")
        sys.stdout.write(to_yaml(keyfiles))


def _written(directory: str, made: Iterable[tuple[str, tuple[Keyfile, ...]]]) -> list[str]:
    """Write the keyfiles, readable by their owner only; return what is in the way."""
    sources: dict[str, str] = {}
    for source, keyfiles in made:
        for keyfile in keyfiles:
            if os.path.basename(keyfile.name) != keyfile.name or "\0" in keyfile.name:
                return [f"{source}: {keyfile.name!r} is no file name"]
            if keyfile.name in sources:
                return [f"{source}: {sources[keyfile.name]} has {keyfile.name} too"]
            sources[keyfile.name] = source
    try:
        os.makedirs(directory, exist_ok=True)
        for _, keyfiles in made:
            for keyfile in keyfiles:
                _write(os.path.join(directory, keyfile.name), keyfile.content)
    except OSError as error:
        return [f"{error.filename}: {error.strerror}"]
    return []


def _write(path: str, content: str) -> None:
    # mkstemp makes files of mode 0600; the name is taken only when the content is complete.
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".mic-")
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise

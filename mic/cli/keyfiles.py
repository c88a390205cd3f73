"""``mic keyfiles``: the keyfiles that a host gets from an document."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mic.cli.flags import Command
from mic.common.errors import ConfigError, MicError, NotReady
from mic.common.files import os_reason
from mic.common.generated import Generated
from mic.common.keyfile import Keyfile, check_names
from mic.common.problems import DocumentInvalid, excerpt_of
from mic.common.text import printable
from mic.common.threads import Threads
from mic.hosts.convert import Conversion
from mic.nmstate import to_yaml
from mic.settings.model import Backend
from mic.settings.table import NMSTATE_BACKEND, Flag
from mic.settings.values import WithWarning, backend

_FORMATS = ("yaml", "text")
_FLAGS = (
    Flag(name="output", help="directory to write the keyfiles to"),
    Flag(
        name="verify",
        default="false",
        help="compare the built-in generator with nmstatectl; any difference is an error",
        switch=True,
    ),
    Flag(
        name="format",
        help="yaml, as nmstatectl gc, or text with a header line per keyfile; "
        "empty: text on a terminal, else yaml",
        choices=_FORMATS,
    ),
    Flag(name="strict", default="false", help="end with status 1 after a warning", switch=True),
)
COMMAND = Command(
    program="mic keyfiles",
    summary="Print, write or verify the keyfiles made from NMState or OpenStack network data.",
    example="mic keyfiles -output /tmp/keyfiles worker-0.yaml",
    flags=_FLAGS,
    synopsis="FILE...",
)
_KEPT = "\n\t"  # control characters that a terminal may get
_LIMIT = 4 << 20  # bytes read of a file: more than any document may have


def main(arguments: Sequence[str]) -> int:
    """Print or write the keyfiles of documents; return 1 when there are problems, all on stderr."""
    operands: list[str] = []
    flags = COMMAND.parse(arguments, operands)
    if not operands:
        sys.stderr.write("mic keyfiles: name at least one file; - is standard input\n")
        return 2
    if flags["format"] not in ("", *_FORMATS):
        sys.stderr.write(f"mic keyfiles: -format is {' or '.join(_FORMATS)}\n")
        return 2
    is_text = flags["format"] == "text" or (not flags["format"] and sys.stdout.isatty())
    try:
        chosen = _backend(verify=flags["verify"] == "true")
    except ConfigError as error:
        return _report(error.problems)
    made: list[tuple[str, tuple[Keyfile, ...]]] = []
    problems: list[str] = []
    warnings: list[str] = []

    async def convert(reactor: Any) -> None:
        threads = Threads(reactor)
        threads.startService()
        conversion = Conversion(chosen, reactor, threads)
        reference = Conversion(Backend.NMSTATECTL, reactor, threads)
        for name in operands:
            try:
                document = _content(name)
            except OSError as error:
                problems.append(f"{name}: {os_reason(error)}")
                continue
            result = await _outcome(conversion, document)
            if isinstance(result, MicError):
                problems.extend(f"{name}: {problem}" for problem in _sentences(result))
            else:
                made.append((name, result.keyfiles))
                warnings.extend(f"{name}: {_one_line(str(each))}" for each in result.warnings)
            if flags["verify"] == "true":
                theirs = await _outcome(reference, document)
                problems.extend(f"{name}: {line}" for line in _compared(result, theirs))
        await threads.stopService()

    try:
        react(lambda reactor: Deferred.fromCoroutine(convert(reactor)))
    except SystemExit as end:
        if end.code:
            return 1
    if flags["output"] and not problems:
        problems += _written(flags["output"], made)
    elif not flags["output"]:
        several = len(operands) > 1
        sys.stdout.write("".join((_as_text if is_text else _as_yaml)(made, several=several)))
    sys.stderr.writelines(f"mic keyfiles: warning: {warning}\n" for warning in warnings)
    return _report(problems) or int(flags["strict"] == "true" and bool(warnings))


def _backend(*, verify: bool) -> Backend:
    """Return the converter that the environment names, or the built-in one to verify it."""
    if verify:
        if shutil.which("nmstatectl") is None:
            raise ConfigError(["-verify needs nmstatectl, which is not on PATH: install nmstate"])
        return Backend.BUILTIN
    chosen = backend(NMSTATE_BACKEND, os.environ.get(NMSTATE_BACKEND, ""))
    if isinstance(chosen, WithWarning):
        sys.stderr.write(f"mic keyfiles: {chosen.warning}\n")
        return chosen.value
    return chosen


def _report(problems: Iterable[str]) -> int:
    lines = [f"mic keyfiles: {problem}\n" for problem in problems]
    sys.stderr.writelines(lines)
    return 1 if lines else 0


async def _outcome(conversion: Conversion, document: bytes) -> Generated | MicError:
    """Return keyfiles that a host can take, or the reason why there are none."""
    try:
        generated = await conversion.generate(document)
        check_names(generated.keyfiles)
    except MicError as error:
        return error
    return generated


def _compared(ours: Generated | MicError, theirs: Generated | MicError) -> Iterator[str]:
    if isinstance(theirs, NotReady):
        yield _one_line(str(theirs))
        return
    for difference in differences(_keyfiles(ours), _keyfiles(theirs)):
        yield f"nmstatectl differs: {_one_line(difference)}"


def _keyfiles(outcome: Generated | MicError) -> tuple[Keyfile, ...] | MicError:
    return outcome if isinstance(outcome, MicError) else outcome.keyfiles


def _sentences(error: MicError) -> list[str]:
    problems = error.problems if isinstance(error, DocumentInvalid) else (str(error),)
    return [_with_excerpt(problem) for problem in problems]


def _with_excerpt(problem: str) -> str:
    """Return a problem in one line, and below it the line of the document if that is known."""
    lines = [_one_line(problem), *(f"    {line}" for line in excerpt_of(problem).splitlines())]
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _content(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read(_LIMIT)
    with open(name, "rb") as file:
        return file.read(_LIMIT)


def _as_yaml(made: Iterable[tuple[str, tuple[Keyfile, ...]]], *, several: bool) -> Iterator[str]:
    for name, keyfiles in made:
        if several:
            yield f"--- # {_one_line(name)}\n"
        yield to_yaml(keyfiles)


def _as_text(made: Iterable[tuple[str, tuple[Keyfile, ...]]], *, several: bool) -> Iterator[str]:
    """Yield keyfiles below header lines such as those of head and tail."""
    separator = ""
    for name, keyfiles in made:
        document = f"{_one_line(name)}: " if several else ""
        for keyfile in keyfiles:
            yield printable(f"{separator}==> {document}{keyfile.name} <==\n", keep=_KEPT)
            yield printable(keyfile.content, keep=_KEPT)
            separator = "\n"


def _written(directory: str, made: Iterable[tuple[str, tuple[Keyfile, ...]]]) -> list[str]:
    """Write the keyfiles, readable by their owner only; return what prevents it."""
    sources: dict[str, str] = {}
    for source, keyfiles in made:
        for keyfile in keyfiles:
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


def differences(
    ours: tuple[Keyfile, ...] | MicError, theirs: tuple[Keyfile, ...] | MicError
) -> Iterator[str]:
    """Yield how nmstatectl's outcome differs, one sentence each, without any keyfile's values."""
    if isinstance(ours, MicError):
        if not isinstance(theirs, MicError):
            yield f"it accepts a document that is refused here: {ours}"
        return
    if isinstance(theirs, MicError):
        yield f"it refuses a document that is accepted here: {theirs}"
        return
    our_names = [keyfile.name for keyfile in ours]
    their_names = [keyfile.name for keyfile in theirs]
    if our_names != their_names:
        yield f"it makes {', '.join(their_names) or 'nothing'}, not {', '.join(our_names)}"
    by_name = {keyfile.name: keyfile.content for keyfile in theirs}
    for keyfile in ours:
        content = by_name.get(keyfile.name)
        if content is not None and content != keyfile.content:
            yield f"{keyfile.name}: {', '.join(_keys_that_differ(keyfile.content, content))}"


def _keys_that_differ(ours: str, theirs: str) -> list[str]:
    sets = [frozenset(_settings(content)) for content in (ours, theirs)]
    keys = {f"{section}.{key}" for section, key, _ in sets[0] ^ sets[1]}
    return sorted(keys) or ["order or blank lines"]


def _settings(content: str) -> Iterator[tuple[str, str, str]]:
    section = ""
    for line in content.splitlines():
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        key, equals, value = line.partition("=")
        if equals:
            yield section, key, value

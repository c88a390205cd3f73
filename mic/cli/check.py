"""``mic check``: report what is wrong or doubtful with what mic would read, and change nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from mic.cli.flags import Command
from mic.common.text import printable
from mic.common.threads import Threads
from mic.hosts.examine import Examination
from mic.hosts.findings import Finding, Findings, Severity
from mic.settings.load import inspect, inspect_agent
from mic.settings.model import Mode
from mic.settings.table import FLAGS, Flag, flags_of, variables_of

_OWN_FLAGS = (
    Flag(
        name="strict",
        default="false",
        help="exit with status 1 for warnings as for errors",
        switch=True,
    ),
    Flag(name="json", default="false", help="print one JSON object", switch=True),
)
# Those of both modes, for the first look and for the help text.
_FLAGS = (
    *_OWN_FLAGS,
    *(
        replace(flag, required=False, help=f"{flag.help}; selects static mode")
        if flag.required
        else flag
        for flag in FLAGS
    ),
)
_PROGRAM = "mic check"
COMMAND = Command(
    program=_PROGRAM,
    summary="Report what is wrong with settings, base images and hosts; change nothing.",
    example="mic check -nmstate-dir /etc/mic/hosts",
    flags=_FLAGS,
    synopsis="[FILE...]",
    variables=variables_of(Mode.CONTROLLER),
)


def main(arguments: Sequence[str]) -> int:
    """Print what is found; return 1 for errors, and with ``-strict`` for warnings too."""
    operands: list[str] = []
    flags = COMMAND.parse(arguments, operands)
    # An empty one too: a shell's variable that is not set must not check a cluster.
    is_static = _is_given("nmstate-dir", arguments)
    chosen = "files" if operands else Mode.STATIC if is_static else Mode.CONTROLLER
    known = flags_of(chosen) if isinstance(chosen, Mode) else ()
    for flag in FLAGS:
        if flag not in known and _is_given(flag.name, arguments):
            other = "files" if operands else "-nmstate-dir"
            sys.stderr.write(
                f"{_PROGRAM}: -{flag.name} does not go with {other}; see {_PROGRAM} -h\n"
            )
            return 2
    findings = _examined(chosen, os.environ, flags, operands)
    if findings is None:
        return 1
    as_json = flags["json"] == "true"
    sys.stdout.write(_json(chosen, findings) if as_json else _text(chosen, findings))
    failed = findings.of(Severity.ERROR) or (flags["strict"] == "true" and list(findings))
    return 1 if failed else 0


def _is_given(flag: str, arguments: Sequence[str]) -> bool:
    return any(each.partition("=")[0] in (f"-{flag}", f"--{flag}") for each in arguments)


def _examined(
    chosen: str, environment: Mapping[str, str], flags: Mapping[str, str], paths: Sequence[str]
) -> Findings | None:
    """Return what is found; None for a defect, whose traceback is on stderr."""
    done: list[Findings] = []

    async def examine(reactor: Any) -> None:
        threads = Threads(reactor)
        threads.startService()
        if isinstance(chosen, Mode):
            inspected = inspect(chosen, environment, flags)
        else:
            inspected = inspect_agent(environment)
        examination = Examination(inspected, reactor, threads, validates=True)
        await examination.examine_settings(builds=isinstance(chosen, Mode))
        if not isinstance(chosen, Mode):
            await examination.examine_files(paths)
        else:
            await examination.examine_bases()
            if chosen is Mode.STATIC:
                await examination.examine_directory()
            else:
                # Imported here: the other modes do without.
                from mic.hosts.examine_cluster import examine_cluster

                await examine_cluster(examination)
        await threads.stopService()
        done.append(examination.findings)

    # `react` ends with `SystemExit`; it has printed a failure.
    with suppress(SystemExit):
        react(lambda reactor: Deferred.fromCoroutine(examine(reactor)))
    return done[0] if done else None


def _text(chosen: str, findings: Findings) -> str:
    # Subjects with the same findings are listed above them, one a line.
    alike: dict[tuple[str, ...], list[str]] = {}
    for subject, found in findings.by_subject():
        texts = tuple(line for each in found for line in _lines(each))
        alike.setdefault(texts, []).append(f"{printable(subject)}:")
    lines = [line for texts, subjects in alike.items() for line in (*subjects, *texts)]
    things = _counted(findings.hosts, "host" if isinstance(chosen, Mode) else "file")
    errors = _counted(findings.of(Severity.ERROR), "error")
    warnings = _counted(findings.of(Severity.WARNING), "warning")
    return "".join(f"{line}\n" for line in [*lines, f"{things}: {errors}, {warnings}"])


def _lines(finding: Finding) -> Iterator[str]:
    yield f"  {finding.severity}: {printable(finding.text)}"
    yield from (f"      {printable(line)}" for line in finding.excerpt.splitlines())


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _json(chosen: str, findings: Findings) -> str:
    body = {
        "mode": str(chosen),
        "hosts": findings.hosts,
        "errors": findings.of(Severity.ERROR),
        "warnings": findings.of(Severity.WARNING),
        "findings": [
            {
                "severity": str(each.severity),
                "subject": each.subject,
                "host": each.host,
                "text": each.text,
            }
            for _, found in findings.by_subject()
            for each in found
        ],
    }
    return json.dumps(body, indent=2) + "\n"

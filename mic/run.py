"""Running a service in the foreground, and Go's flag grammar for those who do."""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from twisted.application.service import IService

from mic.config import Flag

if TYPE_CHECKING:
    from mic.service import Mic

# What Go takes for a boolean; a switch that was meant to be on must not be off in silence.
_SWITCH = {"1": "true", "t": "true", "true": "true", "0": "false", "f": "false", "false": "false"}


class UsageError(Exception):
    """The command line cannot be used; the message says why."""


class HelpWanted(Exception):
    """The command line asks for help."""


def parse_flags(
    arguments: Sequence[str], flags: Sequence[Flag], operands: list[str] | None = None
) -> dict[str, str]:
    """Flags and values as Go's package flag takes them: ``-f v``, ``-f=v``, ``--f v``, ``--f=v``.

    Flags that are not given have their default. What is no flag goes to ``operands``, or is an
    error without that list. Raises `UsageError` for it, for an unknown flag and for a missing
    value, and `HelpWanted` for ``-h``, ``-help`` and ``--help``.
    """
    values = {flag.name: flag.default for flag in flags}
    switches = {flag.name for flag in flags if flag.switch}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            _take_operands(rest, operands)
            break
        if not argument.startswith("-") or argument == "-":
            _take_operands([argument], operands)
            continue
        name, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if name not in values:
            if name in ("h", "help"):
                raise HelpWanted
            raise UsageError(f"flag provided but not defined: -{name}")
        if name in switches:
            value = "true" if not equals else _SWITCH.get(value.lower(), "")
            if not value:
                raise UsageError(f"invalid boolean value for -{name}: write true or false")
        elif not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        values[name] = value
    return values


def _take_operands(arguments: list[str], operands: list[str] | None) -> None:
    if operands is None and arguments:
        raise UsageError(f"unexpected argument {arguments[0]!r}")
    if operands is not None:
        operands.extend(arguments)


def usage_of(program: str, flags: Sequence[Flag]) -> str:
    """The help text of a command."""
    lines = [f"Usage of {program}:"]
    for flag in flags:
        default = f" (default {flag.default!r})" if flag.default else ""
        lines += [f"  -{flag.name}{'' if flag.switch else ' value'}"]
        lines += [f"    \t{flag.meaning}{default}"]
    return "\n".join(lines) + "\n"


def parse_or_exit(
    program: str,
    arguments: Sequence[str],
    flags: Sequence[Flag],
    operands: list[str] | None = None,
) -> dict[str, str]:
    """`parse_flags`, with help on stdout and status 0, or usage on stderr and status 2."""
    try:
        return parse_flags(arguments, flags, operands)
    except HelpWanted:
        sys.stdout.write(usage_of(program, flags))
        sys.exit(0)
    except UsageError as error:
        sys.stderr.write(f"{usage_of(program, flags)}{program}: {error}\n")
        sys.exit(2)


def run(service: Mic) -> int:
    """Run ``service`` until a signal ends it; the process's exit status.

    Why it cannot start is told in plain words, last on stderr, whatever the log's format: those
    who show the end of what a process wrote, as Kubernetes does, show that.
    """
    from twisted.internet import reactor

    # Where it hung, when systemd's watchdog or a person sends SIGABRT.
    faulthandler.enable()
    running = IService(service)
    try:
        running.startService()
    except SystemExit as error:
        sys.stderr.write(f"{error.code}\n")
        return 1
    reactor.addSystemEventTrigger("before", "shutdown", running.stopService)
    reactor.run()
    return int(service.failed)


def leave(status: int) -> NoReturn:
    """End the process without taking the interpreter apart.

    That frees what the kernel frees anyway, for a fifth of a second of CPU time in controller
    mode: seconds on a busy machine, of the few that whoever stops us waits. And it would meet
    threads that still block, in a server that does not answer or a disk.
    """
    atexit._run_exitfuncs()  # the Kubernetes client's removes the files it made of inline keys
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)

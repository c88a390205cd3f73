"""The grammar of Go's package flag, as deployments of the Go program use it, and help texts."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from mic import __version__
from mic.common.private_keys import without_private_keys
from mic.common.spelling import nearest
from mic.common.text import printable
from mic.settings.table import Flag, Variable
from mic.settings.values import BOOLEANS

_LONGEST_SHOWN = 100  # characters of an argument in a message


class UsageError(Exception):
    """The command line cannot be used; the message gives the reason."""


class HelpWanted(Exception):
    """The command line asks for help."""


class VersionWanted(Exception):
    """The command line asks for the version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command as its help text, its man page and the completion of shells describe it.

    ``summary`` is a sentence about what it does, ``example`` a command line: both or none.
    ``synopsis`` names the operands, ``variables`` are those that it reads from the environment.
    """

    program: str
    flags: tuple[Flag, ...]
    summary: str = ""
    example: str = ""
    synopsis: str = ""
    variables: tuple[Variable, ...] = ()

    def parse(
        self,
        arguments: Sequence[str],
        operands: list[str] | None = None,
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, str]:
        """Return the values of flags as `parse_flags` does.

        On request print help or the version and exit 0; on error print one line and exit 2.
        """
        try:
            return parse_flags(arguments, self.flags, operands, elsewhere)
        except HelpWanted:
            sys.stdout.write(self.usage())
            sys.exit(0)
        except VersionWanted:
            sys.stdout.write(version_text())
            sys.exit(0)
        except UsageError as error:
            separator = " " if str(error).endswith("?") else "; "
            sys.stderr.write(f"{self.program}: {error}{separator}see {self.program} -h\n")
            sys.exit(2)

    def usage(self) -> str:
        """Return the help text: the flags, and the environment variables that it reads."""
        lines = [f"Usage of {f'{self.program} {self.synopsis}'.rstrip()}:"]
        if self.summary:
            lines += [f"  {self.summary}", "", "Example:", f"  {self.example}", "", "Flags:"]
        for flag in self.flags:
            default = f" (default {flag.default!r})" if flag.default else ""
            lines += [f"  -{flag.name}{'' if flag.switch else ' value'}"]
            lines += [f"    \t{flag.help}{' (required)' if flag.required else default}"]
        return "\n".join(lines) + "\n" + variables_text(self.variables)


def parse_flags(
    arguments: Sequence[str],
    flags: Sequence[Flag],
    operands: list[str] | None = None,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Return the values of flags as Go parses them: ``-f v``, ``-f=v``, ``--f v``, ``--f=v``.

    Flags that are not given have their default. Other arguments are appended to ``operands``;
    without that list they are an error. ``elsewhere`` names the command of flags that are not of
    this one. Raises `UsageError` for them, for an unknown flag and for a missing value,
    `HelpWanted` for ``-h``, ``-help`` and ``--help``, and `VersionWanted` for ``-version`` and
    ``--version``.
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
            if name == "version":
                raise VersionWanted
            if name in elsewhere:
                raise UsageError(f"-{name} is a flag of {elsewhere[name]}")
            raise UsageError(
                f"flag provided but not defined: -{shown(name)}{_suggestion(name, values)}"
            )
        if name in switches:
            # A switch that was meant to be on must not be off in silence.
            if equals and value.lower() not in BOOLEANS:
                raise UsageError(f"invalid boolean value for -{name}: write true or false")
            value = "false" if equals and not BOOLEANS[value.lower()] else "true"
        elif not equals:
            if not rest:
                raise UsageError(f"flag needs an argument: -{name}")
            value = rest.pop(0)
        values[name] = value
    return values


def _take_operands(arguments: list[str], operands: list[str] | None) -> None:
    if operands is None and arguments:
        raise UsageError(f"unexpected argument '{shown(arguments[0])}'")
    if operands is not None:
        operands.extend(arguments)


def shown(text: str) -> str:
    """Return an argument as a message may show it: printable, short, without private keys."""
    text = printable(without_private_keys(text, "***"))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _suggestion(name: str, known: Collection[str]) -> str:
    found = similar(name.lstrip("-"), known)
    return f"; did you mean -{found}?" if found else ""


def similar(word: str, known: Collection[str]) -> str:
    """Return the known word that ``word`` is most likely meant to be, or nothing.

    That is the nearest one within a third of its letters, else the first that begins with it.
    """
    word = word[:_LONGEST_SHOWN].lower().replace("_", "-")
    found = nearest(word, known, max(2 if len(word) > 3 else 1, len(word) // 3)) if word else ""
    begun = (each for each in known if len(word) > 1 and each.startswith(word))
    return found or next(begun, "")


def variables_text(variables: Sequence[Variable]) -> str:
    """Return the part of a help text about environment variables; nothing without any."""
    lines = ["", "Environment variables:"] if variables else []
    for variable in variables:
        lines += [f"  {variable.name}"]
        lines += [f"    \t{variable.help}{' (required)' if variable.required else ''}"]
    return "".join(f"{line}\n" for line in lines)


def version_text() -> str:
    """Return what ``-version`` prints."""
    return f"mic {__version__}\n"

"""The tables of variables, flags and commands in the docs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from mic.cli.flags import Command
from mic.settings.model import Mode
from mic.settings.table import FLAGS, VARIABLES, Flag, Variable


def inserted(page: str, tables: Mapping[str, Iterable[str]]) -> str:
    """Return a page with the given tables, by name, in place of those that it has.

    A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. Raises
    `ValueError` if a mark is missing.
    """
    for name, rows in tables.items():
        text = "".join(f"{row}\n" for row in rows)
        page, found = re.subn(
            rf"(<!-- table: {name} -->\n).*?(<!-- end of table -->\n)",
            lambda match, text=text: f"{match[1]}{text}{match[2]}",
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"the page has no table of {name}")
    return page


def variables() -> Iterator[str]:
    """Yield the lines of the table of environment variables."""
    yield from ("| variable | meaning |", "|---|---|")
    for row in VARIABLES:
        yield f"| {_link(row.name)} | {_meaning(row)} |"


def flags() -> Iterator[str]:
    """Yield the lines of the table of flags."""
    yield from ("| flag | default | meaning |", "|---|---|---|")
    for row in FLAGS:
        default = f"`{row.default}`" if row.default else ""
        yield f"| {_link(f'-{row.name}')} | {default} | {_meaning(row)} |"


def commands(described: Mapping[str, Command]) -> Iterator[str]:
    """Yield the lines of the table of commands."""
    yield from ("| command | purpose |", "|---|---|")
    for command in described.values():
        usage = f"{command.program} {command.synopsis}".strip()
        yield f"| `{usage}` | {command.summary.removesuffix('.')} |"


def _link(name: str) -> str:
    return f"[`{name}`](#{name.lower()})"


def _meaning(row: Variable | Flag) -> str:
    notes = ["required"] * row.required
    notes += [f"{mode} mode" for mode in row.modes if row.modes != frozenset(Mode)]
    text = row.help.replace("|", "\\|").replace("*", "\\*")
    return f"{text} ({', '.join(notes)})" if notes else text

"""What README and docs promise is what there is: variables, flags, commands, fields of the log."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mic import cli
from mic.config import FLAGS, VARIABLES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
LEVELS = {"debug", "info", "warn", "error", "failure", "critical"}


@pytest.mark.parametrize("name", [variable.name for variable in VARIABLES])
def test_every_variable_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_flag_is_in_the_readme_with_its_default(flag) -> None:
    (row,) = [
        line
        for line in README.splitlines()
        if line.startswith("| `-") and f"`-{flag.name}`" in line
    ]
    assert not flag.default or f"`{flag.default}`" in row


def test_the_readme_names_no_flag_or_variable_that_is_not_there() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `")]
    known = {variable.name for variable in VARIABLES} | {f"-{flag.name}" for flag in FLAGS}
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert named == known


def test_every_command_is_in_the_usage() -> None:
    for command in cli._COMMANDS:
        assert re.search(rf"^  {command} ", cli._USAGE, re.MULTILINE)


def log_calls() -> Iterator[ast.Call]:
    for path in (ROOT / "mic").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                logger = ast.unparse(node.func.value)
                if node.func.attr in LEVELS and re.search(r"(_log|Logger\(.*\))$", logger):
                    yield node


def test_every_field_of_the_log_is_in_its_table_and_no_other() -> None:
    table = (ROOT / "docs/logging.md").read_text().partition("## What is logged")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    known = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    used = {str(keyword.arg) for call in log_calls() for keyword in call.keywords}
    # A named tuple becomes a field for each part.
    assert "key" in used
    used = used - {"key"} | {"namespace", "name"}
    everywhere = {"time", "level", "logger", "message", "traceback"}
    assert not used & everywhere
    assert known == used | everywhere


def test_every_event_of_ours_has_a_text_of_its_own_with_fields_by_name() -> None:
    """One without fields in it could not be searched for, and one made up before never redacted."""
    calls = list(log_calls())
    assert len(calls) > 25
    for call in calls:
        assert isinstance(call.args[0], ast.Constant), ast.unparse(call)

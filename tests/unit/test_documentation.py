"""What the README promises is what there is: variables, flags, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mic import cli
from mic.config import FLAGS, VARIABLES

README = (Path(__file__).parents[2] / "README.md").read_text()


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

"""Generated files are those that tools/generate.py writes."""

from __future__ import annotations

from pathlib import Path

import generate
import pytest
from reference import tables

from mic.settings.table import FLAGS, VARIABLES

FILES = generate.files()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_generated_file_is_current(path: Path) -> None:
    file = generate.ROOT / path
    assert file.exists(), f"run: {generate.COMMAND}"
    assert file.read_text() == FILES[path], f"run: {generate.COMMAND}"


def test_tables_have_a_row_for_each_setting() -> None:
    variables, flags = list(tables.variables()), list(tables.flags())
    assert len(variables) == len(VARIABLES) + 2
    assert len(flags) == len(FLAGS) + 2
    assert any("`DEPLOY_ISO`" in row and "(required)" in row for row in variables)
    assert any("`-images-bind-addr`" in row and "| `:8084` |" in row for row in flags)


def test_a_page_without_a_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="no table of flags"):
        tables.inserted("<!-- table: variables -->\n<!-- end of table -->\n", {"flags": []})

"""README and docs match the code: settings, commands, messages, fields of the log."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mic.cli import main as cli
from mic.settings.table import FLAGS, VARIABLES, Flag, Variable

ROOT = Path(__file__).parents[2]
CONFIGURE = (ROOT / "docs/configure.md").read_text()
TROUBLESHOOTING = (ROOT / "docs/troubleshooting.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("examples/*.md"), *(ROOT / "docs").rglob("*.md")])
ENTRIES = dict(re.findall(r"^### `([^`]+)`\n(.*?)(?=^##|\Z)", CONFIGURE, re.MULTILINE | re.DOTALL))
LEVELS = {"debug", "info", "warn", "error", "failure", "critical"}


def test_configuration_page_has_one_entry_per_setting() -> None:
    known = {variable.name for variable in VARIABLES} | {f"-{flag.name}" for flag in FLAGS}
    assert len(ENTRIES) == len(re.findall(r"^### ", CONFIGURE, re.MULTILINE))
    assert set(ENTRIES) == known


@pytest.mark.parametrize("name", ENTRIES)
def test_entries_state_default_form_example_and_errors(name: str) -> None:
    bullets = re.findall(r"^\* (\w+): ", ENTRIES[name], re.MULTILINE)
    # The text of "Wrong" may be a list below it.
    bullets += re.findall(r"^\* (Wrong):$", ENTRIES[name], re.MULTILINE)
    assert bullets == ["Default", "Form", "Example", "Wrong"]
    (example,) = re.findall(r"^\* Example: (.*)$", ENTRIES[name], re.MULTILINE)
    assert name in example


@pytest.mark.parametrize("row", [*VARIABLES, *FLAGS], ids=lambda row: row.name)
def test_an_entry_begins_with_the_help_text_of_its_row_and_its_mode(row: Variable | Flag) -> None:
    entry = ENTRIES[row.name if isinstance(row, Variable) else f"-{row.name}"]
    mode = f" ({next(iter(row.modes))} mode)" if len(row.modes) == 1 else ""
    assert entry.startswith(f"\n*{row.help}*{mode}\n\n")


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_entries_state_the_default_of_their_flag(flag) -> None:
    assert _default(f"-{flag.name}").startswith(f"`{flag.default}`" if flag.default else "")
    assert flag.default or _default(f"-{flag.name}").startswith(("empty", "none"))


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_entries_state_whether_their_variable_is_required(variable) -> None:
    assert ("required" in _default(variable.name)) == variable.required


def _default(name: str) -> str:
    (default,) = re.findall(r"^\* Default: (.*)$", ENTRIES[name], re.MULTILINE)
    return default


def test_quoted_messages_exist_in_the_source() -> None:
    """Check the tables of messages and the errors of settings, without their variable parts."""
    quoted = re.findall(r"^  \* `([^`]+)`", CONFIGURE, re.MULTILINE)
    for table in re.split(r"^\| mic says \|.*\n", TROUBLESHOOTING, flags=re.MULTILINE)[1:]:
        rows = table.partition("\n\n")[0].splitlines()[1:]
        quoted += [text for row in rows for text in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    assert len(quoted) > 100
    said = "\n".join(_texts_of_the_source())
    names = [f"-{flag.name}" for flag in FLAGS] + [variable.name for variable in VARIABLES]
    settings = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    wrong = []
    for text in quoted:
        # Text in <> is variable; the code inserts names of settings and numbers.
        parts = re.split(rf"<[^>]*>|…|(?<![\w-])(?:{settings})(?![\w-])|[0-9]+", text)
        if any(part not in said for part in map(str.strip, parts) if len(part) > 3):
            wrong.append(text)
    assert wrong == []


def _texts_of_the_source() -> Iterator[str]:
    for path in (ROOT / "mic").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                value = node.value
                yield value if isinstance(value, str) else value.decode(errors="replace")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_within_the_repository_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(ROOT), target
        assert there.exists(), target
        if anchor:
            assert anchor in _anchors(there.read_text()), target


def _anchors(text: str) -> set[str]:
    """Return the anchors that GitHub generates from headings."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        assert anchor not in found, f"two headings lead to #{anchor}"
        found.add(anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_named_by_a_page_exist(page: Path) -> None:
    # "deploy/NAME" alone may be a Deployment of Kubernetes.
    rooms = r"bench|tests|mic|docs|deploy/(?:kubernetes|systemd|monitoring)"
    names = re.findall(rf"(?<![\w/.-])(?:{rooms})/[\w*./-]*[\w*]", page.read_text())
    assert [name for name in names if not list(ROOT.glob(name))] == []


def test_usage_lists_every_command() -> None:
    for command in cli._COMMANDS:
        assert re.search(rf"^  {command} ", cli._USAGE, re.MULTILINE)


def log_calls() -> Iterator[ast.Call]:
    for path in (ROOT / "mic").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                logger = ast.unparse(node.func.value)
                if node.func.attr in LEVELS and re.search(r"(_log|Logger\(.*\))$", logger):
                    yield node


def test_table_of_log_fields_matches_the_source() -> None:
    table = (ROOT / "docs/logging.md").read_text().partition("## What is logged")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    known = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    used = {str(keyword.arg) for call in log_calls() for keyword in call.keywords}
    # A named tuple becomes one field per part.
    assert "key" in used
    used = used - {"key"} | {"namespace", "name"}
    everywhere = {"time", "level", "logger", "message", "traceback"}
    assert not used & everywhere
    assert known == used | everywhere


def test_log_events_have_constant_texts_with_named_fields() -> None:
    """A formatted text could neither be searched for nor redacted by field."""
    calls = list(log_calls())
    assert len(calls) > 25
    for call in calls:
        assert isinstance(call.args[0], ast.Constant), ast.unparse(call)

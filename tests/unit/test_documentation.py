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
CONFIGURE = (ROOT / "docs/configure.md").read_text()
TROUBLESHOOTING = (ROOT / "docs/troubleshooting.md").read_text()
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
ENTRIES = dict(re.findall(r"^### `([^`]+)`\n(.*?)(?=^##|\Z)", CONFIGURE, re.MULTILINE | re.DOTALL))
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


def test_the_page_on_configuration_has_an_entry_for_each_variable_and_flag_and_no_other() -> None:
    known = {variable.name for variable in VARIABLES} | {f"-{flag.name}" for flag in FLAGS}
    assert len(ENTRIES) == len(re.findall(r"^### ", CONFIGURE, re.MULTILINE))
    assert set(ENTRIES) == known


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_tells_default_form_an_example_and_what_goes_wrong(name: str) -> None:
    bullets = re.findall(r"^\* (\w+): ", ENTRIES[name], re.MULTILINE)
    # What follows "Wrong" may stand below it.
    bullets += re.findall(r"^\* (Wrong):$", ENTRIES[name], re.MULTILINE)
    assert bullets == ["Default", "Form", "Example", "Wrong"]
    (example,) = re.findall(r"^\* Example: (.*)$", ENTRIES[name], re.MULTILINE)
    assert name in example


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_an_entry_tells_the_default_of_its_flag(flag) -> None:
    assert _default(f"-{flag.name}").startswith(f"`{flag.default}`" if flag.default else "")
    assert flag.default or _default(f"-{flag.name}").startswith(("empty", "none"))


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_an_entry_tells_whether_its_variable_is_required(variable) -> None:
    assert ("required" in _default(variable.name)) == variable.required


def _default(name: str) -> str:
    (default,) = re.findall(r"^\* Default: (.*)$", ENTRIES[name], re.MULTILINE)
    return default


def test_what_the_pages_for_operators_quote_is_what_mic_says() -> None:
    """Their tables of messages, and what goes wrong with a setting: all but what differs."""
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
        # What stands in <> differs; names of settings and numbers are put in.
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
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
    """The anchors that GitHub makes of headings."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        assert anchor not in found, f"two headings lead to #{anchor}"
        found.add(anchor)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    # "deploy/NAME" alone may be a Deployment of Kubernetes.
    rooms = r"bench|tests|mic|docs|deploy/(?:kubernetes|systemd|monitoring)"
    names = re.findall(rf"(?<![\w/.-])(?:{rooms})/[\w*./-]*[\w*]", page.read_text())
    assert [name for name in names if not list(ROOT.glob(name))] == []


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

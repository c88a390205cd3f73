"""Explain errors of the YAML parser to authors of documents: the place, and what to change."""

from __future__ import annotations

import re
from typing import Any, Final

from mic.common.problems import DocumentInvalid, is_own_word, refusal

_LONGEST: Final = 60  # characters of a line

_TAB: Final = "found a tab: YAML indents with spaces"
_INDENTATION: Final = "wrong indentation?"

_WORDS: Final[tuple[tuple[str, str], ...]] = (
    # What the parser says begins with, and what that means.
    ("found a tab character", _TAB),
    (
        "mapping values are not allowed",
        "a second ':' in one line, or wrong indentation? A value with ': ' in it needs quotes",
    ),
    ("did not find expected key", _INDENTATION),
    ("did not find expected '-' indicator", _INDENTATION),
    ("block sequence entries are not allowed", f"a '-' where no list can begin: {_INDENTATION}"),
    ("could not find expected ':'", "a ':' is missing after a name, or wrong indentation?"),
    ("did not find expected ',' or ']'", "a ',' or the closing ']' is missing"),
    ("did not find expected ',' or '}'", "a ',' or the closing '}' is missing"),
    ("found unexpected end of stream", "a quote is not closed"),
    ("found unexpected document indicator", "a quote is not closed before the document ends"),
    (
        "did not find expected node content",
        "a value is missing, or a ',' or bracket is one too many",
    ),
    ("found undefined tag handle", "a value that begins with '!' needs quotes"),
    (
        "found unknown escape character",
        "a '\\' in double quotes: write '\\\\', or use single quotes",
    ),
    (
        "did not find expected alphabetic or numeric character",
        "a value that begins with '*' or '&' needs quotes",
    ),
    (
        "did not find expected <document start>",
        "text behind the end of the document, or a missing -",
    ),
)

_OWN_WORDS: Final = frozenset(words for _, words in _WORDS)
_OPEN: Final = ("is not closed", "']' is missing", "'}' is missing")
_MEMBER: Final = re.compile(r"\s*(?:- +)*\{?\"?([\w.-]+)\"?\s*:", re.ASCII)
_SECRET: Final = re.compile(r"(?i)pass|secret|psk|key|token|auth|cak|pin\b|802|cert|cred|private")


def explained(error: Any, text: str) -> DocumentInvalid:
    """Return the error of a document that the parser refused, a ``yaml.MarkedYAMLError``."""
    other = _other_format(text)
    if other:
        what = f"document: it is {other}: write NMState: interfaces, routes, dns-resolver"
        return refusal(what, what)
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return DocumentInvalid((f"document: {error.problem or 'not YAML'}",))
    where = f"document: line {mark.line + 1} column {mark.column + 1}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    why = _why(str(error.problem or "not YAML"), line, mark.column)
    began = error.context_mark
    if began is not None and began.line != mark.line and why.endswith(_OPEN):
        why = f"{why} (it began in line {began.line + 1})"
        # At the end of the text there is nothing to see.
        if not line.strip():
            mark, line = began, lines[began.line]
    shown = _shown(line)
    quoted = f"{where}: {why}: {shown}" if shown else f"{where}: {why}"
    # What is not in our words may quote the document.
    quiet = why if why.partition(" (")[0] in _OWN_WORDS else "cannot be used"
    return refusal(quoted, f"{where}: {quiet}", excerpt=_excerpt(shown, line, mark.column))


def _other_format(text: str) -> str:
    """Return what a text that is no YAML is, or nothing if unknown."""
    lines = (line.strip() for line in text.splitlines())
    first = next((line for line in lines if line and line[0] not in "#;"), "")
    if first == "[connection]":
        return "a keyfile of NetworkManager"
    return "an ifcfg file" if re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", first) else ""


def _why(problem: str, line: str, column: int) -> str:
    here = line[column : column + 1]
    before = line[: len(line) - len(line.lstrip())]
    if "\t" in before or here == "\t":
        return _TAB
    if problem.startswith("found character that cannot start any token") and here in (
        "@",
        "`",
        "%",
    ):
        return f"a value that begins with {here} needs quotes"
    return next((words for begin, words in _WORDS if problem.startswith(begin)), problem)


def _shown(line: str) -> str:
    """Return the line if it begins with a known member; nothing if it may hold a secret."""
    member = _MEMBER.match(line)
    if member is None or not is_own_word(member[1]) or _SECRET.search(line):
        return ""
    clean = "".join(char if char.isprintable() else "?" for char in line[: _LONGEST + 1].strip())
    return f"{clean[:_LONGEST]}..." if len(clean) > _LONGEST else clean


def _excerpt(shown: str, line: str, column: int) -> str:
    """Return the line with a caret below the place; nothing if the line is not shown."""
    indent = len(line) - len(line.lstrip())
    place = max(column - indent, 0)
    if not shown or place > len(shown):
        return ""
    return f"{shown}\n{' ' * place}^"

"""Error texts without the content of the document, for readers who must not see it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import nmstate_documents
import pytest
import yaml

from mic.common.problems import DocumentInvalid
from mic.nmstate.generator import keyfiles

DOCUMENTS = {
    name: yaml.safe_load(text)
    for name, text in vars(nmstate_documents).items()
    if name.isupper() and isinstance(text, str)
}

SECRETS: tuple[Any, ...] = (
    "hunter2",
    "root:hunter2:0:0:root:/root:/bin/bash",
    "a, expected hunter2",
    "unknown member a: found hunter2, expected hunter2",
    987654321987,
    -987654321987,
    9876.54321,
    "203.0.113.77",
    "2001:db8:77::77/129",
    ["hunter2"],
    {"hunter2": "hunter2"},
)
PARTS = ("hunter2", "98765432", "9876.5", "203.0.113", "db8:77")


def errors(document: bytes | str) -> tuple[str, ...]:
    """Return the error texts of a document without its content."""
    try:
        keyfiles(document)
    except DocumentInvalid as refusal:
        return refusal.without_content
    return ()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("interfaces:\n- name: 1", ("interfaces[0].name: expected a string",)),
        (
            "interfaces:\n- name: eth0\n  mtu: hunter2",
            ("interfaces[0].mtu: expected an integer from 0 to 18446744073709551615",),
        ),
        ("root:x:0:0:root:/root:/bin/bash", ("document: expected a mapping",)),
        (
            "a: b: c",
            (
                "document: line 1 column 5: a second ':' in one line, or wrong indentation? "
                "A value with ': ' in it needs quotes",
            ),
        ),
        ("a\n\tb: [", ("document: line 2 column 3: found a tab: YAML indents with spaces",)),
        ("@hunter2", ("document: line 1 column 1: cannot be used",)),
        (b"a: \xff", ("document: byte 3: cannot be used",)),
        ("!hunter2 a", ("document: line 1: cannot be used",)),
        ("*hunter2", ("document: line 1: cannot be used",)),
        ("? [hunter2]\n: a", ("document: line 1: cannot be used",)),
        ("a\n---\nb", ("document: cannot be used",)),
        (
            "interfaces:\n- {name: a, type: bond}",
            ("interfaces[0].link-aggregation: cannot be used",),
        ),
        (
            "interfaces: [{name: a, ethtool: {feature: {hunter2: hunter2}}}]",
            ("interfaces[0].ethtool.feature.***: expected a boolean",),
        ),
        ("routes: {hunter2: 1, hunter2: 2}", None),
    ],
)
def test_shows_the_place_and_the_expected_values(
    document: bytes | str, expected: tuple[str, ...] | None
) -> None:
    found = errors(document)
    assert found
    assert "hunter2" not in "".join(found)
    if expected is not None:
        assert found == expected


def test_hides_unknown_members() -> None:
    duplicate, unknown = errors("hunter2: 1\nhunter3: 2\nhunter3: 3")
    assert duplicate == "***: cannot be used"
    assert unknown.startswith("***: expected: description, hostname, ")
    (line,) = errors("interfaces: [{name: a, type: ethernet, hunter2: {a: b}}]")
    assert line.startswith("interfaces[0].***: expected: name, ")


def test_caps_the_number_of_problems() -> None:
    lines = errors(json.dumps({"interfaces": [{"name": 1}] * 99}))
    assert len(lines) == 51
    assert re.fullmatch("and [0-9]+ more problems", lines[-1])


def spoiled(tree: Any) -> Iterator[Any]:
    """Yield the document with each of its values and members replaced, one at a time."""
    root = [copy.deepcopy(tree)]
    todo: list[tuple[Any, Any]] = [(root, 0)]
    while todo:
        parent, key = todo.pop()
        value = parent[key]
        for secret in SECRETS:
            parent[key] = secret
            yield root[0]
        if isinstance(value, dict):
            for name in list(value):
                parent[key] = {"hunter2" if k == name else k: v for k, v in value.items()}
                yield root[0]
            parent[key] = {**value, "hunter2": "hunter2"}
            yield root[0]
            todo += [(value, name) for name in value]
        elif isinstance(value, list):
            todo += [(value, index) for index in range(len(value))]
        parent[key] = value


@pytest.mark.parametrize("name", DOCUMENTS)
def test_never_shows_content_of_a_document(name: str) -> None:
    refused = 0
    for tree in spoiled(DOCUMENTS[name]):
        lines = errors(json.dumps(tree))
        refused += bool(lines)
        text = "\n".join(lines)
        assert not any(part in text for part in PARTS), text
    assert refused > 100

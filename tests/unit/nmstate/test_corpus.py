"""The reference's answers: to the project's own documents, and to those of others if available."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path
from typing import Any

import pytest

from mic.common.errors import BuildInvalid
from mic.common.keyfile import Keyfile
from mic.nmstate import from_yaml, keyfiles

CORPUS = Path(__file__).with_name("corpus")
PAGE = (Path(__file__).parents[3] / "docs/design/nmstate.md").read_text()


def _own(name: str) -> list[dict[str, Any]]:
    text = lzma.decompress((CORPUS / f"{name}.jsonl.xz").read_bytes()).decode()
    records = [json.loads(line) for line in text.split("\n") if line]
    assert records
    return records


def _of_others(shared: Path, name: str) -> list[dict[str, Any]]:
    path = shared / "nmstate-corpus" / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip("the corpus is not available")
    return [json.loads(line) for line in path.read_text().splitlines()]


def _outcome(document: str) -> tuple[Keyfile, ...] | str:
    try:
        return keyfiles(document)
    except BuildInvalid as refusal:
        return str(refusal)


def _different(records: list[dict[str, Any]]) -> list[str]:
    return [
        record["name"]
        for record in records
        if _outcome(record["nmstate"]) != from_yaml(record["keyfiles"])
    ]


def _accepted(records: list[dict[str, Any]]) -> list[str]:
    return [
        record["name"] for record in records if not isinstance(_outcome(record["nmstate"]), str)
    ]


def test_writes_the_same_bytes_for_accepted_documents() -> None:
    assert not _different(_own("accepted"))


def test_refuses_rejected_documents() -> None:
    assert not _accepted(_own("rejected"))


def test_writes_the_same_bytes_for_documents_of_others(shared: Path) -> None:
    assert not _different(_of_others(shared, "accepted"))


def test_refuses_rejected_documents_of_others(shared: Path) -> None:
    assert not _accepted(_of_others(shared, "rejected"))


DIFFERENCES = {
    "Tags": "unsupported tag",
    "Aliases": "",
    "File names": "a file name ",
}
"""The differences in the corpus, by their name in the documentation, with mic's error text."""


def _difference(record: dict[str, Any]) -> str:
    prefixes = {"text-tag-": "Tags", "text-aliases-": "Aliases"}
    named = (name for prefix, name in prefixes.items() if record["name"].startswith(prefix))
    return next(named, "File names")


@pytest.mark.parametrize("record", _own("deliberate"), ids=lambda record: record["name"])
def test_differs_on_purpose(record: dict[str, Any]) -> None:
    outcome, reason = _outcome(record["nmstate"]), DIFFERENCES[_difference(record)]
    if reason:
        assert record["reference"] == "accepted"
        assert isinstance(outcome, str)
        assert reason in outcome
    else:
        assert record["reference"] == "rejected"
        assert not isinstance(outcome, str)


def test_lists_all_differences_in_the_documentation() -> None:
    section = PAGE.partition("## What differs on purpose\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\* \*\*([^*]+)\*\*", section, re.MULTILINE))
    shown_elsewhere = {"Limits", "Lists in place of mappings", "Chance"}
    assert listed == {*DIFFERENCES, *shown_elsewhere}
    assert {_difference(record) for record in _own("deliberate")} == set(DIFFERENCES)

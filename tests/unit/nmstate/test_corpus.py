"""The reference's answers to many documents, where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mic.nmstate import NMStateInvalid, from_yaml, keyfiles


def _records(shared: Path, name: str) -> list[dict[str, Any]]:
    path = shared / "nmstate-corpus" / name
    if not path.is_file():
        pytest.skip("the corpus is not here")
    return [json.loads(line) for line in path.read_text().splitlines()]


def _outcome(document: str) -> object:
    try:
        return keyfiles(document)
    except NMStateInvalid as refusal:
        return str(refusal)


def test_accepted_documents_give_the_same_bytes(shared: Path) -> None:
    records = _records(shared, "accepted.jsonl")
    assert records
    different = [
        record["name"]
        for record in records
        if _outcome(record["nmstate"]) != from_yaml(record["keyfiles"])
    ]
    assert not different


def test_rejected_documents_are_refused(shared: Path) -> None:
    records = _records(shared, "rejected.jsonl")
    assert records
    accepted = [
        record["name"] for record in records if not isinstance(_outcome(record["nmstate"]), str)
    ]
    assert not accepted

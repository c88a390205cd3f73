"""constraints.txt has a version of each required library that setup.py allows, with hashes."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def test_constraints_fit_the_requirements() -> None:
    text = (ROOT / "constraints.txt").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))
    listed = (ROOT / "setup.py").read_text().partition("install_requires=[")[2].partition("],\n")[0]
    required = re.findall(r'^ *"([a-z-]+)(?:\[\w+\])?(>=[\w.]+)",$', listed, re.MULTILINE)
    assert len(required) > 5
    for name, versions in required:
        assert Requirement(f"{name}{versions}").specifier.contains(pinned[name]), (
            f"{name}: run tools/refresh-constraints"
        )


def test_each_pinned_version_has_a_hash() -> None:
    entries = re.split(
        r"^(?=[\w.-]+==)", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE
    )
    for entry in entries[1:]:
        assert "--hash=sha256:" in entry

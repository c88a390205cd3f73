"""The output format of nmstatectl."""

from __future__ import annotations

import pytest
import yaml

from mic.common.keyfile import Keyfile
from mic.common.problems import DocumentInvalid
from mic.nmstate import from_yaml, to_yaml

TRICKY = (
    *("", "\n", "a", "a\n", "a\n\n", " a\n", "\ta\n", "a: b\n\n  c\n", "\u00e9\u2028\x07\n"),
    *("a\r\nb\n", '"\\', "# x\n", "\U0001f4bb\n", "a \n", "-\n---\n"),
)


def test_writes_the_format_of_nmstatectl() -> None:
    listing = to_yaml([Keyfile(name="eth0.nmconnection", content="[a]\nb=1\n\n[c]\n")])
    assert (
        listing
        == """\
NetworkManager:
- - eth0.nmconnection
  - |
    [a]
    b=1

    [c]
"""
    )
    assert to_yaml([]) == "NetworkManager: []\n"


@pytest.mark.parametrize("text", TRICKY)
def test_reads_back_any_text(text: str) -> None:
    keyfiles = (Keyfile(name=f"x{text}", content=text), Keyfile(name="null", content="yes"))
    listing = to_yaml(keyfiles)
    assert from_yaml(listing) == keyfiles
    pairs = [[keyfile.name, keyfile.content] for keyfile in keyfiles]
    assert yaml.safe_load(listing) == {"NetworkManager": pairs}


@pytest.mark.parametrize("line", ["route1=198.51.100.0/24\n", "a: \x07"])
def test_reads_keyfiles_that_are_longer_than_any_value_of_a_document(line: str) -> None:
    keyfiles = (Keyfile(name="x", content=line * 60_000),)
    assert from_yaml(to_yaml(keyfiles)) == keyfiles


@pytest.mark.parametrize("listing", ["", "{}", "NetworkManager: []", "---\n"])
def test_reads_empty_listings(listing: str) -> None:
    assert from_yaml(listing) == ()


@pytest.mark.parametrize(
    "listing", ["[]", "a", "Ifcfg: []", "NetworkManager: {}", "NetworkManager: [[a]]"]
)
def test_rejects_malformed_listings(listing: str) -> None:
    with pytest.raises(DocumentInvalid):
        from_yaml(listing)

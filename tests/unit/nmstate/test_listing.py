"""nmstatectl's output format, written and read."""

from __future__ import annotations

import pytest
import yaml

from mic.nmstate import Keyfile, NMStateInvalid, from_yaml, to_yaml

TRICKY = (
    *("", "\n", "a", "a\n", "a\n\n", " a\n", "\ta\n", "a: b\n\n  c\n", "\u00e9\u2028\x07\n"),
    *("a\r\nb\n", '"\\', "# x\n", "\U0001f4bb\n", "a \n", "-\n---\n"),
)


def test_format() -> None:
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
def test_everything_survives(text: str) -> None:
    keyfiles = (Keyfile(name=f"x{text}", content=text), Keyfile(name="null", content="yes"))
    listing = to_yaml(keyfiles)
    assert from_yaml(listing) == keyfiles
    pairs = [[keyfile.name, keyfile.content] for keyfile in keyfiles]
    assert yaml.safe_load(listing) == {"NetworkManager": pairs}


@pytest.mark.parametrize("listing", ["", "{}", "NetworkManager: []", "---\n"])
def test_nothing(listing: str) -> None:
    assert from_yaml(listing) == ()


@pytest.mark.parametrize(
    "listing", ["[]", "a", "Ifcfg: []", "NetworkManager: {}", "NetworkManager: [[a]]"]
)
def test_no_listing(listing: str) -> None:
    with pytest.raises(NMStateInvalid):
        from_yaml(listing)

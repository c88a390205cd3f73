"""Helpers for tests of the NMState conversion."""

from __future__ import annotations

import pytest

from mic.common.problems import DocumentInvalid
from mic.nmstate import keyfiles

Sections = dict[str, dict[str, str]]


def made(document: str) -> dict[str, str]:
    """Return the texts of the keyfiles by the name of the file without its extension."""
    return {
        keyfile.name.removesuffix(".nmconnection"): keyfile.content
        for keyfile in keyfiles(document)
    }


def sections(document: str, name: str = "eth0") -> Sections:
    """Return the settings of one keyfile by section."""
    found: Sections = {}
    settings: dict[str, str] = {}
    for line in made(document)[name].splitlines():
        if line.startswith("["):
            settings = found[line.strip("[]")] = {}
        elif line:
            key, _, value = line.partition("=")
            settings[key] = value
    return found


def refusal(document: str | bytes) -> str:
    """Return the error text of a document that is refused."""
    with pytest.raises(DocumentInvalid) as refused:
        keyfiles(document)
    return str(refused.value)


def interface(members: str, name: str = "eth0", kind: str = "ethernet") -> str:
    """Return a document with one interface; ``members`` are lines of YAML."""
    lines = "".join(f"  {line}\n" for line in members.splitlines())
    return f"interfaces:\n- name: {name}\n  type: {kind}\n  state: up\n{lines}"


STATIC = """\
ipv4:
  enabled: true
  address: [{ip: 192.0.2.5, prefix-length: 24}]
ipv6:
  enabled: true
  address: [{ip: "2001:db8::5", prefix-length: 64}]
"""
"""Members of an interface with an address of each version."""

"""Helpers of the tests of NMState conversion."""

from __future__ import annotations

import pytest

from mic.nmstate import NMStateInvalid, keyfiles

Sections = dict[str, dict[str, str]]


def made(document: str) -> dict[str, str]:
    """Keyfile texts by the interface's name (the file's name without its ending)."""
    return {
        keyfile.name.removesuffix(".nmconnection"): keyfile.content
        for keyfile in keyfiles(document)
    }


def sections(document: str, name: str = "eth0") -> Sections:
    """The settings of one keyfile, by section."""
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
    """What a document is refused with."""
    with pytest.raises(NMStateInvalid) as refused:
        keyfiles(document)
    return str(refused.value)


def interface(members: str, name: str = "eth0", kind: str = "ethernet") -> str:
    """A document with one interface; ``members`` are lines of YAML."""
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

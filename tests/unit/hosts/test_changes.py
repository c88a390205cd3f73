"""What changed between two versions of an image: names, no values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mic.common.keyfile import Keyfile
from mic.hosts.changes import changes
from mic.ignition import Agent, Host, config
from mic.ignition.extra import parse
from mic.media.cpio import archive
from mic.media.customisation import Customisation
from mic.media.kernel_arguments import ArgumentEdits

AGENT = Agent(image="i", ironic_urls=("http://192.0.2.1",))
HOST = Host(name="w", keyfiles=(Keyfile(name="eth0.nmconnection", content="secret=1"),))


def made(agent: Agent = AGENT, host: Host = HOST, **more: Any) -> Customisation:
    return Customisation(archive(config(agent, host)), **more)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (made(), ""),
        (
            made(host=replace(HOST, keyfiles=(Keyfile(name="eth0.nmconnection", content="x"),))),
            "keyfiles eth0.nmconnection",
        ),
        (made(replace(AGENT, pull_secret=b"{}")), "pull secret, ironic-agent.service"),
        (made(replace(AGENT, ironic_urls=("http://192.0.2.2",))), "agent settings, /etc/motd.d"),
        (made(replace(AGENT, ssh_keys=("ssh-ed25519 A",))), "SSH keys"),
        (
            made(host=replace(HOST, extra=(parse(b'{"ignition":{"version":"3.0.0"}}', "x"),))),
            "Ignition",
        ),
        (made(kernel_arguments=(ArgumentEdits((), ("quiet",)),)), "kernel arguments"),
        (made(early_network=True), "network in the initramfs"),
    ],
)
def test_names_what_differs(after: Customisation, expected: str) -> None:
    found = changes(made(), after)
    for name in expected.split(", "):
        assert name in found
    assert bool(found) == bool(expected)
    assert "secret=" not in found
    assert changes(after, made()) == found


def test_shows_a_few_names_only() -> None:
    keyfiles = tuple(Keyfile(name=f"eth{n}.nmconnection", content="") for n in range(30))
    found = changes(made(host=Host(name="w")), made(host=Host(name="w", keyfiles=keyfiles)))
    assert "and 22 more" in found
    assert len(found) < 400

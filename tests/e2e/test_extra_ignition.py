"""Extra Ignition configs, merged by the real Ignition on a scratch root."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from e2e import ignition
from e2e.hosts import NAMED_HOST, PLAIN_AGENT

from mic.ignition import config
from mic.ignition.extra import ExtraConfig, parse
from mic.ignition.unit import AGENT_CONF, NAME


def extra(name: str, version: str = "3.2.0", **members: Any) -> ExtraConfig:
    return parse(json.dumps({"ignition": {"version": version}, **members}).encode(), name)


def file(path: str, text: str, **members: Any) -> dict[str, Any]:
    return {"path": path, "contents": {"source": f"data:,{text}"}, "mode": 0o644, **members}


@pytest.fixture
def tree(scratch: Path) -> Path:
    root = scratch / "root"
    root.mkdir()
    ignition.scratch_root(root)
    return root


def apply(
    tree: Path, scratch: Path, *, for_all: tuple[ExtraConfig, ...], own: tuple[ExtraConfig, ...]
) -> None:
    text = config(replace(PLAIN_AGENT, extra=for_all), replace(NAMED_HOST, extra=own))
    ignition.apply(text, tree, scratch)


def test_later_configs_win_over_earlier_ones_and_all_over_ours(tree: Path, scratch: Path) -> None:
    shared = [
        extra("a", storage={"files": [file("/etc/one", "a"), file("/etc/two", "a")]}),
        extra("b", storage={"files": [file("/etc/two", "b"), file("/etc/three", "b")]}),
    ]
    own = extra(
        "own",
        version="3.3.0",
        storage={
            "files": [file("/etc/three", "own"), file(AGENT_CONF, "mine", overwrite=True)],
            "links": [{"path": "/etc/link", "target": "/etc/one"}],
        },
    )
    apply(tree, scratch, for_all=tuple(shared), own=(own,))
    found = {name: (tree / "etc" / name).read_text() for name in ("one", "two", "three")}
    assert found == {"one": "a", "two": "b", "three": "own"}
    assert (tree / AGENT_CONF.lstrip("/")).read_text() == "mine"
    assert (tree / "etc/link").readlink() == Path("/etc/one")


def test_units_drop_ins_users_and_appended_text_are_merged(tree: Path, scratch: Path) -> None:
    own = extra(
        "own",
        storage={
            "files": [{"path": "/etc/chrony.conf", "append": [{"source": "data:,%0Amore%0A"}]}]
        },
        systemd={
            "units": [
                {
                    "name": "my.service",
                    "enabled": True,
                    "contents": "[Service]\nExecStart=/bin/true\n",
                },
                {
                    "name": NAME,
                    "dropins": [{"name": "10-my.conf", "contents": "[Service]\nNice=5\n"}],
                },
            ]
        },
        passwd={"users": [{"name": "core", "sshAuthorizedKeys": ["ssh-ed25519 AAAA own"]}]},
    )
    apply(tree, scratch, for_all=(), own=(own,))
    units = tree / "etc/systemd/system"
    assert "ExecStart=/bin/true" in (units / "my.service").read_text()
    assert (units / NAME).is_file(), "ours stays"
    assert (units / f"{NAME}.d/10-my.conf").read_text() == "[Service]\nNice=5\n"
    assert (tree / "etc/chrony.conf").read_text().endswith("\nmore\n")
    keys = list((tree / "home/core/.ssh").rglob("*"))
    assert any("AAAA own" in key.read_text() for key in keys if key.is_file())


def test_a_config_that_ignition_refuses_stops_the_boot(tree: Path, scratch: Path) -> None:
    """mic checks the form of a config only: what it means is for Ignition to judge."""
    bad = extra("bad", storage={"files": [{"path": "relative"}]})
    with pytest.raises(subprocess.CalledProcessError):
        apply(tree, scratch, for_all=(), own=(bad,))

"""The configs that go into images, judged and applied by the real Ignition and systemd.

What is in them is the subject of the unit tests; here it is what becomes of it on a disk.
"""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from e2e import ignition, parts
from e2e.hosts import (
    AWKWARD,
    CONFIGS,
    ETHERNET,
    FULL_AGENT,
    NAMED_HOST,
    ODD_HOST,
    ODD_KEYFILE,
    PEM,
    PLAIN_AGENT,
    PULL_SECRET,
)

from mic.ignition import config
from mic.ignition.unit import NAME, agent_unit

_CONNECTIONS = "etc/NetworkManager/system-connections"
_MINUTE = 60.0


@pytest.fixture
def applied(request: pytest.FixtureRequest, scratch: Path) -> tuple[dict[str, Any], Path]:
    """A config, and the tree that Ignition made of it."""
    text = config(*CONFIGS[request.param])
    tree = scratch / "root"
    tree.mkdir()
    ignition.scratch_root(tree)
    ignition.apply(text, tree, scratch)
    return json.loads(text), tree


@pytest.mark.parametrize("name", CONFIGS)
def test_ignition_has_nothing_to_say_against_a_config(name: str, tmp_path: Path) -> None:
    file = tmp_path / "config.ign"
    file.write_bytes(config(*CONFIGS[name]))
    assert ignition.validate(file) == ""


def test_ignition_does_complain_of_a_config_that_is_not_right(tmp_path: Path) -> None:
    file = tmp_path / "config.ign"
    value = json.loads(config(PLAIN_AGENT, NAMED_HOST))
    value["storage"]["flies"] = []
    file.write_text(json.dumps(value))
    assert "flies" in ignition.validate(file)


@pytest.mark.parametrize("applied", CONFIGS, indirect=True)
def test_ignition_writes_every_file_as_the_config_says(
    applied: tuple[dict[str, Any], Path],
) -> None:
    value, tree = applied
    for file in value["storage"]["files"]:
        path = tree / file["path"].lstrip("/")
        assert stat.S_IMODE(path.stat().st_mode) == file["mode"], path
        if "contents" in file:
            assert path.read_bytes() == _data(file["contents"]["source"]), path
    (unit,) = value["systemd"]["units"]
    assert (tree / "etc/systemd/system" / NAME).read_text() == unit["contents"]


@pytest.mark.parametrize("applied", ["everything"], indirect=True)
def test_what_was_configured_is_where_the_contract_wants_it(
    applied: tuple[dict[str, Any], Path],
) -> None:
    _, tree = applied

    def content(path: str, mode: int) -> bytes:
        assert stat.S_IMODE((tree / path).stat().st_mode) == mode, path
        return (tree / path).read_bytes()

    assert content("etc/authfile.json", 0o600) == PULL_SECRET
    assert content("etc/pki/ca-trust/source/anchors/ca.crt", 0o644) == PEM
    assert content("etc/containers/registries.conf", 0o644) == FULL_AGENT.registries_conf
    assert content(f"{_CONNECTIONS}/{ETHERNET.name}", 0o600) == ETHERNET.content.encode()
    assert content(f"{_CONNECTIONS}/{ODD_KEYFILE.name}", 0o600) == ODD_KEYFILE.content.encode()
    assert len(list((tree / _CONNECTIONS).iterdir())) == 2
    assert content("etc/chrony.conf", 0o644) == (
        b"# without a newline at its end\nserver ntp1.example iburst\nserver 2001:db8::123 iburst\n"
    )
    hook = tree / "etc/NetworkManager/dispatcher.d/01-hostname"
    assert stat.S_IMODE(hook.stat().st_mode) == 0o744
    keys = b"".join(file.read_bytes() for file in _authorized_keys(tree))
    assert all(key.encode() in keys.splitlines() for key in FULL_AGENT.ssh_keys)


@pytest.mark.parametrize("applied", ["named"], indirect=True)
def test_the_agent_is_enabled(applied: tuple[dict[str, Any], Path]) -> None:
    _, tree = applied
    systemctl = parts.program("systemctl", "systemd")
    # At a first boot systemd applies the presets; Ignition leaves a preset file.
    for command in (["preset", NAME], ["is-enabled", NAME]):
        run = subprocess.run(
            [systemctl, f"--root={tree}", *command],
            capture_output=True,
            text=True,
            timeout=_MINUTE,
            check=True,
        )
    assert run.stdout.strip() == "enabled"
    link = tree / "etc/systemd/system/multi-user.target.wants" / NAME
    assert link.readlink() == Path("/etc/systemd/system") / NAME


@pytest.mark.parametrize("name", CONFIGS)
def test_systemd_finds_no_fault_with_the_unit(name: str, tmp_path: Path) -> None:
    agent, host = CONFIGS[name]
    text = agent_unit(agent, host_name=host.name, copy_network=bool(host.keyfiles))
    complaints = _verify(text, tmp_path)
    # The only thing that this machine lacks.
    assert [line for line in complaints if "podman is not executable" not in line] == []


def test_systemd_does_find_a_fault(tmp_path: Path) -> None:
    text = agent_unit(PLAIN_AGENT, host_name="", copy_network=False)
    broken = text.replace("TimeoutStartSec=0", "TimeoutStartSec=never").replace(
        "[Service]", "[Service]\nStartLimitIntervalSec=0"
    )
    complaints = "\n".join(_verify(broken, tmp_path))
    assert "TimeoutStartSec" in complaints
    assert "StartLimitIntervalSec" in complaints


def test_the_awkward_values_are_awkward() -> None:
    """Otherwise the tests above and the bring-up prove nothing."""
    text = agent_unit(FULL_AGENT, host_name=ODD_HOST.name, copy_network=True)
    assert AWKWARD not in text
    assert all(character in AWKWARD for character in "%$\"'\\`;")


def _verify(unit: str, directory: Path) -> list[str]:
    analyze = parts.program("systemd-analyze", "systemd")
    file = directory / NAME
    file.write_text(unit)
    run = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", file],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_MINUTE,
        check=False,
    )
    return run.stdout.splitlines()


def _data(url: str) -> bytes:
    scheme, _, data = url.partition(",")
    assert scheme == "data:"
    return unquote_to_bytes(data)


def _authorized_keys(tree: Path) -> list[Path]:
    ssh = tree / "home/core/.ssh"
    return [path for path in ssh.rglob("*") if path.is_file()]

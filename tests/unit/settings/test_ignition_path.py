"""``MIC_IGNITION``: a file or a directory, read anew for each build."""

from __future__ import annotations

from pathlib import Path

import pytest

from mic.common.errors import BuildInvalid, ConfigError
from mic.ignition import Agent
from mic.settings.model import AgentSettings
from mic.settings.read import ignition_path, read_agent

CONFIG = b'{"ignition": {"version": "3.2.0"}}'


def sources(path: Path) -> list[str]:
    agent = read_agent(AgentSettings(agent=Agent(image="i"), ignition=str(path)))
    return [config.source for config in agent.extra]


def test_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_bytes(CONFIG)
    assert sources(path) == [str(path)]


def test_reads_a_directory_by_name_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("20.ign", "10.ign", ".hidden.ign", "..data.ign", "notes.txt", "30.ign~"):
        (tmp_path / name).write_bytes(CONFIG)
    assert sources(tmp_path) == [str(tmp_path / "10.ign"), str(tmp_path / "20.ign")]


def test_an_empty_directory_is_no_config(tmp_path: Path) -> None:
    assert sources(tmp_path) == []


def test_reports_every_problem_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.ign").write_text("variant: fcos\n")
    (tmp_path / "b.ign").write_text('{"ignition": {"version": "2.3.0"}}')
    with pytest.raises(ConfigError) as refused:
        ignition_path("MIC_IGNITION", str(tmp_path))
    one, other = refused.value.problems
    assert one.startswith(f"MIC_IGNITION: {tmp_path / 'a.ign'}: is YAML")
    assert other.startswith(f"MIC_IGNITION: {tmp_path / 'b.ign'}: Ignition version '2.3.0'")


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        ignition_path("MIC_IGNITION", str(tmp_path / "none.ign"))


def test_a_file_that_breaks_later_is_a_build_error(tmp_path: Path) -> None:
    path = tmp_path / "all.ign"
    path.write_bytes(CONFIG)
    ignition_path("MIC_IGNITION", str(path))
    path.write_bytes(b"{")
    with pytest.raises(BuildInvalid, match=r"all\.ign: is not valid JSON at line 1 column 2"):
        sources(path)

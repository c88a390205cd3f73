"""Settings that are usable although others are not, for commands that report instead of start."""

from __future__ import annotations

from pathlib import Path

from settings_support import problems_of

from mic.settings.load import inspect, inspect_agent, load
from mic.settings.model import Backend, Mode, Tcp


def test_good_settings_are_those_that_are_loaded(
    environment: dict[str, str], flags: dict[str, str]
) -> None:
    found = inspect(Mode.STATIC, environment, flags)
    assert found.problems == ()
    assert found.settings == load(Mode.STATIC, environment, flags)


def test_bad_ones_have_defaults_and_the_problems_of_an_error(
    environment: dict[str, str], flags: dict[str, str], tmp_path: Path
) -> None:
    environment |= {"DEPLOY_ISO": str(tmp_path / "none"), "IRONIC_BASE_URL": "http://192.0.2.1"}
    del environment["IRONIC_AGENT_IMAGE"]
    flags["images-bind-addr"] = "8084"
    found = inspect(Mode.STATIC, environment, flags)
    assert list(found.problems) == problems_of(environment, flags)
    assert len(found.problems) == 3
    assert found.settings.bases.iso == found.settings.agent.agent.image == ""
    assert found.settings.bind == Tcp(host="", port=0)
    assert found.settings.agent.agent.ironic_urls == ("http://192.0.2.1",)
    assert found.settings.nmstate_dir == flags["nmstate-dir"]


def test_warns_although_there_are_problems() -> None:
    found = inspect(Mode.STATIC, {"IRONIC_BASEURL": "x"}, {})
    assert "IRONIC_BASEURL: did you mean IRONIC_BASE_URL?" in "".join(found.settings.warnings)


def test_a_document_alone_requires_nothing() -> None:
    found = inspect_agent({})
    assert found.problems == ()
    assert found.settings.agent.agent.ironic_urls == ()
    assert found.settings.nmstate_backend is Backend.BUILTIN
    # Variables that say nothing about documents are not read.
    assert inspect_agent({"DEPLOY_ISO": "/none", "MIC_MAX_DOWNLOADS": "x"}).problems == ()


def test_the_agents_settings_are_read_for_a_document_alone() -> None:
    found = inspect_agent({"IRONIC_BASE_URL": "http://192.0.2.1", "IRONIC_AGENT_IMAGE": "a/b"})
    assert found.settings.agent.agent.ironic_urls == ("http://192.0.2.1",)
    assert found.settings.agent.agent.image == "a/b"
    (problem,) = inspect_agent({"IRONIC_BASE_URL": "192.0.2.1"}).problems
    assert problem.startswith("IRONIC_BASE_URL: ")

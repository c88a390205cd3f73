"""The table of settings fits the values that `load` makes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields

from mic.ignition import Agent
from mic.media.catalog import BasePaths
from mic.settings.model import AgentSettings, LogSettings, Mode, Settings
from mic.settings.table import FLAGS, VARIABLES, flags_of, variables_of
from mic.tls.certificate import Tls

PARTS = {"bases": BasePaths, "agent": Agent, "files": AgentSettings, "log": LogSettings, "tls": Tls}


def test_each_name_has_one_row() -> None:
    names = [variable.name for variable in VARIABLES] + [f"-{flag.name}" for flag in FLAGS]
    assert [name for name, rows in Counter(names).items() if rows > 1] == []


def test_each_row_leads_to_a_field() -> None:
    for row in (*VARIABLES, *FLAGS):
        part, _, name = row.field.rpartition(".")
        if part != "url_key":  # the file's name, for a check that needs -leader-elect too
            assert name in {field.name for field in fields(PARTS.get(part, Settings))}, row.name


def test_every_field_has_a_row_but_those_that_are_derived() -> None:
    derived = {
        *("mode", "bases", "agent", "log", "tls", "url_key", "host_architecture", "warnings"),
        *("pull_secret_file", "image_names_are_secret"),
    }
    read = {row.field.rpartition(".")[2] for row in (*VARIABLES, *FLAGS)}
    for kind in (Settings, *PARTS.values()):
        contents = (
            {"registries_conf", "ca_bundle", "ironic_ca_bundle", "extra"}
            if kind is Agent
            else set()
        )
        assert {field.name for field in fields(kind)} - derived - contents <= read, kind


def test_each_row_has_a_help_text_of_one_line() -> None:
    for row in (*VARIABLES, *FLAGS):
        assert row.help.strip() == row.help != ""
        assert row.help.isprintable()


def test_a_mode_has_its_own_rows_only() -> None:
    assert {flag.name for flag in FLAGS} - {flag.name for flag in flags_of(Mode.STATIC)} == {
        *("namespace", "kubeconfig", "leader-elect")
    }
    assert {flag.name for flag in FLAGS} - {flag.name for flag in flags_of(Mode.CONTROLLER)} == {
        "nmstate-dir"
    }
    assert {row.name for row in VARIABLES} - {row.name for row in variables_of(Mode.STATIC)} == {
        *("WATCH_NAMESPACE", "KUBECONFIG", "MIC_URL_KEY_FILE", "MIC_IPXE")
    }
    assert variables_of(Mode.CONTROLLER) == VARIABLES

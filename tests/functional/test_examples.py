"""The files of examples/, used as their comments say; test_controller_mode applies the objects."""

from __future__ import annotations

import configparser
import json
import shlex
from pathlib import Path

import pytest
import yaml
from certificates import issue
from forkserver import run
from functional.daemon import ROOT

from mic.cli.demo import write_samples
from mic.cli.flags import parse_flags
from mic.settings.model import Mode
from mic.settings.table import VARIABLES, flags_of

EXAMPLES = ROOT / "examples"
DOCUMENTS = sorted(EXAMPLES.glob("nmstate/*.yaml"))


def test_documents_convert_without_a_warning() -> None:
    done = run("check", "-strict", *DOCUMENTS)
    assert done.stdout == f"{len(DOCUMENTS)} files: 0 errors, 0 warnings\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("name", "keyfiles", "lines"),
    [
        ("dhcp", "eno1", ["method=auto"]),
        ("static", "eno1", ["address0=192.0.2.10/24", "dns=192.0.2.53;192.0.2.54"]),
        ("bond-vlan", "bond0 bond0.100 eno1 eno2", ["mode=802.3ad", "parent=bond0", "id=100"]),
        ("dual-stack", "eno1", ["address0=192.0.2.10/24", "address0=2001:db8:0:2::10/64"]),
        ("bridge", "br0 eno1", ["type=bridge", "slave-type=bridge"]),
        ("by-mac-address", "provisioning", ["mac-address=52:54:00:12:34:56"]),
    ],
)
def test_documents_give_the_keyfiles_that_they_are_about(
    name: str, keyfiles: str, lines: list[str]
) -> None:
    made = yaml.safe_load(run("keyfiles", EXAMPLES / f"nmstate/{name}.yaml").stdout)
    found = dict(made["NetworkManager"])
    assert set(found) == {f"{keyfile}.nmconnection" for keyfile in keyfiles.split()}
    text = "\n".join(found.values()).splitlines()
    for line in lines:
        assert line in text


def test_every_document_is_tested_and_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for document in DOCUMENTS:
        assert f"(nmstate/{document.name})" in listed
    assert len(DOCUMENTS) == 6


def environment_file(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_images_of_a_disconnected_site_carry_its_settings(tmp_path: Path) -> None:
    settings = environment_file(EXAMPLES / "disconnected/mic.env")
    assert settings.keys() <= {row.name for row in VARIABLES}
    write_samples(str(tmp_path))
    etc = tmp_path / "etc"
    etc.mkdir()
    certificate, _ = issue(name="registry.example.com").write(etc)
    certificate.rename(etc / "ca.crt")
    (etc / "registries.conf").write_bytes((EXAMPLES / "disconnected/registries.conf").read_bytes())
    environment = {
        name: value.replace("/etc/mic", str(etc)).replace("/srv/mic", str(tmp_path))
        for name, value in settings.items()
    }
    host, image = EXAMPLES / "nmstate/static.yaml", tmp_path / "static.iso"
    assert run("check", host, environment=environment).stdout == "1 file: 0 errors, 0 warnings\n"
    built = run("build", host, "-output", image, environment=environment)
    assert (built.returncode, built.stderr) == (0, "")
    shown = run("show", "-show-secrets", image).stdout
    assert 'location = "registry.example.com:5000/metal3-io"' in shown
    assert json.dumps({"registry.example.com:5000": {"auth": "dXNlcjpwYXNzd29yZA=="}}) in shown
    assert shown.count("-----BEGIN CERTIFICATE-----") == 2
    assert "server 192.0.2.123 iburst" in shown
    assert "insecure = False" in shown


def test_quadlet_and_compose_file_start_the_same_container() -> None:
    quadlet = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    quadlet.optionxform = str  # type: ignore[assignment,method-assign]
    quadlet.read(EXAMPLES / "podman/mic.container")
    unit = quadlet["Container"]
    service = yaml.safe_load((EXAMPLES / "podman/compose.yaml").read_text())["services"]["mic"]
    program, *arguments = shlex.split(unit["Exec"])
    given = parse_flags(arguments, flags_of(Mode.STATIC))
    assert given == parse_flags(service["command"][1:], flags_of(Mode.STATIC))
    assert given["nmstate-dir"] == "/etc/mic/hosts"
    assert service["command"][0] == program
    assert program.removeprefix("/") in (ROOT / "setup.py").read_text()
    assert service["image"] == unit["Image"]
    assert service["env_file"] == unit["EnvironmentFile"]
    assert service["ports"] == [unit["PublishPort"]]
    # A duplicate key of a unit is a list; this parser keeps the last.
    assert service["volumes"][-1] == unit["Volume"]
    assert service["user"] == unit["User"]
    assert (service["read_only"], unit["ReadOnly"]) == (True, "true")
    assert service["cap_drop"] == [unit["DropCapability"].upper()]

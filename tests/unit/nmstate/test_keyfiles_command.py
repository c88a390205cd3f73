"""The command ``mic keyfiles``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

_MIC = [sys.executable, "-c", "from mic.cli import main; main()", "keyfiles"]
DOCUMENT = "interfaces: [{name: d0, type: dummy, state: up}]"
BAD = "interfaces: [{name: d0, mtu: x}, {name: d1, foo: 1}]"


def _run(*arguments: str | Path, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    env = {**os.environ, **environment}
    result = subprocess.run(
        [*_MIC, *arguments], input=stdin, capture_output=True, text=True, env=env, check=False
    )
    return result.returncode, result.stdout, result.stderr


def test_prints_the_listing_of_standard_input() -> None:
    status, out, err = _run("-", stdin=DOCUMENT)
    assert (status, err) == (0, "")
    assert [name for name, _ in yaml.safe_load(out)["NetworkManager"]] == ["d0.nmconnection"]


def test_prints_a_yaml_document_for_each_of_several_files(tmp_path: Path) -> None:
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text(DOCUMENT)
    status, out, _ = _run(*files)
    assert status == 0
    assert len(list(yaml.safe_load_all(out))) == 2
    assert f"--- # {files[1]}\n" in out


def test_writes_files_for_their_owner_only(tmp_path: Path) -> None:
    status, out, err = _run("--output", tmp_path / "new", "-", stdin=DOCUMENT)
    assert (status, out, err) == (0, "", "")
    (file,) = (tmp_path / "new").iterdir()
    assert file.name == "d0.nmconnection"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "type=dummy\n" in file.read_text()


def test_tells_a_line_for_each_problem(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(BAD)
    status, out, err = _run(bad, tmp_path / "none.yaml", "-", stdin=DOCUMENT)
    assert status == 1
    assert "d0.nmconnection" in out
    lines = err.splitlines()
    assert [line.split(": ")[2] for line in lines[:2]] == ["interfaces[0].mtu", "interfaces[1].foo"]
    assert lines[2].endswith("none.yaml: No such file or directory")
    assert len(lines) == 3


def test_writes_nothing_when_anything_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(DOCUMENT)
    output = tmp_path / "out"
    assert _run("-output", output, tmp_path / "good.yaml", "-", stdin=BAD)[0] == 1
    assert _run("-output", output, tmp_path / "good.yaml", "-", stdin=DOCUMENT)[0] == 1
    outside = DOCUMENT.replace("name: d0", "name: d0, profile-name: ../evil")
    assert "is no file name" in _run("-output", output, "-", stdin=outside)[2]
    assert not output.exists() or not list(output.iterdir())
    assert not (tmp_path / "evil.nmconnection").exists()


def test_uses_the_backend_of_the_environment() -> None:
    status, _, err = _run("-", stdin=DOCUMENT, MIC_NMSTATE_BACKEND="other")
    assert status == 1
    assert (
        err == "mic keyfiles: MIC_NMSTATE_BACKEND: 'other' is none of builtin, nmstatectl, verify\n"
    )


def test_needs_a_file() -> None:
    assert _run()[0] == 2

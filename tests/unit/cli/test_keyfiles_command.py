"""The command ``mic keyfiles``."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import forkserver
import yaml

from mic.cli.keyfiles import differences
from mic.common.errors import MicError
from mic.common.keyfile import Keyfile
from mic.ignition import Agent, Host, config
from mic.nmstate import keyfiles

DOCUMENT = "interfaces: [{name: d0, type: dummy, state: up}]"
BAD = "interfaces: [{name: d0, mtu: x}, {name: d1, foo: 1}]"


def _run(*arguments: str | Path, stdin: str = "", **environment: str) -> tuple[int, str, str]:
    result = forkserver.run("keyfiles", *arguments, stdin=stdin, environment=environment)
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


def test_prints_header_lines_on_a_terminal(tmp_path: Path) -> None:
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text(DOCUMENT)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mic.cli", "keyfiles", files[0]]
    subprocess.run(command, stdout=theirs, timeout=60, check=True)
    os.close(theirs)
    on_terminal = os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(ours)
    assert on_terminal.startswith("==> d0.nmconnection <==\n[connection]\n")
    status, out, _ = _run("-format", "text", *files)
    assert status == 0
    assert out.startswith(f"==> {files[0]}: d0.nmconnection <==\n[connection]\n")
    assert f"\n\n==> {files[1]}: d0.nmconnection <==\n" in out


def test_prints_yaml_on_request_and_rejects_other_formats() -> None:
    assert _run("-format=yaml", "-", stdin=DOCUMENT) == _run("-", stdin=DOCUMENT)
    assert _run("-format=xml", "-", stdin=DOCUMENT) == (
        2,
        "",
        "mic keyfiles: -format is yaml or text\n",
    )


def test_writes_files_for_their_owner_only(tmp_path: Path) -> None:
    status, out, err = _run("--output", tmp_path / "new", "-", stdin=DOCUMENT)
    assert (status, out, err) == (0, "", "")
    (file,) = (tmp_path / "new").iterdir()
    assert file.name == "d0.nmconnection"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "type=dummy\n" in file.read_text()


def test_prints_one_line_per_problem(tmp_path: Path) -> None:
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
    assert "a file name has no '/'" in _run("-output", output, "-", stdin=outside)[2]
    assert not output.exists() or not list(output.iterdir())
    assert not (tmp_path / "evil.nmconnection").exists()


FILE_NAMES = ("eth0", "eth 0", "dé", "x" * 242, "é" * 121, "eth0.", "-e", "a:b", "~")
NO_FILE_NAMES = (
    *("eno1/2", "/", "..", ".a", "", "x" * 243, "é" * 122, "a\nb", "a\tb", "a\x1bb"),
    *("a\u00a0b", "a\u2028b", "a\u200bb"),
)


def _image_is_refused(document: str) -> bool:
    agent = Agent(image="quay.io/metal3/ipa", ironic_urls=("http://192.0.2.1",))
    try:
        config(agent, Host(keyfiles=keyfiles(document)))
    except MicError:
        return True
    return False


def test_refuses_what_an_image_would_refuse(tmp_path: Path) -> None:
    names = (*FILE_NAMES, *NO_FILE_NAMES)
    interfaces = [{"name": name or "d0", "type": "dummy"} for name in names]
    profiles = [{"name": "d0", "type": "dummy", "profile-name": name} for name in names]
    documents = [yaml.safe_dump({"interfaces": [one]}) for one in (*interfaces, *profiles)]
    documents.append(yaml.safe_dump({"interfaces": [{"name": "a"}, {**profiles[0], "name": "b"}]}))
    documents.append(yaml.safe_dump({"interfaces": [{**profiles[0], "name": n} for n in "ab"]}))
    files = [tmp_path / f"{number}.yaml" for number in range(len(documents))]
    for file, document in zip(files, documents, strict=True):
        file.write_text(document)
    err = _run(*files)[2]
    refused = [f"mic keyfiles: {file}: " in err for file in files]
    assert refused == [_image_is_refused(document) for document in documents]
    assert refused[len(names) : -2] == [False] * len(FILE_NAMES) + [True] * len(NO_FILE_NAMES)
    assert refused[-2:] == [False, True]


def test_rejects_an_unknown_backend() -> None:
    status, out, err = _run("-", stdin=DOCUMENT, MIC_NMSTATE_BACKEND="other")
    assert (status, out) == (1, "")
    assert err == "mic keyfiles: MIC_NMSTATE_BACKEND: 'other' is none of builtin, nmstatectl\n"


def test_uses_the_backend_of_the_environment(tmp_path: Path) -> None:
    path = _nmstatectl(tmp_path, "NetworkManager: [[x.nmconnection, y]]")
    status, out, err = _run("-", stdin=DOCUMENT, MIC_NMSTATE_BACKEND="nmstatectl", PATH=path)
    assert (status, err) == (0, "")
    assert yaml.safe_load(out) == {"NetworkManager": [["x.nmconnection", "y"]]}


def test_warns_that_verify_is_no_backend() -> None:
    status, out, err = _run("-", stdin=DOCUMENT, MIC_NMSTATE_BACKEND="verify", PATH="/nowhere")
    assert (status, out) == (0, _run("-", stdin=DOCUMENT)[1])
    (line,) = err.splitlines()
    assert line.startswith("mic keyfiles: MIC_NMSTATE_BACKEND=verify is no longer a backend")


def _nmstatectl(directory: Path, answer: str | None) -> str:
    """Return a PATH with a program that prints ``answer``, or fails without one."""
    (directory / "answer").write_text(answer or "")
    program = directory / "nmstatectl"
    command = "echo no use >&2; exit 1" if answer is None else f"/bin/cat {directory}/answer"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    return str(directory)


def test_verify_accepts_equal_keyfiles(tmp_path: Path) -> None:
    _, expected, _ = _run("-", stdin=DOCUMENT)
    path = _nmstatectl(tmp_path, expected)
    for backend in ("", "nmstatectl"):
        status, out, err = _run(
            "-verify", "-", stdin=DOCUMENT, PATH=path, MIC_NMSTATE_BACKEND=backend
        )
        assert (status, out, err) == (0, expected, "")


def test_verify_reports_each_difference_by_file_and_writes_nothing(tmp_path: Path) -> None:
    path = _nmstatectl(tmp_path, 'NetworkManager: [[d0.nmconnection, "[connection]\\nid=x\\n"]]')
    (tmp_path / "good.yaml").write_text(DOCUMENT)
    (tmp_path / "bad.yaml").write_text("interfaces: 1")
    files = (tmp_path / "good.yaml", tmp_path / "bad.yaml")
    output = tmp_path / "out"
    status, out, err = _run("-verify", "-output", output, *files, PATH=path)
    assert (status, out) == (1, "")
    differs, refused, accepted = err.splitlines()
    assert differs.startswith(
        f"mic keyfiles: {files[0]}: nmstatectl differs: d0.nmconnection: connection."
    )
    assert refused.startswith(f"mic keyfiles: {files[1]}: interfaces: ")
    assert accepted.startswith(
        f"mic keyfiles: {files[1]}: nmstatectl differs: it accepts a document that is refused here"
    )
    assert not output.exists()


def test_verify_reports_a_document_that_nmstatectl_refuses(tmp_path: Path) -> None:
    status, _, err = _run("-verify", "-", stdin=DOCUMENT, PATH=_nmstatectl(tmp_path, None))
    assert status == 1
    assert err == (
        "mic keyfiles: -: nmstatectl differs: it refuses a document that is accepted here: no use\n"
    )


def test_verify_needs_nmstatectl() -> None:
    status, out, err = _run("-verify", "-", stdin=DOCUMENT, PATH="/nowhere")
    assert (status, out) == (1, "")
    assert err == "mic keyfiles: -verify needs nmstatectl, which is not on PATH: install nmstate\n"


def test_differences_name_keys_and_no_values() -> None:
    ours = (Keyfile(name="a", content="[802-1x]\npassword=sesame\nidentity=me\n"),)
    theirs = (Keyfile(name="a", content="[802-1x]\npassword=open\n\n"),)
    assert list(differences(ours, theirs)) == ["a: 802-1x.identity, 802-1x.password"]
    assert list(differences(ours, ())) == ["it makes nothing, not a"]
    swapped = (Keyfile(name="a", content="[802-1x]\nidentity=me\npassword=sesame\n"),)
    assert list(differences(ours, swapped)) == ["a: order or blank lines"]


def test_requires_a_file() -> None:
    assert _run()[0] == 2

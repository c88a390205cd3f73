"""The flag grammar of Go, as scripts written for the Go implementation use it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from private_keys import body, forms

from mic.cli.flags import Command, HelpWanted, UsageError, parse_flags, similar
from mic.settings.model import Mode
from mic.settings.table import Flag, flags_of, variables_of

FLAGS = (
    Flag(name="addr", default=":1", help="an address"),
    Flag(name="dir", default="", help="a directory"),
    Flag(name="loud", default="false", help="a switch", switch=True),
)
COMMAND = Command(program="mic-test", flags=FLAGS)
DEFAULTS = {"addr": ":1", "dir": "", "loud": "false"}


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ([], {}),
        (["-addr", ":2"], {"addr": ":2"}),
        (["-addr=:2"], {"addr": ":2"}),
        (["--addr", ":2"], {"addr": ":2"}),
        (["--addr=:2"], {"addr": ":2"}),
        (["-addr="], {"addr": ""}),
        (["-addr", ""], {"addr": ""}),
        (["-addr=a=b"], {"addr": "a=b"}),
        (["-addr", "-dir"], {"addr": "-dir"}),
        (["-addr", "--", "-dir", "x"], {"addr": "--", "dir": "x"}),
        (["-addr", "one", "-addr", "two"], {"addr": "two"}),
        (["-dir", "/d", "--addr=x"], {"dir": "/d", "addr": "x"}),
        (["-loud"], {"loud": "true"}),
        (["--loud", "-dir", "x"], {"loud": "true", "dir": "x"}),
        *[
            ([f"-loud={word}"], {"loud": "true"})
            for word in ("1", "t", "T", "true", "TRUE", "True")
        ],
        *[([f"-loud={word}"], {"loud": "false"}) for word in ("0", "f", "F", "false", "False")],
        (["--"], {}),
    ],
)
def test_parses_flags_as_go_does(arguments: list[str], changed: dict[str, str]) -> None:
    assert parse_flags(arguments, FLAGS) == DEFAULTS | changed


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-unknown"], "flag provided but not defined: -unknown"),
        (["--unknown=x"], "flag provided but not defined: -unknown"),
        (["-ad", "x"], "flag provided but not defined: -ad"),
        (["-ADDR", "x"], "flag provided but not defined: -ADDR"),
        (["---addr", "x"], "flag provided but not defined: --addr"),
        (["-=x"], "flag provided but not defined: -"),
        (["-a"], "flag provided but not defined: -a"),
        (["-addr"], "flag needs an argument: -addr"),
        (["-dir", "x", "-addr"], "flag needs an argument: -addr"),
        (["-loud=maybe"], "invalid boolean value for -loud"),
        (["-loud="], "invalid boolean value for -loud"),
        (["operand"], "unexpected argument 'operand'"),
        (["-"], "unexpected argument '-'"),
        (["--", "-addr"], "unexpected argument '-addr'"),
        (["-loud", "true"], "unexpected argument 'true'"),
    ],
)
def test_rejects_other_arguments(arguments: list[str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags(arguments, FLAGS)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize("word", ["-h", "--h", "-help", "--help", "-h=x"])
def test_recognises_a_request_for_help(word: str) -> None:
    with pytest.raises(HelpWanted):
        parse_flags(["-dir", "x", word, "-unknown"], FLAGS)


def test_collects_operands() -> None:
    operands: list[str] = []
    values = parse_flags(["one", "-dir", "x", "-", "--", "-two"], FLAGS, operands)
    assert operands == ["one", "-", "-two"]
    assert values["dir"] == "x"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-unknown"], "flag provided but not defined: -unknown; see mic-test -h"),
        (
            ["-adr=x"],
            "flag provided but not defined: -adr; did you mean -addr? see mic-test -h",
        ),
        (
            ["--ADDR", "x"],
            "flag provided but not defined: -ADDR; did you mean -addr? see mic-test -h",
        ),
        (["-dir"], "flag needs an argument: -dir; see mic-test -h"),
        (["a\x1b[2J\n"], "unexpected argument 'a\\x1b[2J\\n'; see mic-test -h"),
        (["a" * 5000], f"unexpected argument '{'a' * 100}...'; see mic-test -h"),
    ],
)
def test_a_usage_error_prints_one_line_and_exits_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        COMMAND.parse(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", f"mic-test: {line}\n")


def test_a_usage_error_shows_no_private_key(capsys: pytest.CaptureFixture[str]) -> None:
    key = forms()["EC"]
    for arguments in ([key], [key.replace("\n", " ")], ["-addr", "x", f"-{key}"]):
        with pytest.raises(SystemExit):
            COMMAND.parse(arguments)
        err = capsys.readouterr().err
        assert not any(line in err for line in body(key))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("images-bind-add", "images-bind-addr"),
        ("image-publish-addr", "images-publish-addr"),
        ("images_bind_addr", "images-bind-addr"),
        ("nmstatedir", "nmstate-dir"),
        ("nmstate", "nmstate-dir"),
        ("log-fromat", "log-format"),
        ("metrics-address", "metrics-addr"),
        ("x", ""),
        ("", ""),
        ("verbose", ""),
    ],
)
def test_names_the_nearest_flag(name: str, found: str) -> None:
    assert similar(name, [flag.name for flag in flags_of(Mode.STATIC)]) == found


def test_names_the_command_that_a_flag_is_of(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["-nmstate-dir", "x"], ["--nmstate-dir=x"]):
        with pytest.raises(SystemExit):
            COMMAND.parse(arguments, elsewhere={"nmstate-dir": "mic static"})
        assert capsys.readouterr().err == (
            "mic-test: -nmstate-dir is a flag of mic static; see mic-test -h\n"
        )


def test_usage_begins_with_a_summary_and_an_example() -> None:
    text = replace(COMMAND, summary="Test it.", example="mic-test -loud").usage()
    assert text.startswith(
        "Usage of mic-test:\n  Test it.\n\nExample:\n  mic-test -loud\n\nFlags:\n  -addr value\n"
    )


def test_help_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        COMMAND.parse(["-h"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == COMMAND.usage()


@pytest.mark.parametrize("mode", list(Mode))
def test_usage_names_every_flag_its_meaning_and_default(mode: Mode) -> None:
    text = Command(program="mic", flags=flags_of(mode)).usage()
    for flag in flags_of(mode):
        assert f"  -{flag.name}" in text
        assert flag.help in text
        assert not flag.default or repr(flag.default) in text


@pytest.mark.parametrize("mode", list(Mode))
def test_usage_names_the_environment_variables_of_a_mode(mode: Mode) -> None:
    variables = variables_of(mode)
    text = Command(program="mic", flags=flags_of(mode), variables=variables).usage()
    _, _, listed = text.partition("\nEnvironment variables:\n")
    rows = dict(re.findall(r"^  (\w+)\n    \t(.*)$", listed, re.MULTILINE))
    assert list(rows) == [variable.name for variable in variables]
    for variable in variables:
        assert rows[variable.name].startswith(variable.help)
        assert rows[variable.name].endswith("(required)") == variable.required
    assert ("WATCH_NAMESPACE" in rows) == (mode is Mode.CONTROLLER)

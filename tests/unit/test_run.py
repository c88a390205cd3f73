"""The flag grammar of Go, as scripts written for the Go implementation use it."""

from __future__ import annotations

import pytest

from mic.config import Flag, Mode, flags_of
from mic.run import HelpWanted, UsageError, parse_flags, parse_or_exit, usage_of

FLAGS = (
    Flag(name="addr", default=":1", meaning="an address"),
    Flag(name="dir", default="", meaning="a directory"),
    Flag(name="loud", default="false", meaning="a switch", switch=True),
)
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
def test_flags_and_values(arguments: list[str], changed: dict[str, str]) -> None:
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
def test_what_is_no_flag_is_refused(arguments: list[str], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags(arguments, FLAGS)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize("word", ["-h", "--h", "-help", "--help", "-h=x"])
def test_help(word: str) -> None:
    with pytest.raises(HelpWanted):
        parse_flags(["-dir", "x", word, "-unknown"], FLAGS)


def test_operands_where_a_command_takes_them() -> None:
    operands: list[str] = []
    values = parse_flags(["one", "-dir", "x", "-", "--", "-two"], FLAGS, operands)
    assert operands == ["one", "-", "-two"]
    assert values["dir"] == "x"


def test_an_unknown_flag_prints_usage_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_or_exit("mic-test", ["-unknown"], FLAGS)
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert out == ""
    assert err.startswith("Usage of mic-test:")
    assert err.splitlines()[-1] == "mic-test: flag provided but not defined: -unknown"


def test_help_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_or_exit("mic-test", ["-h"], FLAGS)
    assert caught.value.code == 0
    assert capsys.readouterr().out == usage_of("mic-test", FLAGS)


@pytest.mark.parametrize("mode", list(Mode))
def test_usage_names_every_flag_its_meaning_and_default(mode: Mode) -> None:
    text = usage_of("mic", flags_of(mode))
    for flag in flags_of(mode):
        assert f"  -{flag.name}" in text
        assert flag.meaning in text
        assert not flag.default or repr(flag.default) in text

"""Man pages render without a warning, and real shells complete commands, flags and values."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e import parts

from mic.cli.main import commands

SHARE = Path(__file__).parents[2] / "share"
PAGES = sorted(SHARE.glob("man/man1/*.1"))
_MINUTE = 60.0
_KILL_LINE = "\x15"  # Control-U
_PROMPT = "ready> "
# The prompt as it is typed must not look like the prompt.
_SET_PROMPT = "PS1='rea''dy> '; PROMPT_COMMAND="
_BASH = f"source '{SHARE}/bash-completion/completions/mic'; bind 'set enable-bracketed-paste off'"
_ZSH = f"fpath=('{SHARE}/zsh/site-functions' $fpath); autoload -U compinit; compinit -u -D"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_man_page_renders(page: Path) -> None:
    man = parts.program("man", "man-db")
    done = subprocess.run(
        [man, "--warnings", "-l", page],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": "100"},
        # For pages that stand for others.
        cwd=SHARE / "man",
        capture_output=True,
        text=True,
        timeout=_MINUTE,
        check=True,
    )
    assert done.stderr == ""
    assert "SYNOPSIS" in done.stdout
    name = page.stem.removeprefix("mic-")
    if name in commands():
        words = done.stdout.split()
        for flag in commands()[name].flags:
            assert f"-{flag.name}" in words


@pytest.mark.parametrize(
    ("program", "arguments", "set_up"),
    [
        ("bash", ["--norc", "--noprofile", "-i"], _BASH),
        ("zsh", ["-f", "-i"], _ZSH),
    ],
    ids=["bash", "zsh"],
)
def test_a_shell_completes(program: str, arguments: list[str], set_up: str, tmp_path: Path) -> None:
    (tmp_path / "worker-0.yaml").touch()
    shell = parts.program(program, program)
    with _Terminal.running([shell, *arguments], tmp_path) as terminal:
        terminal.type(f"{set_up}; {_SET_PROMPT}\n")
        terminal.wait_for(_PROMPT)
        for typed, completed in (
            ("mic keyf", "mic keyfiles "),
            ("mic keyfiles -form", "mic keyfiles -format"),
            ("mic build -kind is", "mic build -kind iso"),
            ("mic static -log-format=js", "mic static -log-format=json"),
            ("mic show worker", "mic show worker-0.yaml"),
            ("machine-image-customization-server -nms", "-server -nmstate-dir"),
        ):
            terminal.type(f"{typed}\t")
            terminal.wait_for(completed)
            terminal.type(_KILL_LINE)


class _Terminal:
    """A program on a pseudo-terminal, and what it has printed since it was last asked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = ""

    @classmethod
    @contextmanager
    def running(cls, command: list[str], directory: Path) -> Iterator[_Terminal]:
        ours, theirs = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(directory)}
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield cls(ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until ``text`` is printed, and forget what came before it."""
        end = time.monotonic() + _MINUTE
        while text not in self._text:
            readable, _, _ = select.select([self._descriptor], [], [], end - time.monotonic())
            assert readable, f"{text!r} is not in {self._text!r}"
            self._text += os.read(self._descriptor, 65536).decode(errors="replace")
            self._text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\a", "", self._text)
        self._text = self._text.partition(text)[2]

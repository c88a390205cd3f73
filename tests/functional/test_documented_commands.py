"""The commands that the page on installation has people try first, taken from it and run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from functional.daemon import MIC, ROOT, Daemon

_MINUTE = 60.0


def test_the_first_check_shows_what_it_says(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    page = (ROOT / "docs/install.md").read_text().partition("## First check")[2]
    started, tried = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert started.split()[:2] == [".venv/bin/mic", "demo"]

    arguments = ["-dir", str(tmp_path / "demo"), "-images-bind-addr", "127.0.0.1:0"]
    daemon = Daemon(tmp_path / "log", ["demo", *arguments], {})
    try:
        host, port = daemon.tcp
        (tmp_path / "mic").write_text(f'#!/bin/sh\nexec {shlex.join(MIC)} "$@"\n')
        (tmp_path / "mic").chmod(0o755)
        for line in tried.splitlines():
            command, _, promised = line.partition("# ")
            command = command.replace("127.0.0.1:8084", f"{host}:{port}")
            # Others may run on this machine.
            command = command.replace("mic status", f"mic status -pid {daemon.pid}")
            command = command.replace(".venv/bin/mic", str(tmp_path / "mic"))
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                capture_output=True,
                text=True,
                cwd=ROOT,
                env={"PATH": os.environ["PATH"]},
                timeout=_MINUTE,
                check=False,
            )
            assert done.returncode == 0, (line, done.stderr)
            for word in ("200", "206", "Accept-Ranges: bytes", "Ignition", "ready"):
                assert word not in promised or word in done.stdout, (line, done.stdout)
    finally:
        daemon.stop()

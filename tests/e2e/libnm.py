"""libnm's judgement of keyfiles."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from e2e import parts

from mic.common.keyfile import Keyfile

_READER = Path(__file__).with_name("libnm_reader.py")


def complaints(keyfiles: Sequence[Keyfile]) -> list[list[str]]:
    """What libnm says to each keyfile: nothing to a good one."""
    python = parts.file("/usr/bin/python3", "python3")
    bindings = [python, "-c", "import gi; gi.require_version('NM', '1.0')"]
    if subprocess.run(bindings, capture_output=True, timeout=60, check=False).returncode != 0:
        pytest.skip("no bindings of libnm: install Debian's gir1.2-nm-1.0 and python3-gi")
    done = subprocess.run(
        [python, _READER],
        input=json.dumps([keyfile.content for keyfile in keyfiles]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found

"""Verdicts of ``ignition-validate`` about configs, for checks by hand.

The daemon does not run it: the live system's Ignition may be newer or older than the one here.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from mic.common.text import printable
from mic.common.warning import HostWarning

_PROGRAM = "ignition-validate"
_TIME_LIMIT = 20.0
_MOST = 20
_OTHER_VERSION = "unsupported config version"


def validate(config: bytes, source: str) -> tuple[tuple[str, ...], tuple[HostWarning, ...]]:
    """Return errors and warnings about a config; ``source`` names it in each.

    Both are empty without the program, and for a version of the specification that it does not
    know. Its lines quote names of members and of units, and numbers out of range, and no other
    values. Blocks: for a thread.
    """
    program = shutil.which(_PROGRAM)
    if program is None:
        return ((), ())
    try:
        run = subprocess.run(
            [program, "-"], input=config, capture_output=True, timeout=_TIME_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ((), (_warning(source, f"{_PROGRAM} could not check it"),))
    lines = (run.stdout + run.stderr).decode("utf-8", "replace").splitlines()[:_MOST]
    if any(_OTHER_VERSION in line for line in lines):
        return ((), ())
    errors = tuple(f"{source}: {each}" for each in _complaints(lines, "error"))
    warnings = tuple(_warning(source, each) for each in _complaints(lines, "warning"))
    if run.returncode and not errors:
        errors = (f"{source}: {_PROGRAM} refuses it: {printable(' '.join(lines))}",)
    return (errors, warnings)


def _complaints(lines: list[str], severity: str) -> Iterator[str]:
    for line in lines:
        if line.startswith(f"{severity} "):
            # "error at $.storage.files.0.path, line 1 col 61: path not absolute"
            complaint = line.removeprefix(f"{severity} ").removeprefix("at ")
            yield f"{printable(complaint)} ({_PROGRAM})"


def _warning(source: str, text: str) -> HostWarning:
    return HostWarning(place=source, text=text, without_content=f"{source}: {_PROGRAM} warns")

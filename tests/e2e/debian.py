"""Debian 12 trees, and processes and whole systems run inside a copy of one."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from e2e import cache, parts

RELEASE = "bookworm"
_MINUTE = 60.0
_BUILD = 900.0
_SOURCES = (
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/sources.list",
)


def tree(name: str, packages: Sequence[str]) -> Path:
    """A minimal Debian tree with ``packages``, made once: not to be written to."""
    parts.root("make a Debian tree")
    mmdebstrap = parts.program("mmdebstrap", "mmdebstrap")
    sources = _sources()
    options = [f"--aptopt={line}" for line in _apt_settings()]
    include = [f"--include={','.join(packages)}"] if packages else []

    def make(place: Path) -> None:
        done = subprocess.run(
            [
                mmdebstrap,
                *("--mode=root", "--variant=minbase", "--quiet", *options, *include),
                *(RELEASE, place, sources),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        # This machine's, copied by mmdebstrap.
        (place / "etc/hostname").unlink(missing_ok=True)

    key = "\n".join([RELEASE, sources.read_text(), *options, *include])
    return cache.kept(name, key, make)


def copy(source: Path, target: Path) -> None:
    """A tree of one's own to write to."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], timeout=_BUILD, check=True)


def nspawn(directory: Path, *options: str) -> list[str | os.PathLike[str]]:
    """The beginning of a command line that runs something in a tree, without systemd here.

    No registration and no unit of its own: there may be no systemd to ask for them.
    """
    parts.root("run systemd-nspawn")
    return [
        parts.program("systemd-nspawn", "systemd-container"),
        *("--quiet", "--register=no", "--keep-unit", f"--directory={directory}", *options),
    ]


def run(
    command: Sequence[str | os.PathLike[str]],
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run ``command`` to its end and give its output; fails the test when it does not end well."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
        output, end = done.stdout, f"status {done.returncode}"
        failed = done.returncode != 0
    except subprocess.TimeoutExpired as error:
        output, end, failed = error.stdout or b"", f"not done in {seconds:.0f} s", True
    text = output.decode("utf-8", "replace")
    assert not failed, f"{end}:\n{text}"
    return text


def _sources() -> Path:
    """Where this machine gets Debian from."""
    for name in _SOURCES:
        path = Path(name)
        if path.is_file() and RELEASE in path.read_text():
            return path
    pytest.skip(f"none of {', '.join(_SOURCES)} is of Debian's {RELEASE}")


def _apt_settings() -> list[str]:
    """This machine's proxies and timeouts for apt, if any."""
    dump = run([parts.program("apt-config", "apt"), "dump"], _MINUTE)
    wanted = r"Acquire::((http|https)::|Retries|Check-)"
    return [line for line in dump.splitlines() if re.match(wanted, line) and '""' not in line]

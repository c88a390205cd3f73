"""Debian trees, and processes and whole systems run inside a copy of one."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from e2e import cache, parts

RELEASE = "bookworm"
_MINUTE = 60.0
_BUILD = 900.0
MACHINE_LOCK = "machine"
"""Name of the lock that a booted machine holds."""
_BOOT = 600.0
_SOURCES = (
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/sources.list",
)


def tree(name: str, packages: Sequence[str], release: str = RELEASE) -> Path:
    """A minimal Debian tree with ``packages``, made once: not to be written to."""
    parts.root("make a Debian tree")
    mmdebstrap = parts.program("mmdebstrap", "mmdebstrap")
    sources = re.sub(rf"\b{RELEASE}\b", release, _sources().read_text())
    suffix = ".sources" if "Types:" in sources else ".list"
    options = [f"--aptopt={line}" for line in _apt_settings()]
    include = [f"--include={','.join(packages)}"] if packages else []

    def make(place: Path) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=suffix) as file:
            file.write(sources)
            file.flush()
            done = subprocess.run(
                [
                    mmdebstrap,
                    *("--mode=root", "--variant=minbase", "--quiet", *options, *include),
                    *(release, place, file.name),
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

    key = "\n".join([release, sources, *options, *include])
    return cache.kept(name, key, make)


def networkmanager_tree() -> Path:
    """A tree that boots and has NetworkManager: not to be written to."""
    return tree("debian-nm", ("systemd-sysv", "dbus", "network-manager", "iproute2"))


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


def write(tree: Path, files: Mapping[str, tuple[str, int]]) -> None:
    """Write files, path in the tree to text and mode."""
    for name, (content, mode) in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(mode)


def boot(tree: Path, *options: str, address: str = "") -> None:
    """Boot a tree that switches itself off; its network is ``eth0``, a veth with a carrier."""
    ip = parts.program("ip", "iproute2")
    network = f"mic-e2e-{os.getpid()}"
    run([ip, "netns", "add", network], _MINUTE)
    try:
        inside = [ip, "-n", network, "link"]
        given = ["address", address] if address else []
        veth = ("type", "veth", "peer", "peer0")
        run([*inside, "add", "eth0", *given, *veth], _MINUTE)
        run([*inside, "set", "peer0", "up"], _MINUTE)
        command = nspawn(
            tree,
            *("--boot", "--console=pipe", f"--network-namespace-path=/run/netns/{network}"),
            *("--capability=CAP_NET_ADMIN", *options),
        )
        with cache.locked(MACHINE_LOCK):
            run(command, _BOOT, {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"})
    finally:
        run([ip, "netns", "delete", network], _MINUTE)


def run(
    command: Sequence[str | os.PathLike[str]],
    seconds: float,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run ``command`` to its end and give its output; fails the test when it does not end well."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
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
    assert not failed, f"{command}: {end}:\n{text}"
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

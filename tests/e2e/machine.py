"""A system that boots in a container, with mic installed as docs/systemd.md describes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e import cache, debian, parts

from mic.cli import demo

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy/systemd"
SECRET = '{"auths": {"quay.io": {"auth": "dXNlcjpwYXNz"}}}'
"""The pull secret in the machine's credential store."""

_PACKAGES = ("systemd-sysv", "python3-venv", "procps")
_MINUTE = 60.0
_INSTALL = 600.0
_BOOT = 300.0

_ENVIRONMENT = """\
DEPLOY_ISO=/srv/mic/coreos.iso
IRONIC_AGENT_IMAGE=quay.io/metal3-io/ironic-python-agent
IRONIC_BASE_URL=https://ironic.example.com:6385
MIC_FLAGS=-images-publish-addr=http://192.0.2.1:8084
"""

# Fresh connections, one request each, from several threads.
_LOAD = """\
import collections, hashlib, http.client, json, sys, threading
path, digest = sys.argv[1:]
counts, over = collections.Counter(), threading.Event()

def load():
    while not over.is_set():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 8084, timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            good = hashlib.sha256(answer.read()).hexdigest() == digest
            counts["good" if good else str(answer.status)] += 1
            if good and not counts["good"] % 100:
                print("hundred", flush=True)
        except Exception as error:
            counts[type(error).__name__] += 1
        finally:
            connection.close()

threads = [threading.Thread(target=load) for _ in range(4)]
for thread in threads:
    thread.start()
print("started", flush=True)
sys.stdin.read()
over.set()
for thread in threads:
    thread.join()
print(json.dumps(counts))
"""


class Machine:
    """A booted system with mic and its units in it, and the service that a test is about."""

    def __init__(self, tree: Path, leader: int, service: str) -> None:
        self.tree = tree
        self.leader = leader
        """Its PID 1, seen from here."""
        self.service = service

    def run(self, *command: str, check: bool = True, namespaces: str = "-a") -> str:
        """What a command prints, run inside (or in some of the machine's namespaces)."""
        done = subprocess.run(
            ["nsenter", f"--target={self.leader}", namespaces, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_MINUTE,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{self.journal()}"
        return done.stdout

    def systemctl(self, *arguments: str) -> str:
        return self.run("systemctl", *arguments)

    def show(self, name: str) -> str:
        """A property of the service."""
        return self.systemctl("show", "--value", f"--property={name}", self.service).strip()

    def journal(self) -> str:
        return self.run(
            "journalctl", "--no-pager", "--output=cat", f"--unit={self.service}", check=False
        )

    def get(self, path: str, scheme: str = "http", port: int = 8084) -> bytes:
        """What is served there; no certificate is verified."""
        done = subprocess.run(
            [
                *("nsenter", f"--target={self.leader}", "--net", sys.executable, "-c"),
                "import ssl, sys, urllib.request as u;"
                "c = ssl._create_unverified_context();"
                "sys.stdout.buffer.write(u.urlopen(sys.argv[1], timeout=30, context=c).read())",
                f"{scheme}://127.0.0.1:{port}{path}",
            ],
            capture_output=True,
            timeout=_MINUTE,
            check=False,
        )
        assert done.returncode == 0, f"{done.stderr.decode()}\n{self.journal()}"
        return done.stdout

    @contextmanager
    def changed(self, settings: str) -> Iterator[None]:
        """The service restarted with other settings, until the block is left."""
        dropin = self.tree / f"etc/systemd/system/{self.service}.d/changed.conf"
        dropin.parent.mkdir(exist_ok=True)
        dropin.write_text(f"[Service]\n{settings}")
        self.systemctl("daemon-reload")
        self.systemctl("restart", self.service)
        try:
            yield
        finally:
            # Whatever a test has found: the next one is to meet the service as it was.
            dropin.unlink()
            self.systemctl("daemon-reload")
            self.systemctl("restart", self.service)

    def load(self, path: str, digest: str) -> subprocess.Popen[str]:
        """Clients that download from the machine until their input is closed.

        They print ``hundred`` for each hundred good downloads, and at last how many ended in which
        way: ``good`` is status 200 and a body of that SHA-256.
        """
        load = subprocess.Popen(
            [
                *("nsenter", f"--target={self.leader}", "--net", sys.executable, "-c", _LOAD),
                *(path, digest),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert load.stdout is not None
        assert load.stdout.readline() == "started\n"
        return load


def eventually(look: Callable[[], object], what: str, seconds: float = _MINUTE) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@contextmanager
def booted(service: str, prepare: Callable[[Path], None]) -> Iterator[Machine]:
    """A system with mic, its units and what ``prepare`` does to its tree, booted.

    ``service`` is the one that the machine is asked about. One machine at a time on a host: two
    would share control groups, and systemd then finds processes there that it cannot see.
    """
    parts.program("nsenter", "util-linux")
    with cache.locked(debian.MACHINE_LOCK), cache.scratch() as work:
        tree = work / "root"
        debian.copy(_installed(), tree)
        _install_mic(tree)
        _configure(tree)
        prepare(tree)
        process = subprocess.Popen(
            debian.nspawn(tree, "--boot", "--private-network", "--console=pipe"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Machine(tree, _leader(process), service)
        finally:
            process.terminate()
            try:
                process.wait(_MINUTE)
            finally:
                process.kill()
                process.wait()


def _leader(process: subprocess.Popen[bytes]) -> int:
    """The machine's PID 1, seen from here, once its systemd can be asked."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found: list[str] = []

    def asked() -> bool:
        assert process.poll() is None, "systemd-nspawn has ended"
        # Each time anew: the first child only makes the one that stays.
        found[:] = children.read_text().split()
        if not found:
            return False
        done = subprocess.run(
            ["nsenter", f"--target={found[0]}", "-a", "systemctl", "is-system-running"],
            capture_output=True,
            text=True,
            timeout=_MINUTE,
            check=False,
        )
        return done.stdout.strip() in ("starting", "running", "degraded")

    eventually(asked, "a systemd that answers", _BOOT)
    return int(found[0])


def _installed() -> Path:
    """A tree with what mic depends on in /opt/mic, and in /tools what its wheel is built with."""
    tree = debian.tree("debian-python", _PACKAGES)
    setup = (ROOT / "setup.py").read_text()
    listed = re.search(r"install_requires=\[\n(.*?)\n    \]", setup, re.DOTALL)
    assert listed
    wanted = re.findall(r'"([^"]+)"', listed[1])

    def make(place: Path) -> None:
        debian.copy(tree, place)
        for directory, names in (("/opt/mic", wanted), ("/tools", ["setuptools>=68", "wheel"])):
            _inside(place, "python3", "-m", "venv", directory)
            pip = (f"{directory}/bin/pip", "install", "--quiet", "--only-binary=:all:")
            try:
                _inside(place, *pip, *names)
            except AssertionError as error:
                pytest.skip(f"cannot install {' '.join(names)} from PyPI: {error}")

    return cache.kept("debian-mic", f"{tree} {wanted}", make)


def _inside(tree: Path, *command: str) -> str:
    """Run in a tree, with this machine's network and certificates."""
    options = []
    authorities = os.environ.get("PIP_CERT") or "/etc/ssl/certs/ca-certificates.crt"
    if Path(authorities).is_file():
        options = [f"--bind-ro={authorities}:/run/ca.pem", "--setenv=PIP_CERT=/run/ca.pem"]
    return debian.run([*debian.nspawn(tree, "--pipe", *options), *command], _INSTALL)


def _install_mic(tree: Path) -> None:
    source = tree / "src"
    source.mkdir()
    for name in ("mic", "twisted"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache")
        )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    _inside(
        tree,
        *("/tools/bin/pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"),
        *("--wheel-dir=/wheel", "/src"),
    )
    (wheel,) = (tree / "wheel").iterdir()
    _inside(tree, "/opt/mic/bin/pip", "install", "--no-index", "--no-deps", f"/wheel/{wheel.name}")


def _configure(tree: Path) -> None:
    for unit in UNITS.glob("mic-*"):
        shutil.copy(unit, tree / "etc/systemd/system")
    etc = tree / "etc/mic"
    (etc / "hosts").mkdir(parents=True)
    (etc / "mic.env").write_text(_ENVIRONMENT)
    (etc / "mic.env").chmod(0o600)
    store = tree / "etc/credstore"
    store.mkdir(mode=0o700, exist_ok=True)
    (store / "mic.pull-secret").write_text(SECRET)
    (store / "mic.pull-secret").chmod(0o600)
    demo.write_samples(os.fspath(tree / "srv/mic"))
    (tree / "etc/hostname").write_text("mic\n")


def enable(tree: Path, *units: str) -> None:
    """Have the system start units when it boots."""
    debian.run(["systemctl", f"--root={tree}", "enable", *units], _MINUTE)

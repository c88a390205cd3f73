"""The units of deploy/systemd under a real systemd: PID 1 of a container that nspawn boots.

mic is installed there from its wheel, as docs/systemd.md tells. Covers: the unit starts and says
so, reads credentials, reloads, is restarted when it is killed or hangs, restarts under load
without refusing a connection, and stops. What systemd thinks of the units' hardening is held, too.
"""

from __future__ import annotations

import hashlib
import json
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
from certificates import issue
from e2e import cache, debian, parts
from functional.media import write_certificate

from mic import demo

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy/systemd"
STATIC = "mic-static.service"

_PACKAGES = ("systemd-sysv", "python3-venv", "procps")
_MINUTE = 60.0
_INSTALL = 600.0
_BOOT = 60.0

_SECRET = '{"auths": {"quay.io": {"auth": "dXNlcjpwYXNz"}}}'

_ENVIRONMENT = """\
DEPLOY_ISO=/srv/mic/coreos.iso
IRONIC_AGENT_IMAGE=quay.io/metal3-io/ironic-python-agent
IRONIC_BASE_URL=https://ironic.example.com:6385
MIC_FLAGS=-images-publish-addr=http://192.0.2.1:8084
"""

# Fresh connections, one request each, from several threads, until its input ends; a line for each
# hundred downloads.
_LOAD = """\
import collections, hashlib, http.client, json, sys, threading
path, digest = sys.argv[1:]
counts, over = collections.Counter(), threading.Event()

def load():
    while not over.is_set():
        try:
            connection = http.client.HTTPConnection("127.0.0.1", 8084, timeout=30)
            connection.request("GET", path)
            good = hashlib.sha256(connection.getresponse().read()).hexdigest() == digest
            counts["good" if good else "wrong"] += 1
            if not counts["good"] % 100:
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
    """A booted system with the units in it."""

    def __init__(self, tree: Path, leader: int) -> None:
        self.tree = tree
        self._leader = leader

    def run(self, *command: str, check: bool = True, namespaces: str = "-a") -> str:
        """What a command prints, run inside (or in some of the machine's namespaces)."""
        done = subprocess.run(
            ["nsenter", f"--target={self._leader}", namespaces, *command],
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

    def show(self, name: str, unit: str = STATIC) -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit).strip()

    def journal(self) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={STATIC}", check=False)

    def get(self, path: str, scheme: str = "http", port: int = 8084) -> bytes:
        """What is served there; no certificate is verified."""
        done = subprocess.run(
            [
                *("nsenter", f"--target={self._leader}", "--net", sys.executable, "-c"),
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
        dropin = self.tree / f"etc/systemd/system/{STATIC}.d/changed.conf"
        dropin.parent.mkdir(exist_ok=True)
        dropin.write_text(f"[Service]\n{settings}")
        self.systemctl("daemon-reload")
        self.systemctl("restart", STATIC)
        yield
        dropin.unlink()
        self.systemctl("daemon-reload")
        self.systemctl("restart", STATIC)

    def load(self, path: str, digest: str) -> subprocess.Popen[str]:
        """Clients that download from the machine until their input is closed."""
        load = subprocess.Popen(
            [
                *("nsenter", f"--target={self._leader}", "--net", sys.executable, "-c", _LOAD),
                *(path, digest),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert load.stdout is not None
        assert load.stdout.readline() == "started\n"
        return load


def _eventually(look: Callable[[], object], what: str, seconds: float = _MINUTE) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A system with mic installed, its static mode enabled, booted."""
    parts.program("nsenter", "util-linux")
    with cache.scratch() as work:
        tree = work / "root"
        debian.copy(_installed(), tree)
        _install_mic(tree)
        _configure(tree)
        process = subprocess.Popen(
            debian.nspawn(tree, "--boot", "--private-network", "--console=pipe"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            machine = Machine(tree, _leader(process))
            machine.run("systemctl", "start", STATIC)
            yield machine
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

    _eventually(asked, "a systemd that answers", _BOOT)
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
                parts.missing(f"cannot install {' '.join(names)} from PyPI: {error}")

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
    (store / "mic.pull-secret").write_text(_SECRET)
    (store / "mic.pull-secret").chmod(0o600)
    demo.write_samples(os.fspath(tree / "srv/mic"))
    shutil.copy(tree / "srv/mic/hosts/worker-0.yaml", etc / "hosts")
    (tree / "etc/hostname").write_text("mic\n")
    debian.run(
        ["systemctl", f"--root={tree}", "enable", "mic-static.service", "mic-static.socket"],
        _MINUTE,
    )


def _config(machine: Machine, name: str) -> str:
    """What mic itself finds in an image that the service serves."""
    return machine.run(
        *("/opt/mic/bin/mic", "show", "-json", "-show-secrets"), f"http://127.0.0.1:8084/{name}"
    )


def test_the_units_are_valid(machine: Machine) -> None:
    for unit in sorted(UNITS.glob("mic-*")):
        assert machine.run("systemd-analyze", "verify", f"/etc/systemd/system/{unit.name}") == ""


@pytest.mark.parametrize("unit", ["mic-static.service", "mic-controller.service"])
def test_systemd_finds_little_to_harden(machine: Machine, unit: str) -> None:
    machine.run("systemd-analyze", "security", "--threshold=11", "--no-pager", unit)


def test_both_services_are_hardened_alike() -> None:
    def hardening(mode: str) -> str:
        text = (UNITS / f"mic-{mode}.service").read_text()
        return text[text.index("# A user of its own") : text.index("[Install]")]

    assert hardening("static") == hardening("controller")


def test_it_says_that_it_serves_and_what(machine: Machine) -> None:
    assert machine.show("Type") == "notify"
    assert machine.show("NRestarts") == "0"
    assert machine.show("StatusText").startswith("serving 2 images on [::]:8084")


def test_it_is_no_user_that_the_system_knows(machine: Machine) -> None:
    status = machine.run("cat", f"/proc/{machine.show('MainPID')}/status")
    ids = re.search(r"^Uid:\s+(\d+)\s+(\d+)", status, re.MULTILINE)
    assert ids
    assert 61184 <= int(ids[1]) <= 65519  # systemd's range for DynamicUser=


def test_the_pull_secret_comes_from_the_credential(machine: Machine) -> None:
    assert json.loads(_SECRET)["auths"]["quay.io"]["auth"] in _config(machine, "worker-0.iso")


def test_a_reload_takes_up_a_new_host_and_is_told(machine: Machine) -> None:
    process = machine.show("MainPID")
    (machine.tree / "etc/mic/hosts/late.yaml").touch()
    machine.systemctl("reload", STATIC)
    _eventually(
        lambda: machine.show("StatusText").startswith("serving 4 images"), "the host in the status"
    )
    assert machine.show("ActiveState") == "active"
    assert machine.get("/late.iso")
    assert "SIGHUP: looking for changes" in machine.journal()
    assert machine.show("MainPID") == process


def test_it_comes_back_when_it_is_killed_and_no_client_notices(machine: Machine) -> None:
    before = int(machine.show("NRestarts"))
    process = machine.show("MainPID")
    machine.systemctl("kill", "--signal=KILL", STATIC)
    # Waits in the socket until the service is back.
    assert machine.get("/worker-0.iso")
    assert int(machine.show("NRestarts")) == before + 1
    assert machine.show("MainPID") != process


def test_a_loop_that_hangs_is_noticed_and_ended(machine: Machine) -> None:
    with machine.changed("WatchdogSec=2\n"):
        before = int(machine.show("NRestarts"))
        process = machine.show("MainPID")
        machine.systemctl("kill", "--signal=STOP", STATIC)
        _eventually(lambda: int(machine.show("NRestarts")) == before + 1, "another try")
        assert machine.get("/worker-0.iso")
        assert machine.show("MainPID") != process


def test_tls_works_in_the_sandbox_with_its_key_as_a_credential(
    machine: Machine, tmp_path: Path
) -> None:
    cert, key = write_certificate(tmp_path)
    shutil.copy(cert, machine.tree / "etc/mic/tls.crt")
    shutil.copy(key, machine.tree / "etc/mic/tls.key")
    (machine.tree / "etc/mic/tls.key").chmod(0o600)
    plain = machine.get("/worker-0.iso")
    text = (ROOT / "docs/systemd.md").read_text()
    found = re.search(r"\[Service\]\n(LoadCredential=tls.*?)```", text, re.DOTALL)
    assert found
    with machine.changed(found[1]):
        assert machine.get("/worker-0.iso", "https") == plain


def test_a_key_for_a_group_is_followed_and_plain_http_is_beside_it(machine: Machine) -> None:
    plain = machine.get("/worker-0.iso")
    machine.run("groupadd", "--system", "ssl-cert")
    cert, key = machine.tree / "etc/mic/tls.crt", machine.tree / "etc/mic/tls.key"
    first, second = issue(), issue()
    cert.write_bytes(first.chain_pem)
    key.write_bytes(first.key_pem)
    machine.run("chgrp", "ssl-cert", "/etc/mic/tls.key")
    key.chmod(0o640)
    text = (ROOT / "docs/systemd.md").read_text()
    group = re.search(r"\[Service\]\n(SupplementaryGroups=ssl-cert\n)", text)
    socket_unit = re.search(
        r"```ini\n(\[Unit\]\nDescription=[^\n]*plain HTTP.*?)```", text, re.DOTALL
    )
    assert group
    assert socket_unit
    (machine.tree / "etc/systemd/system/mic-static-http.socket").write_text(socket_unit[1])
    flags = (
        "-images-tls-cert-file=/etc/mic/tls.crt -images-tls-key-file=/etc/mic/tls.key "
        "-images-http-bind-addr=127.0.0.1:1"
    )
    command = f"ExecStart=/opt/mic/bin/mic static -nmstate-dir=/etc/mic/hosts {flags}"
    machine.systemctl("daemon-reload")
    machine.systemctl("stop", STATIC)
    machine.systemctl("start", "mic-static-http.socket")
    with machine.changed(f"{group[1]}ExecStart=\n{command}\n"):
        assert machine.get("/worker-0.iso", "https") == plain
        assert machine.get("/worker-0.iso", port=8085) == plain
        key.write_bytes(second.key_pem)
        cert.write_bytes(second.chain_pem)
        machine.systemctl("reload", STATIC)
        assert f"serial number {second.serial}" in machine.journal()
        assert machine.get("/worker-0.iso", "https") == plain
        machine.systemctl("restart", STATIC)
        assert machine.get("/worker-0.iso", port=8085) == plain
        machine.systemctl("stop", "mic-static-http.socket")


def test_restarts_under_load_refuse_no_connection(machine: Machine) -> None:
    path = "/worker-0.initramfs"
    load = machine.load(path, hashlib.sha256(machine.get(path)).hexdigest())
    assert load.stdout is not None
    for _ in range(3):
        assert load.stdout.readline() == "hundred\n"
        machine.systemctl("restart", STATIC)
    counts, _ = load.communicate("", timeout=_MINUTE)
    assert load.returncode == 0
    outcome = json.loads(counts.splitlines()[-1])
    assert outcome.pop("good") >= 300
    assert outcome == {}


def test_a_start_that_fails_tells_the_reason_and_is_tried_again(machine: Machine) -> None:
    iso = machine.tree / "srv/mic/coreos.iso"
    iso.rename(iso.with_name("away"))
    done = machine.run("systemctl", "restart", STATIC, check=False)
    assert "failed" in done
    assert "DEPLOY_ISO: base image /srv/mic/coreos.iso" in machine.journal()
    iso.with_name("away").rename(iso)
    assert machine.get("/worker-0.iso")


def test_it_stops_when_it_is_told_to(machine: Machine) -> None:
    machine.systemctl("stop", "mic-static.socket", STATIC)
    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    assert not re.search("Traceback|critical", machine.journal())

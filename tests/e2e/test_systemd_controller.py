"""mic-controller.service under a real systemd, with a real API server.

The machine has no network but its loopback and, once a test opens it, a way to the API server. The
unit starts only when every host has its image, reloads, comes back when it is killed or hangs with
the same URLs, restarts under load without refusing a connection, and stops. What the units have in
common is in test_systemd.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.door import Door
from e2e.machine import ROOT, SECRET, Machine, booted, enable, eventually
from kube_samples import bmo_verdict, image_body, secret_body
from kubeserver import KubeServer

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS

CONTROLLER = "mic-controller.service"
NAMESPACE = "systemd"
PUBLISHED = "http://192.0.2.1:8084"

_MINUTE = 60.0
_URL_KEY = "0123456789abcdef0123456789abcdef"
_NMSTATE = b"interfaces: [{name: eth0, type: ethernet, state: up}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the machine's controller reconciles: one host, in a namespace of its own."""

    kube: KubeServer
    door: Door

    def image_path(self) -> str:
        """Where the host's image is, as baremetal-operator would take it; empty while it waits."""
        image = self.kube.find(PREPROVISIONING_IMAGES, NAMESPACE, "host")
        assert image is not None
        verdict = bmo_verdict(image, self.kube.find(SECRETS, NAMESPACE, "net"))
        return verdict.removeprefix(f"image {PUBLISHED}") if verdict.startswith("image") else ""


@pytest.fixture(scope="module")
def machine(kube: KubeServer) -> Iterator[Machine]:
    """A system with mic installed, its controller mode enabled, booted, without an API server."""

    def prepare(tree: Path) -> None:
        etc = tree / "etc/mic"
        flags = f"-images-publish-addr={PUBLISHED} -namespace={NAMESPACE}"
        with (etc / "mic.env").open("a") as environment:
            environment.write(f"MIC_FLAGS={flags}\n")
        kube.portable_kubeconfig(etc / "kubeconfig").chmod(0o600)
        (etc / "url-key").write_text(_URL_KEY)
        (etc / "url-key").chmod(0o600)
        found = re.search(
            r"```ini\n(\[Service\]\nLoadCredential=url-key.*?)```",
            (ROOT / "docs/systemd.md").read_text(),
            re.DOTALL,
        )
        assert found
        dropin = tree / f"etc/systemd/system/{CONTROLLER}.d/url-key.conf"
        dropin.parent.mkdir()
        dropin.write_text(found[1])
        enable(tree, CONTROLLER, "mic-controller.socket")

    with booted(CONTROLLER, prepare) as machine:
        yield machine


@pytest.fixture(scope="module")
def cluster(kube: KubeServer, machine: Machine) -> Iterator[Cluster]:
    """The host is there before the machine can see it."""
    kube.create_namespace(NAMESPACE)
    kube.create(SECRETS, secret_body("net", _NMSTATE, namespace=NAMESPACE))
    kube.create(PREPROVISIONING_IMAGES, image_body("host", secret="net", namespace=NAMESPACE))
    door = Door(machine.leader, kube.port)
    yield Cluster(kube=kube, door=door)
    door.close()


def test_it_has_started_when_every_host_has_its_image(machine: Machine, cluster: Cluster) -> None:
    eventually(lambda: "problems: " in machine.show("StatusText"), "a status without an API server")
    assert machine.show("ActiveState") == "activating"
    cluster.door.open()
    machine.systemctl("start", CONTROLLER)
    assert cluster.image_path()
    assert machine.show("NRestarts") == "0"
    # As `systemctl start` ends with the readiness that mic reported, so does the status.
    assert machine.show("StatusText") == "serving 1 images on [::]:8084"


def test_its_credentials_are_used_and_kept(machine: Machine, cluster: Cluster) -> None:
    url = f"http://127.0.0.1:8084{cluster.image_path()}"
    config = machine.run("/opt/mic/bin/mic", "show", "-json", "-show-secrets", url)
    assert json.loads(SECRET)["auths"]["quay.io"]["auth"] in config
    assert "eth0.nmconnection" in config
    assert _URL_KEY not in machine.journal()


def test_a_reload_is_reported(machine: Machine) -> None:
    process = machine.show("MainPID")
    machine.systemctl("reload", CONTROLLER)
    # The journal takes the line a moment after the unit's state.
    eventually(lambda: "SIGHUP: reloading" in machine.journal(), "the line of the reload")
    eventually(lambda: machine.show("ActiveState") == "active", "the end of the reload")
    assert machine.show("MainPID") == process


def test_it_comes_back_with_the_same_urls_when_it_is_killed(
    machine: Machine, cluster: Cluster
) -> None:
    path = cluster.image_path()
    image = machine.get(path)
    before, process = int(machine.show("NRestarts")), machine.show("MainPID")
    machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", CONTROLLER)
    eventually(lambda: int(machine.show("NRestarts")) == before + 1, "another try")
    eventually(lambda: machine.show("ActiveState") == "active", "the service")
    assert machine.show("MainPID") != process
    assert cluster.image_path() == path
    assert machine.get(path) == image


def test_a_loop_that_hangs_is_noticed_and_ended(machine: Machine, cluster: Cluster) -> None:
    # Not less: on a busy machine a process that does not hang may have no turn for seconds.
    with machine.changed("WatchdogSec=10\n"):
        before, process = int(machine.show("NRestarts")), machine.show("MainPID")
        machine.systemctl("kill", "--kill-whom=main", "--signal=STOP", CONTROLLER)
        eventually(lambda: int(machine.show("NRestarts")) == before + 1, "another try")
        eventually(lambda: machine.show("ActiveState") == "active", "the service")
        assert machine.get(cluster.image_path())
        assert machine.show("MainPID") != process


def test_restarts_under_load_refuse_no_connection(machine: Machine, cluster: Cluster) -> None:
    path = cluster.image_path()
    load = machine.load(path, hashlib.sha256(machine.get(path)).hexdigest())
    assert load.stdout is not None
    for _ in range(3):
        assert load.stdout.readline() == "hundred\n"
        machine.systemctl("restart", CONTROLLER)
    counts, _ = load.communicate("", timeout=_MINUTE)
    assert load.returncode == 0
    outcome = json.loads(counts.splitlines()[-1])
    assert outcome.pop("good") >= 300
    # Until the API server has reported the host again, its clients get Retry-After.
    outcome.pop("503", None)
    assert outcome == {}


def test_it_stops_when_it_is_asked_to(machine: Machine, cluster: Cluster) -> None:
    assert cluster.image_path()
    machine.systemctl("stop", "mic-controller.socket", CONTROLLER)
    assert machine.show("Result") == "success"
    assert machine.show("ExecMainStatus") == "0"
    assert not re.search("Traceback|critical", machine.journal())

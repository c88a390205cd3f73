"""Scope: downloads as Events on PreprovisioningImages: mic as a process, a real API server.

With nothing but the rights of our manifests, and without the one for Events. Waits for real time
where a download has to stand still (half a minute).
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3
from functional.daemon import MIC, ROOT, Daemon, eventually
from functional.media import tcp_client
from functional.wire import Wire
from kube_samples import bmo_verdict, image_body, secret_body
from kubeserver import ACCOUNT, KubeServer
from toys import live_iso, put

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json

NAMESPACE = "who-boots"
_ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/machine-image-customizer"


class Run:
    """A controller with one image, at work."""

    def __init__(self, kube: KubeServer, daemon: Daemon, name: str) -> None:
        self.kube = kube
        self.daemon = daemon
        self.name = name
        self.object = kube.create(PREPROVISIONING_IMAGES, image_body(name, namespace=NAMESPACE))
        published = eventually(self._published, "an image")
        self.target = "/" + published.rpartition("/")[2]
        host, port = daemon.tcp
        self.url = f"http://{host}:{port}{self.target}"

    def _published(self) -> str:
        image = self.kube.find(PREPROVISIONING_IMAGES, NAMESPACE, self.name)
        verdict = bmo_verdict(image or {}, None)
        return verdict if verdict.startswith("image ") else ""

    def download(self) -> None:
        answer = urllib3.request("GET", self.url)
        assert answer.status == 200
        assert len(answer.data) == int(answer.headers["Content-Length"])

    def events(self) -> list[Json]:
        where = f"/api/v1/namespaces/{NAMESPACE}/events"
        selector = f"?fieldSelector=involvedObject.uid={self.object['metadata']['uid']}"
        items = self.kube.ask("GET", where + selector)[1]["items"]
        return sorted(items, key=lambda each: int(each["metadata"]["resourceVersion"]))

    def until(self, reason: str, deadline: float = 60.0) -> Json:
        """Wait for an event."""

        def look() -> Json | None:
            return next((each for each in self.events() if each["reason"] == reason), None)

        found = eventually(look, f"an event {reason}: {self.daemon.log}", deadline)
        assert found is not None
        return found


@pytest.fixture
def start(kube: KubeServer, tmp_path: Path) -> Iterator[Callable[[str], Run]]:
    kube.create_namespace(NAMESPACE)
    put(tmp_path / "ipa.iso", live_iso(kernel=bytes(8 << 20)))
    environment = {
        "DEPLOY_ISO": str(tmp_path / "ipa.iso"),
        "DEPLOY_INITRD": "",
        "IRONIC_AGENT_IMAGE": "quay.example/ipa",
        "IRONIC_BASE_URL": "http://ironic.example",
    }
    flags = ["-kubeconfig", str(kube.kubeconfig(tmp_path / "config")), "-namespace", NAMESPACE]
    addresses = ["-images-bind-addr", "127.0.0.1:0", "-metrics-addr", "0"]
    daemon = Daemon(tmp_path / "log", ["controller", *flags, *addresses], environment)
    runs: list[Run] = []

    def start(name: str) -> Run:
        daemon.wait_until_serving()
        runs.append(Run(kube, daemon, name))
        return runs[-1]

    try:
        yield start
        for run in runs:
            assert run.target[1:37] not in daemon.whole_log, "a URL is the right to read"
        daemon.stop()
    finally:
        daemon.kill()
        for run in runs:
            kube.ask(
                "PATCH",
                f"/apis/metal3.io/v1alpha1/namespaces/{NAMESPACE}/preprovisioningimages/{run.name}",
                {"metadata": {"finalizers": None}},
                kind="application/merge-patch+json",
            )
            kube.delete(PREPROVISIONING_IMAGES, NAMESPACE, run.name)


def test_a_download_is_reported_on_its_object(
    start: Callable[[str], Run], kube: KubeServer
) -> None:
    run = start("told")
    run.download()
    event = run.until("ImageDownloaded")
    assert [(each["reason"], each["type"]) for each in run.events()] == [
        ("ImageDownloadStarted", "Normal"),
        ("ImageDownloaded", "Normal"),
    ]
    assert "127.0.0.1 read all of the iso image" in event["message"]
    assert event["reportingComponent"] == ACCOUNT[1]
    assert event["reportingInstance"] == socket.gethostname()
    described = kube.kubectl("describe", "-n", NAMESPACE, "preprovisioningimage/told")
    assert "ImageDownloaded" in described, described
    assert run.target[1:] not in json.dumps(run.events()), "a URL is the right to read"


def test_a_failure_and_its_end_are_reported_on_the_object(
    start: Callable[[str], Run], kube: KubeServer
) -> None:
    run = start("failing")
    named = {"spec": {"networkDataName": "late"}}
    kube.edit(PREPROVISIONING_IMAGES, NAMESPACE, run.name, named)
    event = run.until("MissingNetworkData")
    assert event["type"] == "Warning"
    assert event["message"].startswith(f"NetworkData secret not found: {NAMESPACE}/late; ")
    # Without the label, as a user makes it.
    garbage = secret_body("late", b"interfaces: 3", namespace=NAMESPACE, labels={})
    kube.create(SECRETS, garbage)
    event = run.until("ImageBuildFailed")
    assert event["type"] == "Warning"
    assert event["message"].startswith("Cannot generate image: ")
    # Nothing to warn of: the Event of a warning comes some time after the image.
    document = b"interfaces: [{name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}]"
    good = {"data": secret_body("late", document)["data"]}
    kube.edit(SECRETS, NAMESPACE, "late", good)
    assert run.until("ImageReady")["type"] == "Normal"
    run.daemon.wait_for(f"{NAMESPACE}/failing: fixed: keyfiles eth0.nmconnection")
    failures = [each for each in run.events() if each["type"] == "Warning"]
    assert [each["count"] for each in failures] == [1, 1]
    kube.delete(SECRETS, NAMESPACE, "late")


def test_mic_status_knows_objects_by_namespace_and_name(start: Callable[[str], Run]) -> None:
    run = start("asked-for")
    run.download()
    status = [*MIC, "status", f"-pid={run.daemon.pid}"]
    for name in (f"{NAMESPACE}/asked-for", "asked-for", f"{NAMESPACE}/asked-for iso"):
        text = subprocess.run(
            [*status, name], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
        ).stdout
        assert "controller mode" in text
        (row,) = (line for line in text.splitlines() if line.startswith(f"{NAMESPACE}/asked-for"))
        assert re.search(r"127\.0\.0\.1 +100\.0 % +complete +1$", row)
        assert run.target[1:] not in text, "a URL is the right to read"


def test_a_host_that_reboots_without_end_does_not_flood(start: Callable[[str], Run]) -> None:
    run = start("loop")
    for _ in range(50):
        run.download()
    run.until("ImageDownloaded")
    other = start("after-the-loop")
    other.download()
    other.until("ImageDownloaded")
    assert [each["reason"] for each in run.events()] == ["ImageDownloadStarted", "ImageDownloaded"]


def test_downloads_that_stall_and_that_break_off_are_warned_of(
    start: Callable[[str], Run],
) -> None:
    run = start("halfway")
    host, port = run.daemon.tcp
    with Wire(tcp_client(host, port)()) as stalled:
        stalled.take_little()
        stalled.ask(run.target)
        assert stalled.head()[1] == 200
        sock = socket.create_connection((host, port), 10, source_address=("127.0.0.2", 0))
        with Wire(sock) as broken:
            broken.take_little()
            broken.ask(run.target)
            assert broken.head()[1] == 200
            broken.take(100_000)
        warned = run.until("ImageDownloadInterrupted", 60)
        assert warned["message"].startswith("127.0.0.2 was interrupted: ")
        assert "% of the iso image read" in warned["message"]
        warned = run.until("ImageDownloadStalled", 60)
        assert warned["message"].startswith("127.0.0.1 has taken no data for 30 s: ")
        assert warned["type"] == "Warning"
    run.daemon.wait_for("who-boots/halfway iso: 127.0.0.1 stalled")
    run.daemon.wait_for("who-boots/halfway iso: 127.0.0.2 was interrupted")


def test_while_the_api_server_hangs_images_are_served_and_events_wait(
    start: Callable[[str], Run], kube: KubeServer
) -> None:
    run = start("patient")
    kube.pause_apiserver(True)
    try:
        for _ in range(3):
            run.download()
    finally:
        kube.pause_apiserver(False)
    run.until("ImageDownloaded", 60)


def test_without_the_right_the_log_says_so_once_and_images_are_served(
    start: Callable[[str], Run], kube: KubeServer
) -> None:
    role = kube.ask("GET", _ROLE)[1]
    rules = [rule for rule in role["rules"] if "events" not in rule["resources"]]
    assert len(rules) == len(role["rules"]) - 1
    kind = "application/merge-patch+json"
    kube.ask("PATCH", _ROLE, {"rules": rules}, kind=kind)
    try:
        eventually(lambda: not kube.account_may("create", "events"), "the right is gone")
        runs = [start(f"untold-{number}") for number in range(3)]
        for run in runs:
            run.download()
            run.daemon.wait_for(f"who-boots/{run.name} iso: 127.0.0.1 completed the download")
        lines = runs[0].daemon.wait_for(": 403; grant `create`")
        assert len(lines) == 1
        assert all(run.events() == [] for run in runs)
    finally:
        kube.ask("PATCH", _ROLE, {"rules": role["rules"]}, kind=kind)
        eventually(lambda: kube.account_may("create", "events"), "the right is back")

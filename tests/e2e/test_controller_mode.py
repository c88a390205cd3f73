"""Scope: from ``kubectl apply`` to the bytes: mic as a process, a real API server and client."""

from __future__ import annotations

import base64
import json
import re
import signal
from pathlib import Path

import pytest
import urllib3
import yaml
from certificates import issue
from e2e.controller import served, start
from functional.daemon import Daemon, eventually
from kube_samples import bmo_verdict, condition, image_body, secret_body
from kubeserver import ROOT, KubeServer
from ports import free_port
from toys import Bytes, put

from mic.cli.show import read_image
from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS
from mic.kube.client import READ_TIMEOUT

NAMESPACE = "to-the-bytes"
DOCUMENT = """\
interfaces:
- name: {name}
  type: ethernet
  state: up
  ipv4: {{enabled: true, dhcp: true}}
"""


def _verdict(kube: KubeServer) -> str:
    image = kube.find(PREPROVISIONING_IMAGES, NAMESPACE, "host")
    assert image is not None
    return bmo_verdict(image, kube.find(SECRETS, NAMESPACE, "net"))


def _url(kube: KubeServer, other_than: str = "") -> str:
    def there() -> str:
        verdict = _verdict(kube)
        return verdict if verdict not in ("wait", f"image {other_than}") else ""

    found = eventually(there, "an image")
    assert found.startswith("image "), found
    return found.removeprefix("image ")


def _config(url: str) -> str:
    answer = urllib3.request("GET", url)
    assert answer.status == 200
    return read_image(Bytes(answer.data))[0].decode()


def _keyfiles(url: str) -> list[str]:
    config = json.loads(_config(url))
    paths = [file["path"] for file in config["storage"]["files"]]
    return [path.rpartition("/")[2] for path in paths if path.endswith(".nmconnection")]


def _start(kube: KubeServer, tmp_path: Path, *flags: str, **environment: str) -> Daemon:
    kube.create_namespace(NAMESPACE)
    tmp_path.mkdir(exist_ok=True)
    config = kube.kubeconfig(tmp_path / "config")
    return start(tmp_path, config, NAMESPACE, *flags, environment=environment)


def test_from_kubectl_apply_to_the_bytes(kube: KubeServer, tmp_path: Path) -> None:
    daemon = _start(kube, tmp_path)
    try:
        objects = [
            secret_body("net", DOCUMENT.format(name="eth0").encode(), namespace=NAMESPACE),
            image_body("host", secret="net", namespace=NAMESPACE),
        ]
        kube.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
        first = _url(kube)
        assert _keyfiles(served(daemon, first)) == ["eth0.nmconnection"]

        changed = secret_body("net", DOCUMENT.format(name="eth1").encode(), namespace=NAMESPACE)
        kube.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(changed))
        second = _url(kube, other_than=first)
        assert _keyfiles(served(daemon, second)) == ["eth1.nmconnection"]
        assert _keyfiles(served(daemon, first)) == ["eth0.nmconnection"], "a BMC may be reading it"

        kube.kubectl("delete", "-n", NAMESPACE, "preprovisioningimage/host", "--timeout=20s")
        for url in (first, second, "http://images/host.iso"):
            answer = urllib3.request("GET", served(daemon, url))
            # Nothing of a host: names are secret.
            assert (answer.status, answer.data) == (404, b"There is no such image.\n")
        assert first not in daemon.whole_log
        assert second not in daemon.whole_log
    finally:
        daemon.stop()


def test_the_example_gets_an_image(kube: KubeServer, tmp_path: Path) -> None:
    daemon = _start(kube, tmp_path)
    try:
        example = str(ROOT / "examples/kubernetes/worker-0.yaml")
        kube.kubectl("apply", "-n", NAMESPACE, "-f", example)

        def verdict() -> str:
            image = kube.find(PREPROVISIONING_IMAGES, NAMESPACE, "worker-0")
            assert image is not None
            found = bmo_verdict(image, kube.find(SECRETS, NAMESPACE, "worker-0-network"))
            return "" if found == "wait" else found

        url = eventually(verdict, "an image").removeprefix("image ")
        assert _keyfiles(served(daemon, url)) == ["eno1.nmconnection"]
        ready = condition(kube.find(PREPROVISIONING_IMAGES, NAMESPACE, "worker-0") or {}, "Ready")
        assert ready["message"] == "Generated image", "no warning"
        kube.kubectl("delete", "-n", NAMESPACE, "--timeout=20s", "-f", example)
    finally:
        daemon.stop()


PEM = "-----BEGIN CERTIFICATE-----\n{0}\n-----END CERTIFICATE-----\n"
FILES = {
    "CA_BUNDLE": PEM,
    "IRONIC_CA_BUNDLE": PEM,
    "REGISTRIES_CONF_PATH": "# {0}\n",
    "pull secret": '{{"auths": {{"{0}": {{}}}}}}',
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_changes_on_disk_gives_ready_objects_a_new_image(
    what: str, kube: KubeServer, tmp_path: Path
) -> None:
    old, new = "old-content", "new-content"
    path = put(tmp_path / "etc" / "pull-secret", FILES[what].format(old).encode())
    # As a systemd unit has its pull secret; the path of the one in a container is fixed.
    variable = {"CREDENTIALS_DIRECTORY": str(path.parent)}
    if what != "pull secret":
        variable = {what: str(path)}
    daemon = _start(kube, tmp_path, **variable)
    try:
        kube.create(PREPROVISIONING_IMAGES, image_body("host", namespace=NAMESPACE))
        first = _url(kube)
        assert old in _config(served(daemon, first))
        put(path, FILES[what].format(new).encode())
        second = _url(kube, other_than=first)
        config = _config(served(daemon, second))
        assert new in config
        assert old not in config
        assert old in _config(served(daemon, first)), "a BMC may be reading it"
    finally:
        kube.kubectl("delete", "-n", NAMESPACE, "preprovisioningimage/host", "--timeout=20s")
        daemon.stop()


def test_a_missing_right_is_named_by_readyz_and_taken_up_when_granted(
    kube: KubeServer, tmp_path: Path
) -> None:
    kube.create_namespace(NAMESPACE)
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    kube.ask("POST", accounts, {"metadata": {"name": "powerless"}})
    where = f"{accounts}/powerless/token"
    token = kube.ask("POST", where, {"spec": {"expirationSeconds": 7200}})[1]["status"]["token"]
    config = kube.kubeconfig(tmp_path / "config", token=token)
    health = f"127.0.0.1:{free_port()}"
    # The last flag of a name counts.
    daemon = start(tmp_path, config, NAMESPACE, "-metrics-addr", health)

    def ready() -> tuple[int, str]:
        answer = urllib3.request("GET", f"http://{health}/readyz")
        return answer.status, answer.data.decode()

    try:
        daemon.wait_for("Cannot list secrets", deadline=30)
        status, text = ready()
        assert status == 503
        assert f"cannot list secrets in {NAMESPACE}: 403; grant `list` (deploy" in text
        right = f"cannot list preprovisioningimages in {NAMESPACE}: 403; grant `list`"
        assert text.count(right) == 1
        assert urllib3.request("GET", f"http://{health}/healthz").status == 200
        binding = {
            "metadata": {"name": "powerful"},
            "subjects": [{"kind": "ServiceAccount", "name": "powerless", "namespace": NAMESPACE}],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "machine-image-customizer",
            },
        }
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}/rolebindings"
        kube.ask("POST", rbac, binding)
        eventually(lambda: ready() == (200, "ok\n"), "readiness", deadline=40)
    finally:
        daemon.stop()


def test_sigterm_in_mid_pass_ends_the_process_and_leaves_nothing_half_written(
    kube: KubeServer, tmp_path: Path
) -> None:
    names = [f"t-{number}" for number in range(60)]
    daemon = _start(kube, tmp_path / "one")
    try:
        daemon.wait_until_serving()
        for name in names:
            secret = secret_body(name, DOCUMENT.format(name="eth0").encode(), namespace=NAMESPACE)
            kube.create(SECRETS, secret)
            kube.create(PREPROVISIONING_IMAGES, image_body(name, secret=name, namespace=NAMESPACE))
        daemon.wait_for("image ready")
        daemon.stop(within=5)
    finally:
        daemon.kill()
    verdicts = set()
    for name in names:
        image = kube.find(PREPROVISIONING_IMAGES, NAMESPACE, name) or {}
        verdict = bmo_verdict(image, kube.find(SECRETS, NAMESPACE, name)).partition(" ")[0]
        verdicts.add(verdict)
        url = image.get("status", {}).get("imageUrl")
        ready = condition(image, "Ready").get("status")
        assert (verdict, ready, bool(url)) in (
            ("image", "True", True),
            ("wait", "False", False),
            ("wait", None, False),
        )
    assert verdicts == {"image", "wait"}, "it was in the middle"
    daemon = _start(kube, tmp_path / "two")
    try:
        for name in names:
            eventually(
                lambda name=name: _served_anew(kube, daemon, name),  # type: ignore[misc]
                f"an image of {name}",
            )
        for name in names:
            kube.delete(PREPROVISIONING_IMAGES, NAMESPACE, name)
        eventually(
            lambda: not kube.find(PREPROVISIONING_IMAGES, NAMESPACE, names[-1]), "the end of it"
        )
        daemon.stop(within=5)
    finally:
        daemon.kill()


def _served_anew(kube: KubeServer, daemon: Daemon, name: str) -> bool:
    image = kube.find(PREPROVISIONING_IMAGES, NAMESPACE, name)
    assert image is not None
    verdict = bmo_verdict(image, kube.find(SECRETS, NAMESPACE, name))
    url = verdict.removeprefix("image ")
    return verdict != url and urllib3.request("HEAD", served(daemon, url)).status == 200


def test_network_boot_gets_plain_http_beside_https(kube: KubeServer, tmp_path: Path) -> None:
    cert, key = issue().write(tmp_path)
    published = {"iso": "https://mic.example:8084", "initrd": "http://mic.example:8085"}
    daemon = _start(
        kube,
        tmp_path,
        *("-images-tls-cert-file", str(cert), "-images-tls-key-file", str(key)),
        *("-images-publish-addr", published["iso"]),
        *("-images-http-bind-addr", "127.0.0.1:0"),
        *("-images-http-publish-addr", published["initrd"]),
    )
    names = {format: f"both-{format}" for format in published}
    try:
        (line, *_) = daemon.wait_for("serving them over plain HTTP too, on ")
        found = re.search(r" on (\S+:\d+),", line)
        assert found
        served = {"iso": "https://{}:{}".format(*daemon.tcp), "initrd": f"http://{found[1]}"}
        urls = {}
        for format, name in names.items():
            body = image_body(name, namespace=NAMESPACE, formats=(format,))
            kube.create(PREPROVISIONING_IMAGES, body)

            def status(name: str = name) -> dict[str, str]:
                image = kube.find(PREPROVISIONING_IMAGES, NAMESPACE, name)
                assert image is not None
                there = bmo_verdict(image, None).startswith("image ")
                return image["status"] if there else {}

            urls[format] = eventually(status, f"the image of {name}")
        for url in (
            urls["iso"]["imageUrl"],
            urls["initrd"]["imageUrl"],
            urls["initrd"]["kernelUrl"],
        ):
            format = "iso" if url.endswith(".iso") else "initrd"
            assert url.startswith(f"{published[format]}/")
            with urllib3.PoolManager(cert_reqs="REQUIRED", ca_certs=str(cert)) as clients:
                answer = clients.request("GET", url.replace(published[format], served[format]))
            assert answer.status == 200
        for name in names.values():
            kube.kubectl("delete", "-n", NAMESPACE, f"preprovisioningimage/{name}", "--timeout=20s")
        daemon.stop()
    finally:
        daemon.kill()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_and_no_url_is_logged_even_at_debug(
    kube: KubeServer, tmp_path: Path, log_format: str
) -> None:
    """Nor while the API server goes away and comes back."""
    auth = base64.b64encode(b"robot:hunter2").decode()
    pull_secret = json.dumps({"auths": {"quay.example": {"auth": auth}}})
    daemon = _start(
        kube,
        tmp_path,
        "-log-level=debug",
        f"-log-format={log_format}",
        IRONIC_AGENT_PULL_SECRET=base64.b64encode(pull_secret.encode()).decode(),
        HTTPS_PROXY="http://robot:hunter2@proxy.example:3128",
        NO_PROXY="127.0.0.1",
    )
    document = f"# hunter2\n{DOCUMENT.format(name='eth0')}"
    objects = [
        secret_body("net", document.encode(), namespace=NAMESPACE),
        secret_body("bad", b"interfaces: hunter2", namespace=NAMESPACE),
        image_body("host", secret="net", namespace=NAMESPACE),
        image_body("bad", secret="bad", namespace=NAMESPACE),
    ]
    try:
        daemon.wait_until_serving()
        kube.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
        name = _url(kube).rpartition("/")[2]
        host, port = daemon.tcp
        assert urllib3.request("GET", f"http://{host}:{port}/{name}").status == 200
        daemon.wait_for("completed the download")
        daemon.wait_for(f"{NAMESPACE}/bad: ")
        kube.kill_apiserver()
        daemon.wait_for("Cannot watch|Cannot list")
        kube.start_apiserver()
        kube.kubectl("delete", "-n", NAMESPACE, "preprovisioningimage/host", "--timeout=30s")
        daemon.wait_for(f"{NAMESPACE}/host: released")
    finally:
        kube.kubectl("delete", "-n", NAMESPACE, "preprovisioningimage,secret", "--all", "--wait=0")
        daemon.stop()
    log = daemon.whole_log
    token = (tmp_path / "config.token").read_text()
    secrets = [name, name.partition(".")[0], "hunter2", auth, token]
    secrets += [base64.b64encode(pull_secret.encode()).decode()]
    secrets += [secret_body("net", document.encode())["data"]["nmstate"]]
    assert not [secret for secret in secrets if secret in log]
    assert f"PUT /api/v1/namespaces/{NAMESPACE}/secrets/" in log, "requests are logged at debug"
    if log_format == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        (over,) = [line for line in lines if "outcome" in line]
        assert over["image"] == f"{NAMESPACE}/host iso"
        of_host = [line for line in lines if line.get("name") == "host"]
        assert {line["namespace"] for line in of_host} == {NAMESPACE}
        assert [line["kind"] for line in of_host if "kind" in line] == ["iso"]


def test_sigterm_while_the_api_server_hangs_ends_the_process(
    kube: KubeServer, tmp_path: Path
) -> None:
    daemon = _start(kube, tmp_path)
    try:
        daemon.wait_until_serving()
        for number in range(30):
            kube.create(PREPROVISIONING_IMAGES, image_body(f"h-{number}", namespace=NAMESPACE))
        daemon.wait_for("image ready")
        kube.pause_apiserver(True)
        daemon.process.send_signal(signal.SIGTERM)
        # Sooner than its requests time out.
        daemon.process.wait(READ_TIMEOUT / 2)
    finally:
        kube.pause_apiserver(False)
        daemon.kill()

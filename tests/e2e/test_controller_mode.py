"""Scope: from ``kubectl apply`` to the bytes: mic as a process, a real API server and client."""

from __future__ import annotations

import base64
import json
import re
import signal
import time
from pathlib import Path

import pytest
import urllib3
import yaml
from certificates import issue
from functional.daemon import Daemon, eventually
from kube_samples import bmo_verdict, image_body, secret_body
from kubeserver import KubeServer
from toys import Bytes, live_iso, put

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS
from mic.show import read_image

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


def _keyfiles(url: str) -> list[str]:
    answer = urllib3.request("GET", url)
    assert answer.status == 200
    config = json.loads(read_image(Bytes(answer.data))[0])
    paths = [file["path"] for file in config["storage"]["files"]]
    return [path.rpartition("/")[2] for path in paths if path.endswith(".nmconnection")]


def _start(kube: KubeServer, tmp_path: Path, *more: str, **variables: str) -> Daemon:
    kube.create_namespace(NAMESPACE)
    put(tmp_path / "ipa.iso", live_iso())
    environment = {
        "DEPLOY_ISO": str(tmp_path / "ipa.iso"),
        "DEPLOY_INITRD": "",
        "IRONIC_AGENT_IMAGE": "quay.example/ipa",
        "IRONIC_BASE_URL": "http://ironic.example",
        **variables,
    }
    flags = ["-kubeconfig", str(kube.kubeconfig(tmp_path / "config")), "-namespace", NAMESPACE]
    addresses = ["-images-bind-addr", "127.0.0.1:0", "-metrics-addr", "0"]
    return Daemon(tmp_path / "log", ["controller", *flags, *addresses, *more], environment)


def test_from_kubectl_apply_to_the_bytes(kube: KubeServer, tmp_path: Path) -> None:
    daemon = _start(kube, tmp_path)
    try:
        host, port = daemon.tcp

        def served(url: str) -> str:
            return f"http://{host}:{port}/{url.rpartition('/')[2]}"

        objects = [
            secret_body("net", DOCUMENT.format(name="eth0").encode(), namespace=NAMESPACE),
            image_body("host", secret="net", namespace=NAMESPACE),
        ]
        kube.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
        first = _url(kube)
        assert _keyfiles(served(first)) == ["eth0.nmconnection"]

        changed = secret_body("net", DOCUMENT.format(name="eth1").encode(), namespace=NAMESPACE)
        kube.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(changed))
        second = _url(kube, other_than=first)
        assert _keyfiles(served(second)) == ["eth1.nmconnection"]
        assert urllib3.request("GET", served(first)).status == 404

        kube.kubectl("delete", "-n", NAMESPACE, "preprovisioningimage/host", "--timeout=20s")
        assert urllib3.request("GET", served(second)).status == 404
        assert first not in daemon.whole_log
        assert second not in daemon.whole_log
    finally:
        daemon.stop()


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
        daemon.wait_for("has it all")
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
    assert "urllib3.connectionpool" in log, "requests are told at debug"
    assert "/api/v1/" in log
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
        began = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.wait(5)
        assert time.monotonic() - began < 5
    finally:
        kube.pause_apiserver(False)
        daemon.kill()

"""A real kube-apiserver with its etcd, for tests: started, restarted, asked as administrator.

The programs come from the folder that ``KUBEBUILDER_ASSETS`` names, else ``~/.cache/mic-envtest``.
RBAC is on. What users, the namespace controller and the garbage collector would do, tests do.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kustomize
import pytest
import urllib3
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from ports import free_port

from mic.kube.api import Json, Resource

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = ROOT / "deploy" / "kubernetes"
ACCOUNT = ("machine-image-customizer", "machine-image-customizer")
"""Namespace and name of the service account in our manifests."""

ADMINISTRATOR = "administrator"
"""The token of somebody who may do everything."""
_START_SECONDS = 90


def assets() -> Path:
    """The folder with the programs; skips the test where they are not."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or Path.home() / ".cache" / "mic-envtest")
    if all((folder / name).is_file() for name in ("etcd", "kube-apiserver", "kubectl")):
        return folder
    pytest.skip(f"no kube-apiserver, etcd and kubectl in {folder} (KUBEBUILDER_ASSETS)")


@contextmanager
def running(folder: Path) -> Iterator[KubeServer]:
    """A control plane in ``folder`` with our manifests applied."""
    server = KubeServer(folder)
    try:
        server.start()
        server.install()
        yield server
    finally:
        server.stop()


class KubeServer:
    """One control plane in a folder of its own."""

    def __init__(self, folder: Path, *extra: str) -> None:
        self.assets = assets()
        self.folder = folder
        self._extra = extra
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None
        self._etcd_ports = (free_port(), free_port())
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (folder / "sa.key").write_bytes(pem)
        (folder / "tokens.csv").write_text(f'{ADMINISTRATOR},admin,admin,"system:masters"\n')
        self._certificate = folder / "certs" / "apiserver.crt"
        self._http = urllib3.PoolManager(ca_certs=str(self._certificate), retries=False)

    def start(self) -> None:
        """Start both, and wait until the API is ready."""
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        with (self.folder / "etcd.log").open("ab") as log:
            self._etcd = subprocess.Popen(
                [
                    self.assets / "etcd",
                    f"--data-dir={self.folder / 'etcd'}",
                    f"--listen-client-urls={client}",
                    f"--advertise-client-urls={client}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster=default={peer}",
                    "--unsafe-no-fsync",
                ],
                stdout=log,
                stderr=log,
            )
        self.start_apiserver()

    def start_apiserver(self) -> None:
        """Start the API server with an empty watch cache, and wait until it is ready."""
        with (self.folder / "apiserver.log").open("ab") as log:
            self._apiserver = subprocess.Popen(
                [
                    self.assets / "kube-apiserver",
                    f"--etcd-servers=http://127.0.0.1:{self._etcd_ports[0]}",
                    "--bind-address=127.0.0.1",
                    f"--secure-port={self.port}",
                    f"--cert-dir={self.folder / 'certs'}",
                    f"--token-auth-file={self.folder / 'tokens.csv'}",
                    "--authorization-mode=RBAC",
                    "--service-account-issuer=https://mic.test",
                    f"--service-account-key-file={self.folder / 'sa.key'}",
                    f"--service-account-signing-key-file={self.folder / 'sa.key'}",
                    "--service-cluster-ip-range=10.0.0.0/24",
                    "--disable-admission-plugins=ServiceAccount",
                    "--allow-privileged=true",
                    "--v=0",
                    *self._extra,
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready():
            log_end = (self.folder / "apiserver.log").read_text()[-3000:]
            assert self._apiserver.poll() is None, log_end
            assert time.monotonic() < deadline, "kube-apiserver does not get ready"
            time.sleep(0.1)

    def _ready(self) -> bool:
        if not self._certificate.exists():
            return False
        try:
            return self.ask("GET", "/readyz", expect=None)[0] == 200
        except urllib3.exceptions.HTTPError:
            return False

    def kill_apiserver(self) -> None:
        """End the API server as a power cut would."""
        if self._apiserver is not None:
            self._apiserver.kill()
            self._apiserver.wait()
            self._apiserver = None

    def pause_apiserver(self, paused: bool) -> None:
        """Stop the API server's clock, or have it go on: connections stay, nothing answers."""
        assert self._apiserver is not None
        self._apiserver.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def stop(self) -> None:
        """End both."""
        self.kill_apiserver()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()
        self._http.clear()

    def ask(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        expect: int | None = 2,
        kind: str = "",
    ) -> tuple[int, Json]:
        """One request as administrator; ``expect`` is the first digit of the status."""
        content = kind or "application/json"
        response = self._http.request(
            method,
            self.url + path,
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {ADMINISTRATOR}", "Content-Type": content},
            timeout=30,
        )
        text = response.data.decode()
        assert expect is None or response.status // 100 == expect, (method, path, text)
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, {"text": text}

    def create(self, resource: Resource, body: Json) -> Json:
        return self.ask("POST", path(resource, body["metadata"]["namespace"]), body)[1]

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        status, body = self.ask("GET", path(resource, namespace, name), expect=None)
        return body if status == 200 else None

    def edit(
        self, resource: Resource, namespace: str, name: str, change: Json, subresource: str = ""
    ) -> Json:
        where = path(resource, namespace, name) + (f"/{subresource}" if subresource else "")
        return self.ask("PATCH", where, change, kind="application/merge-patch+json")[1]

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        self.ask("DELETE", path(resource, namespace, name))

    def create_namespace(self, name: str) -> None:
        body = {"metadata": {"name": name}}
        self.ask("POST", "/api/v1/namespaces", body, expect=None)

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """``kubectl`` as administrator."""
        done = subprocess.run(
            [
                self.assets / "kubectl",
                f"--server={self.url}",
                "--insecure-skip-tls-verify",
                f"--token={ADMINISTRATOR}",
                f"--cache-dir={self.folder / 'kubectl'}",
                *arguments,
            ],
            input=stdin.encode(),
            capture_output=True,
            timeout=60,
            check=False,
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def install(self) -> None:
        """Apply our manifests, as a cluster's administrator does."""
        self.kubectl("apply", "-f", "-", stdin=self.rendered("plain"))
        self.kubectl("wait", "--for=condition=Established", "crd/preprovisioningimages.metal3.io")

    def rendered(self, overlay: str | Path) -> str:
        """An overlay of our manifests, or a folder with one, as kustomize puts it together.

        For a server that is older than policy/v1 with the beta that had the same fields.
        """
        folder = MANIFESTS / "overlays" / overlay
        with tempfile.TemporaryDirectory() as scratch:
            if self._kubectl_is_old():
                folder = kustomize.translated(folder, Path(scratch))
            text = self.kubectl("kustomize", str(folder))
        if self.ask("GET", "/apis/policy/v1", expect=None)[0] == 404:
            text = text.replace("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n")
        return text

    def _kubectl_is_old(self) -> bool:
        version = json.loads(self.kubectl("version", "--client", "-o", "json"))["clientVersion"]
        return (int(version["major"]), int(version["minor"].rstrip("+"))) < (1, 21)

    def grant_leases(self, namespace: str) -> None:
        """The Role of the high-availability overlay, in the namespace of a test."""
        group = "rbac.authorization.k8s.io"
        where = f"/apis/{group}/v1/namespaces/{namespace}"
        objects = yaml.safe_load_all(self.rendered("high-availability"))
        (role,) = (each for each in objects if each and each["kind"] == "Role")
        granted = {"metadata": {"name": "mic"}, "rules": role["rules"]}
        self.ask("POST", f"{where}/roles", granted)
        binding = {
            "metadata": {"name": "mic"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "mic"},
            "subjects": [{"kind": "ServiceAccount", "namespace": ACCOUNT[0], "name": ACCOUNT[1]}],
        }
        self.ask("POST", f"{where}/rolebindings", binding)

    def account_may(
        self, verb: str, resource: str, *, namespace: str = "default", name: str = ""
    ) -> bool:
        """Whether our service account has a right (a SubjectAccessReview)."""
        plural, _, rest = resource.partition(".")
        group, _, subresource = rest.partition("/")
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{ACCOUNT[0]}:{ACCOUNT[1]}",
                "resourceAttributes": {
                    "verb": verb,
                    "group": group,
                    "resource": plural,
                    "subresource": subresource,
                    "namespace": namespace,
                    "name": name,
                },
            },
        }
        where = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.ask("POST", where, body)[1]["status"]["allowed"])

    def compact(self) -> None:
        """Have etcd forget all versions but the latest."""
        etcdctl = [self.assets / "etcdctl", f"--endpoints=http://127.0.0.1:{self._etcd_ports[0]}"]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        asked = [*etcdctl, "get", "x", "--write-out=json"]
        answer = subprocess.run(asked, capture_output=True, check=True, env=environment, timeout=20)
        revision = json.loads(answer.stdout)["header"]["revision"]
        done = [*etcdctl, "compact", str(revision)]
        subprocess.run(done, capture_output=True, check=True, env=environment, timeout=20)

    def account_token(self) -> str:
        """A token of the service account of our manifests."""
        namespace, name = ACCOUNT
        where = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"spec": {"expirationSeconds": 7200}}
        return str(self.ask("POST", where, body)[1]["status"]["token"])

    def kubeconfig(
        self, where: Path, *, token: str = "", url: str = "", namespace: str = "default"
    ) -> Path:
        """A kubeconfig file with nothing but our service account's rights."""
        token_file = where.with_suffix(".token")
        token_file.write_text(token or self.account_token())
        cluster: dict[str, Any] = {"server": url or self.url}
        if not url:
            cluster["certificate-authority"] = str(self._certificate)
        context = {"cluster": "c", "user": "u", "namespace": namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"tokenFile": token_file.name}}],
            "contexts": [{"name": "x", "context": context}],
            "current-context": "x",
        }
        where.write_text(yaml.safe_dump(content))
        return where

    def portable_kubeconfig(self, where: Path) -> Path:
        """A kubeconfig file of the same rights that names no other file."""
        content = yaml.safe_load(self.kubeconfig(where).read_text())
        authority = base64.b64encode(self._certificate.read_bytes()).decode()
        content["clusters"][0]["cluster"] = {
            "server": self.url,
            "certificate-authority-data": authority,
        }
        content["users"][0]["user"] = {"token": self.account_token()}
        where.with_suffix(".token").unlink()
        where.write_text(yaml.safe_dump(content))
        return where

    def service_account(self, folder: Path) -> Path:
        """The files that pods of our service account find in the place for them."""
        folder.mkdir()
        (folder / "token").write_text(self.account_token())
        (folder / "namespace").write_text(ACCOUNT[0])
        (folder / "ca.crt").write_bytes(self._certificate.read_bytes())
        return folder


def path(resource: Resource, namespace: str, name: str = "") -> str:
    """The object's, or the kind's, path in the API."""
    root = f"/apis/{resource.group}" if resource.group else "/api"
    where = f"{root}/{resource.version}/namespaces/{namespace}/{resource.plural}"
    return f"{where}/{name}" if name else where

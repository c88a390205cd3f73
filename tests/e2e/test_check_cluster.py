"""``mic check`` of controller mode against a real API server: it reads once and writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from functional.daemon import MIC, ROOT
from kube_samples import image_body, secret_body
from kubeserver import KubeServer
from toys import live_iso, put

from mic.kube.api import LEASES, PREPROVISIONING_IMAGES, SECRETS

NAMESPACE = "checked"
IPV4 = b"""\
interfaces:
- name: eth0
  type: ethernet
  ipv4: {enabled: true, address: [{ip: 192.0.2.9, prefix-length: 24}]}
"""
GROUP = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def reader(kube: KubeServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig file that may list PreprovisioningImages and get Secrets, nothing else."""
    kube.create_namespace(NAMESPACE)
    kube.ask(
        "POST",
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts",
        {"metadata": {"name": "reader"}},
    )
    where = f"/apis/{GROUP}/v1/namespaces/{NAMESPACE}"
    rules = [
        {"apiGroups": ["metal3.io"], "resources": ["preprovisioningimages"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ]
    kube.ask("POST", f"{where}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "reader"}],
    }
    kube.ask("POST", f"{where}/rolebindings", binding)
    token = kube.ask(
        "POST",
        f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/reader/token",
        {"spec": {"expirationSeconds": 7200}},
    )[1]["status"]["token"]
    return kube.kubeconfig(tmp_path_factory.mktemp("reader") / "config", token=token)


@pytest.fixture(scope="module")
def iso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("base") / "ipa.iso", live_iso())


@pytest.fixture
def objects(kube: KubeServer) -> Any:
    """Adds objects to the namespace, which is empty again afterwards."""
    added = []

    def add(name: str, nmstate: bytes | None = None, *, named: str = "", **more: Any) -> None:
        secret = named or (f"{name}-net" if nmstate is not None else "")
        body = image_body(name, namespace=NAMESPACE, secret=secret, **more)
        added.append((PREPROVISIONING_IMAGES, name))
        kube.create(PREPROVISIONING_IMAGES, body)
        if nmstate is not None:
            kube.create(SECRETS, secret_body(secret, nmstate, namespace=NAMESPACE))
            added.append((SECRETS, secret))

    yield add
    for resource, name in added:
        kube.delete(resource, NAMESPACE, name)


def run(
    kubeconfig: Path, iso: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    done = subprocess.run(
        [*MIC, "check", "-kubeconfig", str(kubeconfig), "-namespace", NAMESPACE, *flags],
        env={
            "PATH": os.environ["PATH"],
            "DEPLOY_ISO": str(iso),
            "IRONIC_AGENT_IMAGE": "192.0.2.5:5000/ipa",
            "IRONIC_BASE_URL": "http://192.0.2.2",
            **(environment or {}),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def everything(kube: KubeServer) -> dict[str, str]:
    """Return the resource version of each object of the namespace that mic could write."""
    found: dict[str, str] = {}
    for resource in (PREPROVISIONING_IMAGES, SECRETS, LEASES):
        root = f"/apis/{resource.group}" if resource.group else "/api"
        where = f"{root}/{resource.version}/namespaces/{NAMESPACE}/{resource.plural}"
        for item in kube.ask("GET", where)[1]["items"]:
            metadata = item["metadata"]
            found[f"{resource} {metadata['name']}"] = metadata["resourceVersion"]
    where = f"/api/v1/namespaces/{NAMESPACE}/events"
    found |= {item["metadata"]["name"]: "event" for item in kube.ask("GET", where)[1]["items"]}
    return found


def test_reads_everything_and_writes_nothing(
    kube: KubeServer, reader: Path, iso: Path, objects: Any
) -> None:
    objects("fine", IPV4, formats=("iso", "initrd"))
    objects("bare")
    objects("broken", b"interfaces: [{name: d0, mtu: x}]")
    objects("secretless", named="nowhere")
    objects("misnamed", named="no/name")
    objects("foreign", architecture="arm64")
    objects("formatless", formats=())
    objects("assisted", b": [", labels={"infraenvs.agent-install.openshift.io": "x"})
    # The document under another key.
    other = secret_body("other-net", None, namespace=NAMESPACE)
    kube.create(SECRETS, other)
    objects("other", named="other-net")
    before = everything(kube)
    status, lines = run(reader, iso)
    kube.delete(SECRETS, NAMESPACE, "other-net")
    assert status == 1
    after = {**before, **everything(kube)}
    assert after == before
    assert lines[-1] == "8 hosts: 6 errors, 0 warnings"
    errors = dict(zip(lines[:-1:2], lines[1::2], strict=True))
    assert {subject.rstrip(":") for subject in errors} == {
        f"{NAMESPACE}/{name}"
        for name in ("broken", "secretless", "misnamed", "foreign", "formatless", "other")
    }
    for name, text in {
        "broken": "interfaces[0].mtu: found 'x'",
        "secretless": f"NetworkData secret not found: {NAMESPACE}/nowhere",
        "misnamed": "cannot be the name of a Secret",
        "foreign": "the kernel calls it aarch64",
        "formatless": "spec.acceptFormats is empty",
        "other": "has no key 'nmstate'",
    }.items():
        assert text in errors[f"{NAMESPACE}/{name}:"]


def test_warnings_of_hosts(reader: Path, iso: Path, objects: Any) -> None:
    objects("host", IPV4)
    url = {"IRONIC_BASE_URL": "http://[fd00::1]"}
    status, lines = run(reader, iso, "-json", environment=url)
    found = json.loads("\n".join(lines))
    assert status == 0
    assert found["mode"] == "controller"
    assert found["hosts"] == found["warnings"] == 1
    (finding,) = found["findings"]
    assert finding["host"] == finding["subject"] == f"{NAMESPACE}/host"
    assert "Ironic is at [fd00::1]:6385" in finding["text"]
    assert run(reader, iso, "-strict", environment=url)[0] == 1


def test_the_rootfs_is_for_network_boot(reader: Path, iso: Path, objects: Any) -> None:
    objects("disk", IPV4)
    objects("network", IPV4, formats=("initrd",))
    _, lines = run(reader, iso, environment={"IRONIC_ROOTFS_URL": "http://[fd00::1]/rootfs.img"})
    assert lines[0] == f"{NAMESPACE}/network:"
    assert "the rootfs is at [fd00::1]:80 and the host has IPv4 addresses only" in lines[1]
    assert lines[2:] == ["2 hosts: 0 errors, 1 warning"]


def test_the_settings_are_one_fault_and_documents_are_checked_all_the_same(
    reader: Path, iso: Path, objects: Any
) -> None:
    objects("fine", IPV4)
    objects("broken", b"interfaces: [{name: d0, mtu: x}]")
    for variable, subject in (("IRONIC_BASE_URL", "settings"), ("DEPLOY_ISO", "base images")):
        status, lines = run(reader, iso, environment={variable: ""})
        assert status == 1
        assert lines[0] == f"{subject}:"
        assert variable in lines[1]
        assert lines[-1] == "2 hosts: 2 errors, 0 warnings"
        text = "\n".join(lines)
        assert f"{NAMESPACE}/broken:\n  error: " in text
        assert f"{NAMESPACE}/fine" not in text


def test_an_image_that_is_served_already_is_checked_anew(
    kube: KubeServer, reader: Path, iso: Path, objects: Any
) -> None:
    objects("host", b"interfaces: 1")
    stamp = {"lastTransitionTime": "2026-01-01T00:00:00Z", "message": "", "reason": "ImageSuccess"}
    status = {
        "imageUrl": "http://192.0.2.1/x.iso",
        "format": "iso",
        "architecture": "x86_64",
        "conditions": [
            {"type": "Ready", "status": "True", **stamp},
            {"type": "Error", "status": "False", **stamp},
        ],
    }
    kube.edit(PREPROVISIONING_IMAGES, NAMESPACE, "host", {"status": status}, "status")
    result, lines = run(reader, iso)
    assert result == 1
    assert lines[0] == f"{NAMESPACE}/host:"
    assert "interfaces: " in lines[1]


def test_no_objects(reader: Path, iso: Path) -> None:
    assert run(reader, iso) == (
        0,
        [
            "cluster:",
            f"  warning: there is no PreprovisioningImage in namespace {NAMESPACE}",
            "0 hosts: 0 errors, 1 warning",
        ],
    )


def test_a_missing_right(kube: KubeServer, iso: Path, tmp_path: Path, reader: Path) -> None:
    flags = ("-namespace", "default")
    status, lines = run(reader, iso, *flags)
    assert status == 1
    assert lines[0] == "cluster:"
    assert "preprovisioningimages" in lines[1]
    assert lines[-1] == "0 hosts: 1 error, 0 warnings"


def test_no_cluster(iso: Path, tmp_path: Path) -> None:
    status, lines = run(tmp_path / "none", iso)
    assert status == 1
    assert lines[0] == "cluster:"
    assert lines[-1] == "0 hosts: 1 error, 0 warnings"

"""Scope: the manifests of deploy/kubernetes, built by kustomize and checked by a real API server.

The API server accepts every overlay without unknown fields. The objects refer to each other
correctly, are allowed in a namespace of restricted pods, and grant the expected rights and no more.
The same holds for the manifests in docs/kubernetes.md. test_reconcile.py and test_bad_days.py show
that the rights are sufficient.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeserver import MANIFESTS, ROOT, KubeServer

OVERLAYS = (
    *("plain", "tls", "high-availability", "upstream-metal3"),
    "cluster-baremetal-operator",
)
OURS = OVERLAYS[:4]
COREOS = OVERLAYS[:3]
NAMESPACE = "machine-image-customizer"

_RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}


def _objects(kube: KubeServer, overlay: str | Path) -> dict[str, dict[str, Any]]:
    """Return the objects of an overlay by kind; of several objects of one kind, the last."""
    return {each["kind"]: each for each in yaml.safe_load_all(kube.rendered(overlay)) if each}


def _pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    pod: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return pod


def _container(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (container,) = _pod(objects)["containers"]
    assert isinstance(container, dict)
    return container


def _accepted(kube: KubeServer, text: str) -> None:
    """Let the API server validate objects, including unknown fields, without storing them."""
    kube.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"), stdin=text
    )


def _both(folder: Path) -> Path:
    """Build high-availability on tls, as its comment describes; return the overlay's path."""
    shutil.copytree(MANIFESTS, folder / "kubernetes")
    overlay = folder / "kubernetes/overlays/high-availability"
    path = overlay / "kustomization.yaml"
    text = path.read_text()
    assert "\n  - ../plain\n" in text
    path.write_text(text.replace("\n  - ../plain\n", "\n  - ../tls\n"))
    return overlay


@pytest.fixture
def openshift(kube: KubeServer) -> str:
    """Create the namespace that cluster-baremetal-operator's objects expect."""
    kube.create_namespace("openshift-machine-api")
    return "openshift-machine-api"


@pytest.mark.usefixtures("openshift")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_api_server_accepts_every_field(kube: KubeServer, overlay: str) -> None:
    _accepted(kube, kube.rendered(overlay))


def test_api_server_rejects_an_unknown_field(kube: KubeServer) -> None:
    with pytest.raises(AssertionError, match=r"replikas"):
        _accepted(kube, kube.rendered("plain").replace("replicas:", "replikas:"))


def test_combines_high_availability_and_tls(kube: KubeServer, tmp_path: Path) -> None:
    overlay = _both(tmp_path)
    _accepted(kube, kube.rendered(overlay))
    objects = _objects(kube, overlay)
    flags = {argument.partition("=")[0] for argument in _container(objects)["args"]}
    assert {"-leader-elect", "-images-tls-cert-file", "-images-http-bind-addr"} <= flags
    assert {each["name"] for each in _pod(objects)["volumes"]} == {"base-images", "tls", "url-key"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_references_between_objects_resolve(kube: KubeServer, overlay: str) -> None:
    objects = _objects(kube, overlay)
    template = objects["Deployment"]["spec"]["template"]
    container = _container(objects)
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    labels = template["metadata"]["labels"].items()
    assert objects["Service"]["spec"]["selector"].items() <= labels
    for port in objects["Service"]["spec"]["ports"]:
        assert port["targetPort"] in {*named, *named.values()}
    for probe in ("readinessProbe", "livenessProbe"):
        assert container.get(probe, {}).get("httpGet", {"port": "http"})["port"] in named
    volumes = {volume["name"] for volume in template["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    words = " ".join([*container["command"], *container.get("args", [])])
    variables = {each["name"] for each in container["env"]}
    assert set(re.findall(r"\$\((\w+)\)", words)) <= variables
    ports = {int(port) for port in re.findall(r"addr[= ]\S*:(\d{4})(?!\S)", words)}
    assert ports == set(named.values())


@pytest.mark.parametrize("overlay", OURS)
def test_pods_are_allowed_in_restricted_namespaces(kube: KubeServer, overlay: str) -> None:
    objects = _objects(kube, overlay)
    labels = objects["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = _pod(objects)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "initContainers"}
    for volume in pod["volumes"]:
        assert volume.keys() - {"name"} <= _RESTRICTED_VOLUMES
    context = _container(objects)["securityContext"]
    assert context == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all("hostPort" not in port for port in _container(objects)["ports"])


def test_base_sets_no_user(kube: KubeServer) -> None:
    context = _pod(_objects(kube, MANIFESTS / "base"))["securityContext"]
    assert context["runAsNonRoot"] is True
    assert not context.keys() & {"runAsUser", "runAsGroup", "fsGroup"}


@pytest.mark.parametrize("overlay", OURS)
def test_network_policy_opens_every_port_and_metrics_only_to_monitoring(
    kube: KubeServer, overlay: str
) -> None:
    objects = _objects(kube, overlay)
    policy = objects["NetworkPolicy"]["spec"]
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels
    images, metrics = policy["ingress"]
    named = {port["name"]: port["containerPort"] for port in _container(objects)["ports"]}
    assert {port["port"] for port in metrics["ports"]} == {named.pop("metrics")}
    assert metrics["from"]
    assert {port["port"] for port in images["ports"]} == set(named.values())


@pytest.mark.parametrize("overlay", OURS)
def test_allows_drains_and_never_runs_two_writers(kube: KubeServer, overlay: str) -> None:
    objects = _objects(kube, overlay)
    deployment, budget = objects["Deployment"]["spec"], objects["PodDisruptionBudget"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    if "-leader-elect" in _container(objects)["args"]:
        assert deployment["replicas"] == 2
        assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    else:
        assert deployment["replicas"] == 1
        assert deployment["strategy"] == {"type": "Recreate"}


def _documented(page: str = "kubernetes.md") -> dict[str, str]:
    """Return the manifests of a page of docs/ by file name."""
    text = (ROOT / "docs" / page).read_text()
    return dict(re.findall(r"<!-- manifest: (\S+) -->\n```yaml\n(.*?)```", text, re.DOTALL))


@pytest.mark.parametrize("overlay", COREOS)
def test_documented_site_is_valid(kube: KubeServer, tmp_path: Path, overlay: str) -> None:
    files = _documented()
    shutil.copytree(MANIFESTS, tmp_path / "deploy/kubernetes")
    site = tmp_path / "site"
    site.mkdir()
    for name in ("site.yaml", "openshift.yaml"):
        (site / name).write_text(files[name])
    text = files["kustomization.yaml"].replace("overlays/plain", f"overlays/{overlay}")
    text = text.replace("  - path: site.yaml\n", "  - path: site.yaml\n  - path: openshift.yaml\n")
    (site / "kustomization.yaml").write_text(text)
    _accepted(kube, kube.rendered(site))
    objects = _objects(kube, site)
    assert _container(objects)["image"] == "registry.example.com/mic:0.1.0"
    assert _pod(objects)["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    given = {each["name"]: each.get("value") for each in _container(objects)["env"]}
    assert given["IMAGES_URL"] == "http://images.example.com"
    assert given["DEPLOY_ISO"]


def test_upstream_metal3_boots_another_ramdisk(kube: KubeServer) -> None:
    given = {each["name"]: each["value"] for each in _container(_objects(kube, OURS[3]))["env"]}
    assert given["MIC_RAMDISK"] == "ipa"
    files = {given[name] for name in ("DEPLOY_INITRD", "DEPLOY_KERNEL", "MIC_BOOTLOADER")}
    (mount,) = _container(_objects(kube, OURS[3]))["volumeMounts"]
    assert {Path(file).parent for file in files} == {Path(mount["mountPath"])}
    assert len(files) == 3
    assert not given.keys() & {"DEPLOY_ISO", "IRONIC_AGENT_IMAGE"}


def test_documented_volume_matches_the_mount(kube: KubeServer) -> None:
    text = _documented()["base-images.yaml"]
    _accepted(kube, text)
    claim, job = yaml.safe_load_all(text)
    (volume,) = _pod(_objects(kube, "plain"))["volumes"]
    assert claim["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]
    (loader,) = job["spec"]["template"]["spec"]["containers"]
    container = _container(_objects(kube, "plain"))
    assert loader["securityContext"] == container["securityContext"]
    assert loader["volumeMounts"][0]["mountPath"] == container["volumeMounts"][0]["mountPath"]
    (iso,) = (each["value"] for each in container["env"] if each["name"] == "DEPLOY_ISO")
    assert f"-output={iso}" in loader["args"]


def test_documented_init_container_is_valid(kube: KubeServer, tmp_path: Path) -> None:
    files = {**_documented(), **_documented("fetch.md")}
    shutil.copytree(MANIFESTS, tmp_path / "deploy/kubernetes")
    site = tmp_path / "site"
    site.mkdir()
    for name in ("site.yaml", "init-fetch.yaml"):
        (site / name).write_text(files[name])
    text = files["kustomization.yaml"]
    patched = text.replace("- path: site.yaml\n", "- path: site.yaml\n  - path: init-fetch.yaml\n")
    (site / "kustomization.yaml").write_text(patched)
    _accepted(kube, kube.rendered(site))
    objects = _objects(kube, site)
    pod, container = _pod(objects), _container(objects)
    (init,) = pod["initContainers"]
    (volume,) = pod["volumes"]
    assert volume == {"name": "own-images", "emptyDir": {"sizeLimit": "3Gi"}}
    (mount,) = container["volumeMounts"]
    assert (mount["name"], mount["readOnly"]) == ("own-images", True)
    assert init["volumeMounts"] == [{"name": "own-images", "mountPath": mount["mountPath"]}]
    assert init["image"] == container["image"]
    assert init["securityContext"] == container["securityContext"]
    (iso,) = (each["value"] for each in container["env"] if each["name"] == "DEPLOY_ISO")
    assert f"-output={iso}" in init["args"]


def test_documented_certificate_matches_the_mounted_secret(kube: KubeServer) -> None:
    certificate = yaml.safe_load(_documented()["certificate.yaml"])
    volumes = _pod(_objects(kube, "tls"))["volumes"]
    (secret,) = (volume["secret"] for volume in volumes if "secret" in volume)
    assert certificate["spec"]["secretName"] == secret["secretName"]


@pytest.mark.usefixtures("leader_rights")
def test_grants_one_lease_in_the_own_namespace(kube: KubeServer) -> None:
    leases = "leases.coordination.k8s.io"
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")

    def granted(namespace: str, name: str) -> set[str]:
        return {v for v in verbs if kube.account_may(v, leases, namespace=namespace, name=name)}

    assert granted(NAMESPACE, "machine-image-customizer") == {"get", "create", "update"}
    assert granted(NAMESPACE, "another") == {"create"}
    assert granted("default", "machine-image-customizer") == set()


def test_grants_no_lease_without_the_overlay(kube: KubeServer) -> None:
    assert not kube.account_may("get", "leases.coordination.k8s.io", namespace=NAMESPACE)

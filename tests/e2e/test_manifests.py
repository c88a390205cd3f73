"""Scope: the manifests of deploy/kubernetes as kustomize puts them together, and a real API server.

It accepts every overlay without a field that it does not know; the parts fit each other, are
allowed in a namespace of restricted pods, and grant what they should and no more; so do those that
docs/kubernetes.md has its readers write. That mic does with the rights what it has to is shown by
test_reconcile.py and test_bad_days.py.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubeserver import MANIFESTS, ROOT, KubeServer

OVERLAYS = ("plain", "tls", "high-availability", "cluster-baremetal-operator")
OURS = OVERLAYS[:3]
NAMESPACE = "machine-image-customizer"

_RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}


def _objects(kube: KubeServer, overlay: str | Path) -> dict[str, dict[str, Any]]:
    """The objects of an overlay by kind; of those with the same the last."""
    return {each["kind"]: each for each in yaml.safe_load_all(kube.rendered(overlay)) if each}


def _pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    pod: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return pod


def _container(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (container,) = _pod(objects)["containers"]
    assert isinstance(container, dict)
    return container


def _accepted(kube: KubeServer, text: str) -> None:
    """Have the API server check objects, unknown fields too, and keep none of them."""
    kube.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-"), stdin=text
    )


def _both(folder: Path) -> Path:
    """The overlay high-availability upon tls, as its comment tells how."""
    shutil.copytree(MANIFESTS, folder / "kubernetes")
    overlay = folder / "kubernetes/overlays/high-availability"
    path = overlay / "kustomization.yaml"
    text = path.read_text()
    assert "\n  - ../plain\n" in text
    path.write_text(text.replace("\n  - ../plain\n", "\n  - ../tls\n"))
    return overlay


@pytest.fixture
def openshift(kube: KubeServer) -> str:
    """The namespace that is there before cluster-baremetal-operator's objects are."""
    kube.create_namespace("openshift-machine-api")
    return "openshift-machine-api"


@pytest.mark.usefixtures("openshift")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_api_server_accepts_every_field(kube: KubeServer, overlay: str) -> None:
    _accepted(kube, kube.rendered(overlay))


def test_a_field_that_it_does_not_know_would_be_noticed(kube: KubeServer) -> None:
    with pytest.raises(AssertionError, match=r"replikas"):
        _accepted(kube, kube.rendered("plain").replace("replicas:", "replikas:"))


def test_high_availability_and_tls_go_together(kube: KubeServer, tmp_path: Path) -> None:
    overlay = _both(tmp_path)
    _accepted(kube, kube.rendered(overlay))
    objects = _objects(kube, overlay)
    flags = {argument.partition("=")[0] for argument in _container(objects)["args"]}
    assert {"-leader-elect", "-images-tls-cert-file", "-images-http-bind-addr"} <= flags
    assert {each["name"] for each in _pod(objects)["volumes"]} == {"base-images", "tls", "url-key"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_refers_to_something_finds_it(kube: KubeServer, overlay: str) -> None:
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
def test_pods_are_such_as_restricted_namespaces_take(kube: KubeServer, overlay: str) -> None:
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


def test_the_base_leaves_the_user_to_openshift(kube: KubeServer) -> None:
    context = _pod(_objects(kube, MANIFESTS / "base"))["securityContext"]
    assert context["runAsNonRoot"] is True
    assert not context.keys() & {"runAsUser", "runAsGroup", "fsGroup"}


@pytest.mark.parametrize("overlay", OURS)
def test_every_port_may_be_reached_and_health_by_monitoring_alone(
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
def test_nodes_can_be_drained_and_only_one_process_at_a_time_writes(
    kube: KubeServer, overlay: str
) -> None:
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


def _documented() -> dict[str, str]:
    """The files of docs/kubernetes.md by name."""
    text = (ROOT / "docs/kubernetes.md").read_text()
    return dict(re.findall(r"<!-- manifest: (\S+) -->\n```yaml\n(.*?)```", text, re.DOTALL))


@pytest.mark.parametrize("overlay", OURS)
def test_a_site_as_documented_is_accepted(kube: KubeServer, tmp_path: Path, overlay: str) -> None:
    files = _documented()
    shutil.copytree(MANIFESTS, tmp_path / "deploy/kubernetes")
    site = tmp_path / "site"
    site.mkdir()
    for name in ("site.yaml", "openshift.yaml"):
        (site / name).write_text(files[name])
    text = files["kustomization.yaml"].replace("overlays/plain", f"overlays/{overlay}")
    text = text.replace("  - site.yaml\n", "  - site.yaml\n  - openshift.yaml\n")
    (site / "kustomization.yaml").write_text(text)
    _accepted(kube, kube.rendered(site))
    objects = _objects(kube, site)
    assert _container(objects)["image"] == "registry.example.com/mic:0.1.0"
    assert _pod(objects)["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
    given = {each["name"]: each.get("value") for each in _container(objects)["env"]}
    assert given["IMAGES_URL"] == "http://images.example.com"
    assert given["DEPLOY_ISO"]


def test_the_documented_volume_is_the_one_that_is_mounted(kube: KubeServer) -> None:
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
    assert iso in loader["command"]


def test_the_documented_certificate_is_for_the_secret_that_is_mounted(kube: KubeServer) -> None:
    certificate = yaml.safe_load(_documented()["certificate.yaml"])
    volumes = _pod(_objects(kube, "tls"))["volumes"]
    (secret,) = (volume["secret"] for volume in volumes if "secret" in volume)
    assert certificate["spec"]["secretName"] == secret["secretName"]


@pytest.mark.usefixtures("leader_rights")
def test_leader_election_is_granted_for_one_lease_in_our_namespace(kube: KubeServer) -> None:
    leases = "leases.coordination.k8s.io"
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")

    def granted(namespace: str, name: str) -> set[str]:
        return {v for v in verbs if kube.account_may(v, leases, namespace=namespace, name=name)}

    assert granted(NAMESPACE, "machine-image-customizer") == {"get", "create", "update"}
    assert granted(NAMESPACE, "another") == {"create"}
    assert granted("default", "machine-image-customizer") == set()


def test_without_it_no_lease_is_granted(kube: KubeServer) -> None:
    assert not kube.account_may("get", "leases.coordination.k8s.io", namespace=NAMESPACE)

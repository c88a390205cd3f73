"""Scope: one tenant's objects that cannot be served, beside a victim, before a real API server.

Names that cannot be, admission webhooks, Roles that name some objects, objects that are too large.
The victim gets its image as if it were alone, a controller that starts beside them becomes ready,
and the wrong Secret is left alone. An attack anybody can run:

    KUBEBUILDER_ASSETS=... pytest -n 0 -s tests/e2e/test_hostile_objects.py
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import yaml
from kube_samples import condition, image_body
from kubecluster import Cluster, run
from twisted.internet import reactor as _reactor
from webhook import LABEL, Webhook

from mic.kube.api import PREPROVISIONING_IMAGES, SECRETS, Json
from mic.kube.controller import Controller
from mic.kube.objects import FINALIZER

reactor = cast(Any, _reactor)

HOSTILE = 40
NO_NAMES = ("a/b", ".", "..", "Upper", "a..b", "-a", "%2f", "%2e%2e", "é", "a b", "x" * 254, "a\nb")
MAX_LOOKS = 90
"""How often one looks, every 0.05 s, until the victim has its image; on an idle machine, twice.

Not seconds: a look is a request to the API server, which takes longer on a busy machine, as what
the controller does. The first victim comes while the controller starts and tries what is hostile,
once each: it may take four times as many.
"""


async def looks_until(cluster: Cluster, holds: Callable[[], bool], what: str) -> int:
    """Look until something holds; how often that took."""
    looks = 0

    def look() -> bool:
        nonlocal looks
        looks += 1
        return holds()

    await cluster.until(look, what)
    return looks


async def victim(cluster: Cluster, number: int = 0) -> int:
    """Create a victim; the looks until it has its image."""
    name = f"victim-{number}"
    cluster.create_secret(name, b"interfaces: []")
    cluster.create_image(name, secret=name)
    return await looks_until(
        cluster, lambda: cluster.verdict(name).startswith("image "), f"an image of {name}"
    )


async def ready(cluster: Cluster, controller: Controller) -> int:
    """Wait until each object of the start was tried; the looks until then."""

    def is_ready() -> bool:
        # A request as for the victims: what is waited for is asked for at the same pace.
        return bool(cluster.image("h-0") and controller.health().ready)

    return await looks_until(cluster, is_ready, "readiness")


async def beside(cluster: Cluster, what: str) -> Controller:
    """See that victims are served beside what was created before, also after a restart."""
    controller = cluster.start_controller()
    first = await victim(cluster)
    started = await ready(cluster, controller)
    took = [await victim(cluster, number) for number in (1, 2)]
    await cluster.stop_controllers()
    controller = cluster.start_controller()
    restarted = await ready(cluster, controller)
    late = await victim(cluster, 3)
    rate = await cluster.quiet(5.0)
    waits = ", ".join(map(str, (first, *took, late)))
    print(f"{what}: victims Ready after {waits} looks; process ready after {started},")
    print(f"  restarted after {restarted}; then {rate:.1f} requests/s")
    assert first < 4 * MAX_LOOKS
    assert max(*took, late, started, restarted) < MAX_LOOKS
    assert rate < 10
    return controller


@run
async def test_names_that_no_secret_can_have(cluster: Cluster) -> None:
    paths: list[str] = []
    cluster.proxy.fault = lambda verb, path: paths.append(path) if "secrets" in path else None  # type: ignore[func-returns-value]
    for number in range(HOSTILE):
        cluster.create_image(f"h-{number}", secret=NO_NAMES[number % len(NO_NAMES)])
    controller = await beside(cluster, "names that cannot be")
    for number in range(HOSTILE):
        image = cluster.image(f"h-{number}") or {}
        error = condition(image, "Error")
        assert (error["status"], error["reason"]) == ("True", "ConfigurationError")
        assert error["message"].startswith(
            f"spec.networkDataName {NO_NAMES[number % len(NO_NAMES)]!r} cannot be"
        )
    where = f"/api/v1/namespaces/{cluster.namespace}/secrets"
    assert {path.partition("?")[0] for path in paths} == {
        where,
        *(f"{where}/victim-{number}" for number in range(4)),
    }
    assert controller.health().warnings == ()
    # The sum after the start says how many objects failed.
    log = [line for line in cluster.log if " reconciled: " not in line]
    assert not any("Traceback" in line or "failed" in line for line in log)
    await cluster.all_asked(2.0)


async def _behind_a_webhook(cluster: Cluster, *, answers: bool) -> None:
    message = "quotes http://x/secret.iso"
    webhook = Webhook(cluster.kube, cluster.folder, answers=answers, message=message)
    try:
        for number in range(HOSTILE):
            cluster.create_image(f"h-{number}", labels={LABEL: ""})
        webhook.install()
        # The API server takes a moment to hear of it.
        await cluster.until(lambda: not _may_edit(cluster, "h-0"), "the webhook in force")
        how = "denies" if answers else "is broken"
        controller = await beside(cluster, f"a webhook that {how}")
        problem = " ".join(controller.health().warnings)
        assert webhook.name in problem
        assert "secret.iso" not in problem + " ".join(cluster.log)
    finally:
        webhook.stop()
    last = f"h-{HOSTILE - 1}"
    await cluster.until(lambda: cluster.verdict(last).startswith("image "), "all well", 60.0)


@run
async def test_an_admission_webhook_that_denies(cluster: Cluster) -> None:
    await _behind_a_webhook(cluster, answers=True)


@run
async def test_an_admission_webhook_that_does_not_answer(cluster: Cluster) -> None:
    await _behind_a_webhook(cluster, answers=False)


def _may_edit(cluster: Cluster, name: str) -> bool:
    where = f"/apis/metal3.io/v1alpha1/namespaces/{cluster.namespace}/preprovisioningimages/{name}"
    change = {"metadata": {"annotations": {"x": str(reactor.seconds())}}}
    kind = "application/merge-patch+json"
    return cluster.kube.ask("PATCH", where, change, expect=None, kind=kind)[0] == 200


@run
async def test_objects_that_are_too_large_to_be_written(cluster: Cluster) -> None:
    """As large as they come: with a finalizer they are larger than etcd takes."""
    size = 1_572_864
    while True:
        body = image_body("h-0", namespace=cluster.namespace, secret="x" * size)
        status, _ = cluster.kube.ask(
            "POST",
            f"/apis/metal3.io/v1alpha1/namespaces/{cluster.namespace}/preprovisioningimages",
            body,
            expect=None,
        )
        if status == 201:
            break
        size -= 16
    for number in range(1, 4):
        cluster.create_image(f"h-{number}", secret="x" * size)
    await beside(cluster, f"objects of {size} bytes")
    assert FINALIZER not in ((cluster.image("h-0") or {})["metadata"].get("finalizers") or [])


def _limited(cluster: Cluster, elsewhere: str) -> Path:
    """A kubeconfig of an account that lists everything, and writes in one namespace alone."""
    kube, here = cluster.kube, cluster.namespace
    accounts = f"/api/v1/namespaces/{here}/serviceaccounts"
    kube.ask("POST", accounts, {"metadata": {"name": "limited"}})
    where = f"{accounts}/limited/token"
    token = kube.ask("POST", where, {"spec": {"expirationSeconds": 7200}})[1]["status"]["token"]
    images = ["preprovisioningimages", "preprovisioningimages/status"]
    roles: list[Json] = [
        {
            "kind": "ClusterRole",
            "metadata": {"name": f"limited-{here}"},
            "rules": [
                {"apiGroups": ["metal3.io"], "resources": images, "verbs": ["list", "watch"]},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
            ],
        },
        {
            "kind": "Role",
            "metadata": {"name": "limited", "namespace": here},
            "rules": [
                {"apiGroups": ["metal3.io"], "resources": images, "verbs": ["get", "update"]},
                {
                    "apiGroups": [""],
                    "resources": ["secrets"],
                    "verbs": ["get", "update"],
                    "resourceNames": [f"victim-{number}" for number in range(4)],
                },
            ],
        },
    ]
    bindings = [
        {
            "kind": f"{role['kind']}Binding",
            "metadata": role["metadata"],
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": role["kind"],
                "name": role["metadata"]["name"],
            },
            "subjects": [{"kind": "ServiceAccount", "name": "limited", "namespace": here}],
        }
        for role in roles
    ]
    objects = [{"apiVersion": "rbac.authorization.k8s.io/v1", **each} for each in roles + bindings]
    kube.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    return kube.kubeconfig(cluster.folder / "limited", token=token, url=cluster.proxy.url)


@run
async def test_a_role_for_one_namespace_and_for_some_secrets(cluster: Cluster) -> None:
    elsewhere = f"{cluster.namespace}-other"
    cluster.kube.create_namespace(elsewhere)
    for number in range(HOSTILE // 2):
        body = image_body(f"h-{number}", namespace=elsewhere)
        cluster.kube.create(PREPROVISIONING_IMAGES, body)
        cluster.create_secret(f"h-{number}", b"interfaces: []")
        cluster.create_image(f"h-{number}", secret=f"h-{number}")
    config = _limited(cluster, elsewhere)
    controller = cluster.start_controller(kubeconfig=config, namespace="")
    try:
        first = await victim(cluster)
        await ready(cluster, controller)
        took = [await victim(cluster, number) for number in (1, 2, 3)]
        waits = ", ".join(map(str, (first, *took)))
        print(f"a Role for some: victims Ready after {waits} looks")
        assert first < 4 * MAX_LOOKS
        assert max(took) < MAX_LOOKS
        problem = " ".join(controller.health().warnings)
        assert "cannot update preprovisioningimages" in problem
        assert "cannot get secrets" in problem
    finally:
        await cluster.stop_controllers()
        for number in range(HOSTILE // 2):
            cluster.kube.delete(PREPROVISIONING_IMAGES, elsewhere, f"h-{number}")


@run
async def test_a_secret_named_by_mistake_is_left_alone_and_its_keys_are_named(
    cluster: Cluster,
) -> None:
    value = base64.b64encode(b"private-key").decode()
    before = cluster.kube.create(
        SECRETS,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "web", "namespace": cluster.namespace},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": value, "tls.key": value},
        },
    )
    cluster.create_image("host", secret="web")
    cluster.start_controller()
    error = await cluster.until_error("host")
    assert error == (
        f"Cannot generate image: Secret {cluster.namespace}/web has no key 'nmstate', "
        "'networkData' or 'value' (network data), 'kernelArguments' or 'ignition'; its keys are "
        "tls.crt, tls.key"
    )
    assert await cluster.all_asked()
    assert cluster.secret("web") == before
    assert cluster.proxy.count()["update secrets"] == 0
    # Found by reading it again, after 3 s.
    cluster.edit_secret("web", b"interfaces: []")
    await cluster.until_image("host")
    assert (cluster.secret("web") or {})["metadata"]["ownerReferences"]

"""Alert rules and dashboard, checked by promtool against the metrics of running daemons.

Scope: deploy/monitoring. Every alert fires when it should, and none fires on a healthy mic. Queries
use only metrics and labels that mic has. Also shows what controller mode counts.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e import parts
from functional.daemon import Daemon, eventually
from functional.media import IRONIC, make_hosts
from kube_samples import bmo_verdict, image_body
from kubeserver import KubeServer
from metrics_page import Page, page_of
from toys import live_iso, put

from mic.kube.api import PREPROVISIONING_IMAGES

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/monitoring/alerts.yaml"
DASHBOARD = ROOT / "deploy/monitoring/dashboard.json"

NAMESPACE = "monitored"
HOSTS = 3
TARGET = {"job": "mic", "instance": "images.example:8080"}
MINUTES = 60

ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}

LAG = "mic_event_loop_lag_seconds_bucket"
FIRES: dict[str, dict[str, str]] = {
    # Series and its values per minute, without the labels of the target.
    "MicDown": {"up": "0+0x60"},
    "MicDefect": {"mic_health_defects": "1+0x60"},
    "MicNotReady": {"mic_ready": "0+0x60"},
    "MicBaseImageUnusable": {"mic_base_images_unusable": "1+0x60"},
    "MicBaseImageUnreadable": {
        'mic_http_connections_broken_off_total{reason="source"}': "0+0x50 1+0x10"
    },
    "MicBuildsFailing": {'mic_build_failures_total{reason="invalid_input"}': "0+0x50 1+0x10"},
    "MicProblems": {"mic_readiness_problems": "1+0x60"},
    "MicEventLoopLagging": {
        f'{LAG}{{le="0.25"}}': "0+90x60",
        f'{LAG}{{le="1.0"}}': "0+100x60",
        f'{LAG}{{le="+Inf"}}': "0+100x60",
    },
    "MicDownloadsStalled": {
        'mic_http_connections_broken_off_total{reason="stalled"}': "0+0x50 1+0x10"
    },
    "MicCertificateExpires": {"mic_tls_certificate_expires_timestamp_seconds": "200000+0x60"},
    "MicDownloadsRefused": {
        "mic_http_open_bodies": "8+0x60",
        "mic_http_open_bodies_limit": "8+0x60",
    },
    "MicDescriptorsShort": {
        "process_open_fds": "900+0x60",
        "process_max_fds": "1024+0x60",
    },
    "MicKubernetesUnreachable": {"mic_kube_watches_failing": "2+0x60"},
    "MicNoLeader": {"mic_kube_leading": "0+0x60"},
    "MicWatchRestarts": {
        'mic_kube_watch_restarts_total{resource="secrets",reason="gone"}': "0+1x60"
    },
    "MicReconcileErrors": {'mic_reconciles_total{outcome="unavailable"}': "0+0.2x60"},
    "MicReconcileBacklog": {"mic_reconcile_queue_depth": "7+0x60"},
}
"""Series that make each alert fire, and no other alert."""

FURTHER_LABELS = {
    "MicBuildsFailing": {"reason": "invalid_input"},
    "MicWatchRestarts": {"resource": "secrets"},
    "MicReconcileErrors": {"outcome": "unavailable"},
}

SHORT: dict[str, dict[str, str]] = {
    # Short or normal conditions.
    "MicDown": {"up": "1+0x59 0+0x1"},
    "MicNotReady": {"mic_ready": "1+0x57 0+0x3"},
    "MicEventLoopLagging": {f'{LAG}{{le="0.25"}}': "0+100x60", f'{LAG}{{le="+Inf"}}': "0+100x60"},
    "MicCertificateExpires": {"mic_tls_certificate_expires_timestamp_seconds": "0+0x60"},
    "MicDownloadsRefused": {
        "mic_http_open_bodies": "800+0x60",
        "mic_http_open_bodies_limit": "0+0x60",
    },
    "MicKubernetesUnreachable": {"mic_kube_watches_failing": "0+0x58 2+0x2"},
    "MicWatchRestarts": {
        'mic_kube_watch_restarts_total{resource="secrets",reason="ended"}': "0+1x60"
    },
    "MicReconcileErrors": {'mic_reconciles_total{outcome="conflict"}': "0+10x60"},
    "MicReconcileBacklog": {"mic_reconcile_queue_depth": "900+0x50 0+0x2 900+0x8"},
}


@pytest.fixture(scope="module")
def promtool() -> str:
    return parts.program("promtool", "prometheus")


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("static")
    put(folder / "ipa.iso", live_iso())
    hosts = make_hosts(folder / "hosts", "worker-0.yaml")
    flags = ["-images-bind-addr=127.0.0.1:0", "-metrics-addr=127.0.0.1:0", f"-nmstate-dir={hosts}"]
    environment = {**IRONIC, "DEPLOY_ISO": str(folder / "ipa.iso"), "DEPLOY_INITRD": ""}
    daemon = Daemon(folder / "log", ["static", *flags], environment)
    try:
        daemon.wait_until_serving()
        yield daemon
        daemon.stop()
    finally:
        daemon.kill()


@pytest.fixture(scope="module")
def controller(kube: KubeServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A controller that has built the images of all its hosts."""
    folder = tmp_path_factory.mktemp("controller")
    put(folder / "ipa.iso", live_iso())
    kube.create_namespace(NAMESPACE)
    kubeconfig = kube.kubeconfig(folder / "config")
    flags = ["-images-bind-addr=127.0.0.1:0", "-metrics-addr=127.0.0.1:0"]
    flags += [f"-kubeconfig={kubeconfig}", f"-namespace={NAMESPACE}"]
    environment = {**IRONIC, "DEPLOY_ISO": str(folder / "ipa.iso"), "DEPLOY_INITRD": ""}
    daemon = Daemon(folder / "log", ["controller", *flags], environment)
    try:
        daemon.wait_until_serving()
        for number in range(HOSTS):
            kube.create(PREPROVISIONING_IMAGES, image_body(f"h-{number}", namespace=NAMESPACE))
        for number in range(HOSTS):
            eventually(lambda number=number: _ready(kube, f"h-{number}"), "an image for each")
        eventually(lambda: page_of(daemon).value("mic_ready"), "it is ready")
        yield daemon
        daemon.stop()
    finally:
        daemon.kill()


def _ready(kube: KubeServer, name: str) -> bool:
    image = kube.find(PREPROVISIONING_IMAGES, NAMESPACE, name)
    return image is not None and bmo_verdict(image, None).startswith("image ")


@pytest.fixture(scope="module")
def pages(static: Daemon, controller: Daemon) -> tuple[Page, Page]:
    return page_of(static), page_of(controller)


def run(promtool: str, *arguments: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        [promtool, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# --- form ---------------------------------------------------------------------------------------


def test_rules_are_valid(promtool: str) -> None:
    assert f"{len(ALERTS)} rules found" in run(promtool, "check", "rules", RULES)


def test_alerts_have_severity_summary_and_description() -> None:
    for name, rule in ALERTS.items():
        assert rule["labels"].keys() == {"severity"}, name
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"].keys() == {"summary", "description"}, name


def test_metrics_pages_are_valid(promtool: str, pages: tuple[Page, Page]) -> None:
    for page in pages:
        assert run(promtool, "check", "metrics", stdin=page.text) == ""


def _dashboard_queries() -> list[str]:
    """Return all queries of the dashboard, with values for its variables."""
    board = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    queries += [
        re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])[1]  # type: ignore[index]
        for variable in board["templating"]["list"]
        if variable["type"] == "query"
    ]
    values = {"$__rate_interval": "5m", "$job": "mic", "$instance": ".*"}
    for name, value in values.items():
        queries = [query.replace(name, value) for query in queries]
    assert not [query for query in queries if "$" in query]
    return queries


def test_dashboard_queries_are_valid(promtool: str, tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query}
        for number, query in enumerate(_dashboard_queries())
    ]
    assert len(rules) > 20
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", "rules", file)


# --- names --------------------------------------------------------------------------------------


def _queries() -> list[str]:
    return [*_dashboard_queries(), *(rule["expr"] for rule in ALERTS.values())]


def test_queries_use_existing_metrics(pages: tuple[Page, Page]) -> None:
    there = {"up"}.union(*(page.names for page in pages))
    for query in _queries():
        asked = set(re.findall(r"\b(?:mic|process)_\w+|\bup\b", re.sub(r'"[^"]*"', "", query)))
        assert asked, query
        assert asked <= there, query


def test_queries_use_existing_labels(pages: tuple[Page, Page]) -> None:
    values: dict[str, set[str]] = {"job": {"mic"}, "instance": set()}
    labels: dict[str, set[str]] = {"up": set()}
    for page in pages:
        for sample in page.samples:
            labels.setdefault(sample.name, set()).update(sample.label_names)
            for name, value in sample.labels:
                values.setdefault(name, set()).add(value)
    for query in _queries():
        for metric, selector in re.findall(r"(\w+)\{([^}]*)\}", query):
            for name, _, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector):
                assert name in labels[metric] | {"job", "instance"}, query
                assert name == "status" or set(value.split("|")) <= values[name] | {".*"}, query
        grouped = {
            name for each in re.findall(r"by \(([^)]*)\)", query) for name in each.split(", ")
        }
        metrics = set(re.findall(r"\b(?:mic|process)_\w+", re.sub(r'"[^"]*"', "", query)))
        known = {"job", "instance"}.union(*(labels[metric] for metric in metrics))
        assert grouped <= known, query


def test_controller_mode_adds_to_the_metrics_of_static_mode(pages: tuple[Page, Page]) -> None:
    of_static, of_controller = (set(page.families) for page in pages)
    assert of_static < of_controller
    assert all("kube" in name or "reconcile" in name for name in of_controller - of_static)


# --- alerts -------------------------------------------------------------------------------------


def _case(series: dict[str, str], expected: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return a case in which these alerts fire of each name; promtool evaluates it once."""
    return {
        "interval": "1m",
        "input_series": [
            {"series": _with_target(name), "values": values} for name, values in series.items()
        ],
        "alert_rule_test": [
            {"eval_time": f"{MINUTES}m", "alertname": name, "exp_alerts": alerts}
            for name, alerts in expected.items()
        ],
    }


def _with_target(series: str) -> str:
    name, _, labels = series.rstrip("}").partition("{")
    target = ",".join(f'{label}="{value}"' for label, value in TARGET.items())
    return f"{name}{{{','.join(filter(None, [target, labels]))}}}"


def _alert(name: str) -> dict[str, Any]:
    rule = ALERTS[name]
    labels = {**TARGET, **FURTHER_LABELS.get(name, {}), **rule["labels"]}
    if name == "MicNoLeader":
        del labels["instance"]  # It concerns all replicas together.
    annotations = rule["annotations"]
    for label, value in labels.items():
        annotations = {
            key: text.replace(f"{{{{ $labels.{label} }}}}", value)
            for key, text in annotations.items()
        }
    return {"exp_labels": labels, "exp_annotations": annotations}


def _test_rules(promtool: str, folder: Path, case: dict[str, Any]) -> None:
    file = folder / "alerts_test.yaml"
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}
    file.write_text(yaml.safe_dump(document))
    run(promtool, "test", "rules", file)


def test_every_alert_has_a_case() -> None:
    assert FIRES.keys() == ALERTS.keys()


@pytest.mark.parametrize("name", FIRES)
def test_only_the_matching_alert_fires(promtool: str, tmp_path: Path, name: str) -> None:
    day = {"up": "1+0x60", **FIRES[name]}
    expected = {each: [_alert(each)] if each == name else [] for each in ALERTS}
    _test_rules(promtool, tmp_path, _case(day, expected))


@pytest.mark.parametrize("name", SHORT)
def test_short_or_normal_conditions_raise_no_alert(
    promtool: str, tmp_path: Path, name: str
) -> None:
    _test_rules(promtool, tmp_path, _case({"up": "1+0x60", **SHORT[name]}, {name: []}))


def test_a_missing_target_is_down(promtool: str, tmp_path: Path) -> None:
    expected = _alert("MicDown")
    del expected["exp_labels"]["instance"]
    expected["exp_annotations"]["summary"] = "mic  does not respond"
    _test_rules(promtool, tmp_path, _case({}, {"MicDown": [expected]}))


def test_a_healthy_mic_raises_no_alert(
    promtool: str, tmp_path: Path, pages: tuple[Page, Page]
) -> None:
    for page in pages:
        series = {"up": f"1+0x{MINUTES}"}
        for sample in page.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels)
            series[f"{sample.name}{{{labels}}}"] = f"{sample.value!r}+0x{MINUTES}"
        _test_rules(promtool, tmp_path, _case(series, {name: [] for name in ALERTS}))


# --- controller mode ----------------------------------------------------------------------------


def test_counts_the_work_of_the_controller(pages: tuple[Page, Page]) -> None:
    _, page = pages
    assert page.value("mic_images", kind="iso") == HOSTS
    assert page.value("mic_kube_objects", resource="preprovisioningimages") == HOSTS
    # A reconciliation builds again to check that nothing changed.
    assert page.value("mic_build_duration_seconds_count") >= HOSTS
    assert page.total("mic_build_failures_total") == 0
    # One finalizer each; all other writes are of the status.
    request = {"verb": "update", "status": "ok"}
    name = "mic_kube_api_requests_total"
    assert page.value(name, resource="preprovisioningimages", **request) == HOSTS
    assert page.value(name, resource="preprovisioningimages/status", **request) == 2 * HOSTS
    # Three watches, each starts with a list. An API server that has just started may end some.
    lists = page.total(name, verb="list", status="ok")
    assert 3 <= lists <= 3 + page.total("mic_kube_watch_restarts_total")
    passes = page.value("mic_reconciles_total", outcome="ok")
    assert passes >= 3 * HOSTS
    assert page.value("mic_reconcile_duration_seconds_count") == page.total("mic_reconciles_total")
    assert page.value("mic_reconcile_queue_depth") == 0
    assert page.value("mic_kube_watches_failing") == 0
    assert page.value("mic_kube_leading") == 1
    assert page.total("mic_kube_watch_restarts_total") == 0


def test_metrics_show_an_outage_of_the_api_server_and_its_end(
    kube: KubeServer, controller: Daemon
) -> None:
    before = page_of(controller)
    kube.kill_apiserver()
    try:
        eventually(
            lambda: page_of(controller).value("mic_kube_watches_failing") == 3, "no watch left"
        )
        eventually(
            lambda: page_of(controller).total(
                "mic_kube_api_requests_total", verb="list", status="unavailable"
            ),
            "lists fail",
        )
        page = page_of(controller)
        assert page.total("mic_kube_watch_restarts_total", reason="unavailable") >= 3
        # A ready process stays ready and serves.
        assert page.value("mic_ready") == 1
        assert page.value("mic_readiness_problems") > 0
    finally:
        kube.start_apiserver()
    eventually(
        lambda: page_of(controller).value("mic_kube_watches_failing") == 0, "all is well", 60
    )
    name = "mic_kube_api_requests_total"
    after = page_of(controller)
    # Nothing changed for the existing objects: no status is written.
    for resource in ("preprovisioningimages", "preprovisioningimages/status"):
        assert after.total(name, verb="update", resource=resource) == before.total(
            name, verb="update", resource=resource
        )

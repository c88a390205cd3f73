"""The metrics page: what was counted is on it, in the right form, and documented.

Scope: mic.observe.metrics over toy parts. Real daemons' pages are looked at by
tests/functional/test_metrics.py and tests/e2e/test_monitoring.py.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest
from metrics_page import Page
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from mic import __version__
from mic.common.durations import Durations
from mic.common.errors import BaseUnavailable, BuildInvalid, NotReady
from mic.common.health import Health
from mic.downloads.report import Summary
from mic.downloads.state import State
from mic.hosts.build import Builds
from mic.kube.api import Conflict, Forbidden, NotFound, TooManyRequests, Unavailable
from mic.kube.counts import Backlog, KubeCounts
from mic.media.base import SERVED, Kind
from mic.media.customisation import Addition
from mic.observe.lag import PERIOD, LoopLag
from mic.observe.metrics import Metrics
from mic.settings.model import Mode
from mic.web.stats import Served

DOCUMENT = (Path(__file__).parents[3] / "docs/metrics.md").read_text()
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Service:
    """The parts of a mic that count, without the rest."""

    def __init__(self) -> None:
        self.served = Served()
        self.builds = Builds()
        self.counts = KubeCounts()
        self.clock = Clock()
        self.lag = LoopLag(self.clock, self.clock.seconds)
        self.ended = Counter(dict.fromkeys((State.COMPLETE, State.BROKEN_OFF), 0))
        self.kinds = Counter(dict.fromkeys(SERVED, 0))
        self.missing: list[str] = []
        self.metrics = Metrics(Mode.CONTROLLER)
        self.metrics.add_http(
            self.served, connections=lambda: 3, open_bodies=lambda: 2, most_bodies=7
        )
        fetched = Summary(
            never_fetched=11, partly_fetched=12, complete=13, downloading=4, stalled=1
        )
        self.metrics.add_downloads(self.ended, summary=lambda: fetched)
        self.metrics.add_certificate(lambda: 1_900_000_000)
        self.metrics.add_images(
            lambda: self.kinds,
            self.builds,
            bases=lambda: Health(not_ready=("broken",)),
            additions=lambda: {Addition.KERNEL_ARGUMENTS: 3, Addition.MINIMAL: 0},
        )
        self.metrics.add_health(
            lambda: Health(not_ready=tuple(self.missing), warnings=("one", "two"))
        )
        self.metrics.add_loop(self.lag)
        self.metrics.add_cluster(
            self.counts,
            lambda: Backlog(
                queued=4, delayed=6, objects={"secrets": 8}, leads=False, watches_failing=1
            ),
        )

    @property
    def page(self) -> Page:
        return Page(self.metrics.page("")[1].decode())


@pytest.fixture
def service() -> Service:
    service = Service()
    # Labels that come up with use.
    with service.counts.one_request("list", "secrets"):
        pass
    return service


def test_shows_every_count(service: Service) -> None:
    answers = service.served.answers[Kind.INITRAMFS]
    answers.statuses[206] += 2
    answers.bytes += 4096
    service.served.broken_off["stalled"] += 1
    service.ended[State.COMPLETE] += 1
    service.kinds[Kind.ISO] = 9
    page = service.page
    assert page.value("mic_http_requests_total", kind="initramfs", status="206") == 2
    assert page.value("mic_http_body_bytes_total", kind="initramfs") == 4096
    assert page.value("mic_http_connections_broken_off_total", reason="stalled") == 1
    assert page.value("mic_downloads_ended_total", outcome="complete") == 1
    assert page.value("mic_images", kind="iso") == 9
    assert page.value("mic_images_customised", customisation="kernel_arguments") == 3
    assert page.value("mic_images_customised", customisation="minimal") == 0
    assert page.value("mic_http_connections") == 3
    assert page.value("mic_http_open_bodies") == 2
    assert page.value("mic_http_open_bodies_limit") == 7
    assert page.value("mic_downloads") == 5
    assert page.value("mic_downloads_stalled") == 1
    for fetched, count in (("never", 11), ("partly", 12), ("complete", 13)):
        assert page.value("mic_images_fetched", fetched=fetched) == count
    assert page.value("mic_tls_certificate_expires_timestamp_seconds") == 1_900_000_000
    assert page.value("mic_base_images_unusable") == 1
    assert page.value("mic_reconcile_queue_depth") == 4
    assert page.value("mic_reconcile_queue_delayed") == 6
    assert page.value("mic_kube_objects", resource="secrets") == 8
    assert page.value("mic_kube_watches_failing") == 1
    assert page.value("mic_kube_leading") == 0
    assert page.total("mic_build_info", version=__version__, mode="controller") == 1


def test_readiness_equals_readyz(service: Service) -> None:
    assert service.page.value("mic_ready") == 1
    service.missing = ["the base", "the API server", "a right"]
    page = service.page
    assert page.value("mic_ready") == 0
    assert page.value("mic_readiness_missing") == 3
    assert page.value("mic_readiness_problems") == 2
    assert page.value("mic_health_defects") == 0


def test_a_histogram_says_how_many_took_at_most_how_long() -> None:
    service = Service()
    first_byte = service.served.answers[Kind.ISO].first_byte
    for seconds in (0.0, 0.001, 0.002, 7.0, 1000.0, -5.0):
        first_byte.add(seconds)
    name = "mic_http_first_byte_seconds"
    page = service.page
    for bound, count in (("0.001", 3), ("0.005", 4), ("5.0", 4), ("30.0", 5), ("+Inf", 6)):
        assert page.value(f"{name}_bucket", kind="iso", le=bound) == count, bound
    assert page.value(f"{name}_count", kind="iso") == 6
    assert page.value(f"{name}_sum", kind="iso") == pytest.approx(1007.003)


def test_counts_a_duration_in_the_first_bucket_that_holds_it() -> None:
    durations = Durations((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 2.0, 2.5):
        durations.add(seconds)
    assert durations.buckets == [2, 2, 1]
    assert (durations.count, durations.sum) == (5, 7.5)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BaseUnavailable("x"), "base_unavailable"),
        (BuildInvalid("x"), "invalid_input"),
        (NotReady("x"), "not_ready"),
        (KeyError("x"), "defect"),
    ],
)
def test_counts_failed_builds_by_reason(error: Exception, reason: str) -> None:
    service = Service()
    with pytest.raises(type(error)), service.builds.one():
        raise error
    with service.builds.one():
        pass
    page = service.page
    assert page.value("mic_build_failures_total", reason=reason) == 1
    assert page.total("mic_build_failures_total") == 1
    assert page.value("mic_build_duration_seconds_count") == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "ok"),
        (NotFound("x"), "not_found"),
        (Conflict("x"), "conflict"),
        (Forbidden("x", right="get x"), "forbidden"),
        (TooManyRequests("x"), "too_many_requests"),
        (Unavailable("x"), "unavailable"),
        (ZeroDivisionError("x"), "defect"),
    ],
)
def test_requests_and_passes_end_as_the_api_server_has_it(
    error: Exception | None, status: str
) -> None:
    service = Service()
    for what in (service.counts.one_request("get", "secrets"), service.counts.one_pass()):
        with suppress(Exception), what:
            if error is not None:
                raise error
    page = service.page
    labels = {"verb": "get", "resource": "secrets", "status": status}
    assert page.value("mic_kube_api_requests_total", **labels) == 1
    assert page.value("mic_kube_api_request_duration_seconds_count", verb="get") == 1
    assert page.value("mic_reconciles_total", outcome=status) == 1
    assert page.total("mic_reconciles_total") == 1
    assert page.value("mic_reconcile_duration_seconds_count") == 1


def test_does_not_count_what_is_cancelled() -> None:
    service = Service()
    for what in (
        service.counts.one_request("get", "secrets"),
        service.counts.one_pass(),
        service.builds.one(),
    ):
        with pytest.raises(CancelledError), what:
            raise CancelledError
    page = service.page
    assert page.total("mic_kube_api_requests_total") == 0
    assert page.total("mic_reconciles_total") == 0
    assert page.value("mic_build_duration_seconds_count") == 0


def test_a_pass_that_may_not_go_on_is_none() -> None:
    counts = KubeCounts()
    with pytest.raises(KeyError), counts.one_pass(KeyError):
        raise KeyError
    assert (counts.passes.total(), counts.pass_seconds.count) == (0, 0)


def test_a_watch_lasts_as_long_as_it_may_and_is_no_slow_request() -> None:
    service = Service()
    with service.counts.one_request("watch", "secrets"):
        pass
    assert service.page.total("mic_kube_api_requests_total", verb="watch") == 1
    assert not service.counts.request_seconds


def test_measures_by_how_much_a_call_is_late() -> None:
    service = Service()
    now = 100.0
    lag = LoopLag(service.clock, lambda: now)
    lag.start()
    now += PERIOD
    service.clock.advance(PERIOD)
    now += PERIOD + 0.3
    service.clock.advance(PERIOD)
    lag.stop()
    lag.stop()
    assert lag.seconds.count == 2
    assert lag.seconds.sum == pytest.approx(0.3)
    assert not service.clock.getDelayedCalls()


def test_two_services_in_one_process_do_not_share_numbers() -> None:
    one, other = Service(), Service()
    one.ended[State.COMPLETE] += 1
    assert one.page.value("mic_downloads_ended_total", outcome="complete") == 1
    assert other.page.value("mic_downloads_ended_total", outcome="complete") == 0


def test_sends_openmetrics_on_request(service: Service) -> None:
    content_type, page = service.metrics.page("")
    assert content_type.startswith("text/plain; version=0.0.4")
    assert b"# EOF" not in page
    content_type, page = service.metrics.page(OPENMETRICS)
    assert content_type.startswith(OPENMETRICS)
    assert page.endswith(b"# EOF\n")


def _documented() -> dict[str, tuple[str, set[str], str]]:
    """Rows of the document's tables: name to type, labels, meaning."""
    rows = {}
    for line in DOCUMENT.splitlines():
        if line.startswith(("| `mic_", "| `process_")):
            name, kind, labels, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            assert name.strip("`") not in rows, name
            rows[name.strip("`")] = (kind, set(re.findall(r"`(\w+)`", labels)), meaning)
    return rows


def test_the_document_has_each_metric_with_its_meaning_and_no_other(service: Service) -> None:
    page = service.page
    exported = {
        name: (family.type, page.labels(name), family.documentation)
        for name, family in page.families.items()
    }
    documented = _documented()
    assert documented.keys() == exported.keys()
    for name, row in exported.items():
        # What the library says of the process is worded by the library.
        assert name.startswith("process_") or documented[name] == row


def test_names_follow_the_conventions_of_prometheus(service: Service) -> None:
    for name, family in service.page.families.items():
        assert re.fullmatch(r"(mic|process)_[a-z][a-z_]*[a-z]", name), name
        assert (family.type == "counter") == name.endswith("_total"), name
        assert family.type != "histogram" or name.endswith("_seconds"), name
        assert len(family.documentation) > 10, name


def test_no_label_can_hold_a_name(service: Service) -> None:
    few = {"kind", "status", "reason", "outcome", "verb", "resource", "fetched", "customisation"}
    for name in service.page.families:
        if name != "mic_build_info":
            assert service.page.labels(name) <= few, name


def test_the_process_is_reported_where_the_systems_own_figures_are_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hiding(path: str, mode: str) -> BinaryIO:
        # As under ProcSubset=pid, which deploy/systemd has.
        if path == "/proc/stat":
            raise FileNotFoundError(path)
        return open(path, "rb")

    def started() -> float:
        (line,) = re.findall(r"^process_start_time_seconds (\S+)$", page(), re.MULTILINE)
        return float(line)

    def page() -> str:
        return Metrics(Mode.STATIC).page("")[1].decode()

    before = started()
    monkeypatch.setattr("prometheus_client.process_collector.open", hiding, raising=False)
    assert "process_open_fds" in page()
    assert started() == pytest.approx(before, abs=2)

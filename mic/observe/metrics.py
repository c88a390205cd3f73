"""The metrics page in Prometheus' formats.

The only module that imports ``prometheus_client``. The rooms count in plain integers; this module
reads them when the page is requested, so counting costs a small range next to nothing. No label
holds a name, an address or a URL. docs/metrics.md says what each metric is good for.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import twisted
from mic import __version__
from mic.common.durations import Durations
from mic.common.health import Health
from mic.downloads.report import Summary
from mic.downloads.state import State
from mic.hosts.build import Builds
from mic.kube.counts import Backlog, KubeCounts
from mic.media.base import Kind
from mic.media.customisation import Addition
from mic.observe.lag import LoopLag
from mic.settings.model import Mode
from mic.web.stats import NONE, Served

Number = Callable[[], int]
"""A number that is read when the page is rendered."""


class Metrics:
    """The page of one process; each part is added once."""

    def __init__(self, mode: Mode) -> None:
        self._registry = CollectorRegistry()
        _Process(registry=self._registry)
        build = {
            "version": __version__,
            "mode": mode.value,
            "python": platform.python_version(),
            "twisted": twisted.__version__,
        }
        self._add(lambda: [InfoMetricFamily("mic_build", "Versions and mode; always 1", build)])

    def page(self, accept: str) -> tuple[str, bytes]:
        """Return content type and content for an Accept field: OpenMetrics or the text format."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def add_http(
        self, served: Served, *, connections: Number, open_bodies: Number, most_bodies: int
    ) -> None:
        """Add requests, bodies and connections."""

        def read() -> Iterator[Metric]:
            kinds = [(str(kind), answers) for kind, answers in served.answers.items()]
            images = [(kind, answers) for kind, answers in kinds if kind != NONE]
            yield _counter(
                "mic_http_requests",
                "Requests answered, by the kind of image they asked for and the status",
                ("kind", "status"),
                {
                    (kind, str(status)): count
                    for kind, answers in kinds
                    for status, count in sorted(answers.statuses.items())
                },
            )
            yield _counter(
                "mic_http_body_bytes",
                "Bytes of bodies that are images or ranges of them, handed to the network, by kind",
                ("kind",),
                {(kind,): answers.bytes for kind, answers in images},
            )
            yield _histogram(
                "mic_http_first_byte_seconds",
                "Time from a whole request to the first byte of an image, by kind; "
                "without small ranges that are in memory, which are answered at once",
                ("kind",),
                {(kind,): answers.first_byte for kind, answers in images},
            )
            yield _histogram(
                "mic_http_body_duration_seconds",
                "Time until a large body was handed to the network or interrupted, by kind",
                ("kind",),
                {(kind,): answers.bodies for kind, answers in images},
            )
            yield _gauge("mic_http_open_bodies", "Large bodies being sent now", open_bodies())
            yield _gauge(
                "mic_http_open_bodies_limit",
                "How many large bodies may be sent at a time (MIC_MAX_DOWNLOADS); 0: any number",
                most_bodies,
            )
            yield _gauge("mic_http_connections", "Connections open now", connections())
            yield _counter(
                "mic_http_connections_broken_off",
                "Connections that mic ended early, by reason",
                ("reason",),
                {(reason,): count for reason, count in served.broken_off.items()},
            )

        self._add(read)

    def add_downloads(self, ended: Mapping[State, int], *, summary: Callable[[], Summary]) -> None:
        """Add downloads: a client that reads an image, in any number of requests."""

        def read() -> Iterator[Metric]:
            now = summary()
            yield _gauge("mic_downloads", "Downloads in progress", now.downloading + now.stalled)
            yield _gauge(
                "mic_downloads_stalled",
                "Downloads in progress whose client has taken no data for half a minute",
                now.stalled,
            )
            yield _gauges(
                "mic_images_fetched",
                "Images published now, by how much at least one client has read",
                "fetched",
                {
                    "never": now.never_fetched,
                    "partly": now.partly_fetched,
                    "complete": now.complete,
                },
            )
            yield _counter(
                "mic_downloads_ended",
                "Downloads that ended: every byte was read (complete), the last body was "
                "interrupted (broken_off), or the client stopped requesting data (quiet)",
                ("outcome",),
                {(state.name.lower(),): count for state, count in ended.items()},
            )

        self._add(read)

    def add_images(
        self,
        kinds: Callable[[], Mapping[Kind, int]],
        builds: Builds,
        *,
        bases: Callable[[], Health],
        additions: Callable[[], Mapping[Addition, int]],
    ) -> None:
        """Add published images, builds, and unusable bases."""

        def read() -> Iterator[Metric]:
            yield _gauges("mic_images", "Images published now, by kind", "kind", kinds())
            yield _gauges(
                "mic_images_customised",
                "Images published now that have more than mic's config, by what; one may have "
                "several",
                "customisation",
                {each.name.lower(): count for each, count in additions().items()},
            )
            yield _histogram(
                "mic_build_duration_seconds",
                "Time to build the images of a host, whether it succeeded or not, with the wait "
                "for its turn",
                (),
                {(): builds.seconds},
            )
            yield _gauge(
                "mic_builds_waiting",
                "Builds that wait for their turn; one is made at a time, namespaces take turns",
                builds.waiting(),
            )
            yield _counter(
                "mic_build_failures",
                "Builds that did not produce all images of a host, by reason",
                ("reason",),
                {(reason,): count for reason, count in builds.failures.items()},
            )
            yield _gauge(
                "mic_base_images_unusable",
                "Base images named by DEPLOY_ISO, DEPLOY_INITRD or DEPLOY_KERNEL that are missing "
                "or broken now",
                len(bases().not_ready),
            )

        self._add(read)

    def add_health(self, health: Callable[[], Health]) -> None:
        """Add the numbers of lines of /healthz and /readyz."""

        def read() -> Iterator[Metric]:
            now = health()
            yield _gauge("mic_ready", "Whether /readyz says ok: 1 or 0", int(now.ready))
            yield _gauge(
                "mic_readiness_missing",
                "Lines of /readyz that keep mic from being ready",
                len(now.not_ready),
            )
            yield _gauge(
                "mic_readiness_problems",
                "Lines of /readyz with a warning that leaves mic ready",
                len(now.warnings),
            )
            yield _gauge(
                "mic_health_defects",
                "Lines of /healthz: failures that need a restart",
                len(now.fatal),
            )

        self._add(read)

    def add_certificate(self, expires: Number) -> None:
        """Add the certificate's expiry."""
        self._add(
            lambda: [
                _gauge(
                    "mic_tls_certificate_expires_timestamp_seconds",
                    "When the TLS certificate in force expires, or the first of its chain, since "
                    "unix epoch in seconds; 0 without TLS",
                    expires(),
                )
            ]
        )

    def add_loop(self, lag: LoopLag) -> None:
        """Add the event loop's lag."""
        self._add(
            lambda: [
                _histogram(
                    "mic_event_loop_lag_seconds",
                    "Delay of scheduled calls of the event loop, sampled four times a second",
                    (),
                    {(): lag.seconds},
                )
            ]
        )

    def add_cluster(self, counts: KubeCounts, backlog: Callable[[], Backlog]) -> None:
        """Add reconciling and API server requests (controller mode)."""

        def read() -> Iterator[Metric]:
            yield _counter(
                "mic_reconciles",
                "Reconciliations of PreprovisioningImages, by outcome",
                ("outcome",),
                {(outcome,): count for outcome, count in counts.passes.items()},
            )
            yield _histogram(
                "mic_reconcile_duration_seconds",
                "Time to reconcile a PreprovisioningImage",
                (),
                {(): counts.pass_seconds},
            )
            now = backlog()
            yield _gauge(
                "mic_reconcile_queue_depth",
                "PreprovisioningImages that wait for a worker",
                now.queued,
            )
            yield _gauge(
                "mic_reconcile_queue_delayed",
                "PreprovisioningImages to be reconciled again later, most after a failure",
                now.delayed,
            )
            yield _gauge(
                "mic_kube_leading",
                "Whether this replica writes statuses: 1 or 0; always 1 without -leader-elect",
                int(now.leads),
            )
            yield _counter(
                "mic_kube_api_requests",
                "Requests to the Kubernetes API, by verb, resource and status in words",
                ("verb", "resource", "status"),
                counts.requests,
            )
            yield _histogram(
                "mic_kube_api_request_duration_seconds",
                "Time of requests to the Kubernetes API without watches, by verb",
                ("verb",),
                {(verb,): seconds for verb, seconds in counts.request_seconds.items()},
            )
            yield _counter(
                "mic_kube_watch_restarts",
                "Times a watch was restarted, by resource and reason",
                ("resource", "reason"),
                counts.restarts,
            )
            yield _gauge(
                "mic_kube_watches_failing",
                "Failing watches: what mic knows of their objects may be outdated",
                now.watches_failing,
            )
            yield _gauges(
                "mic_kube_objects",
                "Objects of the cluster that mic follows, by resource",
                "resource",
                now.objects,
            )

        self._add(read)

    def _add(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._registry.register(_Reading(read))


class _Process(ProcessCollector):
    """The process metrics, without ``/proc/stat``.

    ``ProcSubset=pid`` of our systemd units hides that file, and the library would then report
    nothing.
    """

    def _boot_time(self) -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


class _Reading(Collector):
    """A collector that calls a function for each page."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return self._read()


def _gauge(name: str, meaning: str, value: int) -> Metric:
    return GaugeMetricFamily(name, meaning, value)


def _gauges(name: str, meaning: str, label: str, values: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for what, value in values.items():
        family.add_metric([str(what)], value)
    return family


def _counter(name: str, meaning: str, labels: Sequence[str], values: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(
    name: str, meaning: str, labels: Sequence[str], values: Mapping[Any, Durations]
) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for key, durations in values.items():
        bounds = [*map(floatToGoString, durations.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(durations.buckets), strict=True))
        family.add_metric(key, buckets, durations.sum)
    return family

"""Health and metrics pages over HTTP, for orchestrators, load balancers and Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web.http import OK, SERVICE_UNAVAILABLE, Request
from twisted.web.server import Site

from mic.common.health import Health
from mic.observe.resources import TEXT, Directory, Page, PageRequest
from mic.web.flow import FlowChannel

_PATHS = ("/healthz", "/readyz", "/metrics")


class _Check(Page):
    """A check: status 503 with a line for each failure, or 200 with ``ok``.

    ``lines`` returns failures and notes; notes follow, and do not change the status.
    """

    def __init__(self, lines: Callable[[], tuple[Sequence[str], Sequence[str]]]) -> None:
        super().__init__(_PATHS)
        self._lines = lines

    def render_GET(self, request: Request) -> bytes:
        """Return the lines."""
        failures, notes = self._lines()
        request.setResponseCode(SERVICE_UNAVAILABLE if failures else OK)
        request.setHeader(b"Content-Type", TEXT)
        request.setHeader(b"Cache-Control", b"no-store")
        return "".join(f"{line}\n" for line in (*(failures or ["ok"]), *notes)).encode()


class _Metrics(Page):
    """The metrics page; ``metrics`` maps an Accept field to a content type and a page."""

    def __init__(self, metrics: Callable[[str], tuple[str, bytes]]) -> None:
        super().__init__(_PATHS)
        self._metrics = metrics

    def render_GET(self, request: Request) -> bytes:
        """Return the page in the format that the client asks for."""
        content_type, page = self._metrics(request.getHeader("Accept") or "")
        request.setHeader(b"Content-Type", content_type.encode())
        return page


class HealthSite(Site):
    """``/healthz`` (fatal), ``/readyz`` (not ready, and warnings) and ``/metrics``."""

    protocol = FlowChannel  # type: ignore[assignment]
    noisy = False

    def __init__(
        self, *, health: Callable[[], Health], metrics: Callable[[str], tuple[str, bytes]]
    ) -> None:
        def fatal() -> tuple[Sequence[str], Sequence[str]]:
            return health().fatal, ()

        def readiness() -> tuple[Sequence[str], Sequence[str]]:
            now = health()
            return now.not_ready, now.warnings

        root = Directory(_PATHS)
        root.putChild(b"healthz", _Check(fatal))
        root.putChild(b"readyz", _Check(readiness))
        root.putChild(b"metrics", _Metrics(metrics))
        super().__init__(root, PageRequest, timeout=30)

    def log(self, _request: Request) -> None:
        """Write nothing: probes come every few seconds."""

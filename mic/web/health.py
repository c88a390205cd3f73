"""Health and readiness over HTTP, for those who restart processes and steer traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web.http import OK, SERVICE_UNAVAILABLE, Request
from twisted.web.resource import Resource
from twisted.web.server import Site


class _Check(Resource):
    """A page that says in words what is wrong, a line each, with status 503, or ``ok``."""

    isLeaf = True

    def __init__(self, problems: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self._problems = problems

    def render_GET(self, request: Request) -> bytes:
        problems = self._problems()
        request.setResponseCode(SERVICE_UNAVAILABLE if problems else OK)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        return "".join(f"{problem}\n" for problem in problems or ["ok"]).encode()


class HealthSite(Site):
    """``/healthz``: what only a restart mends; ``/readyz``: what keeps images from being served."""

    noisy = False

    def __init__(
        self, *, defects: Callable[[], Sequence[str]], missing: Callable[[], Sequence[str]]
    ) -> None:
        root = Resource()
        root.putChild(b"healthz", _Check(defects))
        root.putChild(b"readyz", _Check(missing))
        super().__init__(root, timeout=30)

    def log(self, _request: Request) -> None:
        """Write nothing: probes come every few seconds."""

"""Health and readiness over HTTP, for those who restart processes and steer traffic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web.http import OK, SERVICE_UNAVAILABLE, Request
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site


class _Check(Resource):
    """A page that says in words what is wrong, a line each, with status 503, or ``ok``.

    ``notes`` are told as well and change nothing about the status.
    """

    isLeaf = True

    def __init__(
        self, problems: Callable[[], Sequence[str]], notes: Callable[[], Sequence[str]]
    ) -> None:
        super().__init__()
        self._problems = problems
        self._notes = notes

    def render_GET(self, request: Request) -> bytes:
        """Tell."""
        problems = self._problems()
        request.setResponseCode(SERVICE_UNAVAILABLE if problems else OK)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        lines = [*(problems or ["ok"]), *self._notes()]
        return "".join(f"{line}\n" for line in lines).encode()


class _Root(Resource):
    """Nothing but what is put below it."""

    def getChild(self, path: bytes, request: Request) -> IResource:  # noqa: ARG002
        """What is not there: Twisted's own answer would be one that it has deprecated."""
        return notFound()


class HealthSite(Site):
    """``/healthz``: what only a restart mends; ``/readyz``: what keeps images from being served.

    ``problems`` are faults of single hosts, or such as pass: told by ``/readyz``, no more.
    """

    noisy = False

    def __init__(
        self,
        *,
        defects: Callable[[], Sequence[str]],
        missing: Callable[[], Sequence[str]],
        problems: Callable[[], Sequence[str]],
    ) -> None:
        root = _Root()
        root.putChild(b"healthz", _Check(defects, tuple))
        root.putChild(b"readyz", _Check(missing, problems))
        super().__init__(root, timeout=30)

    def log(self, _request: Request) -> None:
        """Write nothing: probes come every few seconds."""

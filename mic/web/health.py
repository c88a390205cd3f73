"""Health and metrics over HTTP, for those who restart processes, steer traffic and plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.web.http import OK, SERVICE_UNAVAILABLE, Request
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site


class _Place(Resource):
    """A path with nothing below it but what is put there."""

    def getChild(self, path: bytes, request: Request) -> IResource:  # noqa: ARG002
        """What is not there: Twisted's own answer would be one that it has deprecated."""
        return notFound()


class _Page(_Place):
    """A page that is made anew each time it is asked for."""

    def render_GET(self, request: Request) -> bytes:
        """The page."""
        raise NotImplementedError

    def render_HEAD(self, request: Request) -> bytes:
        """Its head."""
        # Twisted would do so too, and say in the log that we should.
        request.setHeader(b"Content-Length", b"%d" % len(self.render_GET(request)))
        return b""


class _Check(_Page):
    """Says in words what is wrong, a line each, with status 503, or ``ok``.

    ``notes`` are told as well and change nothing about the status.
    """

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


class _Metrics(_Page):
    """What ``metrics`` gives for a client's Accept field: a content type and a page."""

    def __init__(self, metrics: Callable[[str], tuple[str, bytes]]) -> None:
        super().__init__()
        self._metrics = metrics

    def render_GET(self, request: Request) -> bytes:
        """Tell."""
        content_type, page = self._metrics(request.getHeader("Accept") or "")
        request.setHeader(b"Content-Type", content_type.encode())
        return page


class HealthSite(Site):
    """``/healthz``: what only a restart mends; ``/readyz``: what keeps images from being served;
    ``/metrics``: numbers.

    ``problems`` are faults of single hosts, or such as pass: told by ``/readyz``, no more.
    """

    noisy = False

    def __init__(
        self,
        *,
        defects: Callable[[], Sequence[str]],
        missing: Callable[[], Sequence[str]],
        problems: Callable[[], Sequence[str]],
        metrics: Callable[[str], tuple[str, bytes]],
    ) -> None:
        root = _Place()
        root.putChild(b"healthz", _Check(defects, tuple))
        root.putChild(b"readyz", _Check(missing, problems))
        root.putChild(b"metrics", _Metrics(metrics))
        super().__init__(root, timeout=30)

    def log(self, _request: Request) -> None:
        """Write nothing: probes come every few seconds."""

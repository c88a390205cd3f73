"""The Kubernetes API in threads of its own.

Blocking calls run in a pool that belongs to a Service; only plain dictionaries cross to the
reactor's thread. Every call ends by itself: each has time limits for connecting and for silence,
and a watch is one request of bounded length.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from random import Random
from threading import Event
from typing import cast

import urllib3
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic import __version__
from mic.common.text import printable
from mic.common.threads import Threads
from mic.kube.answers import Request, refusal, status_of
from mic.kube.api import (
    ApiError,
    Invalid,
    Json,
    Page,
    Resource,
    ServerError,
    Unavailable,
    WatchEvent,
    page_size,
)
from mic.kube.api_server import ApiServer
from mic.kube.connections import ConnectionLost, Connections, InvalidToken, Response
from mic.kube.counts import KubeCounts

_log = Logger()

READ_TIMEOUT = 30.0
"""Time limit for silence while waiting for a response, in seconds."""

WATCH_SECONDS = (300, 600)
"""How long one watch request lasts, in seconds: random, so that watches do not end together."""

WATCH_SILENCE = 100.0
"""Seconds without a byte after which a watch counts as dead. Bookmarks come every minute; with a
server that has no watch cache, and so sends none, this costs one request in that time."""

MAX_EVENT = 64 * 1024 * 1024
"""Upper bound on one event of a watch, in bytes. etcd's default limit for an object is 1.5 MiB."""

STOP_SECONDS = 0.2
"""How long stopping waits for threads. Callers have stopped before: a thread that still blocks
waits for an API server that does not respond."""


class ThreadedKubernetes(Service):
    """`mic.kube.api.KubernetesApi` before a real API server.

    ``threads`` bounds how many requests are under way at once, watches included: the API server is
    shared with others. A watch keeps its thread for as long as it lasts. The default is one for
    each caller: three watches, eight workers, the election and the events.
    """

    def __init__(
        self,
        server: ApiServer,
        reactor: IReactorFromThreads,
        *,
        threads: int = 13,
        random: Random | None = None,
        counts: KubeCounts | None = None,
    ) -> None:
        self._server = server
        self._reactor = reactor
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self._size = threads
        self._counts = counts or KubeCounts()
        self._threads: Threads | None = None
        self._connections: Connections | None = None

    def startService(self) -> None:
        """Start the threads; connections are made as they are needed."""
        super().startService()
        self._connections = Connections(self._server, user_agent=f"mic/{__version__}")
        self._threads = Threads(
            self._reactor, self._size, name="mic-kubernetes", stop_timeout=STOP_SECONDS
        )
        self._threads.startService()

    def stopService(self) -> Deferred[None]:
        """Wait a moment for the threads; a read that still blocks then dies with the process."""
        super().stopService()
        threads, self._threads = self._threads, None
        connections, self._connections = self._connections, None
        if threads is None or connections is None:
            return succeed(None)
        connections.close()
        return threads.stopService()

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str = "",
        continue_token: str = "",
    ) -> Page:
        """See `mic.kube.api.KubernetesApi.list`."""
        query = {"limit": str(page_size(resource))}
        if label_selector:
            query["labelSelector"] = label_selector
        if continue_token:
            query["continue"] = continue_token
        request = Request(verb="list", resource=resource, namespace=namespace)
        body = await self._ask(request, query)
        metadata = body.get("metadata") or {}
        return Page(
            items=body.get("items") or [],
            resource_version=metadata.get("resourceVersion", ""),
            continue_token=metadata.get("continue") or "",
        )

    async def get(self, resource: Resource, *, namespace: str, name: str) -> Json:
        """See `mic.kube.api.KubernetesApi.get`."""
        return await self._ask(
            Request(verb="get", resource=resource, namespace=namespace, name=name)
        )

    async def create(self, resource: Resource, body: Json) -> Json:
        """See `mic.kube.api.KubernetesApi.create`."""
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
        return await self._ask(
            Request(verb="create", resource=resource, namespace=namespace, name=name, body=body)
        )

    async def replace(self, resource: Resource, body: Json) -> Json:
        """See `mic.kube.api.KubernetesApi.replace`."""
        return await self._replace(resource, body, "")

    async def replace_status(self, resource: Resource, body: Json) -> Json:
        """See `mic.kube.api.KubernetesApi.replace_status`."""
        return await self._replace(resource, body, "status")

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str = "",
        resource_version: str,
        on_event: Callable[[WatchEvent], None],
    ) -> None:
        """See `mic.kube.api.KubernetesApi.watch`."""
        connections, threads = self._started()
        request = Request(verb="watch", resource=resource, namespace=namespace)
        stream = _Stream(self._reactor, request, on_event)
        seconds = self._random.randint(*WATCH_SECONDS)
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        if label_selector:
            query["labelSelector"] = label_selector

        def run() -> None:
            try:
                stream.read(lambda: _send(connections, request, query, silence=WATCH_SILENCE))
            except Exception as error:
                raise _translated(error, request, self._server) from None

        # Not the thread's own Deferred: cancelling must stop the stream at the same moment.
        finished: Deferred[None] = Deferred(lambda _: stream.stop())

        def ended(result: Failure | None) -> None:
            if not finished.called:
                finished.callback(result)

        threads.run(run).addBoth(ended)
        with self._counts.one_request(request.verb, request.plural):
            await finished

    async def _replace(self, resource: Resource, body: Json, subresource: str) -> Json:
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        request = Request(
            verb="update",
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            body=body,
        )
        if not metadata.get("resourceVersion"):
            # For Secrets, the API server would accept such a write and overwrite later changes.
            raise Invalid(f"{request}: metadata.resourceVersion is missing")
        return await self._ask(request)

    def _started(self) -> tuple[Connections, Threads]:
        # A call in a pool that is not running would never end.
        if self._threads is None or self._connections is None:
            raise Unavailable("the connection to the Kubernetes API is not running")
        return self._connections, self._threads

    async def _ask(self, request: Request, query: Mapping[str, str] | None = None) -> Json:
        connections, threads = self._started()

        def run() -> Json:
            try:
                with closing(_send(connections, request, query, silence=READ_TIMEOUT)) as response:
                    return cast(Json, json.loads(response.read()))
            except Exception as error:
                # Never chained: an error of JSON holds the response's body.
                raise _translated(error, request, self._server) from None

        with self._counts.one_request(request.verb, request.plural):
            return await threads.run(run)


class _Stream:
    """One watch request, read in a thread, stopped from the reactor's."""

    def __init__(
        self,
        reactor: IReactorFromThreads,
        request: Request,
        on_event: Callable[[WatchEvent], None],
    ) -> None:
        self._reactor = reactor
        self._request = request
        self._on_event = on_event
        self._stopped = Event()
        self._response: Response | None = None

    def stop(self) -> None:
        """End the stream. In the reactor's thread; no event is delivered after this."""
        self._stopped.set()
        response = self._response
        if response is not None:
            response.shutdown()

    def read(self, send: Callable[[], Response]) -> None:
        """Deliver the events of the response that ``send`` returns until it ends. In a thread."""
        try:
            response = send()
            try:
                self._response = response
                # Or else `stop` has come before, and has not found it.
                if not self._stopped.is_set():
                    self._deliver_all(response)
            finally:
                self._response = None
                # Not for another request: `stop` may have taken the response just before.
                response.close(keep=False)
        except ConnectionLost:
            return  # the server closed the connection or fell silent: ordinary ends of a watch
        except Exception:
            if not self._stopped.is_set():
                raise

    def _deliver_all(self, response: Response) -> None:
        for line in _lines(response.chunks()):
            if self._stopped.is_set():
                return
            try:
                event = json.loads(line)
            except ValueError:
                return  # not JSON: the caller continues from the last version it has seen
            kind, body = event["type"], event["object"]
            if kind == "ERROR":
                # Without its message, which may quote an object.
                raise refusal(self._request, int(body["code"]), str(body["reason"]), {}, {})
            self._reactor.callFromThread(self._deliver, WatchEvent(type=kind, object=body))

    def _deliver(self, event: WatchEvent) -> None:
        if not self._stopped.is_set():
            self._on_event(event)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the complete lines in ``chunks``, without empty ones.

    :raises ValueError: a line exceeds `MAX_EVENT`.
    """
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        if b"\n" in chunk:
            *lines, rest = bytes(pending).split(b"\n")
            yield from filter(None, lines)
            pending = bytearray(rest)
        if len(pending) > MAX_EVENT:
            raise ValueError("an event is too large")


def _send(
    connections: Connections,
    request: Request,
    query: Mapping[str, str] | None = None,
    *,
    silence: float,
) -> Response:
    """Send a request and return the response, its body not read yet.

    ``silence`` is the longest time without a byte, in seconds.

    :raises ApiError: the API server refuses the request.
    """
    body = json.dumps(request.body).encode() if request.body is not None else None
    response = connections.request(request.method, request.path, query, body, silence=silence)
    _log.debug(
        "{method} {path}: {status}",
        method=request.method,
        path=request.path,
        status=response.status,
    )
    if not 200 <= response.status <= 299:
        with closing(response):
            status = status_of(response.read())
        raise refusal(request, response.status, response.reason, status, response.headers)
    return response


def _translated(error: Exception, request: Request, server: ApiServer) -> ApiError:
    """Return an error as an `ApiError`, without anything that was sent or received."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InvalidToken):
        return Unavailable(f"{request}: {error}")
    if isinstance(error, ConnectionLost | urllib3.exceptions.HTTPError | OSError):
        return Unavailable(
            f"{request}: no answer from the API server at {server} ({_wire_reason(error)})"
        )
    return ServerError(f"{request}: malformed response ({type(error).__name__})")


def _wire_reason(error: Exception) -> str:
    """Return why there was no response, without the objects that urllib3 puts before it."""
    if isinstance(error, urllib3.exceptions.HTTPError) and error.args:
        return str(error.args[-1]).rpartition(": ")[2]
    return printable(str(error)) or type(error).__name__

"""The Kubernetes API over the official client, in threads of its own.

Only this module and `mic.kube.kubeconfig` import ``kubernetes``. Blocking calls run in a pool that
belongs to a Service; only plain dictionaries cross to the reactor's thread. Every call ends by
itself: each has time limits for connecting and for silence, and a watch is one request of bounded
length, so that the client does not retry on its own and an expired version surfaces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from random import Random
from threading import Event, Thread
from typing import Any, cast
from urllib.parse import urlsplit

import urllib3
from kubernetes import client as kubernetes_client
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from mic import __version__
from mic.common.threads import Threads
from mic.common.urls import without_credentials
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
from mic.kube.counts import KubeCounts

# The client's own annotations are generated, and wrong where its options are concerned.
_client: Any = kubernetes_client

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
"""Time limits for connecting and for silence while waiting for a response, in seconds."""

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
    """`mic.kube.api.KubernetesApi` over the official client.

    ``threads`` bounds how many requests are under way at once, watches included: the API server is
    shared with others. A watch keeps its thread for as long as it lasts. The default is one for
    each caller: three watches, eight workers, the election and the events.
    """

    def __init__(
        self,
        configuration: Any,
        reactor: IReactorFromThreads,
        *,
        threads: int = 13,
        random: Random | None = None,
        counts: KubeCounts | None = None,
    ) -> None:
        self._configuration = configuration
        self._reactor = reactor
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self._size = threads
        self._counts = counts or KubeCounts()
        self._threads: Threads | None = None
        self._api: Any = None
        self._server = ""

    def startService(self) -> None:
        """Start the threads and the client."""
        super().startService()
        self._configuration.connection_pool_maxsize = self._size
        self._api = _client.ApiClient(configuration=self._configuration)
        self._api.user_agent = f"mic/{__version__}"
        self._server = _origin(self._configuration.host)
        if type(self._api.rest_client.pool_manager) is not urllib3.PoolManager:
            self._server += f" by the proxy {_origin(self._configuration.proxy)}"
        self._threads = Threads(
            self._reactor, self._size, name="mic-kubernetes", stop_timeout=STOP_SECONDS
        )
        self._threads.startService()

    def stopService(self) -> Deferred[None]:
        """Wait a moment for the threads; a read that still blocks then dies with the process."""
        super().stopService()
        threads, self._threads = self._threads, None
        if threads is None:
            return succeed(None)
        api, self._api = self._api, None

        def close(_: None) -> None:
            # In a thread: closing a connection may wait for a thread that reads from it.
            clear = api.rest_client.pool_manager.clear
            Thread(target=clear, daemon=True, name="mic-kubernetes-close").start()

        return threads.stopService().addCallback(close)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str = "",
        continue_token: str = "",
    ) -> Page:
        """See `mic.kube.api.KubernetesApi.list`."""
        query: dict[str, Any] = {"limit": page_size(resource)}
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
        api, threads = self._started()
        request = Request(verb="watch", resource=resource, namespace=namespace)
        stream = _Stream(self._reactor, request, on_event)
        seconds = self._random.randint(*WATCH_SECONDS)
        query: dict[str, Any] = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": seconds,
        }
        if label_selector:
            query["labelSelector"] = label_selector

        def run() -> None:
            try:
                stream.read(lambda: _send(api, request, query, silence=WATCH_SILENCE))
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

    def _started(self) -> tuple[Any, Threads]:
        # A call in a pool that is not running would never end.
        if self._threads is None:
            raise Unavailable("the connection to the Kubernetes API is not running")
        return self._api, self._threads

    async def _ask(self, request: Request, query: Mapping[str, Any] | None = None) -> Json:
        api, threads = self._started()

        def run() -> Json:
            try:
                response = _send(api, request, query or {}, silence=READ_TIMEOUT)
                return cast(Json, json.loads(response.read()))
            except Exception as error:
                # Never chained: the client's error holds the response's body.
                raise _translated(error, request, self._server) from None

        with self._counts.one_request(request.verb, request.plural):
            return await threads.run(run)


class _Stream:
    """One watch request, read in a thread, stopped from the reactor's.

    Reads the lines itself: the library's ``Watch`` decodes and encodes each event three times.
    """

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
        self._response: Any = None

    def stop(self) -> None:
        """End the stream. In the reactor's thread; no event is delivered after this."""
        self._stopped.set()
        response = self._response
        if response is not None:
            # Closing would wait for the blocked read, which only a shutdown of the socket wakes.
            # It fails if the stream has just ended.
            with suppress(OSError, RuntimeError, ValueError):
                response.shutdown()

    def read(self, send: Callable[[], Any]) -> None:
        """Deliver the events of the response that ``send`` returns until it ends. In a thread."""
        try:
            response = send().response
            try:
                self._response = response
                self._deliver_all(response)
            finally:
                self._response = None
                response.close()
                response.release_conn()
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError):
            return  # the server closed the connection or fell silent: ordinary ends of a watch
        except Exception:
            if not self._stopped.is_set():
                raise

    def _deliver_all(self, response: Any) -> None:
        for line in _lines(response.stream(None, decode_content=False)):
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


def _send(api: Any, request: Request, query: Mapping[str, Any], *, silence: float) -> Any:
    """Send a request and return the response, its body not read yet.

    ``silence`` is the longest time without a byte, in seconds.

    :raises ApiError: the API server refuses the request.
    """
    headers = {"Accept": "application/json"}
    if request.body is not None:
        headers["Content-Type"] = "application/json"
    serialized = api.param_serialize(
        request.method,
        request.path,
        query_params=list(query.items()),
        header_params=headers,
        body=request.body,
        auth_settings=["BearerToken"],
    )
    response = api.call_api(*serialized, _request_timeout=(CONNECT_TIMEOUT, silence))
    if not 200 <= response.status <= 299:
        status = status_of(response.read())
        raise refusal(request, response.status, response.reason or "", status, response.headers)
    return response


def _translated(error: Exception, request: Request, server: str) -> ApiError:
    """Return an error as an `ApiError`, without anything that was sent or received."""
    if isinstance(error, ApiError):
        return error
    no_answer = f"{request}: no answer from the API server at {server}"
    if isinstance(error, _client.ApiException):
        # The client raises it for a TLS failure: "type\nreason".
        reason = str(error.reason).partition("\n")[2] or str(error.reason)
        return Unavailable(f"{no_answer} ({reason})")
    if isinstance(error, urllib3.exceptions.HTTPError | OSError):
        return Unavailable(f"{no_answer} ({_wire_reason(error)})")
    return ServerError(f"{request}: malformed response ({type(error).__name__})")


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL; the rest may hold a password."""
    parts = urlsplit(url)
    return without_credentials(f"{parts.scheme}://{parts.netloc}")


def _wire_reason(error: Exception) -> str:
    """Return why there was no response, without the objects that urllib3 puts before it."""
    text = str(error)
    return text.rpartition(": ")[2] or type(error).__name__

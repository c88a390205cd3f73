"""The Kubernetes API over the official client, in threads of its own.

The only module that imports ``kubernetes``. Blocking calls run in a pool that belongs to a Service;
only plain dictionaries cross back to the reactor's thread. Every call ends by itself: each has time
limits for connecting and for silence, and a watch is one request of bounded length, so that the
client retries nothing behind our back and an expired version surfaces.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import math
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

import urllib3
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from kubernetes import watch as kubernetes_watch
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic import __version__
from mic.errors import ConfigError
from mic.kube.api import (
    EVENTS,
    LEASES,
    SECRETS,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    Json,
    NotFound,
    Page,
    Resource,
    TooManyRequests,
    Unavailable,
    WatchEvent,
    right,
)
from mic.kube.counts import KubeCounts
from mic.threads import Threads

# The client's own annotations are generated, and wrong where its options are concerned.
_client: Any = kubernetes_client
_config: Any = kubernetes_config
_watch: Any = kubernetes_watch

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0
"""Seconds to connect, and of silence while an answer is awaited."""

WATCH_SECONDS = (300, 600)
"""How long one watch request lasts, drawn at random so that watches do not all end at once."""

WATCH_SILENCE = 100.0
"""Seconds without a byte after which a watch counts as dead. Bookmarks come every minute; a server
without a watch cache sends none, and then this costs one request in that time."""

PAGE_SIZE = 100
"""Objects per page of a list: a hundred Secrets of 1 MiB are what fits into memory for a moment."""

TOKEN_SECONDS = 60.0
"""How old a token read from a file may be: kubelet renews it in place; client-go does likewise."""

LONGEST_WISH = 60.0
"""Seconds: a Retry-After beyond this is cut, so that a proxy's hour does not become ours."""

STOP_SECONDS = 0.2
"""How long stopping waits for threads. Whoever asked has stopped before: what still blocks is an
API server that does not answer, and nothing can be learned from it any more."""

IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
IN_CLUSTER_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

R = TypeVar("R")


def load_configuration(
    kubeconfig: str,
    *,
    in_cluster_token: Path = IN_CLUSTER_TOKEN,
    in_cluster_ca: Path = IN_CLUSTER_CA,
    now: Callable[[], float] = time.monotonic,
) -> Any:
    """Where the API server is and how to be let in: the client's ``Configuration``.

    ``kubeconfig`` names one file, or several separated by colons, of which the first to say
    something is right. Empty means the service account of the pod, and outside of a pod
    ``~/.kube/config``. Proxies come from kubeconfig's ``proxy-url``, else from the environment
    (``HTTPS_PROXY``, ``NO_PROXY``). ``now`` is a clock in seconds.

    :raises ConfigError: there is no usable configuration; no content of a file is shown.
    """
    configuration = _client.Configuration()
    in_pod = not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST")
    source = "the pod's service account" if in_pod else kubeconfig or "~/.kube/config"
    try:
        if in_pod:
            loader = _config.incluster_config.InClusterConfigLoader(
                token_filename=str(in_cluster_token), cert_filename=str(in_cluster_ca)
            )
            loader.load_and_set(configuration)
            token_file: Path | None = in_cluster_token
        else:
            loader, token_file = _load_kubeconfig(configuration, kubeconfig or "~/.kube/config")
        if token_file is not None:
            _renew_token(configuration, token_file, now)
        _check_credentials(configuration)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise _unusable(source, f"{where}{error.strerror or error}") from None
    except ConfigError as error:
        raise _unusable(source, str(error)) from None
    except Exception as error:
        # Not the error's own text: the client, YAML and base64 quote what stands around the fault,
        # and that may be a key or a token.
        told = str(error) if in_pod or str(error).startswith("File does not exist") else ""
        raise _unusable(
            source,
            told
            or "it is empty or has no usable cluster, user and current context "
            f"({type(error).__name__})",
        ) from None
    _choose_proxy(configuration, explicit=getattr(loader, "proxy", None) is not None)
    if not configuration.verify_ssl:
        Logger(namespace=__name__).warn(
            "{path} has the API server's certificate not verified", path=source
        )
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    configuration.retries = False
    configuration.socket_options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        # A watch is silent most of the time: a peer that died is noticed within a minute.
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ]
    return configuration


def own_namespace(kubeconfig: str, *, in_cluster_namespace: Path = IN_CLUSTER_NAMESPACE) -> str:
    """The namespace that this process belongs to: its pod's, or else the kubeconfig's context's.

    ``kubeconfig`` is one that `load_configuration` has accepted.
    """
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
        try:
            return in_cluster_namespace.read_text().strip() or "default"
        except OSError as error:
            raise ConfigError(
                [f"cannot tell the pod's own namespace, where leaders are elected: {error}"]
            ) from error
    config, context = _merged(kubeconfig or "~/.kube/config")
    for node in config.value["contexts"]:
        if node.value["name"] == context:
            return str(node.value["context"].get("namespace") or "default")
    return "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What is asked, in the words of errors and of RBAC."""

    verb: str
    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        if self.name:
            return f"{self.verb} {self.plural} {self.namespace}/{self.name}"
        return f"{self.verb} {self.plural} in {self.namespace or 'all namespaces'}"

    @property
    def plural(self) -> str:
        """The resource as RBAC rules name it, for example ``secrets``, with its subresource."""
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural

    @property
    def right(self) -> str:
        """The right that it needs."""
        return right(self.verb, self.resource, self.subresource)


class ThreadedKubernetes(Service):
    """`mic.kube.api.KubernetesApi` over the official client.

    ``threads`` bounds how many requests are under way at once, watches included: the API server is
    shared with others. A watch keeps its thread for as long as it lasts. By default as many as
    there are who ask: three watches, four workers, the election and the events.
    """

    def __init__(
        self,
        configuration: Any,
        reactor: IReactorFromThreads,
        *,
        threads: int = 9,
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
        """Make the threads and the client; may follow a stop."""
        super().startService()
        self._configuration.connection_pool_maxsize = self._size
        self._api = _client.ApiClient(configuration=self._configuration)
        self._api.user_agent = f"mic/{__version__}"
        self._server = _origin(self._configuration.host)
        if type(self._api.rest_client.pool_manager) is not urllib3.PoolManager:
            self._server += f" by the proxy {_origin(self._configuration.proxy)}"
        self._threads = Threads(
            self._reactor, self._size, name="mic-kubernetes", patience=STOP_SECONDS
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
            # In a thread: closing a connection may wait for whoever reads from it.
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
        options: dict[str, Any] = {"limit": PAGE_SIZE}
        if label_selector:
            options["label_selector"] = label_selector
        if continue_token:
            options["_continue"] = continue_token
        body = await self._ask(
            _Request(verb="list", resource=resource, namespace=namespace),
            lambda api: _calls(api, resource).list(namespace, **options),
        )
        metadata = body.get("metadata") or {}
        return Page(
            items=body.get("items") or [],
            resource_version=metadata.get("resourceVersion", ""),
            continue_token=metadata.get("continue") or "",
        )

    async def get(self, resource: Resource, *, namespace: str, name: str) -> Json:
        """See `mic.kube.api.KubernetesApi.get`."""
        return await self._ask(
            _Request(verb="get", resource=resource, namespace=namespace, name=name),
            lambda api: _calls(api, resource).get(namespace, name),
        )

    async def create(self, resource: Resource, body: Json) -> Json:
        """See `mic.kube.api.KubernetesApi.create`."""
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
        return await self._ask(
            _Request(verb="create", resource=resource, namespace=namespace, name=name),
            lambda api: _calls(api, resource).create(namespace, body),
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
        asked = _Request(verb="watch", resource=resource, namespace=namespace)
        stream = _Stream(self._reactor, on_event)
        options: dict[str, Any] = {
            "resource_version": resource_version,
            "allow_watch_bookmarks": True,
            "timeout_seconds": self._random.randint(*WATCH_SECONDS),
            "_request_timeout": (CONNECT_TIMEOUT, WATCH_SILENCE),
        }
        if label_selector:
            options["label_selector"] = label_selector

        def run() -> None:
            try:
                stream.read(_calls(api, resource).lister(namespace), options)
            except Exception as error:
                raise _translated(error, asked, self._server) from None

        # Not the thread's own Deferred: cancelling must stop the stream at the same moment.
        finished: Deferred[None] = Deferred(lambda _: stream.stop())

        def ended(result: Failure | None) -> None:
            if not finished.called:
                finished.callback(result)

        threads.run(run).addBoth(ended)
        with self._counts.one_request(asked.verb, asked.plural):
            await finished

    async def _replace(self, resource: Resource, body: Json, subresource: str) -> Json:
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        asked = _Request(
            verb="update",
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
        )
        if not metadata.get("resourceVersion"):
            # Of Secrets, the API server would take such a write, whatever it has by now.
            raise Invalid(f"{asked}: metadata.resourceVersion is missing")
        return await self._ask(
            asked, lambda api: _calls(api, resource).replace(namespace, name, body, subresource)
        )

    def _started(self) -> tuple[Any, Threads]:
        # A call in a pool that is not running would never end.
        if self._threads is None:
            raise Unavailable("the connection to the Kubernetes API is not running")
        return self._api, self._threads

    async def _ask(self, asked: _Request, call: Callable[[Any], Any]) -> Json:
        api, threads = self._started()

        def run() -> Json:
            try:
                return cast(Json, json.loads(call(api).data))
            except Exception as error:
                # Never chained: the client's error carries the answer's body.
                raise _translated(error, asked, self._server) from None

        with self._counts.one_request(asked.verb, asked.plural):
            return await threads.run(run)


class _Stream:
    """One watch request, read in a thread, stopped from the reactor's."""

    def __init__(
        self, reactor: IReactorFromThreads, on_event: Callable[[WatchEvent], None]
    ) -> None:
        self._reactor = reactor
        self._on_event = on_event
        # ``Watch.stream`` forgets a stop that came before its first event: hence a flag of our own.
        self._stopped = Event()
        self._watch = _watch.Watch(return_type=object)  # plain dictionaries, no models

    def stop(self) -> None:
        """End the stream. In the reactor's thread; no event is delivered after this."""
        self._stopped.set()
        self._watch.stop()  # shuts the socket, as nothing else wakes a blocked read

    def read(self, lister: Callable[..., Any], options: dict[str, Any]) -> None:
        """Deliver events until the stream ends. In a thread."""
        try:
            for event in self._watch.stream(lister, **options):
                if self._stopped.is_set():
                    return
                if event is None:
                    return  # a line that is no JSON: go on from the last version seen
                self._reactor.callFromThread(
                    self._deliver, WatchEvent(type=event["type"], object=event["raw_object"])
                )
        except (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError):
            return  # the server went away in mid-stream, or fell silent: ordinary ends of a watch

    def _deliver(self, event: WatchEvent) -> None:
        if not self._stopped.is_set():
            self._on_event(event)


class _Calls:
    """The client's functions for one kind, all of them answering with the raw response."""

    def __init__(self, *, prefix: dict[str, Any], functions: dict[str, Any]) -> None:
        self._prefix = prefix
        self._functions = functions

    def lister(self, namespace: str) -> Callable[..., Any]:
        if namespace:
            return partial(self._functions["list"], **self._prefix, namespace=namespace)
        return partial(self._functions["list_all"], **self._prefix)

    def list(self, namespace: str, **options: Any) -> Any:
        return self.lister(namespace)(**options, **_PLAIN)

    def get(self, namespace: str, name: str) -> Any:
        return self._functions["get"](**self._prefix, namespace=namespace, name=name, **_PLAIN)

    def create(self, namespace: str, body: Json) -> Any:
        return self._functions["create"](**self._prefix, namespace=namespace, body=body, **_PLAIN)

    def replace(self, namespace: str, name: str, body: Json, subresource: str) -> Any:
        function = self._functions["replace_status" if subresource else "replace"]
        return function(**self._prefix, namespace=namespace, name=name, body=body, **_PLAIN)


_PLAIN: dict[str, Any] = {
    "_preload_content": False,
    "_request_timeout": (CONNECT_TIMEOUT, READ_TIMEOUT),
}


def _calls(api: Any, resource: Resource) -> _Calls:
    if resource == SECRETS:
        core = _client.CoreV1Api(api)
        return _Calls(
            prefix={},
            functions={
                "list": core.list_namespaced_secret,
                "list_all": core.list_secret_for_all_namespaces,
                "get": core.read_namespaced_secret,
                "create": core.create_namespaced_secret,
                "replace": core.replace_namespaced_secret,
            },
        )
    if resource == EVENTS:
        return _Calls(
            prefix={}, functions={"create": _client.CoreV1Api(api).create_namespaced_event}
        )
    if resource == LEASES:
        leases = _client.CoordinationV1Api(api)
        return _Calls(
            prefix={},
            functions={
                "get": leases.read_namespaced_lease,
                "create": leases.create_namespaced_lease,
                "replace": leases.replace_namespaced_lease,
            },
        )
    custom = _client.CustomObjectsApi(api)
    return _Calls(
        prefix={
            "group": resource.group,
            "version": resource.version,
            "plural": resource.plural,
        },
        functions={
            "list": custom.list_namespaced_custom_object,
            "list_all": custom.list_cluster_custom_object,
            "get": custom.get_namespaced_custom_object,
            "create": custom.create_namespaced_custom_object,
            "replace": custom.replace_namespaced_custom_object,
            "replace_status": custom.replace_namespaced_custom_object_status,
        },
    )


def _translated(error: Exception, asked: _Request, server: str) -> ApiError:
    """The client's error in our own words, without anything that was sent or received.

    Of the server's ``Status`` only what cannot hold a payload is used: the reason, the fields that
    it found fault with, and its message where it speaks of rights.
    """
    silent = f"{asked}: no answer from the API server at {server}"
    if not isinstance(error, _client.ApiException):
        if isinstance(error, urllib3.exceptions.HTTPError | OSError):
            return Unavailable(f"{silent} ({_wire_reason(error)})")
        return Unavailable(f"{asked}: the answer makes no sense ({type(error).__name__})")
    code = cast(int, error.status)
    if not code:  # the client's own word for a TLS failure
        reason = str(error.reason).partition("\n")[2] or str(error.reason)
        return Unavailable(f"{silent} ({reason})")
    status = _status_of(error)
    # Of a watch's ERROR event the client makes "reason: message", of other answers HTTP's phrase.
    reason = status.get("reason") or str(error.reason or "").partition(": ")[0]
    told = f"{asked}: {code} {reason}".rstrip()
    if code == 401:
        text = f"{told}: the API server does not accept our credentials"
        return Forbidden(text, right=asked.right)
    if code == 403:
        message = str(status.get("message", ""))[:500]
        text = f"{told}: the right to {asked.right} is missing"
        return Forbidden(f"{text} ({message})" if message else text, right=asked.right)
    if code == 404:
        return NotFound(told)
    if code == 409:
        return Conflict(told)
    if code == 410:
        return Gone(told)
    if code == 429:
        return TooManyRequests(told, retry_after=_retry_after(error))
    if code >= 500 or code == 408:
        return Unavailable(told, retry_after=_retry_after(error))
    causes = (status.get("details") or {}).get("causes") or []
    fields = ", ".join(str(cause.get("field")) for cause in causes if cause.get("field"))
    return Invalid(f"{told}: {fields}" if fields else told)


def _origin(url: str) -> str:
    """Scheme, host and port of a URL; the rest may hold a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _wire_reason(error: Exception) -> str:
    """Why there was no answer, without the objects that urllib3 puts before it."""
    text = str(error)
    return text.rpartition(": ")[2] or type(error).__name__


def _status_of(error: Any) -> Json:
    try:
        body = json.loads(error.body or "")
    except (TypeError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _retry_after(error: Any) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3); API servers send no dates there."""
    try:
        seconds = float((error.headers or {}).get("Retry-After", ""))
    except (TypeError, ValueError):
        return None
    return min(seconds, LONGEST_WISH) if math.isfinite(seconds) and seconds >= 0 else None


def _unusable(source: str, why: str) -> ConfigError:
    return ConfigError([f"cannot use {source} to reach the Kubernetes API: {why}; set -kubeconfig"])


def _merged(paths: str) -> tuple[Any, str | None]:
    """One kubeconfig file, or several separated by colons, as kubectl merges them, and the name of
    the current context.

    Raises `OSError`, and the client's errors, which quote what they found.
    """
    files = [Path(each).expanduser() for each in paths.split(os.pathsep) if each]
    if not any(file.exists() for file in files):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), paths)
    merger = _config.kube_config.KubeConfigMerger(paths)
    # The client lets the last file choose the context; for kubectl it is the first that does.
    chosen = (each.get("current-context") for each in merger.config_files.values())
    return merger.config, next(filter(None, chosen), None)


def _load_kubeconfig(configuration: Any, paths: str) -> tuple[Any, Path | None]:
    """Read these files; the client's loader, and the file that the user's token is in, if it is.

    Raises `OSError`, `ConfigError`, and the client's errors, which quote what they found.
    """
    config, context = _merged(paths)
    loader = _config.kube_config.KubeConfigLoader(
        config_dict=config,
        active_context=context,
        config_base_path=None,
        temp_file_path=_private_directory(),
    )
    loader.load_and_set(configuration)
    named = loader.current_context["context"].get("user")
    for node in config.value["users"]:
        user = node.value.get("user") or {}
        if node.value["name"] != named:
            continue
        if user.get("tokenFile"):
            # Relative to the file that speaks of it.
            return loader, Path(node.path).parent / str(user["tokenFile"])
        if "exec" in user and not (configuration.api_key or configuration.cert_file):
            raise ConfigError(["its exec plugin gave neither a token nor a certificate"])
    return loader, None


def _renew_token(configuration: Any, token_file: Path, now: Callable[[], float]) -> None:
    """Have the client read its token again when it is a minute old.

    The client does so for a pod's own service account alone, and takes a trailing newline along,
    which makes the header invalid; a kubeconfig's ``tokenFile`` it reads only once.

    Raises `OSError` and `ConfigError` when there is no token now; later, the one at hand may still
    be good, and when it is not, the API server says so.
    """
    log = Logger(namespace=__name__)
    read_at = now()
    troubled = False

    def read() -> str:
        token = token_file.read_text().strip()
        if not token:
            raise ConfigError([f"the token file {token_file} is empty"])
        return f"Bearer {token}"

    def renew(target: Any) -> None:
        nonlocal read_at, troubled
        if now() - read_at < TOKEN_SECONDS:
            return
        try:
            target.api_key["BearerToken"] = read()
        except (OSError, ValueError, ConfigError) as error:
            if not troubled:
                why = error.strerror if isinstance(error, OSError) else "it holds no token"
                log.warn("Cannot read the token file {path}: {why}", path=token_file, why=why)
            troubled = True
        else:
            read_at = now()
            troubled = False

    configuration.api_key["BearerToken"] = read()
    configuration.refresh_api_key_hook = renew


def _check_credentials(configuration: Any) -> None:
    """Look whether the TLS library takes the files: the client would find out with each request.

    Raises `ConfigError` and `OSError`, which name the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if configuration.ssl_ca_cert and configuration.verify_ssl:
        try:
            context.load_verify_locations(configuration.ssl_ca_cert)
        except ssl.SSLError as error:
            why = error.reason or "no PEM certificate"
            raise ConfigError(
                [f"the CA bundle {configuration.ssl_ca_cert} holds no certificate ({why})"]
            ) from None
    if configuration.cert_file:
        try:
            # Without a password it would be asked for on the terminal.
            context.load_cert_chain(configuration.cert_file, configuration.key_file, lambda: "")
        except ssl.SSLError as error:
            files = f"{configuration.cert_file} and {configuration.key_file or 'no key'}"
            why = error.reason or "no PEM"
            raise ConfigError(
                [f"the client certificate and key are of no use: {files} ({why})"]
            ) from None


def _choose_proxy(configuration: Any, *, explicit: bool) -> None:
    """Amend the client's choice of a proxy to kubectl's.

    A ``proxy-url`` knows no exceptions, nobody asks a proxy for an address of this machine, and
    user and password in a proxy's URL are for the proxy.
    """
    host = urlsplit(configuration.host).hostname or ""
    if explicit:
        configuration.no_proxy = None
    elif host == "localhost" or _is_loopback(host):
        configuration.proxy = None
    if configuration.proxy:
        parts = urlsplit(configuration.proxy)
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=login)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _private_directory() -> str | None:
    """Where keys written inline in a kubeconfig may become files, as the TLS library wants files.

    In memory where possible: the root file system may be read-only. None: where temporary files go.
    """
    shared_memory = "/dev/shm"  # noqa: S108 - files there are made with mkstemp, mode 0600
    return shared_memory if os.access(shared_memory, os.W_OK | os.X_OK) else None

"""Finds and checks what says where the API server is and which credentials it takes.

That is a kubeconfig file, or the service account of the pod. What connects with it is
`mic.kube.connections`. No error shows the content of a file.
"""

from __future__ import annotations

import binascii
import os
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import yaml
from twisted.logger import Logger
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from mic.common.endpoint import bypasses_proxy, endpoint
from mic.common.errors import ConfigError
from mic.common.kube_names import namespace_problem, quoted
from mic.common.text import printable
from mic.kube.api_server import ApiServer, without_secrets
from mic.kube.token_file import TokenFile

_HOST = "KUBERNETES_SERVICE_HOST"
_PORT = "KUBERNETES_SERVICE_PORT"
_HOME_CONFIG = "~/.kube/config"

IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
IN_CLUSTER_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def load_configuration(
    kubeconfig: str,
    *,
    in_cluster_token: Path = IN_CLUSTER_TOKEN,
    in_cluster_ca: Path = IN_CLUSTER_CA,
    now: Callable[[], float] = time.monotonic,
) -> ApiServer:
    """Return the API server, and the credentials for it.

    ``kubeconfig`` names one file, or several separated by colons; the first to set a value wins.
    Empty means the service account of the pod, or ``~/.kube/config`` outside of a pod. Proxies
    come from kubeconfig's ``proxy-url``, else from the environment (``HTTPS_PROXY``,
    ``NO_PROXY``). ``now`` is a clock in seconds.

    :raises ConfigError: there is no usable configuration; no content of a file is shown.
    """
    in_pod = not kubeconfig and os.environ.get(_HOST)
    source = "the pod's service account" if in_pod else kubeconfig or _HOME_CONFIG
    try:
        if in_pod:
            server = _service_account(in_cluster_token, in_cluster_ca, now)
        else:
            # Not in a pod, where the client's 15 MiB are for nothing.
            from mic.kube.kubeconfig import read_api_server

            server = read_api_server(kubeconfig or _HOME_CONFIG, now)
        _check_credentials(server)
        if not _is_usable(server.url):
            shown = _shown(server.url)
            raise ConfigError(
                [f"its server cannot be used: {shown}; use https://HOST:PORT or http://"]
            )
        server = replace(server, proxy=_checked_proxy(server.proxy or _proxy_for(server.url)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise _unusable(source, f"{where}{error.strerror or error}") from None
    except ConfigError as error:
        raise _unusable(source, str(error)) from None
    except Exception as error:
        # Not the error's own text: the client, YAML and base64 quote the input around the fault,
        # which may be a key or a token.
        shown = str(error) if str(error).startswith("File does not exist") else ""
        raise _unusable(
            source,
            shown
            or _place(error, kubeconfig)
            or "it is empty or has no usable cluster, user and current context",
        ) from None
    if not server.verify:
        Logger(namespace=__name__).warn(
            "{path} has the API server's certificate not verified", path=source
        )
    return server


def _place(error: Exception, paths: str) -> str:
    """Return where a kubeconfig cannot be parsed, empty for another fault; quote nothing of it."""
    if isinstance(error, binascii.Error):
        return "a member whose name ends in -data is not base64"
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text: byte {error.start + 1} is not allowed"
    if isinstance(error, yaml.reader.ReaderError):
        return f"it is not YAML: character {int(error.position) + 1} is not allowed"
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return ""
    several = len([each for each in paths.split(os.pathsep) if each]) > 1
    file = f"{printable(mark.name)} " if several else "it "
    text = f"{file}is not YAML: line {mark.line + 1}, column {mark.column + 1}"
    tab = error.problem is not None and "'\\t'" in error.problem
    return f"{text}: a tab, where YAML needs spaces" if tab else text


def own_namespace(kubeconfig: str, *, in_cluster_namespace: Path = IN_CLUSTER_NAMESPACE) -> str:
    """Return the namespace of this process: its pod's, or that of the kubeconfig's context.

    ``kubeconfig`` is one that `load_configuration` has accepted.

    :raises ConfigError: the pod's namespace cannot be read, or the name is not valid.
    """
    name = _configured_namespace(kubeconfig, in_cluster_namespace) or "default"
    problem = namespace_problem(name)
    if problem:
        raise ConfigError(
            [f"leaders are elected in namespace {quoted(name)}, which cannot be: {problem}"]
        )
    return name


def _configured_namespace(kubeconfig: str, in_cluster_namespace: Path) -> str:
    if not kubeconfig and os.environ.get(_HOST):
        try:
            return in_cluster_namespace.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                [f"cannot read the pod's namespace, where leaders are elected: {error}"]
            ) from error
    from mic.kube.kubeconfig import read_namespace

    return read_namespace(kubeconfig or _HOME_CONFIG)


def _service_account(token: Path, ca: Path, now: Callable[[], float]) -> ApiServer:
    """Return the API server as kubelet describes it to a pod, as client-go's ``InClusterConfig``.

    Raises `OSError` and `ConfigError`.
    """
    host, port = os.environ.get(_HOST, ""), os.environ.get(_PORT, "")
    if not (port.isascii() and port.isdigit()):
        raise ConfigError([f"{_PORT} is not set to the port of the Kubernetes API"])
    with ca.open():
        pass  # the TLS library does not name a file that cannot be opened
    return ApiServer(
        url=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        authorization=TokenFile(token, now).authorization,
        ca_file=str(ca),
    )


def _check_credentials(server: ApiServer) -> None:
    """Check that the TLS library accepts the files; it would only fail at each request.

    Raises `ConfigError` and `OSError`, which name the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if server.ca_file and server.verify:
        try:
            context.load_verify_locations(server.ca_file)
        except ssl.SSLError as error:
            why = error.reason or "no PEM certificate"
            raise ConfigError(
                [f"the CA bundle {server.ca_file} holds no certificate ({why})"]
            ) from None
    if server.certificate_file:
        try:
            # Without this, OpenSSL would prompt for the password on the terminal.
            context.load_cert_chain(server.certificate_file, server.key_file, lambda: "")
        except ssl.SSLError as error:
            files = f"{server.certificate_file} and {server.key_file or 'no key'}"
            why = error.reason or "no PEM"
            raise ConfigError(
                [f"the client certificate and key are not usable: {files} ({why})"]
            ) from None


def _proxy_for(url: str) -> str:
    """Return the environment's proxy for a URL, empty for none; by kubectl's rules."""
    proxies = getproxies()
    target = endpoint(url)
    if target is None or bypasses_proxy(target, proxies.get("no", "")):
        return ""
    return proxies.get(target.scheme, "")


def _checked_proxy(proxy: str) -> str:
    """Return the URL of a proxy, with its scheme. Raises `ConfigError` for one of another kind."""
    # As curl and Go: without a scheme it is a proxy over plain HTTP.
    url = proxy if "://" in proxy or not proxy else f"http://{proxy}"
    if url and not _is_usable(url):
        raise ConfigError(
            [f"its proxy cannot be used: {_shown(url)}; use http://HOST:PORT or https://"]
        )
    return url


def _is_usable(url: str) -> bool:
    """Return whether an HTTP client can connect to a URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
        parse_url(url)  # what connects is stricter
    except (ValueError, LocationParseError):
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _shown(url: str) -> str:
    return printable(without_secrets(url))


def _unusable(source: str, why: str) -> ConfigError:
    return ConfigError([f"cannot use {source} to reach the Kubernetes API: {why}; set -kubeconfig"])

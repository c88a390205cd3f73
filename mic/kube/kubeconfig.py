"""Finds, reads and checks what says where the API server is and which credentials it takes.

That is a kubeconfig file, or the service account of the pod. What connects with it is
`mic.kube.client`. No error shows the content of a file.
"""

from __future__ import annotations

import binascii
import errno
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
import yaml
from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config
from twisted.logger import Logger

from mic.common.errors import ConfigError
from mic.common.kube_names import namespace_problem, quoted
from mic.common.once import Once
from mic.common.text import printable

# The client's own annotations are generated, and wrong where its options are concerned.
_client: Any = kubernetes_client
_config: Any = kubernetes_config

TOKEN_SECONDS = 60.0
"""Maximum age of a token read from a file: kubelet renews it in place. client-go has the same."""

IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
IN_CLUSTER_CA = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def load_configuration(
    kubeconfig: str,
    *,
    in_cluster_token: Path = IN_CLUSTER_TOKEN,
    in_cluster_ca: Path = IN_CLUSTER_CA,
    now: Callable[[], float] = time.monotonic,
) -> Any:
    """Return the client's ``Configuration``: address and credentials of the API server.

    ``kubeconfig`` names one file, or several separated by colons; the first to set a value wins.
    Empty means the service account of the pod, or ``~/.kube/config`` outside of a pod. Proxies
    come from kubeconfig's ``proxy-url``, else from the environment (``HTTPS_PROXY``,
    ``NO_PROXY``). ``now`` is a clock in seconds.

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
        # Not the error's own text: the client, YAML and base64 quote the input around the fault,
        # which may be a key or a token.
        shown = str(error) if in_pod or str(error).startswith("File does not exist") else ""
        raise _unusable(
            source,
            shown
            or _place(error, kubeconfig)
            or "it is empty or has no usable cluster, user and current context",
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
        # A watch is silent most of the time; this detects a dead peer within a minute.
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ]
    return configuration


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
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
        try:
            return in_cluster_namespace.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                [f"cannot read the pod's namespace, where leaders are elected: {error}"]
            ) from error
    config, context = _merged(kubeconfig or "~/.kube/config")
    for node in config.value["contexts"]:
        if node.value["name"] == context:
            return str(node.value["context"].get("namespace") or "")
    return ""


def _merged(paths: str) -> tuple[Any, str | None]:
    """Return kubeconfig files, separated by colons, merged as kubectl does, and the context in use.

    Raises `OSError`, and the client's errors, which quote their input.
    """
    files = [Path(each).expanduser() for each in paths.split(os.pathsep) if each]
    if not any(file.exists() for file in files):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), paths)
    merger = _config.kube_config.KubeConfigMerger(paths)
    # The client takes the context from the last file that sets one, kubectl from the first.
    chosen = (each.get("current-context") for each in merger.config_files.values())
    return merger.config, next(filter(None, chosen), None)


def _load_kubeconfig(configuration: Any, paths: str) -> tuple[Any, Path | None]:
    """Read these files; return the client's loader, and the user's token file if there is one.

    Raises `OSError`, `ConfigError`, and the client's errors, which quote their input.
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
            # Relative to the file that names it.
            return loader, Path(node.path).parent / str(user["tokenFile"])
        if "exec" in user and not (configuration.api_key or configuration.cert_file):
            raise ConfigError(["its exec plugin gave neither a token nor a certificate"])
    return loader, None


def _renew_token(configuration: Any, token_file: Path, now: Callable[[], float]) -> None:
    """Make the client read its token again when it is a minute old.

    The client does so only for a pod's service account, and keeps a trailing newline, which makes
    the header invalid; it reads a kubeconfig's ``tokenFile`` only once.

    Raises `OSError` and `ConfigError` when there is no token now. A later failure is logged: the
    last token may still be valid, and the API server rejects it otherwise.
    """
    log = Logger(namespace=__name__)
    read_at = now()
    complaint = Once()

    def read() -> str:
        token = token_file.read_text().strip()
        if not token:
            raise ConfigError([f"the token file {token_file} is empty"])
        return f"Bearer {token}"

    def renew(target: Any) -> None:
        nonlocal read_at
        if now() - read_at < TOKEN_SECONDS:
            return
        try:
            target.api_key["BearerToken"] = read()
        except (OSError, ValueError, ConfigError) as error:
            why = (error.strerror if isinstance(error, OSError) else "") or "it holds no token"
            if complaint.is_news(why):
                log.warn("Cannot read the token file {path}: {why}", path=token_file, why=why)
        else:
            read_at = now()
            complaint.is_over()

    configuration.api_key["BearerToken"] = read()
    configuration.refresh_api_key_hook = renew


def _check_credentials(configuration: Any) -> None:
    """Check that the TLS library accepts the files; the client would only fail at each request.

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
            # Without this, OpenSSL would prompt for the password on the terminal.
            context.load_cert_chain(configuration.cert_file, configuration.key_file, lambda: "")
        except ssl.SSLError as error:
            files = f"{configuration.cert_file} and {configuration.key_file or 'no key'}"
            why = error.reason or "no PEM"
            raise ConfigError(
                [f"the client certificate and key are not usable: {files} ({why})"]
            ) from None


def _choose_proxy(configuration: Any, *, explicit: bool) -> None:
    """Correct the client's choice of a proxy to that of kubectl.

    A ``proxy-url`` has no exceptions, loopback addresses are never reached by a proxy, and user
    and password in a proxy's URL go to the proxy only.
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
    """Return a directory for keys that are inline in a kubeconfig, as the TLS library needs files.

    In memory if possible: the root file system may be read-only. None: the default for temporary
    files.
    """
    shared_memory = "/dev/shm"  # noqa: S108 - files there are made with mkstemp, mode 0600
    return shared_memory if os.access(shared_memory, os.W_OK | os.X_OK) else None


def _unusable(source: str, why: str) -> ConfigError:
    return ConfigError([f"cannot use {source} to reach the Kubernetes API: {why}; set -kubeconfig"])

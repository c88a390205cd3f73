"""Reads kubeconfig files by the official client.

Only this module imports ``kubernetes``, and only `mic.kube.configuration` imports this module,
when there is a kubeconfig: the client and what it imports take 15 MiB.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client as kubernetes_client
from kubernetes import config as kubernetes_config

from mic.common.errors import ConfigError
from mic.kube.api_server import ApiServer, is_header_value
from mic.kube.token_file import TokenFile

# The client's own annotations are generated, and wrong where its options are concerned.
_client: Any = kubernetes_client
_config: Any = kubernetes_config


def read_api_server(paths: str, now: Callable[[], float]) -> ApiServer:
    """Return the API server of kubeconfig files, separated by colons.

    ``proxy`` is their ``proxy-url``. ``now`` is a clock in seconds.

    Raises `OSError`, `ConfigError`, and the client's errors, which quote their input.
    """
    config, context = _merged(paths)
    found = _client.Configuration()
    loader = _config.kube_config.KubeConfigLoader(
        config_dict=config,
        active_context=context,
        config_base_path=None,
        temp_file_path=_private_directory(),
    )
    loader.load_and_set(found)
    user, file = _user(config, loader.current_context["context"].get("user"))
    if user.get("tokenFile"):
        # The client reads it only once. Relative to the file that names it.
        token = TokenFile(Path(file).parent / str(user["tokenFile"]), now).authorization
    elif "exec" in user and not (found.api_key or found.cert_file):
        raise ConfigError(["its exec plugin gave neither a token nor a certificate"])
    else:
        if not is_header_value(found.api_key.get("BearerToken", "").strip()):
            raise ConfigError(["its token has a character that no header may have"])
        token = _Token(found).authorization
    return ApiServer(
        url=found.host,
        authorization=token,
        ca_file=found.ssl_ca_cert,
        verify=found.verify_ssl,
        certificate_file=found.cert_file,
        key_file=found.key_file,
        tls_name=found.tls_server_name,
        proxy=getattr(loader, "proxy", None) or "",
    )


def read_namespace(paths: str) -> str:
    """Return the namespace of the context in use, empty if it has none.

    Raises as `read_api_server`.
    """
    config, context = _merged(paths)
    for node in config.value["contexts"]:
        if node.value["name"] == context:
            return str(node.value["context"].get("namespace") or "")
    return ""


class _Token:
    """The token that the client knows; it runs an exec plugin again when its token expires."""

    def __init__(self, configuration: Any) -> None:
        self._configuration = configuration

    def authorization(self) -> str:
        # A token in a block of YAML ends in a newline.
        return (self._configuration.get_api_key_with_prefix("BearerToken") or "").strip()


def _user(config: Any, name: str | None) -> tuple[dict[str, Any], str]:
    """Return the user of that name, and the file that defines it."""
    for node in config.value["users"]:
        if node.value["name"] == name:
            return node.value.get("user") or {}, node.path
    return {}, ""


def _merged(paths: str) -> tuple[Any, str | None]:
    """Return kubeconfig files merged as kubectl does, and the context in use."""
    files = [Path(each).expanduser() for each in paths.split(os.pathsep) if each]
    if not any(file.exists() for file in files):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), paths)
    merger = _config.kube_config.KubeConfigMerger(paths)
    # The client takes the context from the last file that sets one, kubectl from the first.
    chosen = (each.get("current-context") for each in merger.config_files.values())
    return merger.config, next(filter(None, chosen), None)


def _private_directory() -> str | None:
    """Return a directory for keys that are inline in a kubeconfig, as the TLS library needs files.

    In memory if possible: the root file system may be read-only. None: the default for temporary
    files.
    """
    shared_memory = "/dev/shm"  # noqa: S108 - files there are made with mkstemp, mode 0600
    return shared_memory if os.access(shared_memory, os.W_OK | os.X_OK) else None

"""Files that settings name: parsers that check them at start, and `read_agent` for each build."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from mic.common.errors import BuildInvalid, ConfigError, NotReady
from mic.common.files import can_pass, os_reason, read_regular
from mic.common.private_keys import holds_private_key
from mic.common.urls import without_credentials
from mic.ignition import Agent
from mic.ignition.extra import ExtraConfig, parse
from mic.media.base import Kind
from mic.media.isolinux import read_isolinux
from mic.media.probe import probe
from mic.settings.model import PULL_SECRET_FILE, AgentSettings
from mic.settings.pull_secret import pull_secret
from mic.settings.values import line

SHORTEST_URL_KEY = 32
"""Bytes: as many as the HMAC has (RFC 2104 section 3), and as ``openssl rand -hex 16`` writes."""

PULL_SECRET_CREDENTIAL = "pull-secret"  # noqa: S105
"""Name of the systemd credential with the pull secret."""

_PULL_SECRET = "IRONIC_AGENT_PULL_SECRET"  # noqa: S105
_REGISTRIES_CONF = "REGISTRIES_CONF_PATH"
_CA_BUNDLE = "CA_BUNDLE"
_IRONIC_CA_BUNDLE = "IRONIC_CA_BUNDLE"

_IGNITION = "MIC_IGNITION"
_IGNITION_SUFFIX = ".ign"

_FILE_LIMIT = 4 * 1024 * 1024


def base_of(kind: Kind) -> Callable[[str, str], str]:
    """Return a parser of the path of a base image, which is probed (`mic.media.probe`)."""

    def parse(name: str, text: str) -> str:
        path = line(name, text)
        if re.match(r"(?i)[a-z][a-z0-9+.-]*://", path) and not os.path.exists(path):
            raise ConfigError(
                [
                    f"{name}: {without_credentials(path)} is a URL: mic reads local files; "
                    "mic fetch downloads one"
                ]
            )
        try:
            if path:
                probe(path, kind)
        except (BuildInvalid, NotReady) as error:
            raise ConfigError([f"{name}: {error}"]) from None
        return path

    return parse


def isolinux(name: str, text: str) -> str:
    """Return the path of a directory with ISOLINUX, whose files are checked."""
    path = line(name, text)
    try:
        if path:
            read_isolinux(path)
    except (BuildInvalid, NotReady) as error:
        raise ConfigError([str(error)]) from None
    return path


def directory(name: str, text: str) -> str:
    """Return the path of a directory that can be listed."""
    try:
        os.scandir(text).close()
    except OSError as error:
        raise ConfigError([f"{name}: {text}: {os_reason(error)}"]) from None
    return text


def embedded_file(name: str, text: str) -> str:
    """Return the path of a file that images may carry."""
    path = line(name, text)
    _embeddable(name, path)
    return path


def pem_file(name: str, text: str) -> str:
    """Return the path of a PEM file that images may carry."""
    path = line(name, text)
    _pem(name, path)
    return path


def ignition_path(name: str, text: str) -> str:
    """Return the path of an Ignition config or of a directory of them; all are checked."""
    path = line(name, text)
    _ignition(name, path)
    return path


def later_pem_file(name: str, text: str) -> str:
    """Return the path of a PEM file that may be missing at start.

    Without it no image is built, but mic starts: in clusters it is often mounted later.
    """
    path = line(name, text)
    if os.path.isfile(path):
        _embeddable(name, path)
    return path


def url_key(name: str, path: str) -> bytes:
    """Return the secret in a file, without the line break that editors and ``echo`` append."""
    key = _content(name, path).strip()
    if path and len(key) < SHORTEST_URL_KEY:
        raise ConfigError(
            [
                f"{name}: {path} holds {len(key)} bytes; a secret of {SHORTEST_URL_KEY} "
                "or more is needed, as `openssl rand -hex 32` makes"
            ]
        )
    return key


def pull_secret_file(credentials_directory: str) -> str:
    """Return the path of the pull secret when its variable is empty.

    That is the credential of a systemd unit (systemd.exec(5), LoadCredential=), if there is one.
    """
    credential = os.path.join(credentials_directory, PULL_SECRET_CREDENTIAL)
    found = credentials_directory and os.path.exists(credential)
    return credential if found else PULL_SECRET_FILE


def check_pull_secret_file(path: str) -> None:
    """Raise `ConfigError` when there is a file with a pull secret that cannot be used."""
    _pull_secret_in(path)


def read_agent(settings: AgentSettings) -> Agent:
    """Return the agent's settings with the present content of the files they name.

    Raises `BuildInvalid`, naming the variable and the file, when one cannot be used, and
    `NotReady` when it cannot be read for a temporary reason.
    """
    try:
        return replace(
            settings.agent,
            pull_secret=settings.agent.pull_secret or _pull_secret_in(settings.pull_secret_file),
            registries_conf=_embeddable(_REGISTRIES_CONF, settings.registries_conf),
            ca_bundle=_pem(_CA_BUNDLE, settings.ca_bundle),
            ironic_ca_bundle=_pem(_IRONIC_CA_BUNDLE, settings.ironic_ca_bundle),
            extra=_ignition(_IGNITION, settings.ignition),
        )
    except ConfigError as error:
        kind = NotReady if error.can_pass else BuildInvalid
        raise kind(str(error)) from None


def _pull_secret_in(path: str) -> bytes:
    try:
        value = _content(_PULL_SECRET, path)
    except ConfigError as error:
        # Storage that does not respond must not look like a host without a pull secret.
        if error.can_pass or os.path.exists(path):
            raise
        return b""
    return pull_secret(path, value)


def _ignition(name: str, path: str) -> tuple[ExtraConfig, ...]:
    """Return the config of a file, or those of a directory in the order of their names."""
    if not path:
        return ()
    files = [path]
    if os.path.isdir(path):
        try:
            names = sorted(each for each in os.listdir(path) if each.endswith(_IGNITION_SUFFIX))
        except OSError as error:
            problem = f"{name}: {path}: {os_reason(error)}"
            raise ConfigError([problem], can_pass=can_pass(error)) from None
        # Names with a dot at the start are what ConfigMap mounts and editors leave.
        files = [os.path.join(path, each) for each in names if not each.startswith(".")]
    found: list[ExtraConfig] = []
    problems: list[str] = []
    for file in files:
        content = _embeddable(name, file)
        try:
            found.append(parse(content, file))
        except BuildInvalid as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def _content(name: str, path: str) -> bytes:
    if path in ("", os.devnull):
        return b""
    try:
        data = read_regular(path, _FILE_LIMIT)
    except OSError as error:
        problem = f"{name}: {path}: {os_reason(error)}"
        raise ConfigError([problem], can_pass=can_pass(error)) from None
    if len(data) > _FILE_LIMIT:
        raise ConfigError([f"{name}: {path} has more than {_FILE_LIMIT} bytes"])
    return data


def _embeddable(name: str, path: str) -> bytes:
    """Return the content of a file that images carry for everyone to read."""
    data = _content(name, path)
    if _has_private_key(data):
        raise ConfigError(
            [f"{name}: {path} holds a private key, which every image would show: take it out"]
        )
    return data


@lru_cache(maxsize=8)
def _has_private_key(data: bytes) -> bool:
    # Cached, because each build asks: a bundle of all authorities takes 25 ms.
    return holds_private_key(data.decode("latin-1"))


def _pem(name: str, path: str) -> bytes:
    data = _embeddable(name, path)
    if path and b"-----BEGIN " not in data:
        raise ConfigError([f"{name}: {path} holds no PEM certificate"])
    return data

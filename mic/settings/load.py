"""`load`: from an environment and parsed flags to `Settings`, or all problems in one error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from mic.common.errors import ConfigError
from mic.common.kube_names import namespace_problem, quoted
from mic.common.private_keys import without_private_keys
from mic.common.urls import without_credentials
from mic.ignition import Agent
from mic.media.base import Ramdisk
from mic.media.catalog import BasePaths
from mic.media.kernel_arguments import ArgumentEdits
from mic.settings.model import AgentSettings, Endpoint, LogSettings, Mode, Settings, Tcp
from mic.settings.ramdisk import ramdisk_findings
from mic.settings.read import check_pull_secret_file, pull_secret_file, url_key
from mic.settings.spelling import misspelt
from mic.settings.table import (
    FLAGS,
    HTTP_ADDRESS,
    HTTP_URL,
    IMAGES_ADDRESS,
    IMAGES_URL,
    LEADER_ELECT,
    NMSTATE_BACKEND,
    RAMDISK,
    RAMDISK_NETWORK,
    URL_KEY_FILE,
    VARIABLES,
    Variable,
    flags_of,
)
from mic.settings.values import WithWarning
from mic.tls.certificate import (
    CERT_FILE,
    CIPHERS,
    DEFAULT_CIPHERS,
    MAX_VERSION,
    MIN_VERSION,
    Tls,
    TlsVersion,
    load_certificate,
    read_pem,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """Settings as far as they are usable, with defaults for the rest, and all problems."""

    settings: Settings
    problems: tuple[str, ...] = ()


def load(mode: Mode, environment: Mapping[str, str], flags: Mapping[str, str]) -> Settings:
    """Return the settings of an environment and of flags; flags not given have their default.

    Raises `ConfigError` with every problem found.
    """
    inspected = inspect(mode, environment, flags)
    if inspected.problems:
        raise ConfigError(list(inspected.problems))
    return inspected.settings


def inspect(mode: Mode, environment: Mapping[str, str], flags: Mapping[str, str]) -> Inspected:
    """Return the settings as `load` does, and every problem instead of an error."""
    found = _Found()
    hints = dict(misspelt(environment, (variable.name for variable in VARIABLES)))
    _read_variables(found, environment, hints)
    _read_flags(found, mode, flags)

    _check_ramdisk(found, environment)
    secret_file = pull_secret_file(environment.get("CREDENTIALS_DIRECTORY", ""))
    if found.get("bases.ramdisk") is Ramdisk.IPA:
        secret_file = ""
    if not found.get("agent.pull_secret"):
        with found.problems_noted():
            check_pull_secret_file(secret_file)
    tls = _tls(found)
    _check_http(found, flags)
    mismatch = _scheme_mismatch(found)
    if mode is Mode.CONTROLLER:
        found.problems += mismatch
        _read_url_key(found, found.get("url_key.file") or "")
        _check_namespace(found)
    # In static mode the URLs are only printed, and readers may know better.
    found.warnings[:0] = mismatch if mode is Mode.STATIC else []
    return _inspected(found, mode, secret_file, hints, tls)


def inspect_agent(environment: Mapping[str, str]) -> Inspected:
    """Return what an environment says about the agent and the converter; nothing is required."""
    found = _Found()
    _, ramdisk = _read_ramdisk(found, environment)
    for variable in VARIABLES:
        part = variable.field.rpartition(".")[0]
        if part in ("agent", "files") or variable.name in (NMSTATE_BACKEND, RAMDISK_NETWORK):
            _read_variable(found, variable, environment.get(variable.name, ""), ramdisk)
    hints = dict(misspelt(environment, (variable.name for variable in VARIABLES)))
    return _inspected(found, Mode.STATIC, "", hints, None)


def _inspected(
    found: _Found, mode: Mode, secret_file: str, hints: Mapping[str, str], tls: Tls | None
) -> Inspected:
    needed: dict[str, Any] = {"bind": Tcp(host="", port=0), "publish_url": ""}
    settings = Settings(
        mode=mode,
        bases=BasePaths(**found.part("bases")),
        agent=AgentSettings(
            agent=Agent(**{"image": "", **found.part("agent")}),
            pull_secret_file=secret_file,
            **found.part("files"),
        ),
        tls=tls,
        # In static mode they are the names of the hosts.
        log=LogSettings(**found.part("log"), image_names_are_secret=mode is not Mode.STATIC),
        warnings=(*found.warnings, *(_hint(*pair) for pair in hints.items())),
        **(needed | found.part("")),
    )
    # Some quote the value that they refuse.
    problems = tuple(without_private_keys(problem, "***") for problem in found.problems)
    return Inspected(settings=settings, problems=problems)


class _Found:
    """Values by field, ``part.name`` or ``name``, and what is wrong so far."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def read(self, field: str, parse: Callable[[str, str], Any], name: str, text: str) -> None:
        """Parse ``text`` and keep the value; on failure note the problem and keep none."""
        with self.problems_noted():
            value = parse(name, text)
            if isinstance(value, WithWarning):
                self.warnings.append(value.warning)
                value = value.value
            self._values[field] = value

    @contextmanager
    def problems_noted(self) -> Iterator[None]:
        """Note the problems of a `ConfigError` and continue after the block."""
        try:
            yield
        except ConfigError as error:
            self.problems += error.problems

    def get(self, field: str) -> Any:
        """Return a value; None when it is unusable or no setting of this mode."""
        return self._values.get(field)

    def part(self, part: str) -> dict[str, Any]:
        """Return the values of one part, by name."""
        split = {field: field.rpartition(".") for field in self._values}
        return {name: self._values[f] for f, (where, _, name) in split.items() if where == part}


def _hint(name: str, known: str) -> str:
    return f"unknown variable {name}: did you mean {known}?"


def _read_variables(
    found: _Found, environment: Mapping[str, str], hints: Mapping[str, str]
) -> None:
    row, ramdisk = _read_ramdisk(found, environment)
    for variable in VARIABLES:
        is_missing = variable.required and variable.name not in environment
        if is_missing and ramdisk in variable.ramdisks:
            problem = f"{variable.name} is not set: it must give the {variable.help}"
            similar = [
                _hint(name, known) for name, known in hints.items() if known == variable.name
            ]
            found.problems.append("; ".join([problem, *similar]))
    # Those of the other mode too: one environment may serve both.
    for variable in VARIABLES:
        if variable is not row:
            _read_variable(found, variable, environment.get(variable.name, ""), ramdisk)


def _read_ramdisk(found: _Found, environment: Mapping[str, str]) -> tuple[Variable, Ramdisk]:
    """Return the row of the setting that says which others mean something, and its value."""
    (row,) = (variable for variable in VARIABLES if variable.name == RAMDISK)
    found.read(row.field, row.parse, RAMDISK, environment.get(RAMDISK, ""))
    return row, found.get(row.field) or Ramdisk.COREOS


def _read_variable(found: _Found, variable: Variable, text: str, ramdisk: Ramdisk) -> None:
    if ramdisk not in variable.ramdisks:
        # The path of an ISO is an error: see `ramdisk_findings`.
        if text.strip() and variable.name != "DEPLOY_ISO":
            found.warnings.append(
                f"{variable.name} means nothing with {RAMDISK}={ramdisk}: it is ignored"
            )
        text = ""
    found.read(variable.field, variable.parse, variable.name, text)


def _check_ramdisk(found: _Found, environment: Mapping[str, str]) -> None:
    """Check that there is what a ramdisk that is not CoreOS needs."""
    if found.get("bases.ramdisk") is not Ramdisk.IPA:
        return
    given = {name for name, text in environment.items() if text.strip()}
    problems, warnings = ramdisk_findings(
        given,
        arguments=found.get("kernel_arguments") or ArgumentEdits(),
        ntp_servers=found.get("agent.ntp_servers") or (),
    )
    found.problems += problems
    found.warnings += warnings


def _read_flags(found: _Found, mode: Mode, flags: Mapping[str, str]) -> None:
    for flag in flags_of(mode):
        text = flags.get(flag.name, flag.default)
        if mode is Mode.CONTROLLER:
            text = text or flag.empty_in_controller_mode
        if not text and found.get(flag.field):
            continue  # the variable's value counts
        if not text and flag.required:
            found.problems.append(f"-{flag.name} is missing: the {flag.help}")
        else:
            found.read(flag.field, flag.parse, f"-{flag.name}", text)


def _tls(found: _Found) -> Tls | None:
    """Return what HTTPS needs, its certificate checked; None for plain HTTP."""
    default = Tls(cert_file="", key_file="")
    tls = replace(default, **found.part("tls"))
    if tls.max_version is not None and tls.max_version < tls.min_version:
        found.problems.append(
            f"{MAX_VERSION}: {tls.max_version} is older than the {tls.min_version} of "
            f"{MIN_VERSION}: no version is left"
        )
        return None
    if tls.min_version is TlsVersion.TLS_1_3 and tls.ciphers != DEFAULT_CIPHERS:
        found.problems.append(f"{CIPHERS} is for TLS 1.2, which {MIN_VERSION} rules out: drop one")
    if not tls.cert_file and not tls.key_file:
        if tls != default:
            found.problems.append(f"{CERT_FILE} is missing: without it there is no TLS to set up")
        return None
    with found.problems_noted():
        load_certificate(tls, read_pem(tls))
    return tls


def _check_http(found: _Found, flags: Mapping[str, str]) -> None:
    """Check that plain HTTP stands next to HTTPS, and that its URL has an address."""
    address, url = flags.get(HTTP_ADDRESS[1:]), flags.get(HTTP_URL[1:])
    if address and not found.get("tls.cert_file"):
        found.problems.append(
            f"{HTTP_ADDRESS} needs {CERT_FILE}: without TLS {IMAGES_ADDRESS} is plain HTTP"
        )
    if url and not address:
        found.problems.append(f"{HTTP_URL} needs {HTTP_ADDRESS}: nothing is served there")


def _scheme_mismatch(found: _Found) -> list[str]:
    """Return the problem of an ``http://`` URL of an HTTPS port: no image can be fetched by it."""
    url, bind = found.get("publish_url") or "", found.get("bind")
    if urlsplit(url).scheme != "http":
        return []
    if found.get("tls.cert_file"):
        cause = f"{CERT_FILE} makes {IMAGES_ADDRESS} HTTPS"
    elif isinstance(bind, Endpoint) and bind.description.startswith(("ssl:", "tls:")):
        cause = f"{IMAGES_ADDRESS} is HTTPS"
    else:
        return []
    (default,) = (flag.default for flag in FLAGS if flag.field == "publish_url")
    by_default = " (the default)" if url == default else ""
    return [
        f"{IMAGES_URL}: {without_credentials(url)}{by_default} is not https://, but {cause}: no "
        "client of such a URL would get an image; give the https:// URL"
    ]


def _check_namespace(found: _Found) -> None:
    """Check that a namespace can have the name: every request would be refused otherwise."""
    name = found.get("namespace") or ""
    problem = namespace_problem(name) if name else ""
    if problem:
        found.problems.append(
            f"-namespace or WATCH_NAMESPACE: no namespace can be {quoted(name)}: {problem}"
        )


def _read_url_key(found: _Found, path: str) -> None:
    if found.get("leader_elect") and not path:
        found.problems.append(
            f"{LEADER_ELECT} needs {URL_KEY_FILE}: replicas can serve each other's images only "
            "when all of them derive the same names"
        )
    found.read("url_key", url_key, URL_KEY_FILE, path)

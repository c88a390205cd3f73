"""Parsers of settings: the text of a variable or flag to its value.

Each takes the name, for messages, and the text, and raises `ConfigError`. None reads a file:
those that do are in `mic.settings.read`.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from mic.common.errors import BuildInvalid, ConfigError
from mic.common.private_keys import holds_private_key
from mic.common.spelling import nearest
from mic.ignition import VlanInterfaces
from mic.media.catalog import GRUB_CONFIG
from mic.media.kernel_arguments import ArgumentEdits
from mic.media.kernel_arguments import parse as parse_arguments
from mic.media.virtual_iso import grub_config_problem
from mic.settings.model import OWN_ROOTFS, Backend, Endpoint, Tcp
from mic.settings.pull_secret import pull_secret
from mic.settings.ssh_keys import PrivateKeyFound, public_keys
from mic.settings.url_hints import hint, is_http_url
from mic.tls.certificate import parse_ciphers

BOOLEANS = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
"""Spellings that Go takes for a boolean, in lower case."""

_LONGEST_SHOWN = 100  # characters of a value in a warning
_REPORTED_LINES = 10  # line numbers in one warning

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")

_Value = TypeVar("_Value")
_Choice = TypeVar("_Choice", bound=StrEnum)

Parser = Callable[[str, str], object]
"""Name and text to a value, or to a value `WithWarning`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithWarning(Generic[_Value]):
    """A usable value, and a sentence about what is wrong with its text."""

    value: _Value
    warning: str


def as_given(_name: str, text: str) -> str:
    """Return the text unchanged."""
    return text


def line(name: str, text: str) -> str:
    """Return one line of text without white space around it.

    It is written into units and INI files, where a line break would start another option.
    """
    value = text.strip()
    if not _is_unicode(value):
        raise ConfigError([f"{name} is not UTF-8"])
    if holds_private_key(value):
        raise ConfigError([f"{name} holds a private key: it does not belong there"])
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise ConfigError([f"{name} holds a line break or another control character"])
    return value


def count(name: str, text: str) -> int:
    """Return a whole number; empty is 0."""
    value = line(name, text)
    if value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if value:
        raise ConfigError([f"{name}: {value!r} is not a number such as 100"])
    return 0


def switch(_name: str, text: str) -> bool:
    """Return whether a switch is on; the flag grammar leaves ``true`` and ``false`` only."""
    return text == "true"


def boolean(name: str, text: str) -> bool:
    """Return whether a variable is true; empty is false."""
    value = line(name, text)
    if value and value.lower() not in BOOLEANS:
        raise ConfigError([f"{name}: {value!r} is neither true nor false"])
    return BOOLEANS.get(value.lower(), False)


def one_of(kind: type[_Choice], default: _Choice) -> Callable[[str, str], _Choice]:
    """Return a parser of the words of ``kind``; empty is ``default``."""

    def parse(name: str, text: str) -> _Choice:
        try:
            return kind(text or default)
        except ValueError:
            raise ConfigError([f"{name}: {text!r} is none of {', '.join(kind)}"]) from None

    return parse


def optional(kind: type[_Choice]) -> Callable[[str, str], _Choice | None]:
    """Return a parser of the words of ``kind``; empty is None."""
    parse = one_of(kind, next(iter(kind)))
    return lambda name, text: parse(name, text) if text else None


def kernel_arguments(name: str, text: str) -> ArgumentEdits:
    """Return changes of kernel arguments; raise `ConfigError` with every problem."""
    try:
        return parse_arguments(text, name)
    except BuildInvalid as error:
        raise ConfigError([str(error)]) from None


def grub_config(name: str, text: str) -> str:
    """Return a path in an ISO; empty is GRUB's own."""
    path = line(name, text) or GRUB_CONFIG
    problem = grub_config_problem(path)
    if problem:
        raise ConfigError([f"{name}: {path!r}: {problem}"])
    return path


def backend(name: str, text: str) -> Backend | WithWarning[Backend]:
    """Return the converter of NMState; raises `ConfigError` when it cannot run here."""
    text = line(name, text)
    if text == "verify":
        warning = (
            f"{name}=verify is no longer a backend: using builtin; "
            "mic keyfiles -verify compares it with nmstatectl"
        )
        return WithWarning(value=Backend.BUILTIN, warning=warning)
    value = one_of(Backend, Backend.BUILTIN)(name, text)
    if value is Backend.NMSTATECTL and shutil.which("nmstatectl") is None:
        raise ConfigError(
            [f"{name}: nmstatectl is not on PATH: install nmstate, or use {Backend.BUILTIN}"]
        )
    return value


def vlan_interfaces(name: str, text: str) -> VlanInterfaces | WithWarning[VlanInterfaces]:
    """Return when to bring up VLAN interfaces: unknown words mean automatic, as in Go."""
    word = line(name, text)
    try:
        return VlanInterfaces(word.lower())
    except ValueError:
        if word.lower() in ("", "auto", "automatic"):
            return VlanInterfaces.AUTOMATIC
    meant = nearest(word.lower(), (VlanInterfaces.ALWAYS, VlanInterfaces.NEVER), 2)
    advice = f"did you mean {meant}?" if meant else "write always or never, or leave it empty"
    return WithWarning(
        value=VlanInterfaces.AUTOMATIC,
        warning=f"{name}: {word[:_LONGEST_SHOWN]!r} is taken for automatic; {advice}",
    )


def urls(name: str, text: str) -> tuple[str, ...]:
    """Return HTTP URLs separated by commas; raises `ConfigError` with all that are wrong."""
    value = line(name, text)
    found = tuple(filter(None, (url.strip() for url in value.split(","))))
    problems: list[str] = []
    for url in found:
        try:
            # A password may hold a comma, and then a part of it is among the URLs.
            _check_url(name, url, secret="@" in value)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


def optional_url(name: str, text: str) -> str:
    """Return an HTTP URL, or nothing."""
    value = line(name, text)
    if value:
        _check_url(name, value)
    return value


def rootfs_url(name: str, text: str) -> str:
    """Return an HTTP URL, `OWN_ROOTFS`, or nothing."""
    return OWN_ROOTFS if line(name, text) == OWN_ROOTFS else optional_url(name, text)


def publish_url(name: str, text: str) -> str:
    """Return the URL that image names are appended to, without its trailing slash."""
    _check_url(name, text)
    if "?" in text or "#" in text:
        raise ConfigError([f"{name}: {text!r} must not have a query or a fragment"])
    return text.rstrip("/")


def optional_publish_url(name: str, text: str) -> str:
    """Return a URL as `publish_url` does, or nothing."""
    return publish_url(name, text) if text else ""


def ntp_servers(name: str, text: str) -> tuple[str, ...]:
    """Return host names and addresses separated by commas."""
    servers = tuple(filter(None, (part.strip() for part in line(name, text).split(","))))
    problems = [
        f"{name}: {server!r} is neither a host name nor an address"
        for server in servers
        if not re.fullmatch(r"[A-Za-z0-9._:%\[\]-]+", server)
    ]
    if problems:
        raise ConfigError(problems)
    return servers


def ssh_keys(name: str, text: str) -> tuple[str, ...] | WithWarning[tuple[str, ...]]:
    """Return public keys; other lines are a warning, as the Go program takes any text."""
    try:
        keys, others = public_keys(text)
    except PrivateKeyFound:
        raise ConfigError(
            [
                f"{name} holds a private key, which every image would show: "
                "give the public key, which ssh-keygen -y prints"
            ]
        ) from None
    if not others:
        return keys
    warning = f"{name}: {_left_out(others)}"
    if not keys:
        warning += "; without a key, logging in as user core is impossible"
    return WithWarning(value=keys, warning=warning)


def _left_out(numbers: tuple[int, ...]) -> str:
    """Return a short sentence about the lines with these numbers, however many there are."""
    if len(numbers) == 1:
        return f"line {numbers[0]} is no SSH public key and is left out"
    *first, last = map(str, numbers[:_REPORTED_LINES])
    if len(numbers) > _REPORTED_LINES:
        first, last = [*first, last], f"{len(numbers) - _REPORTED_LINES} more"
    return f"lines {', '.join(first)} and {last} are no SSH public keys and are left out"


def pull_secret_text(name: str, text: str) -> bytes:
    """Return the auth.json in a variable."""
    return pull_secret(name, os.fsencode(text))


def ciphers(_name: str, text: str) -> str:
    """Return an OpenSSL cipher list; empty is the default."""
    return parse_ciphers(text)


def bind(name: str, text: str) -> Tcp | Endpoint:
    """Return an address: ``[HOST]:PORT`` as Go reads it, or a Twisted server endpoint."""
    if re.match(r"(tcp6?|ssl|unix|systemd|tls|fd):", text):
        return Endpoint(description=text)
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535 or "/" in host:
        raise ConfigError([f"{name}: {text!r} is not [HOST]:PORT, such as :8084"])
    if ":" in host and not bracketed:
        raise ConfigError([f"{name}: {text!r}: write IPv6 addresses in brackets"])
    return Tcp(host=host[1:-1] if bracketed else host, port=int(port))


def optional_bind(name: str, text: str) -> Tcp | Endpoint | None:
    """Return an address as `bind` does, or None for nothing."""
    return bind(name, text) if text else None


def host_names(name: str, text: str) -> tuple[str, ...]:
    """Return host names separated by commas, without ports."""
    found = tuple(part for each in line(name, text).split(",") if (part := each.strip()))
    wrong = [each for each in found if not _HOST_NAME.fullmatch(each)]
    if wrong:
        shown = wrong[0][:_LONGEST_SHOWN]
        why = "is not a host name such as mic.example.com, without scheme and port"
        raise ConfigError([f"{name}: {shown!r} {why}"])
    return found


def metrics_bind(name: str, text: str) -> Tcp | Endpoint | None:
    """Return an address as `bind` does, or None for nothing and, as in controller-runtime, 0."""
    return bind(name, text) if text not in ("", "0") else None


def _check_url(name: str, url: str, *, secret: bool = False) -> None:
    """Raise `ConfigError` when ``url`` is no HTTP URL, without showing one that may be secret."""
    if is_http_url(url):
        return
    secret = secret or "@" in url
    shown = "the URL (not shown: it has a password)" if secret else repr(url)
    why = hint(url, secret=secret)
    raise ConfigError([f"{name}: {shown} is not an http or https URL{why and f': {why}'}"])


def _is_unicode(text: str) -> bool:
    """Return whether a value of the environment is text: other bytes come as surrogates."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)

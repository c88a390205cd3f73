"""Escape untrusted values for the file formats that they are written to."""

from __future__ import annotations

import re
import shlex

_PERCENT_ENCODED = {bytes([number]): b"%%%02X" % number for number in range(256)}
_FREQUENT = [(bytes([number]), b"%%%02X" % number) for number in b'% \n"#+[]{}']
"""What a data URL encodes in most texts, and how; the percent sign comes first."""
# All but RFC 3986's unreserved characters, and those without a meaning inside a data URL. The
# percent sign is encoded before.
_DATA_UNSAFE = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*,;=:@/%]")


def data_url(content: bytes) -> str:
    """Return a data URL (RFC 2397) of ``content``.

    Percent-encoded, not base64: the archive's gzip compresses text to half the size.
    """
    # Each host has such texts: this takes a quarter of the time of urllib's quote().
    for plain, encoded in _FREQUENT:
        content = content.replace(plain, encoded)
    content = _DATA_UNSAFE.sub(lambda match: _PERCENT_ENCODED[match[0]], content)
    return "data:," + content.decode()


# Whitespace and quotes separate arguments; a lone ; ends a command.
_SEPARATES = re.compile(r"[\s'\";]")


def systemd_environment(name: str, value: str) -> str:
    """Return an ``Environment=`` line (systemd.exec(5)) that sets ``name`` to ``value``."""
    return f'Environment="{name}={_systemd(value)}"'


def systemd_argument(value: str) -> str:
    """Return one argument of an ``Exec…=`` line (systemd.service(5), COMMAND LINES)."""
    escaped = _systemd(value).replace("$", "$$")
    # Quoted only if necessary, so that the unit stays readable.
    plain = escaped == value and value and not _SEPARATES.search(value)
    return value if plain else f'"{escaped}"'


def _systemd(value: str) -> str:
    # Specifiers (%), then the characters with a meaning between double quotes.
    return value.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')


def oslo_config(value: str) -> str:
    """Return a string for an oslo.config file, where $ starts a substitution."""
    return value.replace("$", "$$")


def shell(value: str) -> str:
    """Return one word for a POSIX shell."""
    return shlex.quote(value)


def terminal(value: str) -> str:
    """Return text for agetty's issue file, where a backslash starts an escape (agetty(8))."""
    return value.replace("\\", "\\\\")

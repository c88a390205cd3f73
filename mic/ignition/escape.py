"""Values from outside, escaped for the place they land in."""

from __future__ import annotations

import shlex
from urllib.parse import quote

# RFC 3986's unreserved characters and those that mean nothing inside a data URL.
_DATA_SAFE = "-._~!$&'()*,;=:@/"


def data_url(content: bytes) -> str:
    """A data URL (RFC 2397) of ``content``.

    Percent-encoded, not base64: text stays text, which the archive's gzip halves.
    """
    return "data:," + quote(content, safe=_DATA_SAFE)


def systemd_environment(name: str, value: str) -> str:
    """An ``Environment=`` line (systemd.exec(5)) that sets ``name`` to exactly ``value``."""
    return f'Environment="{name}={_systemd(value)}"'


def systemd_argument(value: str) -> str:
    """One argument of an ``Exec…=`` line (systemd.service(5), COMMAND LINES)."""
    escaped = _systemd(value).replace("$", "$$")
    # Quoted only where it must be, so that people can read the unit; a lone ; ends a command.
    plain = escaped == value and value and not any(c.isspace() or c in "'\";" for c in value)
    return value if plain else f'"{escaped}"'


def _systemd(value: str) -> str:
    # Specifiers (%), then what has a meaning between double quotes.
    return value.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')


def oslo_config(value: str) -> str:
    """A string of an oslo.config file: $ starts a substitution there."""
    return value.replace("$", "$$")


def shell(value: str) -> str:
    """One word for a POSIX shell."""
    return shlex.quote(value)


def terminal(value: str) -> str:
    """Text for agetty's issue file, where a backslash starts an escape (agetty(8))."""
    return value.replace("\\", "\\\\")

"""Where the API server is, and what a connection to it needs. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_END: Final = re.compile(r"[?#]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServer:
    """The API server as a kubeconfig or a pod's service account describes it.

    Files are read at each connection: they may have been replaced. ``authorization`` returns the
    value of the header of that name, with the token that is valid now, empty if there is none; it
    may block.
    """

    url: str = field(repr=False)
    """``http`` or ``https``, perhaps with a path before those of the API."""
    authorization: Callable[[], str] = field(default=str, repr=False)
    ca_file: str | None = None
    """PEM certificates of the authorities; None for those of the system."""
    verify: bool = True
    """Whether the server's certificate is verified."""
    certificate_file: str | None = None
    key_file: str | None = None
    """The client's certificate and key, as PEM."""
    tls_name: str | None = None
    """The name in the server's certificate, if it is not the host in ``url``."""
    proxy: str = field(default="", repr=False)
    """URL of the proxy, ``http`` or ``https``, perhaps with user and password; empty for none."""

    def __str__(self) -> str:
        by = f" by the proxy {_origin(self.proxy)}" if self.proxy else ""
        return f"{_origin(self.url)}{by}"


def is_header_value(text: str) -> bool:
    """Return whether a header may have this value (RFC 9110 section 5.5), in ASCII."""
    return text.isascii() and text.isprintable()


def without_secrets(url: str) -> str:
    """Return a URL without user, password, query and fragment, whatever else is wrong with it."""
    scheme, separator, rest = url.partition("://")
    if not _SCHEME.fullmatch(scheme):
        scheme, separator, rest = "", "", url
    # Up to the last @, whatever a password may have. Hide too much rather than too little.
    rest = rest.rpartition("@")[2]
    return f"{scheme}{separator}{_END.split(rest, maxsplit=1)[0]}"


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL; the rest may hold a password."""
    parts = urlsplit(url)
    return without_secrets(f"{parts.scheme}://{parts.netloc}")

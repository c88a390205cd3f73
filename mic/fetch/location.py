"""URLs of downloads: checked, with their credentials apart, and safe to show. Pure."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, quote, unquote_to_bytes, urljoin, urlsplit

from mic.common.text import printable
from mic.fetch.failure import FetchError

_SCHEMES = ("http", "https")
_MAX_LENGTH = 8192
# All that may stand in a URL (RFC 3986, 2.2 and 2.3), and the percent sign of what is escaped.
_SAFE = ":/?#[]@!$&'()*+,;=-._~%"
_SPACES = re.compile(r"\s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where something is downloaded from.

    ``url`` has neither credentials nor a fragment. ``authorization`` is the value of that header
    field (RFC 7617), empty without credentials. ``shown`` is for messages: without the query too,
    which may hold a token.
    """

    url: str = field(repr=False)
    scheme: str
    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The URL without what may be secret."""
        before, mark, _ = self.url.partition("?")
        return printable(f"{before}{'?...' if mark else ''}")

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: credentials are for one origin."""
        return self.scheme, self.host, self.port


def is_url(text: str) -> bool:
    """Return whether a text is meant to be a URL, not the name of a file."""
    return re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE) is not None


def location(text: str) -> Location:
    """Return the location of an HTTP URL; raise `FetchError` for anything else."""
    if len(text) > _MAX_LENGTH:
        raise FetchError(f"a URL has more than {_MAX_LENGTH} characters")
    shown = _shown(text)
    if _SPACES.search(text) or not text.isprintable():
        raise FetchError(f"{shown}: a URL cannot contain white space or control characters")
    try:
        parts = urlsplit(text)
        port = parts.port
        host = ascii_name(parts.hostname or "")
    except (ValueError, UnicodeError):
        raise FetchError(f"{shown}: it is not a URL that can be used") from None
    if parts.scheme not in _SCHEMES:
        raise FetchError(f"{shown}: only http:// and https:// can be downloaded from")
    if not host or port == 0:
        raise FetchError(f"{shown}: it has no host that can be connected to")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc = f"{netloc}:{port}"
    path, query = (quote(part, safe=_SAFE) for part in (parts.path, parts.query))
    return Location(
        url=parts._replace(netloc=netloc, path=path or "/", query=query, fragment="").geturl(),
        scheme=parts.scheme,
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        authorization=_authorization(parts),
    )


def redirected(start: Location, target: str) -> Location:
    """Return where a redirection leads; raise `FetchError` when it must not be followed.

    Credentials of ``start`` are sent to its own origin only. A redirection from HTTPS to HTTP is
    refused: responses over HTTP can be changed on the way.
    """
    try:
        joined = urljoin(start.url, target)
    except ValueError:
        raise FetchError(f"{start.shown} redirects to something that is not a URL") from None
    try:
        found = location(joined)
    except FetchError as error:
        raise FetchError(f"{start.shown} redirects: {error}") from None
    if start.scheme == "https" and found.scheme != "https":
        raise FetchError(f"{start.shown} redirects to {found.shown}, which has no TLS: refused")
    if found.origin == start.origin and not found.authorization:
        return replace(found, authorization=start.authorization)
    return found


def sibling(start: Location, ending: str) -> Location:
    """Return the location of the file whose path has ``ending`` added."""
    path, mark, query = start.url.partition("?")
    return replace(start, url=f"{path}{ending}{mark}{query}")


def basic(user: str, password: str) -> str:
    """Return the value of a header field with credentials that are escaped as in a URL."""
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return f"Basic {base64.b64encode(pair).decode()}"


def ascii_name(host: str) -> str:
    """Return a host's name as DNS and TLS have it; raise `UnicodeError` when it cannot be one."""
    host = host.lower()
    return host if host.isascii() else host.encode("idna").decode()


def _shown(text: str) -> str:
    """Return a text that may be no URL without what may be secret: too little, if in doubt."""
    scheme, mark, rest = text.partition("://")
    before = re.split(r"[?#]", rest, maxsplit=1)[0]
    if "@" in rest[len(before) :]:
        # The password of a user may be cut in two.
        before = "..."
    return printable(f"{scheme}{mark}{before.rpartition('@')[2]}")


def _authorization(parts: SplitResult) -> str:
    if parts.username is None and parts.password is None:
        return ""
    return basic(parts.username or "", parts.password or "")

"""Which proxy a URL is fetched through, by the usual variables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from mic.common.endpoint import Endpoint, bypasses_proxy
from mic.common.text import printable
from mic.common.urls import without_credentials
from mic.fetch.failure import FetchError
from mic.fetch.location import Location, ascii_name, basic


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy; ``tls``: the connection to it is encrypted.

    ``authorization`` is the value of Proxy-Authorization, or empty.
    """

    host: str
    port: int
    tls: bool = False
    authorization: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{printable(host)}:{self.port}"


def proxy_for(location: Location, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a location, None for a direct connection.

    ``HTTPS_PROXY`` is for ``https://`` URLs and ``HTTP_PROXY`` for ``http://`` URLs, each in lower
    case too; ``NO_PROXY`` has the rules of `bypasses_proxy`. Raises `FetchError` for a proxy that
    cannot be used.
    """
    name, text = _given(f"{location.scheme.upper()}_PROXY", environment)
    excluded = _given("NO_PROXY", environment)[1]
    target = Endpoint(location.scheme, location.host, location.port)
    if not text or bypasses_proxy(target, excluded):
        return None
    return _proxy(name, text)


def _given(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    for each in (name, name.lower()):
        if environment.get(each):
            return each, environment[each].strip()
    return name, ""


def _proxy(name: str, text: str) -> Proxy:
    try:
        # As curl and Go: without a scheme it is a proxy over plain HTTP.
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = ascii_name(parts.hostname or ""), parts.port
        user, password = parts.username, parts.password
        given = user is not None or password is not None
        authorization = basic(user or "", password or "") if given else ""
    except ValueError:
        host, port, authorization = "", None, ""
        parts = urlsplit("http:")
    if not host or port == 0:
        raise FetchError(f"{name}: it is not the URL of a proxy")
    if parts.scheme not in ("http", "https"):
        shown = printable(without_credentials(f"{parts.scheme}://{host}"))
        raise FetchError(f"{name}: {shown} is not a proxy that mic can use: http:// or https://")
    return Proxy(
        host=host,
        port=port or (443 if parts.scheme == "https" else 80),
        tls=parts.scheme == "https",
        authorization=authorization,
    )

"""Reasons why a text is no HTTP URL, for the messages of `mic.settings.values`."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from urllib.parse import urlsplit

from mic.common.spelling import nearest

_SCHEMES = ("http", "https")
_MAX_PORT = 65535
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_LONGEST = 200  # characters of a suggested URL


def is_http_url(url: str) -> bool:
    """Return whether ``url`` is an HTTP URL with a host and without white space."""
    with suppress(ValueError):
        parts = urlsplit(url)
        _ = parts.port  # raises for an invalid port
        # White space at the ends would be dropped by the parser and stay in the URL.
        clean = not any(map(str.isspace, url))
        return clean and parts.scheme in _SCHEMES and bool(parts.hostname)
    return False


def hint(url: str, *, secret: bool) -> str:
    """Return what is wrong with a text that `is_http_url` refuses, or nothing if unknown.

    If the text may be ``secret``, no part of it is in the hint.
    """
    if not url:
        return "it is empty"
    if any(map(str.isspace, url)):
        return "it has white space"
    match = _URL.fullmatch(url)
    if match is None:
        return _without_scheme(url, secret=secret)
    scheme, authority, rest = match[1].lower(), match[2], match[3]
    if scheme not in _SCHEMES:
        if secret:
            return "the scheme must be http or https"
        meant = nearest(scheme, _SCHEMES, 1)
        suggestion = f"{meant}://{authority}{rest}" if meant else ""
        return f"its scheme is {scheme[:20]}{_meant(suggestion)}"
    if not authority:
        return "it has no host"
    user, at, place = authority.rpartition("@")
    bracketed = _bracketed(place)
    if bracketed:
        example = "" if secret else f": {scheme}://{user}{at}{bracketed}{rest}"
        return f"write IPv6 addresses in brackets{example[:_LONGEST]}"
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        return ""
    if not host:
        return "it has no host"
    if port.isascii() and port.isdigit():
        if len(port) > 9 or int(port) > _MAX_PORT:
            return f"{'its port' if secret else f'port {port[:20]}'} is above {_MAX_PORT}"
        return ""
    return "its port is not a number"


def _without_scheme(url: str, *, secret: bool) -> str:
    repaired = re.sub(r"(?i)^(https?)(:/+|:|/+)", r"\1://", url)
    suggestions = [repaired, f"http://{url.lstrip('/')}"]
    if url.startswith("/") and not url.startswith("//"):
        return "it is a path"
    if secret:
        return "http:// or https:// is missing"
    place, slash, rest = url.partition("/")
    if bracketed := _bracketed(place):
        suggestions.append(f"http://{bracketed}{slash}{rest}")
    found = next((each for each in suggestions if is_http_url(each)), "")
    return _meant(found).removeprefix("; ")


def _meant(url: str) -> str:
    return f"; did you mean {url}?" if len(url) <= _LONGEST and is_http_url(url) else ""


def _bracketed(place: str) -> str:
    """Return an IPv6 address without brackets, and its port, in brackets; else nothing."""
    address, _, port = place.rpartition(":")
    # The last group of an address may be its port: that of most URLs has four digits or more.
    if re.fullmatch(r"[0-9]{4,5}", port) and int(port) <= _MAX_PORT and _is_ipv6(address):
        return f"[{address}]:{port}"
    return f"[{place}]" if _is_ipv6(place) else ""


def _is_ipv6(text: str) -> bool:
    with suppress(ValueError):
        return "%" not in text and bool(ipaddress.IPv6Address(text))
    return False

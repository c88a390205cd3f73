"""Endpoints of URLs, and which of them a proxy is used for."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mic.common.addresses import Address, Subnet
from mic.common.addresses import parsed as parsed_address
from mic.common.text import printable

_PORTS: Final = {"http": 80, "https": 443}
_MAX_SHOWN: Final = 255  # characters of a host: longer than any name


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Scheme, host and port of a URL. ``host`` is in lower case, without brackets and zone."""

    scheme: str
    host: str
    port: int

    @property
    def address(self) -> Address | None:
        """The address, if the host is an IP literal."""
        return parsed_address(self.host)

    def __str__(self) -> str:
        host = printable(self.host[:_MAX_SHOWN])
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def endpoint(url: str, port: int = 0) -> Endpoint | None:
    """Return the endpoint of an HTTP URL; None if it has none.

    ``port`` is the default port, 0 the scheme's. Credentials and path are dropped.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        host = (parts.hostname or "").partition("%")[0].removesuffix(".")
        if host:
            number = parts.port or port or _PORTS.get(parts.scheme, 80)
            return Endpoint(parts.scheme, host, number)
    return None


def proxy_endpoint(text: str) -> Endpoint | None:
    """Return the endpoint of a proxy, whose scheme may be missing (curl, Go); None without one."""
    if not text:
        return None
    return endpoint(text if "://" in text else f"http://{text}")


def bypasses_proxy(target: Endpoint, no_proxy: str) -> bool:
    """Return whether ``NO_PROXY`` excludes an endpoint from proxies.

    The rules are those of Go's ``httpproxy``, which podman uses: addresses, networks, domains with
    their subdomains, ``.domain`` for the subdomains only, each with an optional port, and ``*``.
    Loopback addresses are always excluded.
    """
    address = target.address
    if target.host == "localhost" or (address is not None and address.is_loopback):
        return True
    words = (word.strip().lower() for word in no_proxy.split(","))
    return any(word == "*" or (word and _matches(word, target, address)) for word in words)


def _matches(word: str, target: Endpoint, address: Address | None) -> bool:
    subnet = _subnet(word)
    if subnet is not None:
        return address is not None and subnet.holds(address)
    host, _, port = word.rpartition(":") if word.count(":") == 1 or "]:" in word else (word, "", "")
    host = host.strip("[]")
    if port and port != str(target.port):
        return False
    if address is not None:
        return parsed_address(host) == address
    name = host.removeprefix("*")
    if name.startswith("."):
        return target.host.endswith(name)
    return target.host == name or target.host.endswith(f".{name}")


def _subnet(word: str) -> Subnet | None:
    host, slash, prefix = word.partition("/")
    address = parsed_address(host)
    if address is None or not slash or not (prefix.isascii() and prefix.isdigit()):
        return None
    width = 32 if address.version == 4 else 128
    return Subnet(address, int(prefix[:4])) if int(prefix[:4]) <= width else None

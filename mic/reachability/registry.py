"""Where podman pulls the agent's image from: the registry of its name, and configured mirrors."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any, Final

from mic.common.endpoint import Endpoint, endpoint

_DOCKER: Final = "docker.io"
_DOCKER_REGISTRY: Final = "registry-1.docker.io"


def sources(image: str, registries_conf: bytes) -> tuple[Endpoint, ...]:
    """Return the registries that podman tries for an image, in its order; one is enough.

    Empty if they are unknown: for a short name, or a registries.conf that cannot be read here
    (containers-registries.conf(5)). Mirrors are tried before the location that they mirror.
    """
    name = image.removeprefix("docker://")
    domain = name.partition("/")[0]
    if "/" not in name or not ("." in domain or ":" in domain or domain == "localhost"):
        return ()
    try:
        tables = tomllib.loads(registries_conf.decode()).get("registry", [])
        entry = _entry(name, tables if isinstance(tables, list) else [])
        found = list(map(_endpoint, [domain] if entry is None else _locations(entry, domain)))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return ()
    return () if None in found else tuple(each for each in found if each is not None)


def _entry(name: str, tables: list[Any]) -> dict[str, Any] | None:
    """Return the ``[[registry]]`` table of an image: the one with the longest matching prefix."""
    best: tuple[int, dict[str, Any] | None] = (0, None)
    for table in tables:
        if not isinstance(table, dict):
            raise TypeError
        prefix = str(table.get("prefix") or table.get("location") or "")
        if len(prefix) > best[0] and _has_prefix(name, prefix):
            best = len(prefix), table
    return best[1]


def _has_prefix(name: str, prefix: str) -> bool:
    if prefix.startswith("*."):
        domain, _, path = name.partition("/")
        suffix, _, below = prefix[1:].partition("/")
        return domain.endswith(suffix) and (not below or _has_prefix(path, below))
    return name.startswith(prefix) and (name[len(prefix) :][:1] or "/") in "/:@"


def _locations(entry: dict[str, Any], domain: str) -> Iterator[str]:
    """Yield the mirrors and then the location of the registry ``domain``."""
    for mirror in entry.get("mirror", []):
        yield str(mirror["location"])
    if not entry.get("blocked"):
        yield str(entry.get("location") or domain)


def _endpoint(location: str) -> Endpoint | None:
    domain = location.partition("/")[0]
    return endpoint(f"https://{_DOCKER_REGISTRY if domain == _DOCKER else domain}")

"""Names that are near another name: hints for misspelt variables, flags and commands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from mic.common.spelling import nearest
from mic.common.text import printable

_DISTANCE: Final = 2
"""Edits (Levenshtein) within which a variable is taken for a misspelt one."""

_OF_SERVICES: Final = re.compile(r".*(_SERVICE_HOST|_SERVICE_PORT.*|_PORT|_PORT_[0-9]+_.*)", re.S)
"""Variables that Kubernetes makes for each Service."""

_OF_OTHERS: Final = frozenset({"FTP_PROXY", "GOPROXY", "LS_OPTIONS"})
"""Variables of other programs that are within `_DISTANCE` of one of ours."""


def misspelt(environment: Mapping[str, str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield unknown variables that are near a known one, each with the nearest known one."""
    names = tuple(known)
    for name in sorted(environment):
        if name in names or name in _OF_OTHERS or _OF_SERVICES.fullmatch(name):
            continue
        found = nearest(name, names, _DISTANCE)
        if found:
            yield printable(name), found

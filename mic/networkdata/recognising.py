"""Recognise OpenStack network data, and convert it to JSON."""

from __future__ import annotations

import codecs
import json
from typing import Any, Final

from mic.common import tree
from mic.common.problems import Path

_MEMBERS: Final = frozenset(("links", "networks", "services"))
_OF_NMSTATE: Final = frozenset(
    (
        *("interfaces", "routes", "route-rules", "dns-resolver", "hostname", "ovs-db", "ovn"),
        "capture",
    )
)


def is_network_data(content: Any) -> bool:
    """Return whether the tree of a document is OpenStack network data, by its members.

    ``content`` is what `mic.common.tree.read` returns. A document that has members of NMState too
    is NMState.
    """
    if not isinstance(content, dict):
        return False
    return not _MEMBERS.isdisjoint(content) and _OF_NMSTATE.isdisjoint(content)


def as_json(document: bytes) -> bytes | None:
    """Return OpenStack network data as JSON, for readers of config drives such as glean.

    A document in JSON is returned as it is, without a byte order mark, which readers of JSON
    refuse; one in YAML is rewritten. None for NMState, and for a document without content. Raises
    `mic.common.problems.DocumentInvalid`.
    """
    document = document.removeprefix(codecs.BOM_UTF8)
    content = tree.read(document)
    if not is_network_data(content):
        return None
    try:
        json.loads(document)
    except (ValueError, RecursionError):
        return json.dumps(tree.resolved(content, Path()), ensure_ascii=False).encode()
    return document

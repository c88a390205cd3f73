"""Names as Kubernetes accepts them.

Pure. The rules are Kubernetes' own: RFC 1123 subdomains of lowercase letters, without DNS's limit
of 63 characters per label; a namespace is one label.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_SUBDOMAIN = 253
"""Characters of the name of most objects, Secrets and PreprovisioningImages among them."""

MAX_LABEL = 63
"""Characters of the name of a namespace."""

MAX_QUOTED = 256
"""Characters of a name that a message quotes."""

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_FOREIGN = re.compile(r"[^a-z0-9.-]")


def quoted(name: str) -> str:
    """Return ``name`` in quotes for a one-line message: escaped, and cut after `MAX_QUOTED`."""
    if len(name) <= MAX_QUOTED:
        return repr(name)
    return f"{name[:MAX_QUOTED]!r}… ({len(name)} characters)"


def subdomain_problem(name: str) -> str:
    """Return why ``name`` cannot be the name of an object, empty if it can."""
    if not name:
        return "it is empty"
    if len(name) > MAX_SUBDOMAIN:
        return f"it has {len(name)} characters, {MAX_SUBDOMAIN} are allowed"
    return _form_problem(name)


@lru_cache(maxsize=1024)
def _form_problem(name: str) -> str:
    """Return as `subdomain_problem`; each request asks it of two names, always the same."""
    foreign = _FOREIGN.search(name)
    if foreign is not None:
        return f"character {foreign.start() + 1} is {_character(foreign[0])}"
    for label in name.split("."):
        if not label:
            return "a dot must stand between letters or digits"
        if _LABEL.fullmatch(label) is None:
            return "letters or digits must stand at its beginning, at its end and next to a dot"
    return ""


def namespace_problem(name: str) -> str:
    """Return why ``name`` cannot be the name of a namespace, empty if it can."""
    if not name:
        return "it is empty"
    if len(name) > MAX_LABEL:
        return f"it has {len(name)} characters, {MAX_LABEL} are allowed"
    if "." in name:
        return "it has a dot"
    return subdomain_problem(name)


def _character(char: str) -> str:
    """Return a character as people recognise it, also one that looks like another."""
    return repr(char) if char.isascii() and char.isprintable() else f"U+{ord(char):04X}"

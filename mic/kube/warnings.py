"""The warnings of a build as one bounded text, for conditions, Events and the log. Pure."""

from __future__ import annotations

from mic.common.text import printable

MAX_WARNINGS = 5
"""How many warnings of an object are shown; the others are counted."""

MAX_WARNING = 300
"""Maximum characters of a warning."""


def one_text(warnings: tuple[str, ...]) -> str:
    """Return the warnings as ``warning: …; …``, empty if there are none."""
    if not warnings:
        return ""
    shown = "; ".join(_bounded(each) for each in warnings[:MAX_WARNINGS])
    others = len(warnings) - MAX_WARNINGS
    more = f"; and {others} more" if others > 0 else ""
    return f"{'warning' if len(warnings) == 1 else 'warnings'}: {shown}{more}"


def _bounded(text: str) -> str:
    shown = printable(text[:MAX_WARNING])
    return shown if len(text) <= MAX_WARNING else shown + "…"

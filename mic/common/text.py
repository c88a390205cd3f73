"""Untrusted text, made safe for a terminal or a log line."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    """Return ``text`` with Python escapes for all characters that are not printable.

    These are control characters such as line breaks, bidirectional formatting and lone surrogates.
    The characters ``keep`` stay. Raises `TypeError` for anything but text.
    """
    if not isinstance(text, str):
        raise TypeError(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)

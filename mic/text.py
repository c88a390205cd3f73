"""Text from outside, as it may go to a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """``text`` without what would command a terminal: control characters are spelled out.

    Raises `TypeError` for anything but text.
    """
    if not isinstance(text, str):
        raise TypeError(text)
    return "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)

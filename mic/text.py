"""Text from outside, as it may go to a terminal or into a line."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with escapes, as Python writes them, for what is not seen as it is.

    Line breaks, other control characters, what turns the direction of text, half surrogates; but
    for the characters ``keep``. Raises `TypeError` for anything but text.
    """
    if not isinstance(text, str):
        raise TypeError(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)

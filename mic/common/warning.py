"""Input that is accepted, and that will probably not do on the host what its author expects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mic.common.problems import Path

MOST: Final = 50
"""Upper bound on the warnings of one document; the rest is counted."""


@dataclass(frozen=True, slots=True)
class HostWarning:
    """One doubt about a host's input.

    ``place`` is the path in the input (``interfaces[2].ipv4``), or its name. ``text`` says what was
    found and what it will mean for the host; it may quote the input. ``without_content`` is the
    whole sentence for readers who must not see the input, such as the log for a file that a link
    leads to.
    """

    place: str
    text: str
    without_content: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def warning_at(path: Path, generic: str, text: str = "") -> HostWarning:
    """Return a warning; ``generic`` has no content of the document, ``text`` may have some."""
    return HostWarning(
        place=str(path), text=text or generic, without_content=f"{path.without_content}: {generic}"
    )


def capped(warnings: Iterable[HostWarning]) -> tuple[HostWarning, ...]:
    """Return the first `MOST` warnings of a document, and one that says how many more there are."""
    found: list[HostWarning] = []
    more = 0
    for warning in warnings:
        if len(found) < MOST:
            found.append(warning)
        else:
            more += 1
    if more:
        text = f"and {more} more warnings"
        found.append(HostWarning("document", text, f"document: {text}"))
    return tuple(found)

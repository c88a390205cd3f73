"""Collect warnings about a document while it is read."""

from __future__ import annotations

from mic.common.problems import Path
from mic.common.warning import HostWarning, warning_at


class Notes:
    """The warnings about a document so far, in the order in which they were found."""

    __slots__ = ("warnings",)

    def __init__(self) -> None:
        self.warnings: list[HostWarning] = []

    def add(self, path: Path, generic: str, text: str = "") -> None:
        """Add a warning; ``generic`` has no content of the document, ``text`` may have some."""
        self.warnings.append(warning_at(path, generic, text))

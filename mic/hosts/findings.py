"""Findings of a check: errors and warnings, each about a subject."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from mic.common.problems import excerpt_of


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The host, or any host, would have no image."""
    WARNING = "warning"
    """Images would be served, but something is doubtful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence about a ``subject``: ``settings``, ``base images``, ``cluster``, or a host.

    ``host`` is the name or the file of the host, empty if the finding concerns all hosts.
    ``excerpt`` is the line of the document that it is about, with a caret; often nothing.
    """

    subject: str
    severity: Severity
    text: str
    host: str = ""
    excerpt: str = field(default="", compare=False)


class Findings:
    """Findings in the order in which they were added, each once; ``hosts`` counts hosts."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self.hosts = 0

    def add(self, subject: str, severity: Severity, text: str, *, host: str = "") -> None:
        """Add a finding; its text becomes one line."""
        line = " ".join(text.split())
        finding = Finding(
            subject=subject, severity=severity, text=line, host=host, excerpt=excerpt_of(text)
        )
        self._found.setdefault(finding, None)

    def error(self, subject: str, *texts: str, host: str = "") -> None:
        """Add errors about a subject."""
        for text in texts:
            self.add(subject, Severity.ERROR, text, host=host)

    def warn(self, subject: str, *texts: str, host: str = "") -> None:
        """Add warnings about a subject."""
        for text in texts:
            self.add(subject, Severity.WARNING, text, host=host)

    def of(self, severity: Severity) -> int:
        """Return how many findings have this severity."""
        return sum(finding.severity is severity for finding in self._found)

    def has(self, subject: str, text: str) -> bool:
        """Return whether a subject has an error with this text."""
        line = " ".join(text.split())
        return Finding(subject=subject, severity=Severity.ERROR, text=line) in self._found

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found)

    def by_subject(self) -> Iterable[tuple[str, list[Finding]]]:
        """Return the findings of each subject, errors first; subjects in order of appearance."""
        subjects: dict[str, list[Finding]] = {}
        for finding in self._found:
            subjects.setdefault(finding.subject, []).append(finding)
        for found in subjects.values():
            found.sort(key=lambda finding: finding.severity is not Severity.ERROR)
        return subjects.items()

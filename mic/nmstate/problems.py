"""How a document is refused: where, what was found, what is allowed.

Knows nothing of NMState. A message never repeats a value that may be a secret: readers of
free text and of secrets name the kind of value they found, and nothing more.
"""

from __future__ import annotations

from typing import Final

from mic.errors import BuildInvalid

_SHOWN: Final = 40  # characters of a value or a key that a message repeats
_REPORTED: Final = 50  # problems that one report lists


class NMStateInvalid(BuildInvalid):
    """The document cannot become keyfiles; ``problems`` holds one sentence for each reason."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        if len(problems) > _REPORTED:
            more = len(problems) - _REPORTED
            problems = (*problems[:_REPORTED], f"and {more} problems more")
        super().__init__("; ".join(problems))
        self.problems = problems


class Path:
    """A place in the document, written as ``interfaces[2].bridge.port[0].vlan.tag``."""

    __slots__ = ("_parent", "_step")

    def __init__(self, parent: Path | None = None, step: str | int = "") -> None:
        self._parent = parent
        self._step = step

    def __truediv__(self, step: str | int) -> Path:
        """Return the place one step further down: a member's name or a list's index."""
        return Path(self, step)

    def __str__(self) -> str:
        steps: list[str] = []
        place: Path | None = self
        while place is not None and place._parent is not None:
            step = place._step
            steps.append(f"[{step}]" if isinstance(step, int) else f".{shown(step)}")
            place = place._parent
        return "".join(reversed(steps)).removeprefix(".") or "document"


def problem(path: Path, what: str) -> NMStateInvalid:
    """Return the refusal of the value at ``path``."""
    return NMStateInvalid((f"{path}: {what}",))


def shown(text: str) -> str:
    """Return ``text`` shortened and without control characters, for a one-line message."""
    clean = "".join(char if char.isprintable() else "?" for char in text[: _SHOWN + 1])
    return f"{clean[:_SHOWN]}..." if len(text) > _SHOWN else clean


class Collector:
    """Gathers refusals, so that one run tells all of them."""

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[str] = []

    def add(self, refusal: NMStateInvalid) -> None:
        """Keep what ``refusal`` says."""
        self.problems.extend(refusal.problems)

    def check(self) -> None:
        """Raise `NMStateInvalid` when anything was gathered."""
        if self.problems:
            raise NMStateInvalid(tuple(self.problems))

"""Errors in a document: the place, the value found, the values allowed.

A message never repeats a value that may be a secret: readers of free text and of secrets name
only the kind of value that they found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from mic.common.errors import BuildInvalid

_SHOWN: Final = 40  # characters of a value or a key that a message may repeat
_REPORTED: Final = 50  # problems that one report lists; the rest is counted


# "expected ..." never quotes the document; "found ..." may.
_EXPECTED: Final = re.compile(r"(?:found |unknown member ).*, (expected.*)|(expected.*)", re.DOTALL)
_WHOLE_DOCUMENT: Final = re.compile(r"document: (line [0-9]+(?: column [0-9]+)?|byte [0-9]+)?")
_MORE: Final = re.compile(r"and [0-9]+ more problems")
_NO_REASON: Final = "cannot be used"

_own_words: set[str] = set()


def add_own_words(words: Iterable[str]) -> None:
    """Register names of members that mic knows, which are not content of a document."""
    _own_words.update(words)


def is_own_word(name: str) -> bool:
    """Return whether mic knows a member of that name."""
    return name in _own_words


class UnknownMember(NamedTuple):
    """A member that is not known: the mapping it is in, its name, and the known names."""

    path: Path
    name: str
    allowed: tuple[str, ...]


class _Problem(str):
    """A sentence about a document; ``without_content`` has the place and the expected values.

    ``unknown`` describes an unknown member, so that a hint can be added. ``excerpt`` is the
    line of the document with a caret, for terminals.
    """

    __slots__ = ("excerpt", "unknown", "without_content")

    excerpt: str
    without_content: str
    unknown: UnknownMember | None


class DocumentInvalid(BuildInvalid):
    """The document is invalid; ``problems`` has one sentence for each reason."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        # An error that is made of another one has its closing line already.
        is_capped = len(problems) == _REPORTED + 1 and _MORE.fullmatch(problems[-1])
        if len(problems) > _REPORTED and not is_capped:
            more = len(problems) - _REPORTED
            problems = (*problems[:_REPORTED], f"and {more} more problems")
        super().__init__("; ".join(problems))
        self.problems = problems

    @property
    def without_content(self) -> tuple[str, ...]:
        """The problems without content of the document: places and expected values.

        For readers who must not see the document, which may be any file.
        """
        return tuple(dict.fromkeys(map(_without_content, self.problems)))


def _without_content(problem: str) -> str:
    if isinstance(problem, _Problem):
        return problem.without_content
    if _MORE.fullmatch(problem):
        return problem
    document = _WHOLE_DOCUMENT.match(problem)
    if document is None:
        return _NO_REASON
    where = f"document: {document[1]}: " if document[1] else "document: "
    return f"{where}{_reason(problem[document.end() :])}"


def _reason(what: str) -> str:
    found = _EXPECTED.fullmatch(what)
    return (found[1] or found[2]) if found else _NO_REASON


class Path:
    """A place in the document, written as ``interfaces[2].bridge.port[0].vlan.tag``."""

    __slots__ = ("_parent", "_step")

    def __init__(self, parent: Path | None = None, step: str | int = "") -> None:
        self._parent = parent
        self._step = step

    def __truediv__(self, step: str | int) -> Path:
        """Return the place of a member or of an item of a list."""
        return Path(self, step)

    def __str__(self) -> str:
        return self._formatted(shown)

    @property
    def without_content(self) -> str:
        """The place as text, with unknown names replaced."""
        return self._formatted(lambda step: step if step in _own_words else "***")

    def _formatted(self, name: Callable[[str], str]) -> str:
        steps: list[str] = []
        place: Path | None = self
        while place is not None and place._parent is not None:
            step = place._step
            steps.append(f"[{step}]" if isinstance(step, int) else f".{name(step)}")
            place = place._parent
        return "".join(reversed(steps)).removeprefix(".") or "document"


def problem(path: Path, what: str) -> DocumentInvalid:
    """Return the error of the value at ``path``.

    ``what`` is a sentence. If it quotes the document, it starts with ``found`` or ``unknown
    member`` and ends with the expected values.
    """
    return refusal(f"{path}: {what}", f"{path.without_content}: {_reason(what)}")


def unknown_member(path: Path, name: str, allowed: tuple[str, ...]) -> DocumentInvalid:
    """Return the error of an unknown member of the mapping at ``path``."""
    place = path / name
    expected = f"expected: {', '.join(allowed)}"
    return refusal(
        f"{place}: unknown member {shown(name)!r}, {expected}",
        f"{place.without_content}: {expected}",
        UnknownMember(path, name, allowed),
    )


def refusal(
    sentence: str,
    without_content: str,
    unknown: UnknownMember | None = None,
    excerpt: str = "",
) -> DocumentInvalid:
    """Return an error in two versions: ``sentence`` may quote the document, the other must not."""
    quoting = _Problem(sentence)
    quoting.without_content = without_content
    quoting.unknown = unknown
    quoting.excerpt = excerpt
    return DocumentInvalid((quoting,))


def excerpt_of(problem: str) -> str:
    """Return the line of the document that a problem is in, with a caret below; often nothing."""
    return getattr(problem, "excerpt", "")


def shown(text: str) -> str:
    """Return ``text`` shortened and without control characters, for a one-line message."""
    if len(text) <= _SHOWN and text.isprintable():
        return str(text)
    clean = "".join(char if char.isprintable() else "?" for char in text[: _SHOWN + 1])
    return f"{clean[:_SHOWN]}..." if len(text) > _SHOWN else clean


class Collector:
    """Collects errors, so that one run reports all of them.

    As a context manager it catches and collects an error that is raised inside.
    """

    __slots__ = ("problems",)

    def __init__(self) -> None:
        self.problems: list[str] = []

    def add(self, error: DocumentInvalid) -> None:
        """Add the problems of ``error``."""
        self.problems.extend(error.problems)

    def __enter__(self) -> None:
        """Start collecting."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        """Collect an `DocumentInvalid`; do not suppress other exceptions."""
        if not isinstance(error, DocumentInvalid):
            return False
        self.add(error)
        return True

    def check(self) -> None:
        """Raise `DocumentInvalid` if there are problems."""
        if self.problems:
            raise DocumentInvalid(tuple(self.problems))

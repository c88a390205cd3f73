"""Log a problem once until it changes."""

from __future__ import annotations

from itertools import islice


class Once:
    """The current problem text by subject, to detect changes.

    Polling finds the same problem every two seconds; operators want one line when it appears or
    changes, and one when it is over. The caller logs, with its own format and level.
    """

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def is_news(self, text: str, about: str = "") -> bool:
        """Remember ``text``; return whether it is a new or changed problem.

        An empty text means no problem, like `is_over` without its result.
        """
        if not text:
            self._texts.pop(about, None)
            return False
        changed = self._texts.get(about) != text
        self._texts[about] = text
        return changed

    def is_over(self, about: str = "") -> bool:
        """Forget the problem; return whether there was one."""
        return self._texts.pop(about, None) is not None

    def get(self, about: str = "") -> str:
        """Return the current problem, empty if there is none."""
        return self._texts.get(about, "")

    def __len__(self) -> int:
        """How many subjects have a problem."""
        return len(self._texts)

    def first(self, most: int) -> list[tuple[str, str]]:
        """Return up to ``most`` subjects and their problems, those first that had one first."""
        return list(islice(self._texts.items(), most))

    def texts(self) -> tuple[str, ...]:
        """Return all current problems in the order of their subjects."""
        return tuple(text for _, text in sorted(self._texts.items()))

    def subjects(self) -> frozenset[str]:
        """Return the subjects with a problem."""
        return frozenset(self._texts)

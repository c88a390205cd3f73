"""The known name that is nearest to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], limit: int) -> str:
    """Return the known name with the fewest edits from ``name``, at most ``limit``, or nothing.

    Of several that are equally near, one that differs in underscores only counts, or the first.
    """
    letters = name.replace("_", "")
    near = [
        (edits, each.replace("_", "") != letters, each)
        for each in known
        if abs(len(each) - len(name)) <= limit and (edits := distance(name, each)) <= limit
    ]
    return min(near, key=lambda found: found[:2], default=(0, False, ""))[2]


def distance(one: str, other: str) -> int:
    """Return the number of characters to insert, delete or replace (Levenshtein)."""
    row = list(range(len(other) + 1))
    for done, character in enumerate(one, start=1):
        before, row[0] = row[0], done
        for index, wanted in enumerate(other, start=1):
            before, row[index] = (
                row[index],
                min(row[index] + 1, row[index - 1] + 1, before + (character != wanted)),
            )
    return row[-1]

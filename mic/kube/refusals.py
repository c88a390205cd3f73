"""Tracks which objects the API server refuses, and whether a refusal concerns all of them.

Pure. One object may be refused alone: by an admission webhook, by a Role that names some Secrets
or some namespaces, or because it has become too large. It is retried, and nothing else waits for
it. A missing right looks the same at first. So a refusal counts as *general* until the same
request is granted for another object, and from then on as that object's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mic.kube.objects import Key

SPACING = 0.5
"""Seconds between retries of refused objects: each waits for its turn among them."""

MAX_NAMED = 3
"""How many refused objects a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Refusal to one object: the right that is needed, and the refusal in words."""

    need: str
    text: str


class Refusals:
    """The refused objects. ``need`` is the right that a request needs, in words."""

    def __init__(self) -> None:
        self._general: dict[str, dict[Key, str]] = {}  # by need
        self._single: dict[Key, _Refusal] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._single or any(key in objects for objects in self._general.values())

    def refused(self, key: Key, need: str, text: str) -> bool:
        """Record a refusal; ``text`` describes it. Return whether it is news.

        It is not if other objects are refused the same, or if it repeats.
        """
        if key in self._single:
            now = _Refusal(need=need, text=text)
            before, self._single[key] = self._single[key], now
            return before != now
        objects = self._general.setdefault(need, {})
        news = not objects
        objects[key] = text
        return news

    def failed(self, key: Key, text: str) -> None:
        """Record a failure that concerns this object only: a defect."""
        self._forget_general(key)
        self._single[key] = _Refusal(need="", text=text)

    def granted(self, need: str, key: Key) -> list[Key]:
        """Record that a request was granted to ``key``.

        Return the objects that are refused the same, to be retried at once: the right may have been
        missing until now. From now on these refusals count as their own.
        """
        objects = self._general.pop(need, None)
        if objects is None:
            return []
        objects.pop(key, None)
        for other, text in objects.items():
            self._single[other] = _Refusal(need=need, text=text)
        return list(objects)

    def forget(self, key: Key) -> None:
        """Drop the refusals of an object that was reconciled or is gone."""
        self._single.pop(key, None)
        self._forget_general(key)

    def text(self, key: Key) -> str:
        """Return in words what is refused to an object, empty if nothing."""
        if key in self._single:
            return self._single[key].text
        return next((each[key] for each in self._general.values() if key in each), "")

    def delay(self, key: Key) -> float:
        """Return the minimum delay of a retry in seconds, so that retries keep `SPACING`.

        Objects that are refused on their own account wait for those of their namespace alone.
        """
        if key in self._single:
            crowd = sum(other.namespace == key.namespace for other in self._single)
        else:
            crowd = sum(map(len, self._general.values()))
        return SPACING * max(crowd - 1, 0)

    def general(self) -> list[str]:
        """Return in words what is refused to all objects: one text for each right."""
        return [next(iter(objects.values())) for objects in self._general.values() if objects]

    def single(self) -> list[str]:
        """Return in words what is refused to some objects and not to all: a text for each right."""
        objects: dict[str, list[Key]] = {}
        for key, refusal in self._single.items():
            objects.setdefault(refusal.need, []).append(key)
        return [self._words(keys) for keys in objects.values()]

    def _words(self, keys: list[Key]) -> str:
        named = ", ".join(map(str, keys[:MAX_NAMED]))
        more = ", ..." if len(keys) > MAX_NAMED else ""
        text = self._single[keys[0]].text
        if len(keys) == 1:
            return f"1 object is refused ({named}): {text}"
        return f"{len(keys)} objects are refused ({named}{more}): {text}"

    def keys(self) -> Iterator[Key]:
        """Yield the objects whose refusal counts as general."""
        for objects in self._general.values():
            yield from objects

    def _forget_general(self, key: Key) -> None:
        for need in list(self._general):
            self._general[need].pop(key, None)
            if not self._general[need]:
                del self._general[need]

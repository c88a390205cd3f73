"""Decides which images of an object stay served: not only the one that its status names now.

Knows URLs and time, not images. A BMC that has mounted an image continues to read it after the
status has stopped naming it, and an image may be built before a status names it. So an object has
up to three URLs at a time, and none of them is unpublished in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mic.kube.objects import Key

RETAIN_SECONDS = 600.0
"""How long an image is served after the status has stopped naming it, in seconds."""


@dataclass(slots=True, kw_only=True)
class _Urls:
    """The URLs of one object; empty if there is none."""

    uid: str
    named: str = ""
    """URL in its status."""
    previous: str = ""
    """URL in its status before that."""
    built: str = ""
    """URL that was built for a future status."""
    expiry: IDelayedCall | None = None
    """When ``previous`` expires."""


class Retained:
    """The URLs that stay served, by object.

    ``expired`` is called with an object's key when its previous image expires.
    At most one previous image is kept per object: the one named last.
    """

    def __init__(self, clock: IReactorTime, expired: Callable[[Key], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._objects: dict[Key, _Urls] = {}

    def __len__(self) -> int:
        """How many objects have a record."""
        return len(self._objects)

    def urls(self, key: Key) -> tuple[str, ...]:
        """Return the URLs of an object that stay served."""
        urls = self._objects.get(key)
        if urls is None:
            return ()
        return tuple(url for url in (urls.named, urls.previous, urls.built) if url)

    def named(self, key: Key, uid: str, url: str) -> None:
        """Record the URL that the status of an object names now, empty for none.

        Call it for each state of the object in its order. Another ``uid`` is another object.
        """
        urls = self._objects.get(key)
        if urls is None or urls.uid != uid:
            self.forget(key)
            urls = self._objects[key] = _Urls(uid=uid)
        if url == urls.named:
            return
        before, urls.named = urls.named, url
        if url == urls.built:
            urls.built = ""
        if url == urls.previous:
            self._cancel(urls)
        if before:
            self._cancel(urls)
            urls.previous = before
            urls.expiry = self._clock.callLater(RETAIN_SECONDS, self._expire, key)

    def built(self, key: Key, url: str) -> None:
        """Record the URL that was built for an object, in place of the one before."""
        urls = self._objects.get(key)
        if urls is not None:
            urls.built = "" if url == urls.named else url

    def forget(self, key: Key) -> None:
        """Drop the record of an object: it is deleted or no longer concerns mic."""
        urls = self._objects.pop(key, None)
        if urls is not None:
            self._cancel(urls)

    def clear(self) -> None:
        """Drop all records and timers."""
        for key in list(self._objects):
            self.forget(key)

    def _expire(self, key: Key) -> None:
        urls = self._objects[key]
        urls.expiry = None
        urls.previous = ""
        self._expired(key)

    @staticmethod
    def _cancel(urls: _Urls) -> None:
        urls.previous = ""
        if urls.expiry is not None:
            urls.expiry.cancel()
            urls.expiry = None

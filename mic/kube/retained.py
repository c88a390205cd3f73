"""Decides which images of an object stay served: not only the one that its status names now.

Knows URLs and time, not images. A BMC that has mounted an image continues to read it after the
status has stopped naming it, and an image may be built before a status names it. So an object has
up to three URLs at a time, and none of them is unpublished in between.

Between two images a status names none. The next may be the one before the last: a Secret that is as
it was at first. A replica may hear of the status before it hears of the Secret, so it can not know,
and keeps both until another is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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
    previous: dict[str, IDelayedCall] = field(default_factory=dict)
    """URLs in its status before that, the latest last, and when each expires."""
    built: str = ""
    """URL that was built for a future status."""


class Retained:
    """The URLs that stay served, by object.

    ``expired`` is called with an object's key when its previous image expires.
    At most one previous image is kept per object: the one named last; two while none is named.
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
        found = (urls.named, *urls.previous, urls.built)
        return tuple(url for url in dict.fromkeys(found) if url)

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
        self._drop(urls, url)
        if before:
            expiry = self._clock.callLater(RETAIN_SECONDS, self._expire, key, before)
            urls.previous[before] = expiry
        for superseded in list(urls.previous)[: -1 if url else -2]:
            self._drop(urls, superseded)

    def built(self, key: Key, url: str) -> None:
        """Record the URL that was built for an object, in place of the one before."""
        urls = self._objects.get(key)
        if urls is not None:
            urls.built = "" if url == urls.named else url

    def forget(self, key: Key) -> None:
        """Drop the record of an object: it is deleted or no longer concerns mic."""
        urls = self._objects.pop(key, None)
        if urls is not None:
            for url in list(urls.previous):
                self._drop(urls, url)

    def clear(self) -> None:
        """Drop all records and timers."""
        for key in list(self._objects):
            self.forget(key)

    def _expire(self, key: Key, url: str) -> None:
        del self._objects[key].previous[url]
        self._expired(key)

    @staticmethod
    def _drop(urls: _Urls, url: str) -> None:
        """Do not retain a URL any longer, or because it is named; others are left alone."""
        expiry = urls.previous.pop(url, None)
        if expiry is not None:
            expiry.cancel()

"""Names and URLs of published images, in both modes."""

from __future__ import annotations

from urllib.parse import quote

from twisted.logger import Logger

from mic.images.store import Content, Store
from mic.media.base import Kind


class Publisher:
    """Publishes content under file names, and knows the URLs of each name.

    All images are served under ``publish_url``, and under ``http_publish_url`` if there is one:
    plain HTTP, for network boot firmware that trusts no private certificate authority.
    """

    _log = Logger()

    def __init__(self, images: Store, *, publish_url: str, http_publish_url: str = "") -> None:
        self._images = images
        self._publish_url = publish_url
        self._http_publish_url = http_publish_url

    def url(self, name: str, kind: Kind) -> str:
        """Return the URL to hand out for an image of this kind.

        All others are for network boot: their URL is the plain one if there is one.
        """
        return f"{self.root(kind)}/{quote(name)}"

    def root(self, kind: Kind) -> str:
        """Return the URL that names of this kind are appended to, without a slash."""
        base = self._publish_url if kind is Kind.ISO else self._http_publish_url
        return base or self._publish_url

    def publish(self, name: str, content: Content) -> None:
        """Serve ``content`` under ``name``."""
        self._images.publish(name, content)

    def announce(self, name: str, host: str) -> None:
        """Log the URLs of ``name``; only for names that are not secret."""
        urls = [
            f"{base}/{quote(name)}" for base in (self._publish_url, self._http_publish_url) if base
        ]
        if len(urls) > 1:
            url, http_url = urls
            self._log.info("serving {url} and {http_url}", url=url, http_url=http_url, host=host)
        else:
            self._log.info("serving {url}", url=urls[0], host=host)

    def is_published(self, name: str) -> bool:
        """Return whether ``name`` is being served."""
        return self._images.entry(name) is not None

    def discard(self, name: str) -> None:
        """Stop serving ``name``; unknown names are ignored."""
        self._images.discard(name)

"""The site: connections, the fast lane and the resource that serves images.

Nothing here knows who publishes images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.server import Site

from mic.common.threads import Threads
from mic.downloads.tracker import Downloads
from mic.images.store import Image, ImageId, Store
from mic.web.body import ImageBody
from mic.web.channel import ImageChannel, Limits
from mic.web.fastlane import FastLane
from mic.web.native import Native
from mic.web.request import ImageRequest
from mic.web.request import cut as cut_body
from mic.web.resource import MAX_REMEMBERED, ImageResource
from mic.web.stats import Served


class ImageSite(Site):
    """The factory of connections; ``channels`` are the open ones, with these ``limits``.

    ``peak`` is the largest number of connections open at a time since it was last reset.
    ``settled`` returns whether all names are known: until then an unknown one may be published.
    ``has_no_image`` returns whether a name is that of a known host's image that is not there.
    ``served`` counts responses. ``native`` is the compiled fast lane, if it is installed.
    """

    protocol = ImageChannel  # type: ignore[assignment]
    displayTracebacks = False
    noisy = False
    _log = Logger()

    def __init__(
        self,
        images: Store,
        downloads: Downloads,
        reactor: Any,
        readers: Threads,
        *,
        settled: Callable[[], bool],
        has_no_image: Callable[[str], bool] = lambda _: False,
        limits: Limits | None = None,
        native: Native | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._images = ImageResource(
            images, downloads, reactor, readers, settled=settled, has_no_image=has_no_image
        )
        super().__init__(
            self._images,
            ImageRequest,
            timeout=self.limits.idle,
            reactor=reactor,
        )
        self.served = Served()
        self.fast_lane = FastLane(images, downloads, self.served, time.time, native)
        self.channels: set[ImageChannel] = set()
        self.peak = 0
        self._tls_failures: set[tuple[str, str]] = set()

    def tls_failed(self, client: str, reason: str) -> None:
        """Log once why a client has no TLS connection: a BMC retries without reporting it."""
        if len(self._tls_failures) == MAX_REMEMBERED:
            self._tls_failures.clear()
        if (client, reason) not in self._tls_failures:
            self._tls_failures.add((client, reason))
            self._log.warn("{client}: no TLS connection: {error}", client=client, error=reason)

    def hold(self) -> None:
        """Let requests for unknown names wait until `release`."""
        self._images.hold()

    def release(self) -> None:
        """Answer the requests that wait for names to become known."""
        self._images.release()

    def body(self, image: Image, start: int, stop: int) -> ImageBody:
        """Return a body of the bytes ``start`` to ``stop`` of an image."""
        return self._images.body(image.layout.pieces(start, stop), stop - start)

    def cut(self, channel: ImageChannel, label: ImageId, why: Failure) -> None:
        """Abort a body that cannot be read."""
        cut_body(channel, label, why)

    def log(self, _request: http.Request) -> None:
        """Log nothing: downloads are logged, not requests."""

    def acceptableProtocols(self) -> list[bytes]:
        """Return the protocols for TLS to offer: with HTTP/2 Twisted would use another channel."""
        return [b"http/1.1"]

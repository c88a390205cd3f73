"""A body in transit: what is counted of it, and the end of its request."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mic.downloads.tracker import Download, Downloads
from mic.web.multipart import Offsets
from mic.web.request import ImageRequest, cut


class Stream:
    """Counts the bytes of a body as they are sent, and ends its request.

    It is small, because each client that stops reading holds one. It refers to no image: the
    garbage collector may free it late, and a deleted base file would keep its disk space until
    then.
    """

    __slots__ = (
        "_answers",
        "_began",
        "_download",
        "_downloads",
        "_offsets",
        "_reactor",
        "_request",
        "_silent",
    )
    _log = Logger()

    def __init__(
        self,
        request: ImageRequest,
        downloads: Downloads,
        download: Download,
        offsets: Offsets,
        reactor: IReactorTime,
    ) -> None:
        self._request = request
        # A request that has ended has no connection, and so no place where answers are counted.
        self._answers = request.answers
        self._downloads = downloads
        self._download = download
        self._offsets = offsets
        self._reactor = reactor
        self._began = reactor.seconds()
        self._silent = True

    def wrote(self, count: int) -> None:
        """Count bytes that were sent."""
        if self._silent and count:
            self._silent = False
            self._answers.first_byte.add(self._reactor.seconds() - self._request.began)
        self._answers.bytes += count
        for start, stop in self._offsets.advance(count):
            self._downloads.wrote(self._download, start, stop)

    def is_whole(self, _result: object) -> None:
        """Count a complete response."""
        self._over(whole=True)

    def is_cut(self, _why: Failure) -> None:
        """Count a response that ended early."""
        self._over(whole=False)

    def _over(self, *, whole: bool) -> None:
        self._answers.bodies.add(self._reactor.seconds() - self._began)
        self._downloads.end(self._download, whole=whole)
        # They refer to each other; without this only the garbage collector would free them.
        del self._request

    def finish(self, _result: object) -> None:
        """End the request: the whole body was handed over."""
        self._request.unregisterProducer()
        self._request.finish()

    def cut(self, why: Failure) -> None:
        """Abort the connection: the body cannot be read."""
        cut(self._request.channel, self._download.image, why)

    def log(self, why: Failure) -> None:
        """Log an unexpected error."""
        self._log.failure("{image}", why, image=self._download.image)

"""Images at a URL, read by ranges: `mic show` transfers only what it prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import treq
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.python.failure import Failure

from mic import __version__
from mic.common.errors import MicError
from mic.fetch.explain import Remedies, explain
from mic.media.layout import Source

_BLOCK = 64 * 1024
_TIMEOUT = 30.0
_REMEDIES = Remedies(
    untrusted="-insecure, or SSL_CERT_FILE=ca.pem", wrong_name="use a name it has, or -insecure"
)
# mic does not count such requests as downloads (mic.web.headers.OWN_AGENT).
_HEADERS = {b"User-Agent": b"mic/" + __version__.encode()}


class RemoteError(MicError):
    """The URL cannot be read; the message gives the reason."""


class _Remote:
    """A URL as a source: read in a thread, by ranges of whole blocks, each one fetched once."""

    def __init__(self, reactor: IReactorFromThreads, client: Any, url: str) -> None:
        self._reactor = reactor
        self._client = client
        self._url = url
        self._blocks: dict[int, bytes] = {}
        head = self._ask("HEAD", {})
        self.size = int(head.headers.getRawHeaders(b"Content-Length", [b"0"])[0])
        if head.code == 400 and url.startswith("http://"):
            # As mic answers plain HTTP where it speaks TLS.
            secure = url.replace("http:", "https:", 1)
            raise RemoteError(f"the server answers 400; if it speaks TLS: try {secure}")
        if head.code != 200:
            raise RemoteError(f"the server answers {head.code}")
        if head.headers.getRawHeaders(b"Accept-Ranges", [b""])[0].lower() != b"bytes":
            raise RemoteError("the server does not serve ranges")

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at an offset, fewer at the end of the image."""
        stop = min(offset + length, self.size)
        first, last = offset // _BLOCK, -(-stop // _BLOCK)
        missing = [n for n in range(first, last) if n not in self._blocks]
        if missing:
            self._fetch(missing[0], missing[-1] + 1)
        data = b"".join(self._blocks[number] for number in range(first, last))
        return data[offset - first * _BLOCK : stop - first * _BLOCK]

    def _fetch(self, first: int, last: int) -> None:
        start, stop = first * _BLOCK, min(last * _BLOCK, self.size)
        data = self._ask("GET", {b"Range": b"bytes=%d-%d" % (start, stop - 1)}, stop - start)
        for number in range(first, last):
            begin = (number - first) * _BLOCK
            self._blocks[number] = data[begin : begin + _BLOCK]

    def _ask(self, method: str, headers: dict[bytes, bytes], length: int | None = None) -> Any:
        async def ask() -> Any:
            response = await self._client.request(
                method, self._url, headers={**headers, **_HEADERS}, timeout=_TIMEOUT
            )
            if length is None:
                return response
            if response.code != 206:
                raise RemoteError(f"the server answers a range with {response.code}")
            parts: list[bytes] = []
            await treq.collect(response, parts.append)
            data = b"".join(parts)
            if len(data) != length:
                raise RemoteError(f"the server sent {len(data)} bytes, not {length}")
            return data

        try:
            return blockingCallFromThread(self._reactor, lambda: Deferred.fromCoroutine(ask()))
        except MicError:
            raise
        except Exception as error:
            raise RemoteError(explain(error, self._url, _TIMEOUT, _REMEDIES)) from None


def read_url(url: str, read: Callable[[Source], str], *, verify: bool) -> str:
    """Run ``read`` in a thread over a URL, and the reactor until it has ended.

    Raises its errors, and `RemoteError`.
    """
    from twisted.internet import reactor

    client = treq.client.HTTPClient(_agent(reactor, verify=verify))
    outcome: list[str | Failure] = []

    def start() -> None:
        done = deferToThread(lambda: read(_Remote(cast(IReactorFromThreads, reactor), client, url)))
        done.addBoth(outcome.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    (result,) = outcome
    if isinstance(result, Failure) and result.value is not None:
        raise result.value.with_traceback(None)
    return str(result)


def _agent(reactor: Any, *, verify: bool) -> Any:
    from twisted.internet.ssl import CertificateOptions
    from twisted.web.client import Agent, HTTPConnectionPool
    from twisted.web.iweb import IPolicyForHTTPS
    from zope.interface import implementer

    pool = HTTPConnectionPool(reactor, persistent=True)
    pool.retryAutomatically = False
    if verify:
        return Agent(reactor, pool=pool)

    @implementer(IPolicyForHTTPS)
    class Trusting:
        def creatorForNetloc(self, _host: bytes, _port: int) -> Any:
            return CertificateOptions(verify=False)

    return Agent(reactor, Trusting(), pool=pool)

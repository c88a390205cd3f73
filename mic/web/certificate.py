"""The certificate in force: given to new connections, and exchanged when its files change.

Connections keep the one that they began with, for as long as they last.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from mic.errors import ConfigError
from mic.threads import Threads
from mic.tls import Certificate, Pem, Tls, load_certificate, read_pem


@implementer(IOpenSSLServerConnectionCreator)
class CurrentCertificate:
    """A certificate that follows its files. ``clock`` gives seconds since the epoch.

    Files are replaced one after the other, or written piece by piece. What is found is taken,
    or complained about, only when the next look finds the same; until then, and for as long as it
    cannot be used, the one before stays in force.

    Raises `ConfigError` when the files cannot be used at the start.
    """

    _log = Logger()

    def __init__(self, tls: Tls, threads: Threads, clock: Callable[[], float]) -> None:
        self._tls = tls
        self._threads = threads
        self._clock = clock
        self._pem = read_pem(tls)
        self._certificate = load_certificate(tls, self._pem)
        self._seen: Pem | str = self._pem
        self._complaint = ""
        self._worry = ""
        self._one_at_a_time = DeferredLock()
        self._begin()

    def factory(self, factory: Any, reactor: Any) -> Any:
        """``factory`` behind TLS."""
        return TLSMemoryBIOFactory(self, False, factory, reactor)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002
        """A new connection's TLS."""
        return SSL.Connection(self._certificate.context, None)

    @property
    def certificate(self) -> Certificate:
        """The one in force."""
        return self._certificate

    def problems(self) -> list[str]:
        """What is wrong with the files, and what clients may have against the certificate."""
        return list(filter(None, (self._complaint, self._worry)))

    def look(self, *, at_once: bool = False) -> Deferred[None]:
        """Follow the files; ``at_once``: who asks says that they are written."""
        return self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self._look(at_once)))

    async def _look(self, at_once: bool) -> None:
        try:
            await self._follow(at_once)
        except Exception:
            # The next look may be luckier; a loop that ends for good helps nobody.
            self._log.failure("cannot look for another TLS certificate")

    async def _follow(self, at_once: bool) -> None:
        found: Pem | str
        try:
            found = await self._threads.run(read_pem, self._tls)
        except ConfigError as error:
            found = str(error)
        settled = at_once or found == self._seen
        self._seen = found
        if found == self._pem:
            self._complain("")
        elif settled:
            await self._take(found)
        self._judge()

    async def _take(self, found: Pem | str) -> None:
        try:
            if isinstance(found, str):
                raise ConfigError([found])
            # Checking an RSA key takes milliseconds.
            self._certificate = await self._threads.run(load_certificate, self._tls, found)
        except ConfigError as error:
            self._complain(f"{error}; the certificate before stays in force")
            return
        self._pem = found
        self._complain("")
        self._begin()

    def _begin(self) -> None:
        self._log.info(
            "{path}: TLS certificate of {certificate}",
            path=self._tls.cert_file,
            certificate=str(self._certificate),
        )
        self._judge()

    def _complain(self, text: str) -> None:
        """Log what is wrong with the files, once until it changes."""
        if text and text != self._complaint:
            self._log.error("{error}", error=text)
        elif self._complaint and not text:
            self._log.info("the TLS certificate and its key are in order again")
        self._complaint = text

    def _judge(self) -> None:
        worry = self._certificate.worry(datetime.fromtimestamp(self._clock(), UTC))
        text = f"{self._tls.cert_file}: {worry}" if worry else ""
        if text and text != self._worry:
            self._log.warn("{error}", error=text)
        self._worry = text

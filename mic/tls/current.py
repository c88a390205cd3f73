"""The certificate in force: new connections use it; it is replaced when its files change.

Each connection keeps the certificate that it started with.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from OpenSSL import SSL
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mic.common.errors import ConfigError
from mic.common.health import Health
from mic.common.once import Once
from mic.common.threads import Threads
from mic.tls.certificate import Certificate, Pem, Tls, load_certificate, read_pem


@implementer(IOpenSSLServerConnectionCreator)
class CurrentCertificate:
    """A certificate that follows its files. ``clock`` returns seconds since the epoch.

    Files are replaced one after the other, or written in pieces. New content is used, or reported
    as unusable, only when the next poll finds the same; until then, and while it is unusable, the
    previous certificate stays in force.

    Raises `ConfigError` when the files are unusable at the start.
    """

    _log = Logger()

    def __init__(self, tls: Tls, threads: Threads, clock: Callable[[], float]) -> None:
        self._tls = tls
        self._threads = threads
        self._clock = clock
        self._pem = read_pem(tls)
        self._certificate = load_certificate(tls, self._pem)
        self._seen: Pem | str = self._pem
        self._unusable = Once()
        self._validity = Once()
        self._one_at_a_time = DeferredLock()
        self._log_certificate()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002
        """Return the TLS side of a new connection."""
        return SSL.Connection(self._certificate.context, None)

    @property
    def certificate(self) -> Certificate:
        """The certificate in force."""
        return self._certificate

    def health(self) -> Health:
        """Return why the files are unusable, and why clients may reject the certificate."""
        return Health(warnings=(*self._unusable.texts(), *self._validity.texts()))

    def poll(self, *, at_once: bool = False) -> Deferred[None]:
        """Read the files; ``at_once``: the caller knows that they are complete."""
        return self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self._poll(at_once)))

    async def _poll(self, at_once: bool) -> None:
        try:
            await self._follow(at_once)
        except Exception:
            # Keep polling; the next attempt may succeed.
            self._log.failure("polling for another TLS certificate failed")

    async def _follow(self, at_once: bool) -> None:
        found: Pem | str
        try:
            found = await self._threads.run(read_pem, self._tls)
        except ConfigError as error:
            found = str(error)
        settled = at_once or found == self._seen
        self._seen = found
        if found == self._pem:
            self._report("")
        elif settled:
            await self._use(found)
        self._check_dates()

    async def _use(self, found: Pem | str) -> None:
        try:
            if isinstance(found, str):
                raise ConfigError([found])
            # Checking an RSA key takes milliseconds.
            self._certificate = await self._threads.run(load_certificate, self._tls, found)
        except ConfigError as error:
            self._report(f"{error}; the previous certificate stays in force")
            return
        self._pem = found
        self._report("")
        self._log_certificate()

    def _log_certificate(self) -> None:
        self._log.info(
            "{path}: TLS certificate of {certificate}",
            path=self._tls.cert_file,
            certificate=str(self._certificate),
        )
        self._check_dates()

    def _report(self, problem: str) -> None:
        """Log why the files are unusable, once until it changes, and that they are usable again."""
        if problem:
            if self._unusable.is_news(problem):
                self._log.error("{error}", error=problem)
        elif self._unusable.is_over():
            self._log.info("the TLS certificate and its key are usable again")

    def _check_dates(self) -> None:
        warning = self._certificate.validity_warning(datetime.fromtimestamp(self._clock(), UTC))
        text = f"{self._tls.cert_file}: {warning}" if warning else ""
        if self._validity.is_news(text):
            self._log.warn("{error}", error=text)

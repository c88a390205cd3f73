"""HTTPS: TLS in front of HTTP, and an answer for clients that left it out."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, ITransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from mic.web.channel import ImageChannel
from mic.web.headers import refusal_answer
from mic.web.request_head import MAX_HEAD, Refusal
from mic.web.site import ImageSite
from mic.web.stats import NONE


class HttpsConnection(TLSMemoryBIOProtocol):
    """A connection to the HTTPS port.

    What is written is encrypted at once. Twisted's default gathers it for a turn of the reactor,
    and so hides from the channel that its client takes nothing.

    A client that speaks plain HTTP there gets a 400 that says so: it shows neither an alert of TLS
    nor a connection that was closed as what it means.
    """

    transport: ITransport
    wrappedProtocol: ImageChannel

    _fresh = True
    _plain: bytes | None = None

    def dataReceived(self, data: bytes) -> None:
        """Take bytes from the network."""
        if self._fresh:
            self._fresh = False
            # All of TLS begins with a byte below 0x20 or above 0x7F (RFC 8446 section 5.1).
            if data[:1].isalpha():
                self._plain = b""
        if self._plain is not None:
            self._plain += data
            # With the head unread the connection would be reset, and the answer lost perhaps.
            if not _is_whole(self._plain):
                return
            data, self._plain = self._plain, None
            self._refuse(data)
        super().dataReceived(data)

    def _refuse(self, head: bytes) -> None:
        """Answer past OpenSSL, which then finds no TLS in ``head``, says why and closes."""
        refusal = Refusal(400, "This port speaks HTTPS, not plain HTTP: use an https:// URL.")
        self.wrappedProtocol.site.served.answers[NONE].count(refusal.status)
        body = not head.startswith(b"HEAD ")
        self.transport.write(refusal_answer(refusal, int(time.time()), body=body))


def https_factory(
    certificate: IOpenSSLServerConnectionCreator, site: ImageSite, reactor: Any
) -> TLSMemoryBIOFactory:
    """``site`` behind TLS."""
    factory = TLSMemoryBIOFactory(certificate, False, site, reactor)
    factory.protocol = HttpsConnection
    return factory


def _is_whole(head: bytes) -> bool:
    return b"\n\r\n" in head or b"\n\n" in head or len(head) > MAX_HEAD

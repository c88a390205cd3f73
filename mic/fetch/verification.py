"""Verification of servers' certificates, and why one was not trusted."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer

from mic.common.files import read_regular
from mic.common.text import printable
from mic.fetch.explain import Distrust
from mic.fetch.failure import FetchError

_MAX_CA = 4 * 1024 * 1024
# Codes of verification (OpenSSL's x509_vfy.h) in words.
_UNKNOWN = Distrust(words="its authority is unknown", by_authority=True)
_REASONS = {
    0: None,
    9: Distrust(words="it is not valid yet, or the clock of this machine is wrong"),
    10: Distrust(words="it has expired, or the clock of this machine is wrong"),
    18: Distrust(words="it is signed by itself", by_authority=True),
    19: _UNKNOWN,
    20: _UNKNOWN,
    21: _UNKNOWN,
    23: Distrust(words="it was revoked"),
    24: Distrust(words="its issuer is not a certificate authority"),
}


def trust_root(path: str) -> Any:
    """Return the authorities in a PEM file, None for the system's if ``path`` is empty.

    Raises `FetchError`.
    """
    if not path:
        return None
    try:
        data = read_regular(path, _MAX_CA)
    except OSError as error:
        raise FetchError(f"-ca {printable(path)}: {error.strerror or error}") from None
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        found = []
    if not found or len(data) > _MAX_CA:
        raise FetchError(f"-ca {printable(path)}: it holds no PEM certificates that can be read")
    return trustRootFromCertificates([Certificate(X509.from_cryptography(each)) for each in found])


def distrust(
    creator: IOpenSSLClientConnectionCreator, endpoint: IStreamClientEndpoint
) -> Deferred[Distrust | None]:
    """Return why OpenSSL does not trust the certificate of a server; None if that is not known.

    Errors of the connection that was refused do not say that, so this makes another one. It is
    never established: its callback refuses the certificate of every server. A callback that only
    listens would have to take the place of the one that verifies the name.
    """
    refusing = _Refusing(creator)
    ended: Deferred[Distrust | None] = Deferred()

    class Waiting(Protocol):
        def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
            if not ended.called:
                unknown = Distrust(words=f"OpenSSL's code is {refusing.code}")
                ended.callback(_REASONS.get(refusing.code, unknown))

    def failed(_: Failure) -> None:
        if not ended.called:
            ended.callback(None)

    wrapClientTLS(refusing, endpoint).connect(Factory.forProtocol(Waiting)).addErrback(failed)
    return ended


@implementer(IOpenSSLClientConnectionCreator)
class _Refusing:
    """Makes connections that accept no server; ``code`` is OpenSSL's first complaint."""

    def __init__(self, creator: IOpenSSLClientConnectionCreator) -> None:
        self._creator = creator
        self.code = 0

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:  # noqa: N803
        connection = self._creator.clientConnectionForTLS(tlsProtocol)

        def refuse(_: object, __: object, code: int, depth: int, accepted: int) -> bool:
            if not accepted:
                self.code = self.code or code
            # The server's own comes last.
            return depth > 0

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, refuse)
        return connection

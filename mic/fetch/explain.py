"""Why a URL could not be fetched, in words."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as network
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed
from twisted.web.http import PotentialDataLoss

from mic.common.text import printable
from mic.common.urls import without_credentials

# Reasons of OpenSSL (ssl/ssl_err.c) for bytes that are no TLS records.
_DISTRUST = "certificate verify failed"
_NO_TLS = ("wrong version number", "http request", "record layer failure", "packet length too long")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """Remedies against certificates: one that is not trusted, and one for another name."""

    untrusted: str
    wrong_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Distrust:
    """Why a certificate is not trusted; ``by_authority``: other authorities may help."""

    words: str
    by_authority: bool = False


def explain(
    error: BaseException,
    url: str,
    timeout: float,
    remedies: Remedies,
    *,
    distrust: Distrust | None = None,
) -> str:
    """Return why fetching ``url`` failed, and what to try; ``timeout`` is in seconds.

    ``distrust`` is the reason why the certificate was not trusted, if it is known: OpenSSL's errors
    do not have it.
    """
    https = urlsplit(url).scheme == "https"
    causes = list(_causes(error))
    for cause in causes:
        if found := _tls(cause, url, remedies, distrust) or _network(cause, url, timeout):
            return found
    if any(isinstance(each, network.ConnectionLost | network.ConnectionDone) for each in causes):
        # mic and other servers close a connection whose first bytes they cannot read.
        other = _with_scheme(url, "http" if https else "https")
        if https:
            return f"the connection was closed: it probably does not speak TLS: try {other}"
        return f"the connection was closed without a response; if it speaks TLS: try {other}"
    return f"cannot be fetched: {str(causes[-1]) or type(causes[-1]).__name__}"


def is_distrust(error: BaseException) -> bool:
    """Return whether a certificate was not trusted, for a reason that the error does not have."""
    return any(isinstance(each, SSL.Error) and _DISTRUST in str(each) for each in _causes(error))


def is_lasting(error: BaseException) -> bool:
    """Return whether the next attempt will fail in the same way: TLS that cannot be established.

    A connection that is closed within the handshake is none of these.
    """
    return any(
        isinstance(each, VerificationError)
        or (isinstance(each, SSL.Error) and "eof" not in str(each).lower())
        for each in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that ``error`` wraps, itself last."""
    for reason in getattr(error, "reasons", None) or ():
        inner = reason.value if isinstance(reason, Failure) else reason
        if isinstance(inner, BaseException):
            yield from _causes(inner)
    if not isinstance(error, ResponseFailed) or not error.reasons:
        yield error


def _tls(error: BaseException, url: str, remedies: Remedies, distrust: Distrust | None) -> str:
    if isinstance(error, VerificationError):
        host = printable(urlsplit(url).hostname or "")
        return f"its certificate is not for {host}: {remedies.wrong_name}"
    if not isinstance(error, SSL.Error):
        return ""
    text = str(error)
    if _DISTRUST in text:
        reason = f": {distrust.words}" if distrust is not None else ""
        may_help = distrust is None or distrust.by_authority
        remedy = f": {remedies.untrusted}" if may_help else ""
        return f"its certificate is not trusted{reason}{remedy}"
    if any(reason in text for reason in _NO_TLS):
        return f"does not speak TLS: try {_with_scheme(url, 'http')}"
    reasons = [part[-1] for part in (error.args[0] if error.args else ()) if part]
    return f"TLS failed: {', '.join(map(str, reasons)) or 'no reason given'}"


def _network(error: BaseException, url: str, timeout: float) -> str:
    parts = urlsplit(url)
    host = printable(parts.hostname or "")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if isinstance(error, network.DNSLookupError | socket.gaierror):
        return f"no address found for the name {host}"
    if isinstance(error, network.ConnectionRefusedError):
        return f"connection refused: nothing listens on port {port} of {host}"
    if isinstance(error, network.NoRouteError):
        return f"no route to {host}"
    if isinstance(error, network.TimeoutError | network.TCPTimedOutError | CancelledError):
        return f"no answer from {host} port {port} within {timeout:.0f} s"
    if isinstance(error, network.ConnectError):
        return f"cannot connect to {host} port {port}: {error.osError or error}"
    if isinstance(error, PotentialDataLoss):
        return "the connection was closed before the end of the response"
    return ""


def _with_scheme(url: str, scheme: str) -> str:
    return printable(without_credentials(f"{scheme}://{url.partition('://')[2]}"))

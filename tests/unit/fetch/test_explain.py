"""What mic show and mic fetch say when a URL cannot be fetched."""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error as network
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived

from mic.fetch.explain import Distrust, Remedies, explain

HTTPS = "https://admin:hunter2@mic.example:8084/a.iso"
HTTP = "http://mic.example/a.iso"
REMEDIES = Remedies(untrusted="-ca", wrong_name="use a name it has")


def tls(reason: str) -> Exception:
    return ResponseNeverReceived([Failure(SSL.Error([("SSL routines", "", reason)]))])


@pytest.mark.parametrize(
    ("error", "url", "words"),
    [
        (
            tls("wrong version number"),
            HTTPS,
            "does not speak TLS: try http://mic.example:8084/a.iso",
        ),
        (
            tls("certificate verify failed"),
            HTTPS,
            "its certificate is not trusted: -ca",
        ),
        (tls("unsupported protocol"), HTTPS, "TLS failed: unsupported protocol"),
        (
            ResponseNeverReceived([Failure(VerificationError(errors=[]))]),
            HTTPS,
            "its certificate is not for mic.example: use a name it has",
        ),
        (
            ResponseNeverReceived([Failure(network.ConnectionLost())]),
            HTTPS,
            "the connection was closed: it probably does not speak TLS: "
            "try http://mic.example:8084/a.iso",
        ),
        (
            ResponseNeverReceived([Failure(network.ConnectionDone())]),
            HTTP,
            "the connection was closed without a response; if it speaks TLS: "
            "try https://mic.example/a.iso",
        ),
        (network.DNSLookupError(), HTTP, "no address found for the name mic.example"),
        (
            network.ConnectionRefusedError(),
            HTTPS,
            "connection refused: nothing listens on port 8084 of mic.example",
        ),
        (network.NoRouteError(), HTTP, "no route to mic.example"),
        (network.TCPTimedOutError(), HTTP, "no answer from mic.example port 80 within 30 s"),
        (
            ResponseNeverReceived([Failure(CancelledError())]),
            HTTP,
            "no answer from mic.example port 80 within 30 s",
        ),
        (ValueError("odd"), HTTP, "cannot be fetched: odd"),
        (ValueError(), HTTP, "cannot be fetched: ValueError"),
    ],
)
def test_explains(error: Exception, url: str, words: str) -> None:
    assert explain(error, url, 30.0, REMEDIES) == words


def test_gives_the_reason_why_a_certificate_is_not_trusted() -> None:
    error = tls("certificate verify failed")
    expired = Distrust(words="it has expired")
    words = explain(error, HTTPS, 30.0, REMEDIES, distrust=expired)
    assert words == "its certificate is not trusted: it has expired"
    unknown = Distrust(words="its authority is unknown", by_authority=True)
    words = explain(error, HTTPS, 30.0, REMEDIES, distrust=unknown)
    assert words == "its certificate is not trusted: its authority is unknown: -ca"

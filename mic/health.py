"""``python -m mic.health [URL]``: does a running mic answer? For containers, which have no curl.

Imports nothing of the rest and no Twisted: it runs every half minute, on small nodes too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

URL = "http://127.0.0.1:8084/"
"""What is asked when no URL is given: where mic listens when it is not told otherwise."""

_PATIENCE = 5.0


def main(arguments: Sequence[str]) -> int:
    """Ask; status 0 when there is an answer that is no server error, else 1 with the reason."""
    url, *others = arguments or [URL]
    if others or url.startswith("-"):
        sys.stderr.write(f"Usage: python -m mic.health [URL]   (default {URL})\n")
        return 2
    try:
        status = answer(url, _PATIENCE)
        problem = f"answers {status}" if status >= 500 else ""
    except (OSError, HTTPException, ValueError) as error:
        problem = str(error) or type(error).__name__
    if problem:
        sys.stderr.write(f"mic: {url}: {problem}\n")
    return 1 if problem else 0


def answer(url: str, seconds: float) -> int:
    """The status of the answer to HEAD, which must come in ``seconds``.

    Raises `OSError`, `HTTPException` or `ValueError`. No certificate is verified: mic is asked
    whether it lives, not who it is, and at an address that no certificate names.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http or https URL")
    connection: HTTPConnection
    if parts.scheme == "https":
        import ssl
        from http.client import HTTPSConnection

        context = ssl._create_unverified_context()  # noqa: S323
        connection = HTTPSConnection(parts.hostname, parts.port, timeout=seconds, context=context)
    else:
        connection = HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    try:
        connection.request("HEAD", parts.path or "/")
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

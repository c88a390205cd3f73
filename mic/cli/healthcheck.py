"""``python -m mic.cli.healthcheck [URL]``: check that a running mic responds.

For containers, which have no curl. Imports nothing of mic but its version, and no Twisted,
because it runs every half minute, on small nodes too.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from mic import __version__

URL = "http://127.0.0.1:8084/"
"""URL to check by default: mic's default address."""

_TIMEOUT = 5.0
_USAGE = f"Usage: python -m mic.cli.healthcheck [URL]   (default {URL})\n"


def main(arguments: Sequence[str]) -> int:
    """Return 0 for a response that is no server error, else 1 with the reason on stderr."""
    url, *others = arguments or [URL]
    if url in ("-h", "-help", "--help"):
        sys.stdout.write(_USAGE)
        return 0
    if url in ("-version", "--version"):
        sys.stdout.write(f"mic {__version__}\n")
        return 0
    if others or url.startswith("-"):
        sys.stderr.write(_USAGE)
        return 2
    try:
        status = answer(url, _TIMEOUT)
        problem = f"answers {status}" if status >= 500 else ""
    except (OSError, HTTPException, ValueError) as error:
        problem = str(error) or type(error).__name__
    if problem:
        sys.stderr.write(f"mic: {url}: {problem}\n")
    return 1 if problem else 0


def answer(url: str, seconds: float) -> int:
    """Return the status of a HEAD request; the response must come within ``seconds``.

    Raises `OSError`, `HTTPException` or `ValueError`. No certificate is verified: this checks
    that mic responds, not its identity, at an address that no certificate names.
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

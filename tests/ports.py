"""Ports for servers whose port must be known before they listen."""

from __future__ import annotations

import secrets
import socket

# Below those that Linux gives to clients and to servers that ask for any port: 32768 and up. One of
# those could be taken between this function's look and the server's start.
_FIRST, _BEHIND = 10_000, 30_000


def free_port() -> int:
    """A TCP port that is free on every address of both families."""
    while True:
        port = _FIRST + secrets.randbelow(_BEHIND - _FIRST)
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                probe.bind(("::", port))
            except OSError:
                continue
        return port

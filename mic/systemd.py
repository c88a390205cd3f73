"""What systemd and its service tell each other: state, watchdog, sockets, by environment.

The protocol is that of sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). Knows nothing
of what the service does; when to tell what is `mic.service`'s business. Credentials are files,
and `mic.config`'s.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.logger import Logger

from mic.errors import ConfigError

SOCKET_NAME = "images"
"""``FileDescriptorName=`` of the sockets that images are served on."""

HTTP_SOCKET_NAME = "images-http"
"""The same of those for plain HTTP beside HTTPS."""

_FIRST_DESCRIPTOR = 3
_PATIENCE = 1.0


class Systemd:
    """The service's end. Without systemd (an empty environment) it tells nobody.

    ``sockets``: descriptors of listening sockets to serve images on, passed by a socket unit;
    ``http_sockets``: those for plain HTTP beside HTTPS.
    ``watchdog``: seconds after which systemd ends a service that has not said `alive`; 0: never.

    Raises `ConfigError` for sockets that are not for images, or not listening.
    """

    _log = Logger()

    def __init__(self, environment: Mapping[str, str], process: int) -> None:
        self._address = _notify_address(environment)
        self._status = ""
        self._dumb = False
        self.watchdog = _watchdog(environment, process) if self._address else 0.0
        sockets = _sockets(environment, process)
        self.sockets = sockets[SOCKET_NAME]
        self.http_sockets = sockets[HTTP_SOCKET_NAME]

    def ready(self, status: str) -> None:
        """The service serves, or has read everything again."""
        self._status = status
        self._send("READY=1", f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """The service reads everything again; `ready` ends it."""
        self._send("RELOADING=1")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def status(self, status: str) -> None:
        """What the service does, in a line for people; sent when it differs from the last."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """The service's loop turns: to be said twice in each `watchdog` period."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        """Tell systemd; when it cannot be told, that is logged once and no reason to end."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                # systemd reads soon. Without a limit, one that hangs would hang us.
                sock.settimeout(_PATIENCE)
                sock.connect(self._address)
                sock.sendall("\n".join(assignments).encode())
        except OSError as error:
            if not self._dumb:
                self._log.warn("cannot notify systemd: {error}", error=error)
            self._dumb = True
        else:
            self._dumb = False


def _notify_address(environment: Mapping[str, str]) -> str:
    """The notify socket's address: a path, or behind NUL a name in the abstract namespace."""
    address = environment.get("NOTIFY_SOCKET", "")
    if address.startswith("@"):
        return "\0" + address[1:]
    # Other kinds (vsock) are for virtual machines as a whole.
    return address if address.startswith("/") else ""


def _watchdog(environment: Mapping[str, str], process: int) -> float:
    period = environment.get("WATCHDOG_USEC", "")
    whose = environment.get("WATCHDOG_PID", str(process))
    if not period.isascii() or not period.isdigit() or whose != str(process):
        return 0.0
    return int(period) / 1e6


def _sockets(environment: Mapping[str, str], process: int) -> dict[str, tuple[int, ...]]:
    """Descriptors by the names that we know."""
    sockets: dict[str, tuple[int, ...]] = {SOCKET_NAME: (), HTTP_SOCKET_NAME: ()}
    count = environment.get("LISTEN_FDS", "")
    # What a parent of ours was given is not for us, though the variables are inherited.
    if environment.get("LISTEN_PID") != str(process) or not count.isascii() or not count.isdigit():
        return sockets
    descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    problems = []
    for descriptor, name in zip(descriptors, names + [""] * len(descriptors), strict=False):
        if name not in sockets:
            problems.append(
                f"systemd passes a socket named {name!r}: its unit must say "
                f"FileDescriptorName={SOCKET_NAME} (or {HTTP_SOCKET_NAME}, for plain HTTP beside "
                "HTTPS)"
            )
        elif not _listens(descriptor):
            problems.append(
                f"systemd passes socket {descriptor}, which takes no stream connections: "
                "its unit must have ListenStream= and Accept=no"
            )
        else:
            sockets[name] += (descriptor,)
    if problems:
        raise ConfigError(problems)
    return sockets


def _listens(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            stream = sock.type == socket.SOCK_STREAM
            return stream and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def _line(text: str) -> str:
    """``text`` as the value of an assignment, which a line break would end."""
    return " ".join(text.split())

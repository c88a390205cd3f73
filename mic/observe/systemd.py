"""The service manager protocol: state, watchdog, sockets, by environment.

sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). When to notify is left to `mic.service`;
credentials are files, and left to `mic.settings`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.logger import Logger

from mic.common.errors import ConfigError

SOCKET_NAME = "images"
"""``FileDescriptorName=`` of the sockets that images are served on."""

HTTP_SOCKET_NAME = "images-http"
"""``FileDescriptorName=`` of the sockets for plain HTTP next to HTTPS."""

_FIRST_DESCRIPTOR = 3
_TIMEOUT = 1.0


class Systemd:
    """The service's side. Without systemd (an empty environment) it sends nothing.

    ``sockets``: descriptors of listening sockets to serve images on, passed by a socket unit;
    ``http_sockets``: those for plain HTTP next to HTTPS.
    ``watchdog``: seconds after which systemd kills a service that has not sent `alive`; 0: never.

    Raises `ConfigError` for sockets with another name, or that do not listen.
    """

    _log = Logger()

    def __init__(self, environment: Mapping[str, str], process: int) -> None:
        self._address = _notify_address(environment)
        self._status = ""
        self._failed = False
        self.watchdog = _watchdog(environment, process) if self._address else 0.0
        sockets = _sockets(environment, process)
        self.sockets = sockets[SOCKET_NAME]
        self.http_sockets = sockets[HTTP_SOCKET_NAME]

    def ready(self, status: str) -> None:
        """Report that the service serves, or that a reload is over."""
        self._status = status
        self._send("READY=1", f"STATUS={_line(status)}")

    def reloading(self) -> None:
        """Report a reload; `ready` ends it."""
        self._send("RELOADING=1")

    def stopping(self) -> None:
        """Report that the service stops."""
        self._send("STOPPING=1")

    def status(self, status: str) -> None:
        """Set the status line; sent when it differs from the last one."""
        if status != self._status:
            self._status = status
            self._send(f"STATUS={_line(status)}")

    def alive(self) -> None:
        """Keep the watchdog from firing; call twice in each `watchdog` period."""
        self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        """Notify systemd; on failure log once and continue."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                # Without a timeout, a systemd that hangs would block the reactor.
                sock.settimeout(_TIMEOUT)
                sock.connect(self._address)
                sock.sendall("\n".join(assignments).encode())
        except OSError as error:
            if not self._failed:
                self._log.warn("cannot notify systemd: {error}", error=error)
            self._failed = True
        else:
            self._failed = False


def _notify_address(environment: Mapping[str, str]) -> str:
    """Return the notify socket's address: a path, or NUL and an abstract name."""
    address = environment.get("NOTIFY_SOCKET", "")
    if address.startswith("@"):
        return "\0" + address[1:]
    # Other kinds (vsock) are for whole virtual machines.
    return address if address.startswith("/") else ""


def _watchdog(environment: Mapping[str, str], process: int) -> float:
    period = environment.get("WATCHDOG_USEC", "")
    whose = environment.get("WATCHDOG_PID", str(process))
    if not period.isascii() or not period.isdigit() or whose != str(process):
        return 0.0
    return int(period) / 1e6


def _sockets(environment: Mapping[str, str], process: int) -> dict[str, tuple[int, ...]]:
    """Return the passed descriptors by socket name."""
    sockets: dict[str, tuple[int, ...]] = {SOCKET_NAME: (), HTTP_SOCKET_NAME: ()}
    count = environment.get("LISTEN_FDS", "")
    # Children inherit the variables of a parent that the sockets were passed to.
    if environment.get("LISTEN_PID") != str(process) or not count.isascii() or not count.isdigit():
        return sockets
    descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    problems = []
    for descriptor, name in zip(descriptors, names + [""] * len(descriptors), strict=False):
        if name not in sockets:
            problems.append(
                f"systemd passes a socket named {name!r}: its unit must say "
                f"FileDescriptorName={SOCKET_NAME} (or {HTTP_SOCKET_NAME}, for plain HTTP next to "
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
    """Return ``text`` on one line: a line break would end the assignment."""
    return " ".join(text.split())

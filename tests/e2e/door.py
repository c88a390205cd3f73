"""A way out of a network namespace that has nothing but its loopback: one port, to here."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import suppress

from e2e import parts

_MINUTE = 60.0
_CHUNK = 65536

# A listening socket belongs to the namespace it is made in, wherever it is used then.
_LISTEN = """\
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    with socket.socket(fileno=0) as parent:
        socket.send_fds(parent, [b"."], [listener.fileno()])
"""


class Door:
    """127.0.0.1:``port`` in a process's network namespace leads to the same address here.

    So the certificate of what listens here is good in there. Nobody listens until `open`.
    """

    def __init__(self, process: int, port: int) -> None:
        self._process = process
        self._port = port
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._connections: set[socket.socket] = set()

    def open(self) -> None:
        """Listen in there from now on."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run(
                [
                    *(parts.program("nsenter", "util-linux"), f"--target={self._process}", "--net"),
                    *(sys.executable, "-c", _LISTEN, str(self._port)),
                ],
                stdin=theirs,
                timeout=_MINUTE,
                check=True,
            )
            _, (descriptor,), _, _ = socket.recv_fds(ours, 1, 1)
        self._listener = socket.socket(fileno=descriptor)
        self._start(self._accept, self._listener)

    def close(self) -> None:
        """Listen no more, and end what goes through."""
        if self._listener is not None:
            with self._listener:
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener = None
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_MINUTE)
        self._threads.clear()

    def _start(self, target: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                self._start(self._pass_on, listener.accept()[0])

    def _pass_on(self, inside: socket.socket) -> None:
        with (
            inside,
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self._port)) as outside,
        ):
            self._connections |= {inside, outside}
            back = threading.Thread(target=_pump, args=(outside, inside), daemon=True)
            back.start()
            _pump(inside, outside)
            back.join(_MINUTE)
            self._connections -= {inside, outside}


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)

"""NMState conversion by the reference implementation, as a subprocess.

``nmstatectl gc`` reads no system state.
"""

from __future__ import annotations

import shutil
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from mic.common.errors import BuildInvalid, NotReady
from mic.common.keyfile import Keyfile
from mic.common.problems import DocumentInvalid, refusal
from mic.nmstate.listing import MAX_LISTING, from_yaml

TIME_LIMIT = 20.0
"""Seconds a conversion may take; real documents take hundredths of one."""

_MESSAGE_LIMIT = 4000


async def keyfiles(reactor: Any, document: bytes) -> tuple[Keyfile, ...]:
    """Return the keyfiles that nmstatectl makes of an NMState document.

    Raises `BuildInvalid` with nmstatectl's own message when it refuses the document, or when
    there is no nmstatectl on this machine; `NotReady` when it takes too long, is killed (mostly
    because memory is short), or cannot be started.
    """
    program = shutil.which("nmstatectl")
    if program is None:
        raise BuildInvalid(
            "NMState data cannot be converted: there is no nmstatectl on this machine"
        )
    conversion = _Conversion(reactor, document)
    # It reads standard input only under this name; "-" is a file to it.
    arguments = [program, "gc", "/dev/stdin"]
    process: IReactorProcess = reactor
    try:
        process.spawnProcess(conversion, program, arguments, env={"LC_ALL": "C.UTF-8"})
    except OSError as error:
        conversion.give_up()
        raise NotReady(f"{program} cannot be run: {error.strerror}") from None
    output = await conversion.output
    return _parsed(output)


def _parsed(output: bytes) -> tuple[Keyfile, ...]:
    try:
        return from_yaml(output.decode())
    except (DocumentInvalid, UnicodeDecodeError):
        raise BuildInvalid("nmstatectl printed something that is not keyfiles") from None


class _Conversion(ProcessProtocol):
    """One run: the document in, the output out, bounded in time and size."""

    def __init__(self, clock: IReactorTime, document: bytes) -> None:
        self._document = document
        self._out = bytearray()
        self._err = bytearray()
        self._failure: Exception | None = None
        self._timeout = clock.callLater(TIME_LIMIT, self._too_slow)
        self.output: Deferred[bytes] = Deferred(lambda _: self._kill())

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.write(self._document)
            self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._collect(self._out, data)

    def errReceived(self, data: bytes) -> None:
        self._collect(self._err, data)

    def processEnded(self, reason: Failure) -> None:
        if self._timeout.active():
            self._timeout.cancel()
        if self.output.called:
            return
        if self._failure is not None:
            self.output.errback(self._failure)
        elif reason.check(ProcessDone):
            self.output.callback(bytes(self._out))
        elif isinstance(reason.value, ProcessTerminated) and reason.value.signal is not None:
            self.output.errback(NotReady(f"nmstatectl was ended by signal {reason.value.signal}"))
        else:
            # The reason comes last.
            message = self._err.decode("utf-8", "replace").strip()[-_MESSAGE_LIMIT:]
            # It quotes the document.
            self.output.errback(refusal(message or "nmstatectl failed", "nmstatectl refuses it"))

    def give_up(self) -> None:
        """Stop the timer of a process that could not be started."""
        self._timeout.cancel()

    def _collect(self, buffer: bytearray, data: bytes) -> None:
        buffer += data
        if len(buffer) > MAX_LISTING:
            self._failure = BuildInvalid("nmstatectl printed more than any host needs")
            self._kill()

    def _too_slow(self) -> None:
        self._failure = NotReady(f"nmstatectl took longer than {TIME_LIMIT:.0f} s")
        self._kill()

    def _kill(self) -> None:
        if self.transport is not None:
            if self.transport.pid is not None:
                self.transport.signalProcess("KILL")
            # A child of its own may hold the pipes: do not wait for it.
            self.transport.loseConnection()

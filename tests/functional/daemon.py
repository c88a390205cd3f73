"""A real mic in a process of its own, and what a test may see of it from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import forkserver
from descriptors import open_files

ROOT = Path(__file__).resolve().parent.parent.parent
DEADLINE = 60.0
"""Seconds until something that ought to happen counts as not happening."""

MIC = (sys.executable, "-c", "from mic.cli.main import main; main()")
"""The command ``mic``, from the checkout, for what `forkserver` cannot start: other users' say."""

_SERVING = re.compile(r"serving \d+ images on (\S+?),")
_BAD = re.compile(r"Traceback|Unhandled|Error in|critical:|Warning:", re.IGNORECASE)
_NOT_OURS = "twisted.internet.tcp._FileDescriptorReservation"
"""Whose lines say that `mic status` of another test asked a mic that has no descriptors left."""
_SHOWN = 20_000  # characters
_T = TypeVar("_T")


def eventually(look: Callable[[], _T], what: str, deadline: float = DEADLINE) -> _T:
    """What ``look`` gives, once that is true; fails the test when it never is."""
    end = time.monotonic() + deadline
    while not (result := look()):
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.01)
    return result


class Daemon:
    """A running mic; its standard error goes to a file."""

    def __init__(
        self,
        log: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        command: Sequence[str] = (),
        module: str = "",
        cwd: Path = ROOT,
        graceful: tuple[int, ...] = (0,),
    ) -> None:
        """Start ``mic``, the program ``command``, or a module of ours that runs mic."""
        self.log_path = log
        self._graceful = graceful
        self._page = 0
        given = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        given |= environment
        self.process: subprocess.Popen[bytes] | forkserver.Process
        with log.open("wb") as stderr:
            if command:
                self.process = subprocess.Popen(
                    [*command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    cwd=cwd,
                    env=given,
                )
            else:
                self.process = forkserver.start(
                    arguments, module=module, environment=given, cwd=cwd, stderr=stderr
                )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """What it logged since `turn_page`."""
        return self.whole_log[self._page :]

    @property
    def whole_log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def turn_page(self) -> None:
        """Look only at what is logged from now on."""
        self._page = len(self.whole_log)

    def wait_for(self, pattern: str, count: int = 1, deadline: float = DEADLINE) -> list[str]:
        """Wait for ``count`` lines of the log that match; all that match then."""

        def look() -> list[str]:
            found = [line for line in self.log.splitlines() if re.search(pattern, line)]
            if len(found) < count:
                assert self.process.poll() is None, f"mic ended:\n{self.log}"
                return []
            return found

        return eventually(look, f"{pattern!r} in the log:\n{self.log}", deadline)

    def wait_until_serving(self) -> str:
        """Wait for it to serve; where."""
        if not (found := _SERVING.search(self.whole_log)):
            found = _SERVING.search(self.wait_for(_SERVING.pattern)[0])
        assert found
        return found[1]

    @property
    def tcp(self) -> tuple[str, int]:
        """Host and port it serves on."""
        host, _, port = self.wait_until_serving().rpartition(":")
        host = host.strip("[]")
        return {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(host, host), int(port)

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def clients(self) -> set[int]:
        """The ports of the TCP clients whose connections it has open.

        Descriptors do not tell: it opens others while it looks for changes.
        """
        inodes = set(re.findall(r"socket:\[(\d+)\]", " ".join(open_files(self.pid))))
        rows = [
            row.split()
            for name in ("tcp", "tcp6")
            for row in Path(f"/proc/{self.pid}/net/{name}").read_text().splitlines()[1:]
        ]
        # The columns of proc_net_tcp(5): the remote address is the third, the inode the tenth.
        return {int(row[2].rpartition(":")[2], 16) for row in rows if row[9] in inodes} - {0}

    def resident(self) -> int:
        """Its resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def processor_time(self) -> int:
        """Clock ticks it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def wait_until_idle(self) -> None:
        """Wait until it has used no processor time for a fifth of a second."""
        times = list(range(-5, 0))

        def look() -> bool:
            times[:] = [*times[1:], self.processor_time()]
            time.sleep(0.05)
            return times[0] == times[-1]

        eventually(look, "it is idle", 3 * DEADLINE)

    def check(self) -> None:
        """It runs, and nothing went wrong that it did not expect."""
        assert self.process.poll() is None, f"mic ended:\n{self.log}"
        self.check_log()

    def check_log(self) -> None:
        """Nothing in the log that nobody meant to write."""
        lines = (line for line in self.whole_log.splitlines() if _NOT_OURS not in line)
        bad = [line for line in lines if _BAD.search(line)]
        assert not bad, self.whole_log[-_SHOWN:]

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def stop(self, within: float = DEADLINE) -> None:
        """End it with SIGTERM, cleanly and much sooner than clients that stall are dropped."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"mic still runs {within} s after SIGTERM:\n{self.log}") from None
        self.kill()
        assert status in self._graceful, f"exit status {status}:\n{self.log}"
        self.check_log()

    def kill(self) -> None:
        """End it in any case."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

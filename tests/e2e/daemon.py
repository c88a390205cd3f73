"""mic itself, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mic

_START = 60.0
_STOP = 30.0
# The mic that the tests import, wherever it is installed.
_MIC = [sys.executable, "-c", "from mic.cli.main import main; main()"]
_PLACE = str(Path(mic.__file__).parent.parent)


class Daemon:
    """A running ``mic static``; ``log`` is what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._news = threading.Condition()
        self.log = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for(r" serving \d+ images on \S*:(\d+)", _START)[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Wait until the log has a match."""
        with self._news:
            self._news.wait_for(lambda: re.search(pattern, self.log) or not self._alive(), seconds)
            found = re.search(pattern, self.log)
        assert found, f"mic has not logged {pattern!r}:\n{self.log}"
        return found

    def get(self, name: str) -> bytes:
        """The content of an image."""
        with urllib.request.urlopen(f"{self.url}/{name}", timeout=_START) as answer:
            content: bytes = answer.read()
        return content

    def hang_up(self) -> None:
        """Have it look for changes now."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it, and see that it ends well."""
        self._process.terminate()
        try:
            status = self._process.wait(_STOP)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
        assert status == 0, f"mic ended with {status}:\n{self.log}"

    def _alive(self) -> bool:
        return self._process.poll() is None

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                with self._news:
                    self.log += line
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()


@contextmanager
def running(
    hosts: Path,
    environment: Mapping[str, str],
    *,
    flags: Sequence[str] = ("-images-bind-addr", "127.0.0.1:0"),
    within: Sequence[str] = (),
) -> Iterator[Daemon]:
    """``mic static`` for the hosts in a directory, on a free port of loopback.

    ``within`` is a command that starts it, such as one that changes to another network.
    """
    process = subprocess.Popen(
        [*within, *_MIC, "static", "-nmstate-dir", os.fspath(hosts), *flags],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": _PLACE, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        daemon = Daemon(process)
        yield daemon
        daemon.stop()
    finally:
        process.kill()
        process.wait()


def show(target: str, within: Sequence[str] = ()) -> bytes:
    """The config that ``mic show`` finds in an image; ``within`` as for `running`."""
    run = subprocess.run(
        [*within, *_MIC, "show", "-json", "-show-secrets", target],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": _PLACE},
        capture_output=True,
        timeout=_START,
        check=True,
    )
    return run.stdout.removesuffix(b"\n")

"""A server that forks processes of mic: each saves the import of mic, half a second or more.

`start` and `run` start ``mic`` like `subprocess` would: in a process of its own, with arguments,
environment, directory and standard streams of its own. The only difference is that its modules are
imported already. Nothing else is shared: the server never runs mic, and has no reactor.

That each command also starts without a server is in tests/functional/test_entry_points.py.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent

_PRELOADED = (
    "mic.cli.build",
    "mic.cli.check",
    "mic.cli.demo",
    "mic.cli.fetch",
    "mic.cli.foreground",
    "mic.cli.keyfiles",
    "mic.cli.modes",
    "mic.cli.show",
    "mic.cli.status",
    "mic.hosts.examine_cluster",
    "mic.service",
    "twisted.internet.endpoints",
    "twisted.internet.epollreactor",
)
_LONGEST = 1 << 20  # bytes of a request
_INHERITED = (signal.SIGINT, signal.SIGHUP)
"""Signals that a shell may have programs ignore."""


class Process:
    """A process of mic; the members are those of `subprocess.Popen`."""

    def __init__(self, report: int, pipes: Sequence[IO[bytes] | None]) -> None:
        """``report`` is a pipe from which the process's id and then its exit status are read."""
        self._report = report
        self.pid = int(self._reported())
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = pipes

    def _reported(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            more = os.read(self._report, 1)
            assert more, f"the fork server ended: {_server().end()}"
            line += more
        return line

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("mic", timeout or 0)
            self.returncode = int(self._reported())
            os.close(self._report)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, given: bytes = b"", timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write ``given`` to standard input, read the outputs to their end, and wait."""
        end = None if timeout is None else time.monotonic() + timeout
        with ThreadPoolExecutor(3) as pool:
            read = [pool.submit(_read, pipe) for pipe in (self.stdout, self.stderr)]
            written = pool.submit(_write, self.stdin, given)
            try:
                self.wait(timeout)
                out, err = (
                    each.result(None if end is None else max(0.0, end - time.monotonic()) + 1)
                    for each in read
                )
            except (subprocess.TimeoutExpired, TimeoutError):
                self.kill()
                raise
            written.result()
        return out, err


def _read(pipe: IO[bytes] | None) -> bytes:
    if pipe is None:
        return b""
    with pipe:
        return pipe.read()


def _write(pipe: IO[bytes] | None, data: bytes) -> None:
    if pipe is not None:
        with suppress(BrokenPipeError), pipe:
            pipe.write(data)


def start(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path = ROOT,
    module: str = "",
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] = subprocess.PIPE,
    stderr: int | IO[Any] = subprocess.PIPE,
    start_new_session: bool = False,
) -> Process:
    """Start ``mic`` with these arguments, or ``python -m MODULE``; the rest is as for `Popen`."""
    request = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "cwd": str(cwd),
        "module": module,
        "session": start_new_session,
        "ignored": [n for n in _INHERITED if signal.getsignal(n) is signal.SIG_IGN],
    }
    ours: list[IO[bytes] | None] = []
    theirs: list[int] = []
    opened: list[int] = []
    for wanted in (stdin, stdout, stderr):
        pipe: IO[bytes] | None = None
        if wanted == subprocess.PIPE:
            reader, writer = os.pipe()
            if theirs:
                pipe, end = os.fdopen(reader, "rb"), writer
            else:
                pipe, end = os.fdopen(writer, "wb", 0), reader
            opened.append(end)
        elif wanted == subprocess.DEVNULL:
            end = os.open(os.devnull, os.O_RDWR)
            opened.append(end)
        else:
            end = wanted if isinstance(wanted, int) else wanted.fileno()
        ours.append(pipe)
        theirs.append(end)
    report, theirs_report = os.pipe()
    opened.append(theirs_report)
    try:
        _server().send(json.dumps(request).encode(), [*theirs, theirs_report])
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return Process(report, ours)


def run(
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    stdin: str = "",
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run ``mic`` to its end; the environment has a PATH and what is given."""
    given = [str(each) for each in arguments]
    process = start(
        given,
        environment={"PATH": os.environ["PATH"], **(environment or {})},
        cwd=cwd,
        stdin=subprocess.PIPE,
    )
    out, err = process.communicate(stdin.encode(), timeout)
    return subprocess.CompletedProcess(given, process.wait(), out.decode(), err.decode())


_PROGRAM = """\
#!{python} -IS
import json, os, socket, sys
reported, report = os.pipe()
request = dict(arguments=sys.argv[1:], environment=dict(os.environ), cwd=os.getcwd())
request.update(module="", session=False, ignored=[])
with socket.socket(fileno={descriptor}) as server:
    socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2, report])
os.close(report)
_, status = os.fdopen(reported).read().split()
sys.exit(int(status))
"""


def program(path: Path) -> int:
    """Make ``path`` the program ``mic``; a shell that runs it has to inherit the descriptor.

    The program needs a fiftieth of the time that a Python takes which imports mic.
    """
    path.write_text(_PROGRAM.format(python=sys.executable, descriptor=_server().descriptor))
    path.chmod(0o755)
    return _server().descriptor


class _Server:
    """The server of this process."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        names = ("PATH", "HOME")
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"import forkserver; forkserver.serve({theirs.fileno()})"],
                env={
                    **{name: os.environ[name] for name in names if name in os.environ},
                    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
                },
                cwd=ROOT,
                # Pipes: modules keep the stream objects, which remember whether they can seek.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.stop)

    @property
    def descriptor(self) -> int:
        """Requests are written to it, whole."""
        return self._socket.fileno()

    def send(self, request: bytes, descriptors: Sequence[int]) -> None:
        with self._lock:
            socket.send_fds(self._socket, [request], descriptors)

    def stop(self) -> None:
        self._socket.close()
        self._process.communicate()

    def end(self) -> str:
        """Why it ended, which it should not."""
        return self._process.communicate()[1].decode()


@cache
def _server() -> _Server:
    return _Server()


def serve(descriptor: int) -> None:
    """Fork a process for each request, until the other end of the socket is closed."""
    for name in _PRELOADED:
        __import__(name)
    assert "twisted.internet.reactor" not in sys.modules, "processes would share its epoll"
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=descriptor)
    reports: dict[int, int] = {}
    ended, wake = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([requests, ended], [], [])
        if ended in ready:
            with suppress(BlockingIOError):
                os.read(ended, 4096)
            _reap(reports)
        if requests not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(requests, _LONGEST, 4)
        if not data:
            return
        if not (pid := os.fork()):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.detach()
            _become(json.loads(data), descriptors)
            return
        for each in descriptors[:3]:
            os.close(each)
        reports[pid] = descriptors[3]
        _report(reports[pid], pid)


def _reap(reports: dict[int, int]) -> None:
    while reports:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        report = reports.pop(pid)
        _report(report, os.waitstatus_to_exitcode(status))
        os.close(report)


def _report(where: int, number: int) -> None:
    # The reader may be gone.
    with suppress(BrokenPipeError):
        os.write(where, b"%d\n" % number)


def _become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Make this process what was asked for, and run it."""
    if request["session"]:
        os.setsid()
    for number in _INHERITED:
        is_ignored = number in request["ignored"]
        signal.signal(number, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    if signal.SIGINT not in request["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["cwd"])
    sys.argv = ["-c", *request["arguments"]]
    if request["module"]:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    else:
        from mic.cli.main import main

        main()

"""Run mic in the foreground, as the commands do: load settings, log, serve until a signal."""

from __future__ import annotations

import atexit
import faulthandler
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

from twisted.application.service import IService

from mic.common.errors import ConfigError
from mic.observe import log
from mic.observe.systemd import Systemd
from mic.settings.load import load
from mic.settings.model import Mode

if TYPE_CHECKING:
    from mic.service import Mic


def serve(
    mode: Mode,
    environment: Mapping[str, str],
    flags: Mapping[str, str],
    *,
    started: Callable[[Mic], None] = lambda _: None,
) -> int:
    """Serve until a signal; return the exit status, 1 when mic cannot start.

    ``environment`` is that of the process at its start: Twisted removes systemd's sockets from
    ``os.environ`` when it is imported. ``started`` is called with the service before it runs.
    """
    from twisted.internet import reactor

    from mic.service import Mic

    try:
        settings = load(mode, environment, flags)
        log.begin(settings.log)
        service = Mic(settings, reactor, systemd=Systemd(environment, os.getpid()))
    except ConfigError as error:
        sys.stderr.write(f"{error.report()}\n")
        return 1
    started(service)
    return run(service)


def run(service: Mic) -> int:
    """Run ``service`` until a signal ends it; return the process's exit status.

    When it cannot start, the last line on stderr is the reason, as plain text in any log format.
    """
    from twisted.internet import reactor

    # Prints where the process hangs when systemd's watchdog or an operator sends SIGABRT.
    faulthandler.enable()
    running = IService(service)
    try:
        running.startService()
    except SystemExit as error:
        sys.stderr.write(f"{error.code}\n")
        return 1
    reactor.addSystemEventTrigger("before", "shutdown", running.stopService)
    reactor.run()
    return int(service.failed)


def exit_process(status: int) -> NoReturn:
    """End the process without tearing the interpreter down.

    The kernel frees the same memory. Tearing down costs a fifth of a second of CPU time in
    controller mode, which is seconds on a busy machine, and would wait for threads that are
    blocked in a server or a disk that does not respond.
    """
    atexit._run_exitfuncs()  # the Kubernetes client removes the files it made of inline keys
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)

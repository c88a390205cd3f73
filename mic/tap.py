"""``twistd mic``: the options of the plugin, and the service they make."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver
from twisted.python import usage

from mic import log
from mic.config import LogSettings, Mode, flags_of, load
from mic.errors import ConfigError
from mic.service import Mic, reason
from mic.systemd import Systemd


def _parameters(mode: Mode) -> list[list[str | None]]:
    """A mode's flags as `usage.Options` wants them: long name, no short one, default, text."""
    return [
        [flag.name, None, flag.default, flag.meaning] for flag in flags_of(mode) if not flag.switch
    ]


def _switches(mode: Mode) -> list[list[str | None]]:
    """A mode's switches, likewise: they take no value."""
    return [[flag.name, None, flag.meaning] for flag in flags_of(mode) if flag.switch]


def _given(options: usage.Options, mode: Mode) -> dict[str, str]:
    """What was given, in the words of `mic.config.load`."""
    values = {flag.name: options[flag.name] for flag in flags_of(mode)}
    return {
        flag.name: str(bool(values[flag.name])).lower() if flag.switch else str(values[flag.name])
        for flag in flags_of(mode)
    }


class StaticOptions(usage.Options):
    """Options of ``twistd mic static``: the flags, with two dashes."""

    optParameters = _parameters(Mode.STATIC)
    optFlags = _switches(Mode.STATIC)
    longdesc = "Serve an image for each NMState file of a directory."


class ControllerOptions(usage.Options):
    """Options of ``twistd mic controller``: the flags, with two dashes."""

    optParameters = _parameters(Mode.CONTROLLER)
    optFlags = _switches(Mode.CONTROLLER)
    longdesc = "Reconcile PreprovisioningImages and serve their images."


class Options(usage.Options):
    """Options of ``twistd mic``: the mode is a subcommand."""

    subCommands = [  # noqa: RUF012 - read by twisted.python.usage as a class attribute
        ["controller", None, ControllerOptions, "hosts from PreprovisioningImages"],
        ["static", None, StaticOptions, "hosts from a directory of NMState files"],
    ]

    def postOptions(self) -> None:
        """Insist on a mode."""
        if self.subCommand is None:
            raise usage.UsageError("which mode? controller or static")


class _Logged(MultiService):
    """A service that brings its log along to the application, which twistd asks for one."""

    def __init__(self, service: IService, observer: ILogObserver) -> None:
        super().__init__()
        self._observer = observer
        service.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """Become a part of an application."""
        parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)


def _observer(twistd: Any, settings: LogSettings) -> log.Observer | None:
    """Our log, where twistd's would go to standard output; None where the user has other plans.

    A daemon logs to a file that twistd opens and rotates.
    """
    elsewhere = any(twistd.get(option) for option in ("logger", "logfile", "syslog"))
    # Now: when it begins to log, twistd puts something else in its place.
    return log.Observer(settings, sys.stdout) if twistd.get("nodaemon") and not elsewhere else None


def makeService(options: Options) -> IService:
    """The service for parsed options; raises `SystemExit` with all that is wrong with them."""
    from twisted.internet import reactor

    mode = Mode(str(options.subCommand))
    try:
        settings = load(mode, os.environ, _given(options.subOptions, mode))
        log.bridge(settings.log)
        service = Mic(settings, reactor, systemd=Systemd(os.environ, os.getpid()))
    except ConfigError as error:
        raise SystemExit(reason(error)) from None
    observer = _observer(options.parent or {}, settings.log)
    return service if observer is None else _Logged(service, observer)

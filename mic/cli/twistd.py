"""``twistd mic``: the options of the plugin, and the service they make."""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver
from twisted.python import usage

from mic.cli.flags import variables_text, version_text
from mic.common.errors import ConfigError
from mic.observe import log
from mic.observe.systemd import Systemd
from mic.service import Mic
from mic.settings.load import load
from mic.settings.model import LogSettings, Mode
from mic.settings.table import flags_of, variables_of


def _parameters(mode: Mode) -> list[list[str | None]]:
    """Return a mode's flags for `usage.Options`: long name, no short one, default, help."""
    return [
        [flag.name, None, flag.default, flag.help] for flag in flags_of(mode) if not flag.switch
    ]


def _switches(mode: Mode) -> list[list[str | None]]:
    """Return a mode's switches, which take no value, for `usage.Options`."""
    return [[flag.name, None, flag.help] for flag in flags_of(mode) if flag.switch]


def _given(options: usage.Options, mode: Mode) -> dict[str, str]:
    """Return the values of flags as `mic.settings.load.load` takes them."""
    values = {flag.name: options[flag.name] for flag in flags_of(mode)}
    return {
        flag.name: str(bool(values[flag.name])).lower() if flag.switch else str(values[flag.name])
        for flag in flags_of(mode)
    }


class _Options(usage.Options):
    """Options whose ``--version`` is the one of mic, not of Twisted."""

    def opt_version(self) -> None:
        """Print the version of mic and exit."""
        sys.stdout.write(version_text())
        sys.exit(0)


class _ModeOptions(_Options):
    """The flags of a mode, with two dashes; ``--help`` lists its environment variables too."""

    mode: Mode

    def getUsage(self, width: int | None = None) -> str:
        """Return the help text."""
        return f"{super().getUsage(width)}{variables_text(variables_of(self.mode))}"


class StaticOptions(_ModeOptions):
    """Options of ``twistd mic static``."""

    mode = Mode.STATIC
    optParameters = _parameters(Mode.STATIC)
    optFlags = _switches(Mode.STATIC)
    longdesc = "Serve an image for each host file of a directory."


class ControllerOptions(_ModeOptions):
    """Options of ``twistd mic controller``."""

    mode = Mode.CONTROLLER
    optParameters = _parameters(Mode.CONTROLLER)
    optFlags = _switches(Mode.CONTROLLER)
    longdesc = "Reconcile PreprovisioningImages and serve their images."


class Options(_Options):
    """Options of ``twistd mic``: the mode is a subcommand."""

    subCommands = [  # noqa: RUF012 - read by twisted.python.usage as a class attribute
        ["controller", None, ControllerOptions, "hosts from PreprovisioningImages"],
        ["static", None, StaticOptions, "hosts from a directory of files"],
    ]

    def postOptions(self) -> None:
        """Require a mode."""
        if self.subCommand is None:
            raise usage.UsageError("which mode? controller or static")


class _Logged(MultiService):
    """A service that sets its log observer on the application, where twistd looks for one."""

    def __init__(self, service: IService, observer: ILogObserver) -> None:
        super().__init__()
        self._observer = observer
        service.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """Join an application."""
        parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)


def _observer(twistd: Any, settings: LogSettings) -> log.Observer | None:
    """Return an observer when twistd would log to standard output, else None.

    A daemon logs to a file that twistd opens and rotates.
    """
    elsewhere = any(twistd.get(option) for option in ("logger", "logfile", "syslog"))
    # sys.stdout is taken now: twistd replaces it when it begins to log.
    return log.Observer(settings, sys.stdout) if twistd.get("nodaemon") and not elsewhere else None


def makeService(options: Options) -> IService:
    """Return the service for parsed options; raise `SystemExit` with all their problems."""
    from twisted.internet import reactor

    mode = Mode(str(options.subCommand))
    try:
        settings = load(mode, os.environ, _given(options.subOptions, mode))
        log.bridge(settings.log)
        service = Mic(settings, reactor, systemd=Systemd(os.environ, os.getpid()))
    except ConfigError as error:
        raise SystemExit(error.report()) from None
    observer = _observer(options.parent or {}, settings.log)
    return service if observer is None else _Logged(service, observer)

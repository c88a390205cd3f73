"""``twistd mic``: the options of the plugin, and the service they make."""

from __future__ import annotations

import os

from twisted.application.service import IService
from twisted.python import usage

from mic.config import Mode, flags_of, load
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


def makeService(options: Options) -> IService:
    """The service for parsed options; raises `SystemExit` with all that is wrong with them."""
    from twisted.internet import reactor

    mode = Mode(str(options.subCommand))
    try:
        settings = load(mode, os.environ, _given(options.subOptions, mode))
        return Mic(settings, reactor, systemd=Systemd(os.environ, os.getpid()))
    except ConfigError as error:
        raise SystemExit(reason(error)) from None

"""The command ``mic``, and the entry points of the Go implementation."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from mic import __version__
from mic.config import Mode, flags_of, load
from mic.errors import ConfigError

_USAGE = """\
Usage: mic COMMAND [FLAGS]

  controller  reconcile PreprovisioningImages and serve their images
  static      serve an image for each NMState file of a directory
  status      tell what a running mic does, and who reads which image
  demo        try mic without CoreOS media and without configuration
  show        print what an image carries
  keyfiles    print or write the keyfiles that NMState documents become

mic COMMAND -h tells the flags of a command. README.md tells the environment variables.
"""

# Commands import what they need when they run: most of it installs the reactor.


def serve(program: str, mode: Mode, arguments: Sequence[str]) -> int:
    """Run a mode in the foreground until a signal ends it, then end the process.

    Returns, with the process's exit status, only when the configuration cannot be used.
    """
    # As it was given: Twisted takes systemd's sockets out of it when it is imported.
    environment = dict(os.environ)
    from mic.run import leave, parse_or_exit, run

    flags = parse_or_exit(program, arguments, flags_of(mode))
    from twisted.internet import reactor

    from mic import log
    from mic.service import Mic, reason
    from mic.systemd import Systemd

    try:
        settings = load(mode, environment, flags)
        log.begin(settings.log)
        service = Mic(settings, reactor, systemd=Systemd(environment, os.getpid()))
    except ConfigError as error:
        sys.stderr.write(reason(error) + "\n")
        return 1
    return leave(run(service))


def static_server() -> None:
    """Entry point of ``machine-image-customization-server`` and its short name."""
    sys.exit(serve(os.path.basename(sys.argv[0]), Mode.STATIC, sys.argv[1:]))


def controller() -> None:
    """Entry point of ``machine-image-customization-controller`` and its short name."""
    sys.exit(serve(os.path.basename(sys.argv[0]), Mode.CONTROLLER, sys.argv[1:]))


def _controller(arguments: Sequence[str]) -> int:
    return serve("mic controller", Mode.CONTROLLER, arguments)


def _static(arguments: Sequence[str]) -> int:
    return serve("mic static", Mode.STATIC, arguments)


def _status(arguments: Sequence[str]) -> int:
    from mic.status import main as status

    return status(arguments)


def _demo(arguments: Sequence[str]) -> int:
    from mic.demo import main as demo

    return demo(arguments)


def _show(arguments: Sequence[str]) -> int:
    from mic.show import main as show

    return show(arguments)


def _keyfiles(arguments: Sequence[str]) -> int:
    from mic.keyfiles import main as keyfiles

    return keyfiles(arguments)


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "controller": _controller,
    "static": _static,
    "status": _status,
    "demo": _demo,
    "show": _show,
    "keyfiles": _keyfiles,
}


def main() -> None:
    """Entry point of ``mic``."""
    command, *arguments = sys.argv[1:] or [""]
    if command in ("-h", "-help", "--help", "help"):
        sys.stdout.write(_USAGE)
        sys.exit(0)
    if command in ("-version", "--version", "version"):
        sys.stdout.write(f"mic {__version__}\n")
        sys.exit(0)
    run = _COMMANDS.get(command)
    if run is None:
        what = f"unknown command {command!r}" if command else "a command is missing"
        sys.stderr.write(f"{_USAGE}mic: {what}\n")
        sys.exit(2)
    sys.exit(run(arguments))

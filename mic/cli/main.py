"""The command ``mic``, and the entry points of the Go implementation."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mic.cli.flags import Command

_USAGE = """\
Usage: mic COMMAND [FLAGS]

  controller  reconcile PreprovisioningImages and serve their images
  static      serve an image for each host file of a directory
  status      show what a running mic serves, and which client reads which image
  demo        try mic without CoreOS media and without configuration
  show        print what an image carries
  build       write the image of a host to a file
  keyfiles    print, write or verify the keyfiles made from NMState or OpenStack network data
  fetch       download a base image and verify it
  check       report what is wrong with settings, base images and hosts; change nothing

Run mic COMMAND -h for the flags of a command, mic -version for the version.
"""

# Commands import modules when they run: some install the reactor, and most take a while.


def static_server() -> None:
    """Entry point of ``machine-image-customization-server`` and its short name."""
    from mic.cli import modes

    sys.exit(modes.static(os.path.basename(sys.argv[0]), sys.argv[1:]))


def controller() -> None:
    """Entry point of ``machine-image-customization-controller`` and its short name."""
    from mic.cli import modes

    sys.exit(modes.controller(os.path.basename(sys.argv[0]), sys.argv[1:]))


def _controller(arguments: Sequence[str]) -> int:
    from mic.cli import modes

    return modes.controller("mic controller", arguments)


def _static(arguments: Sequence[str]) -> int:
    from mic.cli import modes

    return modes.static("mic static", arguments)


def _status(arguments: Sequence[str]) -> int:
    from mic.cli.status import main as status

    return status(arguments)


def _demo(arguments: Sequence[str]) -> int:
    from mic.cli.demo import main as demo

    return demo(arguments)


def _show(arguments: Sequence[str]) -> int:
    from mic.cli.show import main as show

    return show(arguments)


def _keyfiles(arguments: Sequence[str]) -> int:
    from mic.cli.keyfiles import main as keyfiles

    return keyfiles(arguments)


def _check(arguments: Sequence[str]) -> int:
    from mic.cli.check import main as check

    return check(arguments)


def _build(arguments: Sequence[str]) -> int:
    from mic.cli.build import main as build

    return build(arguments)


def _fetch(arguments: Sequence[str]) -> int:
    from mic.cli.fetch import main as fetch

    return fetch(arguments)


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "controller": _controller,
    "static": _static,
    "status": _status,
    "demo": _demo,
    "show": _show,
    "build": _build,
    "keyfiles": _keyfiles,
    "fetch": _fetch,
    "check": _check,
}


def commands() -> dict[str, Command]:
    """Return the descriptions of all commands by name, for man pages and shell completion."""
    from mic.cli import modes

    found = modes.commands()
    return {name: found.get(name) or import_module(f"mic.cli.{name}").COMMAND for name in _COMMANDS}


def main() -> None:
    """Entry point of ``mic``."""
    command, *arguments = sys.argv[1:] or [""]
    if command in ("-h", "-help", "--help", "help"):
        sys.stdout.write(_USAGE)
        sys.exit(0)
    if command in ("-version", "--version", "version"):
        from mic.cli.flags import version_text

        sys.stdout.write(version_text())
        sys.exit(0)
    run = _COMMANDS.get(command)
    if not command:
        sys.stderr.write(f"{_USAGE}mic: a command is missing\n")
        sys.exit(2)
    if run is None:
        from mic.cli.flags import shown, similar

        found = similar(command.lstrip("-"), _COMMANDS)
        hint = f"; did you mean {found}? " if found else "; "
        sys.stderr.write(f"mic: unknown command '{shown(command)}'{hint}see mic -h\n")
        sys.exit(2)
    sys.exit(run(arguments))

"""``mic controller`` and ``mic static``: the daemon, under each of its names."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mic.cli.flags import Command
from mic.settings.model import Mode
from mic.settings.table import flags_of, variables_of

_SUMMARIES = {
    Mode.CONTROLLER: "Reconcile PreprovisioningImages and serve their images over HTTP or HTTPS.",
    Mode.STATIC: "Serve an image for each host file of a directory over HTTP or HTTPS.",
}
_EXAMPLES = {
    Mode.CONTROLLER: "-namespace metal3 -images-publish-addr http://192.0.2.1:8084",
    Mode.STATIC: "-nmstate-dir /etc/mic/hosts -images-publish-addr http://192.0.2.1:8084",
}


def commands() -> dict[str, Command]:
    """Return the descriptions of both commands by name."""
    return {mode.value: _command(f"mic {mode}", mode) for mode in Mode}


def controller(program: str, arguments: Sequence[str]) -> int:
    """Run controller mode until a signal, then end the process; never return."""
    return _serve(program, Mode.CONTROLLER, arguments)


def static(program: str, arguments: Sequence[str]) -> int:
    """Run static mode until a signal, then end the process; never return."""
    return _serve(program, Mode.STATIC, arguments)


def _command(program: str, mode: Mode) -> Command:
    return Command(
        program=program,
        summary=_SUMMARIES[mode],
        example=f"{program} {_EXAMPLES[mode]}",
        flags=flags_of(mode),
        variables=variables_of(mode),
    )


def _serve(program: str, mode: Mode, arguments: Sequence[str]) -> int:
    # Twisted removes systemd's sockets from the environment when it is imported.
    environment = dict(os.environ)
    (other,) = (each for each in Mode if each is not mode)
    flags = _command(program, mode).parse(
        arguments,
        elsewhere={
            flag.name: f"mic {other}" for flag in flags_of(other) if flag not in flags_of(mode)
        },
    )
    from mic.cli import foreground

    return foreground.exit_process(foreground.serve(mode, environment, flags))

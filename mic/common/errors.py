"""Errors with messages for operators: they name the input, the reason and the fix.

Messages contain no secrets: raise with the name of an input, never with its value.
"""

from __future__ import annotations

from typing import TypeVar


class MicError(Exception):
    """A refusal or failure with a message for operators."""


_Error = TypeVar("_Error", bound=MicError)


def without_frames(error: _Error) -> _Error:
    """Return an equal error without the frames that it came through: to keep, or to raise again.

    An error that is raised twice has the frames of both times, and what these refer to, such as
    open files, stays for as long as the error.
    """
    # Not copy(): that calls the class with the message, and some take something else.
    again = type(error).__new__(type(error), *error.args)
    again.__dict__.update(error.__dict__)
    return again


class ConfigError(MicError):
    """The environment or the flags are unusable.

    ``problems`` has one sentence for each problem; all are collected before this is raised.
    ``can_pass``: a file could not be read for a temporary reason, such as a lack of descriptors.
    """

    def __init__(self, problems: list[str], *, can_pass: bool = False) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.can_pass = can_pass

    def report(self) -> str:
        """Return a line for each problem, and a last line with all of them.

        Kubernetes and systemd show the last line of a process.
        """
        lines = [f"mic: {problem}" for problem in self.problems] if len(self.problems) > 1 else []
        return "\n".join([*lines, f"mic: cannot start: {self}"])


class BuildInvalid(MicError):
    """An image cannot be built from this input; a retry without a change fails again."""

    @property
    def without_content(self) -> tuple[str, ...] | None:
        """The problems without content of the input, for readers who must not see it.

        None: the message quotes no content.
        """
        return None


class BaseUnavailable(BuildInvalid):
    """The base image is missing or broken; the host's own data is not the cause."""


class NotReady(MicError):
    """An image cannot be built yet; the same input may succeed later."""

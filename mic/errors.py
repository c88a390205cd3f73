"""The failure vocabulary. Messages are written for operators: they name the input and the mend.

No message carries a secret: raise with the name of the input, never with its value.
"""


class MicError(Exception):
    """Anything mic refuses to do, with a message for a person."""


class ConfigError(MicError):
    """The environment or the flags cannot be used.

    ``problems`` holds one sentence each; all of them are found before this is raised.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class BuildInvalid(MicError):
    """An image cannot be built from this input; trying again without a change is useless."""


class BaseUnavailable(BuildInvalid):
    """The base image is missing or broken: its fault, not that of the host's data."""


class NotReady(MicError):
    """An image cannot be built yet; the same input may succeed later."""

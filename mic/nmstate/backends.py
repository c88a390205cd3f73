"""Which generator converts: the built-in one, nmstatectl, or both to compare them."""

from __future__ import annotations

import shutil
from enum import StrEnum

from mic.errors import ConfigError

VARIABLE = "MIC_NMSTATE_BACKEND"


class Backend(StrEnum):
    """What converts NMState. None stands in for another: a failure is a failure."""

    BUILTIN = "builtin"
    NMSTATECTL = "nmstatectl"
    VERIFY = "verify"


def chosen(text: str) -> Backend:
    """Return the backend that the variable names; raises `ConfigError` when it cannot be used."""
    try:
        backend = Backend(text or Backend.BUILTIN)
    except ValueError:
        allowed = ", ".join(Backend)
        raise ConfigError([f"{VARIABLE}: {text!r} is none of {allowed}"]) from None
    if backend is not Backend.BUILTIN and shutil.which("nmstatectl") is None:
        raise ConfigError([f"{VARIABLE}: {backend} needs nmstatectl, which is not on this machine"])
    return backend

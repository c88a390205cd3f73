"""A base file as status reports show it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mic.media.base import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseState:
    """A base file as ``mic status`` shows it: its kind and version, or the ``problem`` with it.

    ``volume`` is the volume name of an ISO; ``digest`` has the first twelve hexadecimal digits, as
    in the log.
    """

    path: str
    kind: Kind
    volume: str = ""
    size: int = 0
    digest: str = ""
    problem: str = ""

"""Health of a component, and of the process as their sum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Problems as texts for operators, by their effect.

    ``fatal`` needs a restart (``/healthz``). ``not_ready`` prevents serving images (``/readyz``).
    ``warnings`` concern single hosts or are temporary; they change no status.
    """

    fatal: tuple[str, ...] = ()
    not_ready: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, parts: Iterable[Health]) -> Health:
        """Return the combined health, in the order of ``parts``."""
        parts = list(parts)
        return cls(
            fatal=tuple(text for part in parts for text in part.fatal),
            not_ready=tuple(text for part in parts for text in part.not_ready),
            warnings=tuple(text for part in parts for text in part.warnings),
        )

    @property
    def ready(self) -> bool:
        """Whether nothing prevents serving images."""
        return not self.not_ready

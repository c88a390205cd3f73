"""Input of the operator for one host."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HostData:
    """The documents of a host as they are; None for each that was not given.

    They may hold secrets, so the repr shows none of them.
    """

    network: bytes | None = field(default=None, repr=False)
    """NMState, or OpenStack network data: see `mic.networkdata`."""
    kernel_arguments: bytes | None = field(default=None, repr=False)
    """Words to append and to remove: see `mic.media.kernel_arguments`."""
    kernel_arguments_name: str = "kernelArguments"
    """Name of the file, or of the Secret's key, for messages."""
    ignition: bytes | None = field(default=None, repr=False)
    """An Ignition config: see `mic.ignition.extra`."""
    ignition_name: str = "ignition"
    """Name of the file, or of the Secret's key, for messages."""

    def __bool__(self) -> bool:
        return any(part is not None for part in self._parts)

    @property
    def size(self) -> int:
        """Number of bytes of all documents."""
        return sum(len(part or b"") for part in self._parts)

    def digest(self) -> bytes:
        """Return a digest: equal exactly for equal documents."""
        digest = hashlib.sha256()
        for part in self._parts:
            digest.update(b"-" if part is None else b"%d:" % len(part))
            digest.update(part or b"")
        return digest.digest()

    @property
    def _parts(self) -> tuple[bytes | None, ...]:
        return (self.network, self.kernel_arguments, self.ignition)

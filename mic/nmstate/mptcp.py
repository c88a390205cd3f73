"""Multipath TCP: an interface's ``mptcp`` member and NetworkManager's flags for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mic.nmstate import schema
from mic.nmstate.problems import Path, problem
from mic.nmstate.schema import Struct, member, optional, sequence

# NM_MPTCP_FLAGS_* of libnm.
_DISABLED: Final = 0x01
_ALSO_WITHOUT_DEFAULT_ROUTE: Final = 0x08
_BITS: Final = {"signal": 0x10, "subflow": 0x20, "backup": 0x40, "fullmesh": 0x80}

FLAG: Final = schema.choice(*_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mptcp:
    """What addresses of the interface do for MPTCP."""

    flags: tuple[str, ...] | None = member("address-flags", optional(sequence(FLAG)))

    def check(self, path: Path) -> None:
        """Raise `NMStateInvalid` for flags that the kernel refuses together."""
        if self.flags is not None and {"signal", "fullmesh"} <= set(self.flags):
            raise problem(path / "address-flags", "signal and fullmesh exclude each other")

    def value(self) -> int | None:
        """Return the profile's ``mptcp-flags``.

        NetworkManager skips interfaces without a default route unless told otherwise.
        """
        if self.flags is None:
            return None
        if not self.flags:
            return _DISABLED
        bits = _ALSO_WITHOUT_DEFAULT_ROUTE
        for flag in self.flags:
            bits |= _BITS[flag]
        return bits


read: Final = Struct(Mptcp)

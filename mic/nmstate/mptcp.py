"""Multipath TCP: the ``mptcp`` member of an interface, and its flags in NetworkManager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mic.common import schema
from mic.common.problems import Path, problem
from mic.common.schema import Struct, member, optional, sequence

# NM_MPTCP_FLAGS_* of libnm.
_DISABLED: Final = 0x01
_ALSO_WITHOUT_DEFAULT_ROUTE: Final = 0x08
_BITS: Final = {"signal": 0x10, "subflow": 0x20, "backup": 0x40, "fullmesh": 0x80}

FLAG: Final = schema.choice(*_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mptcp:
    """The use of the interface's addresses by MPTCP."""

    flags: tuple[str, ...] | None = member("address-flags", optional(sequence(FLAG)))

    def check(self, path: Path) -> None:
        """Raise `DocumentInvalid` for flags that the kernel does not allow together."""
        if self.flags is not None and {"signal", "fullmesh"} <= set(self.flags):
            raise problem(path / "address-flags", "signal and fullmesh are mutually exclusive")

    def value(self) -> int | None:
        """Return the profile's ``mptcp-flags``.

        By default, NetworkManager skips interfaces without a default route.
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

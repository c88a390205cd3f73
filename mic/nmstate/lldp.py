"""Link layer discovery: an interface's ``lldp`` member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mic.nmstate import schema
from mic.nmstate.schema import Struct, member, required


@dataclass(frozen=True, slots=True, kw_only=True)
class Lldp:
    """Whether neighbours are listened for; those seen before are of no interest."""

    enabled: bool = required("enabled", schema.truth)
    neighbors: Any = member("neighbors", schema.anything)


read: Final = Struct(Lldp)

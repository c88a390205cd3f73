"""Link layer discovery: the ``lldp`` member of an interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema
from mic.common.schema import Struct, member, required


@dataclass(frozen=True, slots=True, kw_only=True)
class Lldp:
    """Whether to listen for neighbours. ``neighbors`` is a status value and is not used."""

    enabled: bool = required("enabled", schema.truth)
    neighbors: Any = member("neighbors", schema.anything)


read: Final = Struct(Lldp)

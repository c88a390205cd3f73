"""The database of Open vSwitch: ``ovs-db`` of the document and of interfaces, and ``ovn``."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from mic.common import schema
from mic.common.problems import Path, problem, shown
from mic.common.schema import Struct, member, optional, required, sequence

_RESERVED: Final = "ovn-bridge-mappings"
Column = dict[str, str | None]


def _column(value: Any, path: Path) -> Column:  # noqa: ARG001 - a Reader
    """Read a column of an interface: scalars become text, null removes a key.

    Like the reference, ignore values of other kinds.
    """
    column: Column = {}
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, bool):
            column[key] = "true" if item else "false"
        elif item is None or isinstance(item, str):
            column[key] = item
        elif isinstance(item, int):
            column[key] = str(item)
        elif isinstance(item, float):
            # All digits and no exponent, as in Rust.
            column[key] = format(Decimal(repr(item)), "f").removesuffix(".0")
    return column


@dataclass(frozen=True, slots=True, kw_only=True)
class OvsDb:
    """The two columns that nmstate supports."""

    external_ids: Column | None = member("external_ids", _column)
    other_config: Column | None = member("other_config", _column)

    def sections(self) -> dict[str, dict[str, object]]:
        """Return the sections of a profile; omit columns without a value."""
        return {
            f"ovs-{name}": settings
            for name, column in (
                ("external-ids", self.external_ids),
                ("other-config", self.other_config),
            )
            if (settings := _settings(column))
        }


def _settings(column: Column | None) -> dict[str, object]:
    return {f"data.{key}": item for key, item in (column or {}).items() if item is not None}


read: Final = Struct(OvsDb)


_TEXTS: Final = optional(schema.mapping(optional(schema.text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOvsDb:
    """The document's ``ovs-db``, which is checked only: keyfiles cannot hold it."""

    external_ids: Column | None = member("external_ids", _TEXTS)
    other_config: Column | None = member("other_config", _TEXTS)


_GLOBAL: Final = Struct(GlobalOvsDb)


def read_global(value: Any, path: Path) -> GlobalOvsDb:
    """Read the document's ``ovs-db``; refuse the key that belongs to OVN."""
    found = _GLOBAL(value, path)
    if _RESERVED in (found.external_ids or {}):
        place = path / "external_ids" / _RESERVED
        raise problem(place, "reserved for OVN; use the 'ovn' member")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeMapping:
    """A physical network of OVN and its bridge."""

    localnet: str = required("localnet", schema.text)
    state: str | None = member("state", optional(schema.choice("present", "absent")))
    bridge: str | None = member("bridge", optional(schema.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ovn:
    """The document's ``ovn``, which is checked only: keyfiles cannot hold it."""

    mappings: tuple[BridgeMapping, ...] | None = member(
        "bridge-mappings", optional(sequence(Struct(BridgeMapping, open_ended=True)))
    )


_OVN: Final = Struct(Ovn)


def read_ovn(value: Any, path: Path) -> Ovn:
    """Read the document's ``ovn``."""
    found = _OVN(value, path)
    seen: set[str] = set()
    for index, mapping in enumerate(found.mappings or ()):
        place = path / "bridge-mappings" / index
        if mapping.localnet in seen:
            raise problem(place / "localnet", f"{shown(mapping.localnet)!r} is given twice")
        seen.add(mapping.localnet)
        if mapping.state != "absent" and mapping.bridge is None:
            raise problem(place, "'bridge' is missing")
    return found

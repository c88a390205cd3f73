"""VLAN filtering of a bridge's port, the same for Linux and Open vSwitch bridges."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema
from mic.common.problems import Path, problem, shown
from mic.common.schema import Struct, member, optional, required, sequence

_U16: Final = schema.unsigned(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRange:
    """VLAN identifiers from ``low`` to ``high``, both included."""

    low: int = required("min", _U16)
    high: int = required("max", _U16)

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


_RANGE: Final = Struct(TagRange)


def _trunk_tag(value: Any, path: Path) -> TagRange:
    """Read ``{id: N}`` or ``{id-range: {min, max}}``; other members are ignored."""
    members = value if isinstance(value, dict) else {}
    if "id" in members:
        ident = members["id"]
        if isinstance(ident, str) and (
            not ident.isascii() or not ident.removeprefix("+").isdigit()
        ):
            raise problem(path / "id", f"found {shown(ident)!r}, expected 0 to 65535")
        tag = _U16(ident, path / "id")
        return TagRange(low=tag, high=tag)
    if "id-range" in members:
        return _RANGE(members["id-range"], path / "id-range")
    raise problem(path, "'id' or 'id-range' is missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortVlan:
    """The VLANs of a port."""

    enable_native: bool | None = member("enable-native", schema.truth)
    mode: str | None = member("mode", optional(schema.choice("trunk", "access")))
    tag: int | None = member("tag", _U16)
    trunk_tags: tuple[TagRange, ...] | None = member("trunk-tags", optional(sequence(_trunk_tag)))

    @property
    def is_empty(self) -> bool:
        """Whether no member is given, which does not enable filtering."""
        return self == PortVlan()

    def check(self, path: Path) -> None:
        """Raise `DocumentInvalid` for members that contradict each other."""
        if self.mode == "trunk":
            if self.tag and self.enable_native is not True:
                raise problem(path / "tag", "a tag of a trunk needs enable-native")
            if self.trunk_tags is None:
                raise problem(path, "a trunk needs trunk-tags")
        if self.mode == "access":
            if self.enable_native is True:
                raise problem(path / "enable-native", "access mode does not support a native VLAN")
            if self.trunk_tags:
                raise problem(path / "trunk-tags", "access mode does not support trunk-tags")
        tags = sorted(self.trunk_tags or (), key=lambda tags: (tags.low, tags.high))
        tags = [tag for tag in tags if tag.low <= tag.high]
        for before, after in itertools.pairwise(tags):
            if after.low <= before.high:
                raise problem(path / "trunk-tags", f"{before} and {after} overlap")


read: Final = Struct(PortVlan)

"""SR-IOV: the virtual functions of an ethernet interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mic.common import schema
from mic.common.problems import Path, problem
from mic.common.schema import Struct, member, optional, required, sequence

_U32: Final = schema.unsigned(32)
_TAGS: Final = {"802.1q": "q", "802.1ad": "ad"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualFunction:
    """One virtual function."""

    ident: int = required("id", _U32)
    interface: str | None = member("iface-name", schema.text)
    mac: str | None = member("mac-address", optional(schema.text))
    spoof_check: bool | None = member("spoof-check", schema.truth)
    trust: bool | None = member("trust", schema.truth)
    min_tx_rate: int | None = member("min-tx-rate", _U32)
    max_tx_rate: int | None = member("max-tx-rate", _U32)
    vlan: int | None = member("vlan-id", _U32)
    qos: int | None = member("qos", _U32)
    protocol: str | None = member("vlan-proto", optional(schema.choice(*_TAGS)))

    def written(self) -> str:
        """Return the value of the function's key."""
        attributes = {
            "mac": None if self.mac is None else upper(self.mac),
            "spoof-check": self.spoof_check,
            "trust": self.trust,
            "min-tx-rate": self.min_tx_rate,
            "max-tx-rate": self.max_tx_rate,
        }
        words = [
            f"{key}={str(value).lower() if isinstance(value, bool) else value}"
            for key, value in attributes.items()
            if value is not None
        ]
        if self.vlan is not None:
            words.append(f"vlans={self.vlan}.{self.qos or 0}.{_TAGS[self.protocol or '802.1q']}")
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class SrIov:
    """The settings of the physical function."""

    autoprobe: bool | None = member("drivers-autoprobe", schema.truth)
    total: int | None = member("total-vfs", _U32)
    functions: tuple[VirtualFunction, ...] | None = member(
        "vfs", optional(sequence(Struct(VirtualFunction)))
    )

    def check(self, path: Path) -> None:
        """Raise `DocumentInvalid` for 802.1ad without a VLAN and a priority."""
        for index, function in enumerate(self.functions or ()):
            if function.protocol == "802.1ad" and not function.vlan and not function.qos:
                place = path / "vfs" / index / "vlan-proto"
                raise problem(place, "802.1ad needs a vlan-id or a qos other than 0")

    def section(self) -> dict[str, object] | None:
        """Return the ``sriov`` section, or None if there are no functions."""
        if self.total == 0:
            return None
        settings: dict[str, object] = {"total-vfs": self.total}
        if self.autoprobe is not None:
            settings["autoprobe-drivers"] = int(self.autoprobe)
        for function in self.functions or ():
            settings[f"vf.{function.ident}"] = function.written()
        return settings


def upper(mac: str) -> str:
    """Return a MAC address in upper case. Only ASCII letters are changed."""
    return mac.encode("utf-8", "surrogatepass").upper().decode("utf-8", "surrogatepass")


read: Final = Struct(SrIov)

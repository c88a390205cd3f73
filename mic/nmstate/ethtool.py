"""Driver settings: the ``ethtool`` member of an interface, and the section of that name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from mic.common import schema
from mic.common.problems import Collector, Path, problem, shown
from mic.common.schema import Struct, member, optional

# Names of features on the command line of ethtool(8), and those of the kernel.
_ALIASES: Final = {
    "rx": "rx-checksum",
    "rx-checksumming": "rx-checksum",
    "ufo": "tx-udp-fragmentation",
    "gso": "tx-generic-segmentation",
    "generic-segmentation-offload": "tx-generic-segmentation",
    "gro": "rx-gro",
    "generic-receive-offload": "rx-gro",
    "lro": "rx-lro",
    "large-receive-offload": "rx-lro",
    "rxvlan": "rx-vlan-hw-parse",
    "rx-vlan-offload": "rx-vlan-hw-parse",
    "txvlan": "tx-vlan-hw-insert",
    "tx-vlan-offload": "tx-vlan-hw-insert",
    "ntuple": "rx-ntuple-filter",
    "ntuple-filters": "rx-ntuple-filter",
    "rxhash": "rx-hashing",
    "receive-hashing": "rx-hashing",
}
# Names of features of the kernel, and those of NetworkManager where they differ.
_RENAMED: Final = {
    "rx-checksum": "rx",
    "tx-scatter-gather": "sg",
    "tx-tcp-segmentation": "tso",
    "rx-gro": "gro",
    "tx-generic-segmentation": "gso",
    "rx-hashing": "rxhash",
    "rx-lro": "lro",
    "rx-ntuple-filter": "ntuple",
    "rx-vlan-hw-parse": "rxvlan",
    "tx-vlan-hw-insert": "txvlan",
}
# NM_ETHTOOL_OPTNAME_FEATURE_* of libnm, without the "feature-" in front.
_FEATURES: Final = frozenset(
    (
        *("esp-hw-offload", "esp-tx-csum-hw-offload", "fcoe-mtu", "gro", "gso", "highdma"),
        *("hw-tc-offload", "l2-fwd-offload", "loopback", "lro", "macsec-hw-offload", "ntuple"),
        *("rx", "rxhash", "rxvlan", "rx-all", "rx-fcs", "rx-gro-hw", "rx-gro-list"),
        *("rx-udp-gro-forwarding", "rx-udp_tunnel-port-offload", "rx-vlan-filter"),
        *("rx-vlan-stag-filter", "rx-vlan-stag-hw-parse", "sg", "tls-hw-record"),
        *("tls-hw-rx-offload", "tls-hw-tx-offload", "tso", "tx", "txvlan"),
        *("tx-checksum-fcoe-crc", "tx-checksum-ipv4", "tx-checksum-ipv6"),
        *("tx-checksum-ip-generic", "tx-checksum-sctp", "tx-esp-segmentation"),
        *("tx-fcoe-segmentation", "tx-gre-csum-segmentation", "tx-gre-segmentation"),
        *("tx-gso-list", "tx-gso-partial", "tx-gso-robust", "tx-ipxip4-segmentation"),
        *("tx-ipxip6-segmentation", "tx-nocache-copy", "tx-scatter-gather"),
        *("tx-scatter-gather-fraglist", "tx-sctp-segmentation", "tx-tcp6-segmentation"),
        *("tx-tcp-ecn-segmentation", "tx-tcp-mangleid-segmentation", "tx-tcp-segmentation"),
        *("tx-tunnel-remcsum-segmentation", "tx-udp-segmentation"),
        *("tx-udp_tnl-csum-segmentation", "tx-udp_tnl-segmentation", "tx-vlan-stag-hw-insert"),
    )
)
_U32: Final = schema.unsigned(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Flow control."""

    rx: bool | None = member("rx", schema.truth)
    tx: bool | None = member("tx", schema.truth)
    autoneg: bool | None = member("autoneg", schema.truth)

    def settings(self) -> dict[str, object]:
        """Return the keys; the directions apply only without negotiation."""
        fixed = self.autoneg is False
        return {
            "pause-autoneg": self.autoneg,
            "pause-rx": self.rx if fixed else None,
            "pause-tx": self.tx if fixed else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalesce:
    """Interrupt moderation. Like in the reference, ``tx-usecs*`` are parsed and not written.

    Field names are the names of the members with underscores.
    """

    adaptive_rx: bool | None = member("adaptive-rx", schema.truth)
    adaptive_tx: bool | None = member("adaptive-tx", schema.truth)
    pkt_rate_high: int | None = member("pkt-rate-high", _U32)
    pkt_rate_low: int | None = member("pkt-rate-low", _U32)
    rx_frames: int | None = member("rx-frames", _U32)
    rx_frames_high: int | None = member("rx-frames-high", _U32)
    rx_frames_irq: int | None = member("rx-frames-irq", _U32)
    rx_frames_low: int | None = member("rx-frames-low", _U32)
    rx_usecs: int | None = member("rx-usecs", _U32)
    rx_usecs_high: int | None = member("rx-usecs-high", _U32)
    rx_usecs_irq: int | None = member("rx-usecs-irq", _U32)
    rx_usecs_low: int | None = member("rx-usecs-low", _U32)
    sample_interval: int | None = member("sample-interval", _U32)
    stats_block_usecs: int | None = member("stats-block-usecs", _U32)
    tx_frames: int | None = member("tx-frames", _U32)
    tx_frames_high: int | None = member("tx-frames-high", _U32)
    tx_frames_irq: int | None = member("tx-frames-irq", _U32)
    tx_frames_low: int | None = member("tx-frames-low", _U32)
    tx_usecs: int | None = member("tx-usecs", _U32)
    tx_usecs_high: int | None = member("tx-usecs-high", _U32)
    tx_usecs_irq: int | None = member("tx-usecs-irq", _U32)
    tx_usecs_low: int | None = member("tx-usecs-low", _U32)

    def settings(self) -> dict[str, object]:
        """Return the keys."""
        settings: dict[str, object] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not field.name.startswith(_NOT_WRITTEN):
                # The keyfile has integers only, also for booleans.
                settings[f"coalesce-{field.name.replace('_', '-')}"] = int(value)
        return settings


_NOT_WRITTEN: Final = ("tx_usecs", "sample_interval", "stats_block_usecs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Sizes of the rings. The maxima are status values of the driver and are not used."""

    rx: int | None = member("rx", _U32)
    rx_max: int | None = member("rx-max", _U32)
    rx_jumbo: int | None = member("rx-jumbo", _U32)
    rx_jumbo_max: int | None = member("rx-jumbo-max", _U32)
    rx_mini: int | None = member("rx-mini", _U32)
    rx_mini_max: int | None = member("rx-mini-max", _U32)
    tx: int | None = member("tx", _U32)
    tx_max: int | None = member("tx-max", _U32)

    def settings(self) -> dict[str, object]:
        """Return the keys."""
        return {
            "ring-rx": self.rx,
            "ring-rx-jumbo": self.rx_jumbo,
            "ring-rx-mini": self.rx_mini,
            "ring-tx": self.tx,
        }


def _features(value: Any, path: Path) -> dict[str, bool]:
    """Read a mapping of features to booleans, which have fewer spellings here than elsewhere."""
    features: dict[str, bool] = {}
    problems = Collector()
    for key, item in schema.mapping_of(value, path).items():
        if isinstance(item, bool):
            features[key] = item
        elif isinstance(item, str) and (item == "1" or item.lower() == "true"):
            features[key] = True
        elif isinstance(item, str) and (item == "0" or item.lower() == "false"):
            features[key] = False
        else:
            problems.add(problem(path / key, f"found {schema.kind_of(item)}, expected a boolean"))
    problems.check()
    return features


@dataclass(frozen=True, slots=True, kw_only=True)
class Ethtool:
    """The settings of ethtool(8)."""

    pause: Pause | None = member("pause", optional(Struct(Pause)))
    feature: dict[str, bool] | None = member("feature", _features)
    coalesce: Coalesce | None = member("coalesce", optional(Struct(Coalesce)))
    ring: Ring | None = member("ring", optional(Struct(Ring)))

    def section(self, path: Path) -> dict[str, object]:
        """Return the ``ethtool`` section; raises `DocumentInvalid` for an unknown feature."""
        settings: dict[str, object] = {}
        for part in (self.pause, self.coalesce, self.ring):
            if part is not None:
                settings |= part.settings()
        features = dict(self.feature or {})
        for alias, name in _ALIASES.items():
            if alias in features:
                features[name] = features.pop(alias)
        for name, value in features.items():
            known = _RENAMED.get(name, name)
            if known not in _FEATURES:
                raise problem(path / "feature" / name, f"unknown feature {shown(name)!r}")
            settings[f"feature-{known}"] = value
        return settings


read: Final = Struct(Ethtool)

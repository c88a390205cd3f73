"""Policy routing: ``route-rules`` and the ``routing-rule`` keys of a profile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mic.common import addresses, schema
from mic.common.problems import Path, problem, shown
from mic.common.schema import Struct, member, optional, sequence
from mic.nmstate.changed import changed

MAIN_TABLE: Final = 254
_DEFAULT_PRIORITY: Final = -1  # chosen automatically
_FIRST_PRIORITY: Final = 30000
_MAX_I32: Final = 2**31 - 1
_FAMILIES: Final = {"ipv4": 4, "ipv6": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: its selectors, and the table to look up or the action to take."""

    family: str | None = member("family", optional(schema.choice("ipv4", "ipv6", "unknown")))
    state: str | None = member("state", optional(schema.choice("absent")))
    source: str | None = member("ip-from", optional(schema.text))
    destination: str | None = member("ip-to", optional(schema.text))
    priority: int | None = member("priority", schema.signed(64))
    table: int | None = member("route-table", schema.unsigned(32))
    fwmark: int | None = member("fwmark", schema.unsigned(32))
    fwmask: int | None = member("fwmask", schema.unsigned(32))
    action: str | None = member(
        "action", optional(schema.choice("blackhole", "unreachable", "prohibit"))
    )
    iif: str | None = member("iif", optional(schema.text))
    suppress: int | None = member(
        "suppress-prefix-length", optional(schema.integer(32)), "suppress_prefixlength"
    )

    place: Path | None = field(default=None, compare=False, repr=False)

    @property
    def is_absent(self) -> bool:
        """Whether the rule is to be removed, which a fresh host does not need."""
        return self.state == "absent"

    @property
    def version(self) -> int:
        """The IP version whose section holds the rule."""
        texts = (self.source or "", self.destination or "")
        return 6 if self.family == "ipv6" or any(map(addresses.is_ipv6, texts)) else 4

    def normalised(self, path: Path) -> Rule:
        """Return the rule with canonical networks, its family and its table.

        Raises `DocumentInvalid` if they are invalid or inconsistent.
        """
        source = _network(self.source, path / "ip-from")
        destination = _network(self.destination, path / "ip-to")
        family = self.family
        for given in (source, destination):
            if family is None and given is not None:
                family = "ipv6" if addresses.is_ipv6(given) else "ipv4"
        if family is None:
            raise problem(path, "one of ip-from, ip-to and family is needed")
        for given, key in ((source, "ip-from"), (destination, "ip-to")):
            if given is not None and addresses.is_ipv6(given) != (family == "ipv6"):
                raise problem(path / key, f"{given} does not match the rule's family, {family}")
        if self.fwmask is not None and self.fwmark is None:
            raise problem(path / "fwmask", "fwmask needs fwmark")
        table = MAIN_TABLE if self.table is None and self.action is None else self.table
        return changed(
            self, source=source, destination=destination, family=family, table=table, place=path
        )

    def written(self) -> str:
        """Return the value of a ``routing-rule`` key.

        Raises `DocumentInvalid` for a prefix length that exceeds 31 bits, NetworkManager's limit.
        """
        if self.suppress is not None and self.suppress > _MAX_I32:
            place = (self.place or Path()) / "suppress-prefix-length"
            raise problem(place, f"found {self.suppress}, expected 0 to {_MAX_I32}")
        words = [f"priority {(self.priority or 0) & 0xFFFFFFFF}"]
        if self.destination is not None:
            words.append(f"to {self.destination}")
        if self.source is not None:
            words.append(f"from {self.source}")
        elif self.destination is None:
            words.append("from ::/0" if self.version == 6 else "from 0.0.0.0/0")
        if self.iif is not None:
            words.append(f"iif {self.iif}")
        if self.suppress is not None:
            words.append(f"suppress_prefixlength {self.suppress}")
        if self.action is not None:
            words.append(f"type {self.action}")
        words.append(f"table {self.table or MAIN_TABLE}")
        if self.fwmark is not None:
            mask = "" if self.fwmask is None else f"/{self.fwmask}"
            words.append(f"fwmark {self.fwmark}{mask}")
        return " ".join(words)


def _network(text: str | None, path: Path) -> str | None:
    if not text:
        return None
    found = addresses.network(text)
    if found is None:
        raise problem(path, f"found {shown(text)!r}, expected an address or address/prefix")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The document's ``route-rules``."""

    config: tuple[Rule, ...] | None = member("config", optional(sequence(Struct(Rule))))


read: Final = Struct(Rules)


def to_apply(rules: Rules, path: Path) -> list[Rule]:
    """Return the rules to configure, each with a priority.

    Rules without one are numbered after the highest given priority, starting at 30000.
    """
    wanted = [
        rule.normalised(path / "config" / index)
        for index, rule in enumerate(rules.config or ())
        if not rule.is_absent
    ]
    last = max([_FIRST_PRIORITY - 1, *(rule.priority or 0 for rule in wanted)])
    for index, rule in enumerate(wanted):
        if rule.priority is None or rule.priority == _DEFAULT_PRIORITY:
            last += 1
            wanted[index] = changed(rule, priority=last)
    return wanted

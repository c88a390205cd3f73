"""The interfaces of a document by name, each in the forms that the reference distinguishes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mic.common.addresses import Address
from mic.nmstate import ip
from mic.nmstate.interface import AnyInterface, AnyType, placeholder
from mic.nmstate.routes import LOOPBACK as LOOPBACK_NAME
from mic.nmstate.types import LOOPBACK
from mic.nmstate.types.ovs import OVS_BRIDGE


@dataclass(slots=True, kw_only=True)
class Entry:
    """An interface in its forms, and its rank in the order of profiles."""

    given: AnyInterface | None
    """As the document describes it; None when only the host has it."""
    host: AnyInterface | None
    """As the host has it; None except for the loopback interface."""
    merged: AnyInterface
    """As given, completed with the host's settings. Normalised only if the host has it."""
    applied: AnyInterface | None
    """As its profile will have it: normalised; None when it gets no profile."""
    priority: int = 0
    """Rank in the order of profiles: ports come after their controllers."""

    @property
    def up_by_document(self) -> bool:
        """Whether the document describes the interface, and as up."""
        return self.given is not None and self.merged.is_up

    def touch(self) -> AnyInterface:
        """Return ``applied``; set it to a placeholder if the interface gets no profile so far."""
        if self.applied is None:
            self.applied = placeholder(self.merged.name, self.merged.type, self.merged.place)
        return self.applied

    def touch_family(self, version: int) -> AnyInterface:
        """Return ``applied`` with IP settings of a version, if the merged interface has any."""
        applied = self.touch()
        family = self.merged.family(version)
        if applied.family(version) is None and family is not None:
            self.applied = applied = applied.with_family(version, family)
        return applied


@dataclass(slots=True, kw_only=True)
class Network:
    """Interfaces by name. Kernel and user space have separate name spaces.

    ``order`` is the order of the document, followed by interfaces that their controllers add; the
    type is None where the document gives none. ``ignored`` lists names of the kernel's name space.
    """

    kernel: dict[str, Entry] = field(default_factory=dict)
    user: dict[tuple[str, AnyType], Entry] = field(default_factory=dict)
    user_by_name: dict[str, Entry] = field(default_factory=dict)
    order: list[tuple[str, AnyType | None]] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    ignored_ethernets: set[str] = field(default_factory=set)

    def entries(self) -> Iterator[Entry]:
        """Yield all entries, those of user space first."""
        yield from self.user.values()
        yield from self.kernel.values()

    def find(self, name: str, type_: AnyType | None) -> Entry | None:
        """Return the interface of that name in the name space of the type.

        Without a type, search the kernel's name space first.
        """
        if type_ is None:
            return self.kernel.get(name) or self.user_by_name.get(name)
        return self.user.get((name, type_)) if type_.is_userspace else self.kernel.get(name)

    def controller_named(self, name: str) -> Entry | None:
        """Return the interface that a ``controller`` member refers to."""
        return self.user.get((name, OVS_BRIDGE)) or self.kernel.get(name)

    def lacks_profile(self, name: str) -> bool:
        """Return whether the kernel interface gets no profile, and is not an ignored ethernet."""
        entry = self.kernel.get(name)
        has_profile = entry is not None and entry.applied is not None
        return not has_profile and name not in self.ignored_ethernets


HOST_LOOPBACK: Final = (
    placeholder(LOOPBACK_NAME, LOOPBACK)
    .with_family(4, ip.static(Address(4, 0x7F000001), 8))
    .with_family(6, ip.static(Address(6, 1), 128))
)

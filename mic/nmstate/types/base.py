"""What a type of interface tells the rest: its members, its relations, its sections."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from mic.nmstate.keyfile import Profile
from mic.nmstate.schema import Reader

if TYPE_CHECKING:
    from mic.nmstate.interface import Interface
    from mic.nmstate.network import Network


class InterfaceType:
    """A type of interface. A new one is a subclass in a module of its own."""

    name: ClassVar[str]
    """The document's ``type``; also the scheme of the stable UUID."""
    nm_type: ClassVar[str]
    """NetworkManager's ``connection.type``."""
    members: ClassVar[Mapping[str, Reader[Any]]] = MappingProxyType({})
    """The members that only this type has, with their readers."""
    is_controller: ClassVar[bool] = False
    """Whether it has ports."""
    is_userspace: ClassVar[bool] = False
    """Whether its name is not the kernel's, so that a kernel interface may have the same."""
    ports_keep_ip: ClassVar[bool] = False
    """Whether its ports may have addresses."""
    keeps_ip_as_port: ClassVar[bool] = False
    """Whether it may have addresses while it is a port itself."""
    copies_mac: ClassVar[bool] = False
    """Whether ``copy-mac-from`` means anything for it."""
    has_link_settings: ClassVar[bool] = True
    """Whether MAC address and MTU go to an ``ethernet`` section."""
    has_interface_name: ClassVar[bool] = True
    """Whether the profile is bound to the interface by its name."""
    suffix: ClassVar[str] = ""
    """What is put behind the name to make the profile's ID."""

    def ports(self, interface: Interface) -> tuple[str, ...] | None:  # noqa: ARG002
        """Return the names of the interface's ports, or None when nothing is said."""
        return None

    def without_port(self, interface: Interface, port: str) -> Interface:  # noqa: ARG002
        """Return the interface without a port that is to be ignored."""
        return interface

    def parent(self, interface: Interface) -> str | None:  # noqa: ARG002
        """Return the name of the interface that this one is on top of."""
        return None

    def sanitised(self, interface: Interface) -> Interface:
        """Return the interface checked and brought into shape; common members have been."""
        return interface

    def nm_type_of(self, interface: Interface) -> str:  # noqa: ARG002
        """Return NetworkManager's type, which may depend on the interface."""
        return self.nm_type

    def write(self, interface: Interface, profile: Profile) -> None:
        """Put the type's sections into the profile."""

    def port_configs(self, interface: Interface) -> Mapping[str, Any]:  # noqa: ARG002
        """Return what the controller says about its ports, by their names."""
        return {}

    def write_port(self, config: Any, profile: Profile) -> None:
        """Put one of `port_configs` into the port's profile."""

    def further_profiles(self, interface: Interface, network: Network) -> list[Profile]:  # noqa: ARG002
        """Return profiles that the interface needs besides its own."""
        return []

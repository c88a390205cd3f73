"""The types of interfaces, by their names in documents."""

from __future__ import annotations

from typing import Final

from mic.nmstate.interface import AnyType
from mic.nmstate.types.bond import Bond
from mic.nmstate.types.checked_only import Dummy, Hsr, IpVlan, Loopback, MacSec, Xfrm
from mic.nmstate.types.ethernet import ETHERNET, VETH
from mic.nmstate.types.infiniband import InfiniBand
from mic.nmstate.types.ipsec import Ipsec
from mic.nmstate.types.linux_bridge import LinuxBridge
from mic.nmstate.types.macvlan import MacVlan, MacVtap
from mic.nmstate.types.ovs import OVS_BRIDGE, OVS_INTERFACE
from mic.nmstate.types.vlan import Vlan
from mic.nmstate.types.vrf import Vrf
from mic.nmstate.types.vxlan import Vxlan

LOOPBACK: Final = Loopback()
INFINIBAND: Final = InfiniBand()

BY_NAME: Final[dict[str, AnyType]] = {
    type_.name: type_
    for type_ in (
        *(ETHERNET, VETH, Bond(), LinuxBridge(), OVS_BRIDGE, OVS_INTERFACE, Vlan(), Vxlan()),
        *(Vrf(), Dummy(), MacVlan(), MacVtap(), INFINIBAND, LOOPBACK, Ipsec(), IpVlan()),
        *(MacSec(), Hsr(), Xfrm()),
    )
}

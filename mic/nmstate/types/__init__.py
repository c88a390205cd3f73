"""The types of interfaces, by the name the document has for them."""

from __future__ import annotations

from typing import Final

from mic.nmstate.types.base import InterfaceType
from mic.nmstate.types.bond import Bond
from mic.nmstate.types.ethernet import ETHERNET, VETH
from mic.nmstate.types.infiniband import InfiniBand
from mic.nmstate.types.ipsec import Ipsec
from mic.nmstate.types.linuxbridge import LinuxBridge
from mic.nmstate.types.macvlan import MacVlan, MacVtap
from mic.nmstate.types.ovs import OVS_BRIDGE, OVS_INTERFACE
from mic.nmstate.types.plain import Dummy, Hsr, IpVlan, Loopback, MacSec, Xfrm
from mic.nmstate.types.vlan import Vlan
from mic.nmstate.types.vrf import Vrf
from mic.nmstate.types.vxlan import Vxlan

LOOPBACK: Final = Loopback()
INFINIBAND: Final = InfiniBand()

BY_NAME: Final[dict[str, InterfaceType]] = {
    type_.name: type_
    for type_ in (
        *(ETHERNET, VETH, Bond(), LinuxBridge(), OVS_BRIDGE, OVS_INTERFACE, Vlan(), Vxlan()),
        *(Vrf(), Dummy(), MacVlan(), MacVtap(), INFINIBAND, LOOPBACK, Ipsec(), IpVlan()),
        *(MacSec(), Hsr(), Xfrm()),
    )
}

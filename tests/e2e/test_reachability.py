"""What mic says about reachability is what the kernel's routing tables say."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e import nm

from mic.common.endpoint import Endpoint
from mic.nmstate import generate
from mic.reachability import unreachable

TARGETS = (
    *("192.0.2.2", "192.0.2.200", "198.51.100.2", "198.51.100.200", "203.0.113.2", "10.9.9.9"),
    *("fd00::1", "fd00:0:0:1::1", "2001:db8::1", "2001:db8:1::1", "127.0.0.1", "::1"),
)
IPV4 = "  ipv4: {enabled: true, address: [{ip: 192.0.2.10, prefix-length: 25}]}\n"
IPV6 = "  ipv6: {enabled: true, address: [{ip: 'fd00::10', prefix-length: 64}]}\n"
ETH0 = "interfaces:\n- name: eth0\n  type: ethernet\n"


def routes(*given: str) -> str:
    lines = "".join(f"  - {{{each}}}\n" for each in given)
    return f"routes:\n  config:\n{lines}"


VIA = "next-hop-interface: eth0, next-hop-address: 192.0.2.1"
VIA6 = "next-hop-interface: eth0, next-hop-address: 'fd00::1'"

DOCUMENTS = {
    "on-link IPv4": ETH0 + IPV4,
    "on-link IPv6": ETH0 + IPV6,
    "link-local IPv6 only": ETH0 + "  ipv6: {enabled: true}\n" + IPV4,
    "both families": ETH0 + IPV4 + IPV6,
    "default routes": ETH0
    + IPV4
    + IPV6
    + routes(f"destination: 0.0.0.0/0, {VIA}", f"destination: '::/0', {VIA6}"),
    "covering routes": ETH0
    + IPV4
    + IPV6
    + routes(f"destination: 198.51.100.0/25, {VIA}", f"destination: '2001:db8::/48', {VIA6}"),
    "routes without gateway": ETH0
    + IPV4
    + routes("destination: 198.51.100.0/24, next-hop-interface: eth0"),
    "gateway outside of the subnet": ETH0
    + IPV4
    + routes("destination: 0.0.0.0/0, next-hop-interface: eth0, next-hop-address: 203.0.113.1"),
    "another table": ETH0 + IPV4 + routes(f"destination: 0.0.0.0/0, {VIA}, table-id: 100"),
    "blackhole in the default route": ETH0
    + IPV4
    + IPV6
    + routes(
        f"destination: 0.0.0.0/0, {VIA}",
        "destination: 198.51.100.0/25, route-type: blackhole",
        f"destination: '::/0', {VIA6}",
        "destination: '2001:db8::/48', route-type: unreachable",
    ),
    "one of two interfaces is down": ETH0
    + IPV4
    + "- name: eth1\n  type: ethernet\n  state: down\n"
    + "  ipv4: {enabled: true, address: [{ip: 203.0.113.10, prefix-length: 24}]}\n",
    "two interfaces": ETH0
    + IPV4
    + "- name: eth1\n  type: ethernet\n"
    + "  ipv4: {enabled: true, address: [{ip: 203.0.113.10, prefix-length: 24}]}\n"
    + routes(f"destination: 198.51.100.128/25, {VIA}"),
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_agrees_with_the_kernel(document: str, tmp_path: Path) -> None:
    generated = generate(document)
    host = generated.host_network
    assert host is not None
    expected = {each for each in TARGETS if unreachable(Endpoint("http", each, 80), host) is None}
    found = nm.activate(generated.keyfiles, tmp_path, ["eth0", "eth1"], targets=TARGETS)
    assert found.reached == expected, "\n".join(
        found.sections[each] for each in ("addresses", "routes4", "routes6", "log")
    )

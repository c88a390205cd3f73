"""Addresses, DHCP and autoconfiguration."""

from __future__ import annotations

import pytest
from nmstate_support import STATIC, interface, refusal, sections


@pytest.mark.parametrize(
    ("ipv4", "method"),
    [
        ("{enabled: false}", "disabled"),
        ("{}", "disabled"),
        ("{enabled: true}", "disabled"),
        ("{enabled: true, dhcp: true}", "auto"),
        ("{enabled: true, dhcp: true, address: [{ip: 192.0.2.1, prefix-length: 24}]}", "auto"),
        ("{enabled: true, address: [{ip: 192.0.2.1, prefix-length: 24}]}", "manual"),
        ("{enabled: false, address: [{ip: 192.0.2.1, prefix-length: 24}]}", "disabled"),
    ],
)
def test_selects_the_ipv4_method(ipv4: str, method: str) -> None:
    assert sections(interface(f"ipv4: {ipv4}"))["ipv4"]["method"] == method


def test_writes_dhcp_defaults() -> None:
    found = sections(
        interface(
            "ipv4: {enabled: true, dhcp: true}\nipv6: {enabled: true, dhcp: true, autoconf: on}"
        )
    )
    automatic = {
        "dhcp-send-hostname": "true",
        "dhcp-timeout": "2147483647",
        "ignore-auto-dns": "false",
        "ignore-auto-routes": "false",
        "method": "auto",
        "never-default": "false",
    }
    assert found["ipv4"] == {**automatic, "dhcp-client-id": "mac"}
    assert found["ipv6"] == {
        **automatic,
        "addr-gen-mode": "0",
        "dhcp-duid": "ll",
        "dhcp-iaid": "mac",
        "ra-timeout": "2147483647",
    }


def test_writes_dhcp_options() -> None:
    found = sections(
        interface("""\
ipv4:
  enabled: true
  dhcp: true
  auto-dns: false
  auto-gateway: false
  auto-routes: false
  auto-route-table-id: 300
  auto-route-metric: "400"
  dhcp-client-id: iaid+duid
  dhcp-custom-hostname: node.example.net
ipv6:
  enabled: true
  dhcp: true
  autoconf: true
  addr-gen-mode: stable-privacy
  dhcp-duid: "00:01"
  dhcp-send-hostname: false
  dhcp-custom-hostname: unused
  token: "::0:0FAC:1"
""")
    )
    assert found["ipv4"] == {
        "dhcp-client-id": "duid",
        "dhcp-fqdn": "node.example.net",
        "dhcp-send-hostname": "true",
        "dhcp-timeout": "2147483647",
        "ignore-auto-dns": "true",
        "ignore-auto-routes": "true",
        "method": "auto",
        "never-default": "true",
        "route-metric": "400",
        "route-table": "300",
    }
    assert found["ipv6"]["addr-gen-mode"] == "1"
    assert found["ipv6"]["dhcp-duid"] == "00:01"
    assert found["ipv6"]["dhcp-send-hostname"] == "false"
    assert found["ipv6"]["token"] == "::fac:1"
    assert "dhcp-hostname" not in found["ipv6"]


def test_writes_canonical_addresses_in_order() -> None:
    found = sections(
        interface("""\
ipv6:
  enabled: true
  address:
  - {ip: "2001:0DB8:0:0::0002", prefix-length: 64}
  - {ip: "fe80::1", prefix-length: 64}
  - {ip: "::ffff:192.0.2.1", prefix-length: "96"}
  - {ip: "2001:db8::3", prefix-length: 128, valid-life-time: 60sec, preferred-life-time: 60sec}
  - {ip: "2001:db8::4", prefix-length: 0x40, valid-left: forever}
""")
    )
    addresses = {key: value for key, value in found["ipv6"].items() if key.startswith("address")}
    assert addresses == {
        "address0": "2001:db8::2/64",
        "address1": "::ffff:192.0.2.1/96",
        "address2": "2001:db8::4/64",
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("ipv4: {enabled: true, address: [{ip: 192.0.2.256, prefix-length: 8}]}", "address[0].ip"),
        ("ipv4: {enabled: true, address: [{ip: 010.0.0.1, prefix-length: 8}]}", "address[0].ip"),
        ("ipv4: {enabled: true, address: [{ip: '::1', prefix-length: 8}]}", "not an IPv4"),
        ("ipv6: {enabled: true, address: [{ip: 192.0.2.1, prefix-length: 8}]}", "not an IPv6"),
        ("ipv4: {enabled: true, address: [{ip: 192.0.2.1, prefix-length: 33}]}", "0 to 32"),
        ("ipv6: {enabled: true, address: [{ip: '::1', prefix-length: 129}]}", "0 to 128"),
        ("ipv4: {enabled: true, address: [{ip: 192.0.2.1}]}", "'prefix-length' is missing"),
        ("ipv4: {enabled: true, address: [{prefix-length: 1}]}", "'ip' is missing"),
        ("ipv4: {enabled: maybe}", "ipv4.enabled: found 'maybe'"),
        ("ipv4: {autoconf: true}", "does not support autoconf"),
        ("ipv6: {enabled: true, autoconf: true}", "needs dhcp"),
        ("ipv6: {enabled: true, autoconf: false, token: '::1'}", "token"),
        (
            "ipv6: {enabled: true, autoconf: true, dhcp: true, token: '2001:db8::1'}",
            "first 64 bits",
        ),
        ("mtu: 1279\nipv6: {enabled: true}", "1280 or more"),
        ("ipv4: [1]", "found a list, expected a mapping"),
    ],
)
def test_rejects_invalid_members(members: str, message: str) -> None:
    assert message in refusal(interface(members))


def test_accepts_a_small_mtu_without_ipv6() -> None:
    assert sections(interface("mtu: 1279"))["ethernet"]["mtu"] == "1279"


def test_rejects_addresses_of_ports() -> None:
    document = f"""\
interfaces:
- {{name: bond0, type: bond, link-aggregation: {{mode: 0, port: [eth0]}}}}
- name: eth0
  type: ethernet
  {STATIC.replace(chr(10), chr(10) + "  ")}
"""
    message = refusal(document)
    assert "interfaces[1].ipv4: a port cannot have addresses" in message
    assert "ipv4" not in sections(document.replace("enabled: true", "enabled: false"))

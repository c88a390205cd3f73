"""Static routes and policy rules, and whose profile holds them."""

from __future__ import annotations

import pytest
from nmstate_support import STATIC, interface, made, refusal, sections


def _routes(*routes: str) -> str:
    return interface(STATIC) + "routes:\n  config:\n" + "".join(f"  - {{{r}}}\n" for r in routes)


def _rules(*rules: str) -> str:
    return (
        interface(STATIC) + "route-rules:\n  config:\n" + "".join(f"  - {{{r}}}\n" for r in rules)
    )


def _kept(document: str, version: int, prefix: str, name: str = "eth0") -> dict[str, str]:
    found = sections(document, name)[f"ipv{version}"]
    return {key: value for key, value in found.items() if key.startswith(prefix)}


def test_all_of_a_route() -> None:
    route = (
        "destination: 203.0.113.77/24, next-hop-interface: eth0, next-hop-address: 192.0.2.1,"
        " metric: 150, table-id: 500, weight: 3, cwnd: 20, source: 192.0.2.5"
    )
    assert _kept(_routes(route), 4, "route") == {
        "route0": "203.0.113.0/24,192.0.2.1,150",
        "route0_options": "table=500,weight=3,cwnd=20,lock-cwnd=true,src=192.0.2.5",
    }


def test_routes_are_sorted_and_unique_and_go_to_their_family() -> None:
    via = "next-hop-interface: eth0"
    document = _routes(
        f"destination: 198.51.100.0/24, {via}",
        f"destination: 10.0.0.0/8, {via}, table-id: 500",
        f"destination: 10.0.0.0/8, {via}",
        f"destination: 198.51.100.0/24, {via}, metric: 5",
        f'destination: "::/0", {via}, next-hop-address: "2001:db8::1"',
        f"destination: 10.9.0.0/16, {via}, state: absent",
    )
    assert _kept(document, 4, "route") == {
        "route0": "10.0.0.0/8,,0",
        "route0_options": "table=254",
        "route1": "198.51.100.0/24,,0",
        "route1_options": "table=254",
        "route2": "10.0.0.0/8,,0",
        "route2_options": "table=500",
    }
    assert _kept(document, 6, "route") == {
        "route0": "::/0,2001:db8::1,0",
        "route0_options": "table=254",
    }


def test_routes_to_nowhere_are_held_by_the_loopback_interface() -> None:
    document = _routes("destination: 203.0.113.0/24, route-type: blackhole")
    assert list(made(document)) == ["eth0", "lo"]
    assert _kept(document, 4, "route", "lo") == {
        "route0": "203.0.113.0/24,,0",
        "route0_options": "table=254,type=blackhole",
    }
    assert _kept(document, 4, "address", "lo") == {"address0": "127.0.0.1/8"}


def test_routes_of_interfaces_that_the_document_does_not_have_are_nobodys() -> None:
    assert list(made(_routes("destination: 203.0.113.0/24, next-hop-interface: eth7"))) == ["eth0"]


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ("destination: 203.0.113.0/24", "next-hop-interface is missing"),
        ("destination: 203.0.113.0/33, next-hop-interface: eth0", "routes.config[0].destination"),
        ("destination: net, next-hop-interface: eth0", "found 'net'"),
        ("destination: 0.0.0.0/9, next-hop-interface: eth0", "0.0.0.0/8"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, weight: 257", "1 to 256"),
        ("destination: '2001:db8::/32', next-hop-interface: eth0, weight: 1", "no weight"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, cwnd: 0", "cwnd"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, source: x", "source"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, next-hop-address: x", "next-hop-add"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, route-type: blackhole", "no next hop"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, state: present", "state"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, metrics: 1", "unknown member"),
    ],
)
def test_routes_that_cannot_be(route: str, told: str) -> None:
    assert told in refusal(_routes(route))


def test_routes_need_an_interface_with_ip() -> None:
    document = _routes("destination: 203.0.113.0/24, next-hop-interface: eth0")
    assert "IPv4 is not enabled" in refusal(document.replace("enabled: true", "enabled: false"))
    assert "absent" in refusal(document.replace("state: up", "state: absent"))


def test_all_of_a_rule() -> None:
    rule = (
        "ip-from: 192.0.2.77/24, ip-to: 198.51.100.1, priority: 1000, route-table: 500,"
        " fwmark: 0x10, fwmask: '0xff', iif: eth0, suppress-prefix-length: 0, action: prohibit"
    )
    assert _kept(_rules(rule), 4, "routing") == {
        "routing-rule0": "priority 1000 to 198.51.100.1/32 from 192.0.2.0/24 iif eth0"
        " suppress_prefixlength 0 type prohibit table 500 fwmark 16/255"
    }


def test_rules_without_a_priority_are_numbered_after_the_highest() -> None:
    document = _rules(
        "ip-from: 192.0.2.0/24", "family: ipv6, priority: 30005", "family: ipv4, priority: -1"
    )
    assert _kept(document, 4, "routing") == {
        "routing-rule0": "priority 30006 from 192.0.2.0/24 table 254",
        "routing-rule1": "priority 30007 from 0.0.0.0/0 table 254",
    }
    assert _kept(document, 6, "routing") == {"routing-rule0": "priority 30005 from ::/0 table 254"}


def test_a_rule_is_where_its_table_is() -> None:
    document = f"""\
interfaces:
- {{name: eth0, type: ethernet, ipv4: {{enabled: true, dhcp: true}}}}
- name: eth1
  type: ethernet
  {STATIC.replace(chr(10), chr(10) + "  ")}
- {{name: eth2, type: ethernet, ipv4: {{enabled: true, dhcp: true, auto-route-table-id: 200}}}}
routes:
  config: [{{destination: 10.0.0.0/8, next-hop-interface: eth1, table-id: 100}}]
route-rules:
  config:
  - {{ip-from: 10.1.0.0/16, route-table: 100, priority: 1}}
  - {{ip-from: 10.2.0.0/16, route-table: 200, priority: 2}}
  - {{ip-from: 10.3.0.0/16, route-table: 300, priority: 3}}
"""
    assert list(_kept(document, 4, "routing", "eth0").values()) == [
        "priority 3 from 10.3.0.0/16 table 300"
    ]
    assert list(_kept(document, 4, "routing", "eth1").values()) == [
        "priority 1 from 10.1.0.0/16 table 100"
    ]
    assert list(_kept(document, 4, "routing", "eth2").values()) == [
        "priority 2 from 10.2.0.0/16 table 200"
    ]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("route-table: 5", "one of ip-from, ip-to and family"),
        ("family: ipv6, ip-from: 10.0.0.0/8", "not of the rule's family"),
        ("ip-from: 10.0.0.0/8, ip-to: '2001:db8::/32'", "not of the rule's family"),
        ("ip-from: 10.0.0.0/40", "route-rules.config[0].ip-from"),
        ("family: ipv4, fwmask: 1", "needs a fwmark"),
        ("family: ipv4, iif: eth9", "eth9"),
        ("family: ipv5", "family"),
        ("family: ipv4, action: allow", "action"),
    ],
)
def test_rules_that_cannot_be(rule: str, told: str) -> None:
    assert told in refusal(_rules(rule))


def test_rules_with_the_loopback_interface() -> None:
    assert "lo" in made(_rules("family: ipv4, iif: lo, route-table: 7"))

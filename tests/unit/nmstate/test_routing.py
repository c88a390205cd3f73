"""Static routes and policy rules, and the profiles that hold them."""

from __future__ import annotations

import time

import pytest
from nmstate_support import STATIC, interface, made, refusal, sections


def _routes(*routes: str) -> str:
    return interface(STATIC) + "routes:\n  config:\n" + "".join(f"  - {{{r}}}\n" for r in routes)


def _rules(*rules: str) -> str:
    return (
        interface(STATIC) + "route-rules:\n  config:\n" + "".join(f"  - {{{r}}}\n" for r in rules)
    )


def _keys(document: str, version: int, prefix: str, name: str = "eth0") -> dict[str, str]:
    found = sections(document, name)[f"ipv{version}"]
    return {key: value for key, value in found.items() if key.startswith(prefix)}


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("destination: 203.0.113.0/24", "'next-hop-interface' is missing"),
        ("destination: 203.0.113.0/33, next-hop-interface: eth0", "routes.config[0].destination"),
        ("destination: net, next-hop-interface: eth0", "found 'net'"),
        ("destination: 0.0.0.0/9, next-hop-interface: eth0", "0.0.0.0/8"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, weight: 257", "1 to 256"),
        (
            "destination: '2001:db8::/32', next-hop-interface: eth0, weight: 1",
            "cannot have a weight",
        ),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, cwnd: 0", "cwnd"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, source: x", "source"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, next-hop-address: x", "next-hop-add"),
        (
            "destination: 10.0.0.0/8, next-hop-interface: eth0, route-type: blackhole",
            "cannot have a next hop",
        ),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, state: present", "state"),
        ("destination: 10.0.0.0/8, next-hop-interface: eth0, metrics: 1", "unknown member"),
    ],
)
def test_rejects_invalid_routes(route: str, message: str) -> None:
    assert message in refusal(_routes(route))


def test_rejects_routes_via_an_interface_without_ip() -> None:
    document = _routes("destination: 203.0.113.0/24, next-hop-interface: eth0")
    assert "IPv4 is not enabled" in refusal(document.replace("enabled: true", "enabled: false"))
    assert "absent" in refusal(document.replace("state: up", "state: absent"))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("route-table: 5", "one of ip-from, ip-to and family"),
        ("family: ipv6, ip-from: 10.0.0.0/8", "does not match the rule's family"),
        ("ip-from: 10.0.0.0/8, ip-to: '2001:db8::/32'", "does not match the rule's family"),
        ("ip-from: 10.0.0.0/40", "route-rules.config[0].ip-from"),
        ("family: ipv4, fwmask: 1", "needs fwmark"),
        ("family: ipv4, iif: eth9", "eth9"),
        ("family: ipv5", "family"),
        ("family: ipv4, action: allow", "action"),
    ],
)
def test_rejects_invalid_rules(rule: str, message: str) -> None:
    assert message in refusal(_rules(rule))


DHCP = "ipv4: {enabled: true, dhcp: true}"


def _holders(document: str) -> dict[str, list[str]]:
    """Return the tables that rules look up, by the holder of the rules."""
    rules = {
        name: [line.split(" table ")[1] for line in text.splitlines() if "routing-rule" in line]
        for name, text in made(document).items()
    }
    return {name: tables for name, tables in rules.items() if tables}


def test_assigns_rules_of_the_main_table_to_an_interface_with_a_profile() -> None:
    """Table 0 is the main table in a keyfile, and a separate one when a holder is selected."""
    rules = "route-rules: {config: [{family: ipv4}, {family: ipv4, route-table: 0}]}\n"
    assert _holders(interface(DHCP) + rules) == {"eth0": ["254", "254"]}
    assert _holders(rules) == {"lo": ["254", "254"]}
    assert _holders(interface("") + rules) == {"lo": ["254"]}, "eth0 has no IP to write a rule for"


def test_assigns_a_rule_for_an_unused_table_to_the_first_interface_with_ip() -> None:
    document = f"""\
interfaces:
- {{name: z, type: dummy, {DHCP}}}
- {{name: a, type: dummy, {DHCP}}}
- {{name: y, type: dummy, ipv4: {{enabled: true, dhcp: true, auto-route-table-id: 7}}}}
route-rules: {{config: [{{family: ipv4, route-table: 9}}, {{family: ipv4, route-table: 7}},
  {{family: ipv6, route-table: 7}}, {{family: ipv4}}]}}
"""
    assert _holders(document) == {"z": ["9"], "y": ["7"], "lo": ["7"], "a": ["254"]}


def test_drops_a_rule_of_an_open_vswitch_bridge() -> None:
    """The bridge has IP in the document, but its profile cannot have it."""
    document = f"""\
interfaces: [{{name: br, type: ovs-bridge, {DHCP}, bridge: {{port: [{{name: p}}]}}}}]
route-rules: {{config: [{{family: ipv4, route-table: 9}}]}}
"""
    assert _holders(document) == {}
    assert "no interface br" in refusal(document.replace("family: ipv4", "family: ipv4, iif: br"))


def test_checks_the_prefix_length_only_of_written_rules() -> None:
    rule = "route-rules: {config: [{family: ipv4, iif: eth0, suppress-prefix-length: 2147483648}]}"
    assert "suppress-prefix-length" in refusal(interface(DHCP) + rule)
    assert made(interface(DHCP).replace("state: up", "state: ignore") + rule) == {}


def test_assigns_routes_in_any_state() -> None:
    route = "routes: {config: [{destination: 10.0.0.0/8, next-hop-interface: eth0}]}"
    down = made(interface(DHCP).replace("state: up", "state: down") + route)
    assert "route0=10.0.0.0/8,,0\n" in down["eth0"]
    assert made(interface(DHCP).replace("state: up", "state: ignore") + route) == {}
    assert "route0" in made(route.replace("eth0", "lo"))["lo"]
    assert made(route) == {}


@pytest.mark.parametrize("destination", ["", ", destination: 10.0.0.0/8"])
def test_routes_make_a_family_without_addresses_manual(destination: str) -> None:
    """A route without a destination does so too, but is not written."""
    route = f"routes: {{config: [{{next-hop-interface: eth0{destination}}}]}}"
    found = sections(interface("ipv4: {enabled: true}") + route)["ipv4"]
    assert found["method"] == "manual"
    assert ("route0" in found) is bool(destination)


@pytest.mark.parametrize("count", [2000])
def test_converts_many_rules_in_linear_time(count: int) -> None:
    ports = "".join(
        f"- {{name: e{n}, type: dummy, ipv4: {{enabled: true, auto-route-table-id: {n + 1},"
        f" dhcp: true}}}}\n"
        for n in range(count)
    )
    rules = "".join(f"  - {{family: ipv4, route-table: {n + 5}}}\n" for n in range(count))
    start = time.process_time()
    made(f"interfaces:\n{ports}route-rules:\n  config:\n{rules}")
    assert time.process_time() - start < 10

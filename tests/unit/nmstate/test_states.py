"""States, the loopback interface, and interfaces that a later one replaces."""

from __future__ import annotations

import pytest
from nmstate_support import made, refusal, sections

DHCP = "ipv4: {enabled: true, dhcp: true}"


def _document(*interfaces: str) -> str:
    return "interfaces:\n" + "".join(f"- {text}\n" for text in interfaces)


@pytest.mark.parametrize("members", ["mtu: {}", "ipv4: 7", "controller: [x]", "foo: bar"])
def test_ignores_members_of_an_untyped_interface_with_a_later_namesake(members: str) -> None:
    untyped = f"{{name: a, {members}}}"
    assert "type=dummy\n" in made(_document(untyped, "{name: a, type: dummy}"))["a"]
    assert refusal(_document("{name: a, type: dummy}", untyped))
    assert refusal(_document(untyped, "{name: b, type: dummy}"))


def test_ignores_other_members_of_an_absent_interface() -> None:
    absent = "{name: a, type: bond, state: absent, mtu: x, controller: none, foo: bar}"
    assert made(_document(absent)) == {}
    assert refusal(_document(absent.replace("state: absent", "state: gone")))
    assert refusal(_document(absent.replace("type: bond", "type: [bond]")))


@pytest.mark.parametrize("state", ["up", "down", "unknown"])
@pytest.mark.parametrize("kind", ["loopback", "dummy", "ethernet"])
def test_gives_any_interface_named_lo_the_loopback_addresses(state: str, kind: str) -> None:
    found = sections(_document(f"{{name: lo, type: {kind}, state: {state}}}"), "lo")
    assert found["ipv4"]["address0"] == "127.0.0.1/8"
    assert found["ipv6"]["address0"] == "::1/128"
    assert found["connection"]["autoconnect"] == ("false" if state == "down" else "true")


@pytest.mark.parametrize("wait", ["ipv4", "ipv6", "ipv4+ipv6"])
def test_loopback_interface_waits_only_for_ip_of_the_document(wait: str) -> None:
    assert "wait-ip" in refusal(_document(f"{{name: lo, type: loopback, wait-ip: {wait}}}"))
    families = "ipv4: {enabled: true}, ipv6: {enabled: true}"
    given = f"{{name: lo, type: loopback, wait-ip: {wait}, {families}}}"
    assert "may-fail=false" in made(_document(given))["lo"]
    assert "may-fail" in made(_document(f"{{name: d, type: dummy, wait-ip: {wait}}}"))["d"]


def test_attaches_the_loopback_interface_to_an_open_vswitch_bridge_named_lo() -> None:
    files = made(_document("{name: lo, type: ovs-bridge, bridge: {port: []}}"))
    assert list(files) == ["lo-br", "lo-port", "lo"]
    assert "type=loopback\n" in files["lo"]


def test_rejects_a_vxlan_named_lo_without_a_port() -> None:
    """The reference parses its output for interfaces of the host, and writes null there."""
    vxlan = "{name: lo, type: vxlan, vxlan: {base-iface: e, id: 1}}"
    assert "destination-port" in refusal(_document(vxlan))
    assert list(made(_document(vxlan.replace("lo", "v")))) == ["v"]
    assert list(made(_document(vxlan.replace("id: 1", "id: 1, destination-port: 4789")))) == ["lo"]


@pytest.mark.parametrize("state", ["up", "down", "unknown"])
def test_rejects_a_vrf_without_a_table_unless_absent(state: str) -> None:
    vrf = f"{{name: v, type: vrf, state: {state}}}"
    assert "route-table-id" in refusal(_document(vrf))
    assert made(_document(vrf.replace(state, "absent"))) == {}


@pytest.mark.parametrize("state", ["up", "down", "unknown"])
def test_assigns_name_servers_in_any_state(state: str) -> None:
    document = _document(f"{{name: d, type: dummy, state: {state}, {DHCP}}}")
    for config, line in (
        ("server: [192.0.2.53]", "dns=192.0.2.53"),
        ("search: [x]", "dns-search=x"),
    ):
        found = made(f"{document}dns-resolver: {{config: {{{config}}}}}\n")
        assert line in found["d"].splitlines()


@pytest.mark.parametrize("state", ["absent", "ignore"])
def test_rejects_name_servers_without_an_interface_with_a_profile(state: str) -> None:
    document = _document(f"{{name: d, type: dummy, state: {state}, {DHCP}}}")
    assert refusal(document + "dns-resolver: {config: {server: [192.0.2.53]}}\n")


def test_accepts_duplicate_ports_of_a_bond_that_is_down() -> None:
    bond = "{name: b, type: bond, link-aggregation: {mode: 0, port: [a, a]}}"
    assert "port twice" in refusal(_document(bond))
    assert list(made(_document(bond.replace("type: bond", "type: bond, state: down")))) == [
        "a",
        "b",
    ]

"""Controllers, ports, parents and ignored interfaces."""

from __future__ import annotations

import pytest
from nmstate_support import made, refusal, sections

BOND = "{name: bond0, type: bond, link-aggregation: {mode: 0, port: [eth1]}}"


def _document(*interfaces: str) -> str:
    return "interfaces:\n" + "".join(f"- {text}\n" for text in interfaces)


@pytest.mark.parametrize(
    ("interfaces", "message"),
    [
        ([BOND, "{name: eth2, controller: bond0}"], "does not list it as a port"),
        ([BOND, "{name: eth1, controller: ''}"], "is a port of bond0"),
        (["{name: eth1, controller: bond0}"], "there is no interface bond0"),
        ([BOND, BOND.replace("bond0", "bond1")], "a port of"),
        ([BOND, "{name: eth1, state: ignore}", "{name: br0, type: linux-bridge}"], ""),
    ],
)
def test_rejects_ports_and_controllers_that_disagree(interfaces: list[str], message: str) -> None:
    if message:
        assert message in refusal(_document(*interfaces))
    else:
        assert "eth1" not in made(_document(*interfaces))


def test_rejects_a_child_of_an_absent_parent() -> None:
    document = _document(
        "{name: eth1.5, type: vlan, vlan: {base-iface: bond0, id: 5}}",
        "{name: bond0, type: bond, state: absent}",
    )
    assert "its parent bond0 is absent" in refusal(document)


def test_rejects_deep_nesting_with_controllers_last() -> None:
    chain = [
        f"{{name: br{n}, type: linux-bridge, bridge: {{port: [{{name: br{n + 1}}}]}}}}"
        for n in range(8)
    ]
    chain.append("{name: br8, type: linux-bridge}")
    assert list(made(_document(*chain))) == [f"br{n}" for n in range(9)]
    assert "too deep" in refusal(_document(*reversed(chain)))


def test_accepts_a_bond_without_mode_named_lo() -> None:
    """The reference requires a mode for new bonds only, and every host has ``lo``."""
    found = sections("interfaces: [{name: lo, type: bond}]", "lo")
    assert found["connection"]["type"] == "bond"
    assert found["bond"] == {}
    assert found["ipv4"]["address0"] == "127.0.0.1/8"


@pytest.mark.parametrize(
    "interfaces",
    [
        ["{name: d, type: ethernet, controller: d}"],
        ["{name: d, type: ipsec, controller: d, libreswan: {right: 192.0.2.1}}"],
        ["{name: d, type: bond, link-aggregation: {mode: 0, port: [d]}}"],
        [
            "{name: a, type: linux-bridge, bridge: {port: [{name: d}]}}",
            "{name: d, type: linux-bridge, bridge: {port: [{name: a}]}}",
        ],
    ],
)
def test_rejects_circles_of_controllers(interfaces: list[str]) -> None:
    assert "nested too deep" in refusal(_document(*interfaces))


@pytest.mark.parametrize(
    ("controller", "port"),
    [
        ("state: absent, bridge: {port: [{name: a}]}", "state: up"),
        ("state: ignore, bridge: {port: [{name: a}]}", "state: up"),
        ("state: up, bridge: {port: [{name: a}]}", "state: absent"),
        ("state: up, bridge: {port: [{name: a}]}", "state: ignore"),
        ("state: down, bridge: {port: [{name: a}]}", "state: up"),
        ("state: up, bridge: {port: [{name: a}]}", "state: down"),
        ("state: down", "state: up, controller: br"),
    ],
)
def test_attaches_ports_by_state(controller: str, port: str) -> None:
    document = _document(
        f"{{name: br, type: linux-bridge, {controller}}}", f"{{name: a, type: ethernet, {port}}}"
    )
    gone = "absent" in document or "ignore" in document
    assert any("master=br\n" in text for text in made(document).values()) is not gone


@pytest.mark.parametrize(
    "controller",
    ["state: absent", "state: ignore", "bridge: {port: []}", "state: down, bridge: {port: []}"],
)
def test_rejects_a_controller_that_does_not_list_the_port(controller: str) -> None:
    document = _document(
        f"{{name: br, type: linux-bridge, {controller}}}", "{name: a, controller: br}"
    )
    assert "interfaces[1].controller" in refusal(document)


def test_does_not_attach_ports_to_a_controller_without_a_name() -> None:
    bond = "{name: '', profile-name: p, type: bond, link-aggregation: {mode: 0, port: [a]}}"
    files = made(_document(bond))
    assert list(files) == ["p", "a"]
    assert "master" not in files["a"]
    assert "slave-type" not in files["a"]
    assert made(_document("{name: a, type: ethernet, controller: ''}")).keys() == {"a"}


def test_uses_the_first_of_two_settings_for_a_port() -> None:
    bridge = "{name: br, type: linux-bridge, state: down, bridge: {port: [P1, P2]}}"
    for number in (1, 2):
        bridge = bridge.replace(f"P{number}", f"{{name: a, stp-priority: {number}}}")
    assert sections(_document(bridge), "a")["bridge-port"] == {"priority": "1"}


def test_attaches_the_kernel_interface_of_the_name() -> None:
    """A VPN of the same name is not attached; Open vSwitch prefers its own interface."""
    vpn = "{name: x, type: ipsec, libreswan: {right: 192.0.2.1}}"
    own = "{name: x, type: ovs-interface}"
    bridge = "{name: br, type: ovs-bridge, bridge: {port: [{name: x}]}}"
    assert "type=802-3-ethernet\n" in made(_document(bridge, vpn))["x"]
    assert {"br-br", "x-port", "x-if"} <= made(_document(bridge, vpn, own)).keys()
    bond = "{name: b, type: bond, link-aggregation: {mode: 0, port: [x]}}"
    assert "master=b\n" in made(_document(bond, vpn))["x"]

"""Controllers, ports, parents, and what is ignored."""

from __future__ import annotations

import pytest
from nmstate_support import made, refusal, sections

BOND = "{name: bond0, type: bond, link-aggregation: {mode: 0, port: [eth1]}}"


def _document(*interfaces: str) -> str:
    return "interfaces:\n" + "".join(f"- {text}\n" for text in interfaces)


def test_a_port_may_name_its_controller() -> None:
    document = _document(BOND, "{name: eth1, type: ethernet, controller: bond0}")
    assert sections(document, "eth1")["connection"]["master"] == "bond0"
    listless = _document(
        "{name: br0, type: linux-bridge}", "{name: eth1, type: ethernet, controller: br0}"
    )
    assert sections(listless, "eth1")["connection"]["slave-type"] == "bridge"


@pytest.mark.parametrize(
    ("interfaces", "told"),
    [
        ([BOND, "{name: eth2, controller: bond0}"], "does not have it among its ports"),
        ([BOND, "{name: eth1, controller: ''}"], "is a port of bond0"),
        (["{name: eth1, controller: bond0}"], "there is no interface bond0"),
        ([BOND, BOND.replace("bond0", "bond1")], "a port of"),
        ([BOND, "{name: eth1, state: ignore}", "{name: br0, type: linux-bridge}"], ""),
    ],
)
def test_ports_and_controllers_must_agree(interfaces: list[str], told: str) -> None:
    if told:
        assert told in refusal(_document(*interfaces))
    else:
        assert "eth1" not in made(_document(*interfaces))


def test_children_do_not_outlive_their_parents() -> None:
    document = _document(
        "{name: eth1.5, type: vlan, vlan: {base-iface: bond0, id: 5}}",
        "{name: bond0, type: bond, state: absent}",
    )
    assert "which is absent" in refusal(document)


def test_deep_nesting_needs_controllers_first() -> None:
    chain = [
        f"{{name: br{n}, type: linux-bridge, bridge: {{port: [{{name: br{n + 1}}}]}}}}"
        for n in range(8)
    ]
    chain.append("{name: br8, type: linux-bridge}")
    assert list(made(_document(*chain))) == [f"br{n}" for n in range(9)]
    assert "too deep" in refusal(_document(*reversed(chain)))


def test_members_in_any_order_give_the_same_bytes() -> None:
    one = _document("{name: d0, type: dummy, mtu: 1400, ipv4: {enabled: true, dhcp: true}}")
    two = _document("{ipv4: {dhcp: true, enabled: true}, mtu: 1400, type: dummy, name: d0}")
    assert made(one) == made(two)

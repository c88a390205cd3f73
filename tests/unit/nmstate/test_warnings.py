"""Documents that must warn, with the place and a part of the text, and documents that must not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mic.common.problems import DocumentInvalid
from mic.nmstate import generate

STATIC = "ipv4: {enabled: true, dhcp: false, address: [{ip: 192.0.2.10, prefix-length: 24}]}"


def ethernet(members: str, name: str = "eno1") -> str:
    return f"interfaces:\n- {{name: {name}, type: ethernet, state: up, {members}}}\n"


def route(destination: str, gateway: str, interface: str = "eno1", members: str = STATIC) -> str:
    return (
        f"{ethernet(members)}routes:\n  config:\n  - destination: {destination}\n"
        f"    next-hop-address: {gateway}\n    next-hop-interface: {interface}\n"
    )


WARN = {
    "address without enabled": (
        ethernet("ipv4: {address: [{ip: 192.0.2.1, prefix-length: 24}]}"),
        "interfaces[0].ipv4: found an address without enabled: true: IPv4 stays off",
    ),
    "dhcp without enabled": (
        ethernet("ipv4: {dhcp: true}"),
        "interfaces[0].ipv4: found dhcp: true without enabled: true: IPv4 stays off",
    ),
    "autoconf without enabled": (
        ethernet("ipv6: {autoconf: true}"),
        "interfaces[0].ipv6: found autoconf: true without enabled: true: IPv6 stays off",
    ),
    "address with enabled: false": (
        ethernet("ipv6: {enabled: false, address: [{ip: '2001:db8::1', prefix-length: 64}]}"),
        "interfaces[0].ipv6: found an address without enabled: true",
    ),
    "enabled and nothing": (
        ethernet("ipv4: {enabled: true}"),
        "interfaces[0].ipv4: is enabled with neither an address nor dhcp",
    ),
    "enabled IPv6 and nothing": (
        ethernet("ipv6: {enabled: true}"),
        "interfaces[0].ipv6: is enabled with neither an address nor dhcp nor autoconf",
    ),
    "route over an unknown interface": (
        route("0.0.0.0/0", "192.0.2.1", "eno2"),
        "routes.config[0].next-hop-interface: eno2 is not in the document: the default route is "
        "dropped; did you mean eno1?",
    ),
    "route over an interface that is down": (
        route("198.51.100.0/24", "192.0.2.1").replace("state: up", "state: down"),
        "routes.config[0].next-hop-interface: eno1 is down: the route is dropped",
    ),
    "IPv6 route over IPv4": (
        route('"::/0"', "192.0.2.1", members=f"{STATIC}, ipv6: {{enabled: true, dhcp: true}}"),
        "routes.config[0].next-hop-address: 192.0.2.1 is IPv4 and the route IPv6",
    ),
    "gateway outside": (
        route("0.0.0.0/0", "198.51.100.1"),
        "routes.config[0].next-hop-address: 198.51.100.1 is outside of every subnet of eno1",
    ),
    "gateway is the host": (
        route("0.0.0.0/0", "192.0.2.10"),
        "routes.config[0].next-hop-address: 192.0.2.10 is the address of eno1 itself",
    ),
    "name of the host": (
        "hostname: {config: worker-0}\n" + ethernet(STATIC),
        "hostname.config: is not used: keyfiles cannot hold the name of a host",
    ),
    "address of the network": (
        ethernet("ipv4: {enabled: true, address: [{ip: 192.0.2.0, prefix-length: 24}]}"),
        "interfaces[0].ipv4.address[0]: 192.0.2.0 is the address of the network 192.0.2.0/24",
    ),
    "broadcast address": (
        ethernet("ipv4: {enabled: true, address: [{ip: 192.0.2.7, prefix-length: 30}]}"),
        "interfaces[0].ipv4.address[0]: 192.0.2.7 is the broadcast address of the network "
        "192.0.2.4/30",
    ),
    "one MAC twice": (
        ethernet("identifier: mac-address, mac-address: '02:00:00:00:00:0a'", "nic1")
        + "- {name: nic2, identifier: mac-address, mac-address: '02-00-00-00-00-0A'}\n",
        "interfaces[1].mac-address: 02-00-00-00-00-0A is the MAC address of nic1 too",
    ),
    "MAC of a group": (
        ethernet("mac-address: '01:00:5e:00:00:01', " + STATIC),
        "interfaces[0].mac-address: 01:00:5e:00:00:01 is not the address of one network card",
    ),
    "MAC of zeros": (
        ethernet("mac-address: '00:00:00:00:00:00', " + STATIC),
        "interfaces[0].mac-address: 00:00:00:00:00:00 is not the address of one network card",
    ),
    "bond taken for ethernet": (
        f"interfaces: [{{name: bond0, {STATIC}}}]",
        "interfaces[0].name: bond0 is the usual name of another type, but its type is ethernet",
    ),
    "pattern": (
        ethernet(STATIC, "'eno*'"),
        "interfaces[0].name: 'eno*' is not a pattern",
    ),
    "bond without a list of ports": (
        "interfaces: [{name: bond7, type: bond, link-aggregation: {mode: active-backup}}]",
        "interfaces[0].link-aggregation: has no ports",
    ),
    "IPVLAN, which the reference writes in part": (
        "interfaces: [{name: i0, type: ipvlan, ipvlan: {base-iface: eno1, mode: l2}}]",
        "interfaces[0]: its profile lacks the section ipvlan: NetworkManager refuses it",
    ),
    "HSR, which the reference writes in part": (
        "interfaces: [{name: h0, type: hsr, hsr: {port1: eno1, port2: eno2, multicast-spec: 40, "
        "protocol: prp}}]",
        "interfaces[0]: its profile lacks the section hsr: NetworkManager refuses it",
    ),
    "port that is a virtual function": (
        "interfaces: [{name: bond7, type: bond, link-aggregation: {mode: active-backup, "
        "port: ['sriov:eno1:0']}}]",
        "interfaces[0]: the name of its port 'sriov:eno1:0' refers to a virtual function",
    ),
    "port that is absent": (
        "interfaces: [{name: eno1, type: ethernet, state: absent}, {name: bond7, type: bond, "
        "link-aggregation: {mode: active-backup, port: [eno1]}}]",
        "interfaces[1]: eno1, a port of bond7, is absent: it gets no profile",
    ),
    "VLAN over a bond that nobody describes": (
        "interfaces: [{name: bond0.7, type: vlan, vlan: {id: 7, base-iface: bond0}}]",
        "interfaces[0]: bond0.7 is on bond0, which is not in the document: the host has no such",
    ),
    "VLAN over itself": (
        "interfaces: [{name: vlan7, type: vlan, vlan: {id: 7, base-iface: vlan7}}]",
        "interfaces[0]: vlan7 is on itself: the host cannot create it",
    ),
    "running routes": (
        ethernet(STATIC) + "routes: {running: [{destination: 0.0.0.0/0, "
        "next-hop-address: 192.0.2.1, next-hop-interface: eno1}]}\n",
        "routes.running: describes a present state and is not used: write routes.config",
    ),
    "running default route next to other routes": (
        route("198.51.100.0/24", "192.0.2.1").rstrip("\n")
        + "\n  running: [{destination: 0.0.0.0/0, next-hop-address: 192.0.2.1, "
        "next-hop-interface: eno1}]\n",
        "routes.running: describes a present state",
    ),
    "one address twice": (
        ethernet(STATIC) + f"- {{name: eno2, type: ethernet, {STATIC}}}\n",
        "interfaces[1].ipv4.address: 192.0.2.10 is an address of eno1 too",
    ),
    "running name servers": (
        ethernet(STATIC) + "dns-resolver: {running: {server: [192.0.2.1]}}\n",
        "dns-resolver.running: describes a present state",
    ),
    "VLAN on an interface by MAC": (
        "interfaces:\n- {name: up, type: ethernet, identifier: mac-address, mac-address: "
        "02:00:00:00:00:01}\n- {name: up.5, type: vlan, vlan: {base-iface: up, id: 5}}\n",
        "interfaces[1]: up.5 is on up, which is identified by its MAC address",
    ),
    "MACVLAN on an interface by MAC": (
        "interfaces:\n- {name: up, type: ethernet, identifier: mac-address, mac-address: "
        "02:00:00:00:00:01}\n- {name: m0, type: mac-vlan, mac-vlan: {base-iface: up, mode: vepa, "
        "promiscuous: true}}\n",
        "interfaces[1]: m0 is on up, which is identified by its MAC address",
    ),
    "MAC identifier without MAC": (
        ethernet("identifier: mac-address"),
        "interfaces[0].identifier: mac-address without a mac-address: the profile matches any",
    ),
    "misspelt type": (
        "interfaces: [{name: eno1, type: ethernt, state: up}]",
        "interfaces[0].type: 'ethernt' is not a type of NMState, and is taken for ethernet; did "
        "you mean ethernet?",
    ),
    "VLAN without vlan": (
        "interfaces: [{name: v, type: vlan, state: down}]",
        "interfaces[0]: is a VLAN without a member vlan",
    ),
    "VLAN id": (
        ethernet(STATIC) + "- {name: v, type: vlan, vlan: {base-iface: eno1, id: 4095}}\n",
        "interfaces[1].vlan.id: 4095 is no VLAN id",
    ),
    "malformed MAC": (
        ethernet("mac-address: '02:00:00:00:01'"),
        "interfaces[0].mac-address: '02:00:00:00:01' is not a MAC address",
    ),
    "long name": (
        ethernet(STATIC, "enp129s0f0np0.1234").replace("ethernet", "dummy"),
        "interfaces[0].name: 'enp129s0f0np0.1234' has more than 15 bytes",
    ),
    "virtual function by reference": (
        ethernet(STATIC, "'sriov:eno1:0'"),
        "interfaces[0].name: 'sriov:eno1:0' refers to a virtual function",
    ),
    "name with a blank": (
        ethernet(STATIC, "'e o'"),
        "interfaces[0].name: 'e o' has a character that Linux does not allow",
    ),
    "interface twice": (
        "interfaces: [{name: a, type: dummy}, {name: a, type: dummy}]",
        "interfaces[0]: a is described again at interfaces[1]: the last one counts",
    ),
    "down": (
        "interfaces: [{name: a, type: dummy, state: down}]",
        "interfaces[0].state: down: the host does not bring it up",
    ),
    "looks like a VLAN": (
        ethernet(STATIC, "ens192.101"),
        "interfaces[0].name: ens192.101 looks like a VLAN",
    ),
    "nothing": ("interfaces: []", "document: configures nothing"),
    "an empty mapping": ("{}", "document: configures nothing"),
    "bond without ports": (
        "interfaces: [{name: bond0, type: bond, link-aggregation: {mode: active-backup, "
        "port: []}}]",
        "interfaces[0].link-aggregation: has no ports",
    ),
    "MTU above the parent's": (
        "interfaces:\n- {name: eno1, type: ethernet, mtu: 1500}\n"
        "- {name: v, type: vlan, mtu: 9000, vlan: {base-iface: eno1, id: 5}}\n",
        "interfaces[1].mtu: 9000 is above the 1500 of eno1",
    ),
    "802.1X without a method": (
        ethernet("802.1x: {identity: me}"),
        "interfaces[0]: 802.1X needs eap-methods: NetworkManager refuses it",
    ),
    "reserved name": (
        "interfaces: [{name: default, type: vrf, vrf: {port: [], route-table-id: 5}}]",
        "interfaces[0]: the name 'default' is reserved",
    ),
}

SILENT = {
    "bridge with options": "interfaces: [{name: br0, type: linux-bridge, ipv4: {enabled: true, "
    "dhcp: true}, bridge: {options: {stp: {enabled: false}}, port: [{name: eno1}]}}]",
    "running and configured": route("0.0.0.0/0", "192.0.2.1").rstrip("\n")
    + "\n  running: [{destination: 0.0.0.0/0, next-hop-address: 192.0.2.1, "
    "next-hop-interface: eno1}]\n",
    "DHCP": ethernet("ipv4: {enabled: true, dhcp: true}, ipv6: {enabled: false}"),
    "static": route("0.0.0.0/0", "192.0.2.1") + "dns-resolver: {config: {server: [192.0.2.1]}}\n",
    "dual stack": ethernet(
        f"{STATIC}, ipv6: {{enabled: true, autoconf: true, dhcp: true}}, mtu: 1500"
    ),
    "gateway by DHCP": route(
        "198.51.100.0/24", "203.0.113.1", members="ipv4: {enabled: true, dhcp: true}"
    ),
    "link-local gateway": route(
        '"::/0"',
        "fe80::1",
        members="ipv6: {enabled: true, address: [{ip: '2001:db8::2', prefix-length: 64}]}",
    ),
    "port that names its bond": "interfaces:\n- {name: bond0, type: bond, ipv4: {enabled: true, "
    "dhcp: true}, link-aggregation: {mode: active-backup}}\n- {name: eno1, type: ethernet, "
    "controller: bond0}\n",
    "both addresses of a link": ethernet(
        "ipv4: {enabled: true, address: [{ip: 192.0.2.0, prefix-length: 31}]}"
    ),
    "port of a bond": "interfaces:\n- {name: bond0, type: bond, ipv4: {enabled: true, dhcp: true}, "
    "link-aggregation: {mode: active-backup, port: [eno1]}}\n- {name: eno1, type: ethernet, "
    "ipv4: {enabled: false}, ipv6: {enabled: false}}\n",
    "no type": "interfaces: [{name: eno1, state: up, ipv4: {enabled: true, dhcp: true}}]",
    "VLAN": ethernet("ipv4: {enabled: false}")
    + "- {name: eno1.7, type: vlan, vlan: {base-iface: eno1, id: 7}, ipv4: {enabled: true, "
    "dhcp: true}}\n",
    "off and empty": ethernet("ipv4: {enabled: false, address: []}, ipv6: {enabled: false}"),
    "by MAC": ethernet(
        "identifier: mac-address, mac-address: '02:00:00:00:00:01', " + STATIC, "uplink.of.rack.5"
    ),
}


@pytest.mark.parametrize("name", WARN)
def test_warns(name: str) -> None:
    document, expected = WARN[name]
    texts = [str(warning) for warning in generate(document).warnings]
    assert [text for text in texts if text.startswith(expected)], texts


@pytest.mark.parametrize("name", SILENT)
def test_is_silent(name: str) -> None:
    assert generate(SILENT[name]).warnings == ()


def test_the_cases_of_the_field() -> None:
    cases = list((Path(__file__).parent / "warnings").glob("*/*.yaml"))
    assert len(cases) >= 13
    for path in cases:
        found = generate(path.read_bytes()).warnings
        assert bool(found) == (path.parent.name == "warn"), path.name


def test_texts_for_other_readers_quote_nothing() -> None:
    for document, _ in WARN.values():
        for warning in generate(document).warnings:
            for word in ("eno", "ens", "ethernt", "192.0", "sriov", "bond0", "'"):
                assert word not in warning.without_content, warning.without_content


def test_reports_a_limited_number() -> None:
    names = ", ".join(f"{{name: e{n}, type: dummy, state: down}}" for n in range(200))
    found = generate(f"interfaces: [{names}]").warnings
    assert len(found) == 51
    assert str(found[-1]) == "document: and 150 more warnings"


def test_time_is_linear_in_the_number_of_routes() -> None:
    def seconds(count: int) -> float:
        routes = "".join(
            f"  - {{destination: 10.{n >> 8}.{n & 255}.0/24, next-hop-address: 192.0.2.1, "
            "next-hop-interface: eno2}\n"
            for n in range(count)
        )
        document = f"{ethernet(STATIC)}routes:\n  config:\n{routes}"
        began = time.process_time()
        generate(document)
        return time.process_time() - began

    # Quadratic work would take 64 times as long.
    assert seconds(8000) < 30 * max(seconds(1000), 0.01)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["a", "b", "a.5", "x" * 20])},
            optional={
                "type": st.sampled_from(["ethernet", "vlan", "bond", "odd", "dummy"]),
                "state": st.sampled_from(["up", "down", "absent", "ignore"]),
                "identifier": st.sampled_from(["name", "mac-address"]),
                "mac-address": st.sampled_from(["", "02:00:00:00:00:01", "zz"]),
                "ipv4": st.fixed_dictionaries(
                    {}, optional={"enabled": st.booleans(), "dhcp": st.booleans()}
                ),
                "vlan": st.fixed_dictionaries(
                    {"base-iface": st.sampled_from(["a", "b"]), "id": st.integers(0, 5000)}
                ),
            },
        ),
        max_size=4,
    )
)
def test_any_document_gives_keyfiles_and_warnings_or_an_error(interfaces: list[object]) -> None:

    try:
        made = generate(json.dumps({"interfaces": interfaces}))
    except DocumentInvalid:
        return
    assert bool(made.keyfiles) or made.warnings
    assert made == generate(json.dumps({"interfaces": interfaces}))


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (SILENT["static"], "eno1 192.0.2.10/24"),
        (SILENT["DHCP"], "eno1 DHCP"),
        (SILENT["dual stack"], "eno1 192.0.2.10/24 DHCPv6"),
        (SILENT["VLAN"], "eno1.7 DHCP"),
        (SILENT["port of a bond"], "bond0 DHCP"),
        ("{}", ""),
        ("interfaces: [{name: a, type: dummy}]", "a"),
    ],
)
def test_summary_of_a_network(document: str, line: str) -> None:
    assert generate(document).network == line


def test_a_long_summary_counts_the_rest() -> None:
    names = ", ".join(
        f"{{name: eth{n}, type: ethernet, ipv4: {{enabled: true, dhcp: true}}}}" for n in range(50)
    )
    line = generate(f"interfaces: [{names}]").network
    assert line.endswith(" more")
    assert len(line) < 100

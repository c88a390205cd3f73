"""Unusual values that the reference's deserialisation accepts or refuses.

The answers follow from the rules of serde and serde_yaml for the reference's types; each test
names the rule.
"""

from __future__ import annotations

import pytest
from nmstate_support import interface, made, refusal, sections

from mic.common.keyfile import Keyfile
from mic.nmstate import from_yaml, to_yaml

VLAN = "vlan: {{base-iface: eth0, id: 1, protocol: {protocol}}}"


@pytest.mark.parametrize("state", ["{up: null}", "{up: ~}", "{up: }"])
def test_accepts_a_word_as_the_only_key_of_a_mapping_to_null(state: str) -> None:
    """Serde also reads a unit variant of an enumeration from ``{variant: null}``."""
    found = sections(f"interfaces: [{{name: eth0, state: {state}}}]")
    assert found["connection"]["autoconnect"] == "true"


def test_accepts_absent_as_a_mapping_to_null() -> None:
    assert made("interfaces: [{name: eth0, type: {dummy: null}, state: {absent: null}}]") == {}


def test_accepts_a_type_as_a_mapping_to_null() -> None:
    document = "interfaces: [{name: eth0, type: {dummy: null}}]"
    assert sections(document)["connection"]["type"] == "dummy"


def test_accepts_an_own_member_as_a_mapping_to_null() -> None:
    found = sections(interface(VLAN.format(protocol="{802.1ad: null}"), kind="vlan"))
    assert found["vlan"]["protocol"] == "802.1ad"


@pytest.mark.parametrize(
    ("member", "line"),
    [
        ("ipv4: {enabled: true, dhcp: true, dhcp-client-id: {LL: null}}", "dhcp-client-id=mac"),
        ("ipv6: {enabled: true, dhcp: true, dhcp-duid: {uuid: null}}", "dhcp-duid=uuid"),
        ("ipv6: {enabled: true, addr-gen-mode: {stable-privacy: null}}", "addr-gen-mode=1"),
    ],
)
def test_accepts_known_words_of_open_enumerations_as_a_mapping_to_null(
    member: str, line: str
) -> None:
    assert line in made(interface(member))["eth0"].splitlines()


def test_rejects_unknown_words_as_a_mapping_to_null() -> None:
    """The variant for other strings has no name."""
    member = "ipv4: {enabled: true, dhcp: true, dhcp-client-id: {client-7: null}}"
    assert "ipv4.dhcp-client-id: found a mapping" in refusal(interface(member))
    assert "interfaces[0].type: found a mapping" in refusal("interfaces: [{name: a, type: {b: }}]")


@pytest.mark.parametrize(
    "state", ["{}", "{up: {}}", "{up: 1}", "{up: null, down: null}", "{on: null}", "[up]"]
)
def test_rejects_other_mappings_as_a_state(state: str) -> None:
    """The state is read from a JSON value, where only null is a unit."""
    assert "interfaces[0].state" in refusal(f"interfaces: [{{name: eth0, state: {state}}}]")


@pytest.mark.parametrize("mode", ["{balance-rr: null}", "{0: null}"])
def test_rejects_words_with_a_number_as_a_mapping_to_null(mode: str) -> None:
    """The enumerations of bonds are read as a number or a string first."""
    assert "link-aggregation.mode" in refusal(
        interface(f"link-aggregation: {{mode: {mode}}}", kind="bond")
    )


def test_rejects_words_of_routes_as_a_mapping_to_null() -> None:
    """Outside of interfaces serde_yaml requires a tag."""
    assert "routes.config[0].state" in refusal("routes: {config: [{state: {absent: null}}]}")


def test_accepts_duplicates_of_ignored_members() -> None:
    """Serde checks only the fields of a structure for duplicates."""
    twice = "{localnet: a, bridge: b, note: 1, note: 2}"
    assert made(f"ovn: {{bridge-mappings: [{twice}]}}") == {}
    assert "bridge: given twice" in refusal(
        "ovn: {bridge-mappings: [{localnet: a, bridge: b, bridge: c, note: 1, note: 2}]}"
    )


@pytest.mark.parametrize("zeros", ["0", "0" * 45, "0" * 5000])
def test_accepts_any_number_of_leading_zeros_in_quoted_numbers(zeros: str) -> None:
    """Rust's ``from_str`` does not limit the number of digits."""
    assert sections(interface(f"mtu: '{zeros}1400'"))["ethernet"]["mtu"] == "1400"
    assert sections(interface(f"mtu: '0x{zeros}578'"))["ethernet"]["mtu"] == "1400"
    assert sections(interface(f"mtu: 0x{zeros}578"))["ethernet"]["mtu"] == "1400"
    route = f"{{destination: 10.0.0.0/{zeros}8, next-hop-interface: eth0, metric: '-{zeros}1'}}"
    document = interface("ipv4: {enabled: true, dhcp: true}")
    found = sections(f"{document}routes: {{config: [{route}]}}\n")
    assert found["ipv4"]["route0"] == "10.0.0.0/8,,0"


@pytest.mark.parametrize("digits", ["1" + "0" * 5000, "0x1" + "0" * 5000, "-1" + "0" * 5000])
def test_rejects_very_long_numbers(digits: str) -> None:
    assert "interfaces[0].mtu" in refusal(interface(f"mtu: '{digits}'"))
    assert "routes.config[0].metric" in refusal(f"routes: {{config: [{{metric: '{digits}'}}]}}")


def test_reads_integers_of_more_than_128_bits_as_floats_or_strings() -> None:
    """Serde_yaml reads a decimal one as a float, and any other as a string."""
    assert list(made(f"interfaces: [{{name: 0x1{'0' * 32}}}]")) == [f"0x1{'0' * 32}"]
    assert "name: found a number" in refusal(f"interfaces: [{{name: 1{'0' * 39}}}]")
    assert "more than 64 bits" in refusal(f"interfaces: [{{name: 1{'0' * 38}}}]")
    assert "more than 64 bits" in refusal(f"interfaces: [{{name: 0x1{'0' * 31}}}]")


def test_rejects_a_long_float_as_a_string() -> None:
    assert "description: found a number" in refusal(interface(f"description: 0.{'0' * 500}1"))


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        ("vxlan: {base-iface: e, id: 1, learning: 1}", "vxlan"),
        ("vxlan: {base-iface: e, id: 1, learning: 'true'}", "vxlan"),
        ("libreswan: {right: 192.0.2.1, require-id-on-certificate: 'no'}", "ipsec"),
        ("libreswan: {right: 192.0.2.1, require-id-on-certificate: yes}", "ipsec"),
    ],
)
def test_rejects_other_spellings_of_strict_booleans(member: str, kind: str) -> None:
    """They do not use the lenient readers of the reference."""
    assert "expected true or false" in refusal(interface(member, kind=kind))


@pytest.mark.parametrize("zero", ["0", "-0", "'0'", "'+0'", "0x0"])
def test_accepts_signed_zero(zero: str) -> None:
    assert sections(interface(f"mtu: {zero}"))["ethernet"]["mtu"] == "0"


@pytest.mark.parametrize("zero", ["'-0'", "-0.0", "-00", "'-0x0'"])
def test_rejects_negative_zero_in_quotes(zero: str) -> None:
    assert "interfaces[0].mtu" in refusal(interface(f"mtu: {zero}"))


@pytest.mark.parametrize(
    "document",
    [
        interface("mtu: !!int '1400'"),
        interface("mtu: !!str 1400"),
        interface("description: !!str 5"),
        interface("ipv4: !!map {enabled: true}"),
        "interfaces: !!seq [!!map {name: eth0}]",
        "description: ! a\ninterfaces: ! [{name: eth0}]",
        "routes: {config: ! [{destination: !!str 10.0.0.0/8, next-hop-interface: e}]}",
        "routes: {config: [{destination: 10.0.0.0/8, next-hop-interface: e, metric: !!str 5}]}",
    ],
)
def test_accepts_tags_that_match_the_value(document: str) -> None:
    made(document)


@pytest.mark.parametrize(
    "document",
    [
        interface("mtu: !!int x"),
        interface("mtu: !!float 1400"),
        interface("ovs-db: {external_ids: {a: !!float 1e400}}"),
        interface("ovs-db: {external_ids: {a: !!float nan}}"),
        interface("description: !!null x"),
        interface("description: ! x"),
        interface("ipv4: ! {enabled: true}"),
        "interfaces: [! {name: eth0}]",
        "interfaces: [{name: ! eth0}]",
        "routes: {config: [{destination: 10.0.0.0/8, next-hop-interface: e, metric: ! 5}]}",
        "routes: {config: [{destination: 10.0.0.0/8, next-hop-interface: e, metric: !!float 5}]}",
    ],
)
def test_rejects_tags_that_do_not_match_the_value(document: str) -> None:
    """Interfaces are converted to a tree of values first, which keeps the tag ``!``."""
    assert refusal(document)


def test_omits_empty_strings() -> None:
    found = sections(
        interface("""\
description: ""
ipv4: {enabled: true, dhcp: true, dhcp-client-id: "", dhcp-custom-hostname: ""}
ipv6: {enabled: true, dhcp: true, autoconf: true, dhcp-duid: ""}
802.1x: {identity: ""}
""")
    )
    assert found["user"] == found["802-1x"] == {}
    assert not {"dhcp-client-id", "dhcp-hostname", "dhcp-fqdn"} & found["ipv4"].keys()
    assert "dhcp-duid" not in found["ipv6"]


@pytest.mark.parametrize(
    ("mtu", "written"), [(2**32, "0"), (2**32 + 1500, "1500"), (2**64 - 1, "4294967295")]
)
@pytest.mark.parametrize(
    ("kind", "section", "members"),
    [
        ("ethernet", "ethernet", ""),
        ("infiniband", "infiniband", "infiniband: {mode: connected, pkey: 1, base-iface: ib0}"),
    ],
)
def test_truncates_an_mtu_to_32_bits(
    mtu: int, written: str, kind: str, section: str, members: str
) -> None:
    found = sections(interface(f"{members}\nmtu: {mtu}", kind=kind))
    assert found[section]["mtu"] == written


def test_keeps_no_break_spaces_of_a_listing() -> None:
    listing = to_yaml((Keyfile(name="a.nmconnection", content="id=a\u00a0b\n"),))
    assert from_yaml(listing)[0].content == "id=a\u00a0b\n"

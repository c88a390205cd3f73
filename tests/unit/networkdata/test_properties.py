"""Any document gives keyfiles that a host takes, or an error; in time that grows linearly."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import network_data_documents
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from network_data_support import card, default, document, static

from mic.common.generated import Generated
from mic.common.keyfile import check_names
from mic.common.problems import DocumentInvalid
from mic.networkdata import as_json, generate, gleaning_doubts, is_network_data

IDS = st.sampled_from(["a", "b", "bond0", "v", "", "x/y", "\n", 1, None])
MACS = st.sampled_from(["52:54:00:00:00:01", "52-54-00-00-00-02", "", None, "nonsense", 5])
ADDRESSES = st.sampled_from(
    [
        *("192.0.2.10", "192.0.2.10/24", "2001:db8::10", "2001:db8::10/64", "fe80::1%a", "::"),
        *("0.0.0.0", "255.255.255.255", "300.1.1.1", "", None, 7, [], "::ffff:192.0.2.1"),
    ]
)
MASKS = st.sampled_from(
    ["255.255.255.0", "255.255.0.255", "ffff:ffff::", "::", "0.0.0.0", "24", 24, 129, "", None]
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip
SERVICES = st.lists(
    st.fixed_dictionaries({}, optional={"type": st.just("dns") | JUNK, "address": ADDRESSES}),
    max_size=3,
)
BOND_OPTIONS = st.dictionaries(
    st.sampled_from(
        [
            *("bond_miimon", "bond_updelay", "bond_downdelay", "bond_arp_interval"),
            *("bond_arp_ip_target", "bond_primary", "bond_lacp_rate", "bond_xmit_hash_policy"),
            *("bond_fail_over_mac", "bond_num_grat_arp", "bond_ad_select", "bond-use_carrier"),
            *("bond_packets_per_slave", "bond_colour", "bond_"),
        ]
    ),
    st.sampled_from([0, 1, 100, "192.0.2.1", "layer3+4", "fast", "a", "", None, True]) | JUNK,
    max_size=4,
)
LINKS = st.builds(
    lambda members, options: members | options,
    st.fixed_dictionaries(
        {"id": IDS, "type": st.sampled_from(["phy", "bond", "vlan", "tap", "odd", None, 3])},
        optional={
            "ethernet_mac_address": MACS,
            "name": st.sampled_from(["eth0", "a/b", "lo", "", None]),
            "mtu": st.sampled_from([1500, 0, "9000", None, 1e9, "x"]),
            "bond_links": st.lists(IDS, max_size=3) | JUNK,
            "bond_mode": st.sampled_from(["802.3ad", "balance-rr", "active-backup", 3, "x", None]),
            "vlan_id": st.sampled_from([1, "100", 4095, None, "x"]),
            "vlan_link": IDS,
            "vlan_mac_address": MACS,
        },
    ),
    BOND_OPTIONS,
)
ROUTES = st.fixed_dictionaries(
    {},
    optional={
        "network": ADDRESSES,
        "netmask": MASKS,
        "gateway": ADDRESSES,
        "services": SERVICES,
        "metric": st.sampled_from([0, 5, "x", None]),
    },
)
NETWORKS = st.fixed_dictionaries(
    {
        "link": IDS,
        "type": st.sampled_from(["ipv4", "ipv6", "ipv4_dhcp", "ipv6_slaac", "static", "odd", None]),
    },
    optional={
        "id": IDS,
        "ip_address": ADDRESSES,
        "netmask": MASKS,
        "gateway": ADDRESSES,
        "routes": st.lists(ROUTES, max_size=3),
        "services": SERVICES,
        "dns_nameservers": st.lists(ADDRESSES, max_size=2) | JUNK,
        "dns_search": st.sampled_from(["example.net", ["a", "b c"], "x\ny", 5, None]),
    },
)
NEARLY = st.fixed_dictionaries(
    {"links": st.lists(LINKS, max_size=4)},
    optional={
        "networks": st.lists(NETWORKS, max_size=4) | JUNK,
        "services": SERVICES | JUNK,
        "more": JUNK,
    },
)
MANGLED = st.builds(
    lambda text, at, junk: text[: at % len(text)] + junk + text[at % len(text) + len(junk) :],
    st.sampled_from(list(network_data_documents.DOCUMENTS.values())),
    st.integers(0, 10_000),
    st.text(max_size=6) | st.sampled_from(["null", "[]", "{}", "-1", '"', "\n", "  ", "&a *a"]),
)


def outcome(text: str) -> Generated | DocumentInvalid:
    try:
        return generate(text)
    except DocumentInvalid as error:
        return error


def check(text: str) -> None:
    """A document is refused with a reason, or its keyfiles are complete and clean."""
    found = outcome(text)
    if isinstance(found, DocumentInvalid):
        assert found.problems
        assert all(found.problems)
        assert len(found.without_content) <= len(found.problems)
        return
    check_names(found.keyfiles)
    for keyfile in found.keyfiles:
        lines = keyfile.content.splitlines()
        sections = Counter(line for line in lines if line.startswith("["))
        assert set(sections.values()) == {1}
        assert all(not line or line.startswith("[") or "=" in line for line in lines)
        assert "mac-address=" in keyfile.content or "interface-name=" in keyfile.content
    given_to_glean = as_json(text.encode())
    doubts = gleaning_doubts(given_to_glean, only_glean=True) if given_to_glean else ()
    for warning in (*found.warnings, *doubts):
        assert str(warning).isprintable()
        assert warning.without_content.isprintable()
    if not any("method=manual" in k.content or "method=auto" in k.content for k in found.keyfiles):
        assert found.warnings, "no address, and not a word"


@given(NEARLY)
@settings(max_examples=150, deadline=None)
def test_documents_that_are_nearly_right(content: dict[str, Any]) -> None:
    check(json.dumps(content))


@given(MANGLED)
@settings(max_examples=150, deadline=None)
def test_documents_with_a_slip(text: str) -> None:
    check(text)


@given(st.dictionaries(st.sampled_from(["links", "networks", "services", "x"]), JUNK))
@settings(max_examples=80, deadline=None)
def test_documents_of_junk(content: dict[str, Any]) -> None:
    check(json.dumps(content))


@given(NEARLY)
@settings(max_examples=30, deadline=None)
def test_equal_documents_give_equal_results(content: dict[str, Any]) -> None:
    first, second = (outcome(json.dumps(content)) for _ in range(2))
    assert str(first) == str(second)
    if isinstance(first, Generated) and isinstance(second, Generated):
        assert [each.content for each in first.keyfiles] == [e.content for e in second.keyfiles]


@pytest.mark.parametrize("name", network_data_documents.DOCUMENTS)
def test_a_document_means_the_same_in_json(name: str) -> None:
    text = network_data_documents.DOCUMENTS[name]
    as_bytes = as_json(text.encode())
    assert as_bytes is not None
    assert is_network_data(json.loads(as_bytes))
    assert generate(as_bytes) == generate(text)


def _cards(count: int) -> str:
    cards = [
        card(f"c{n}", ethernet_mac_address=f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}")
        for n in range(count)
    ]
    vlans = [
        {"id": f"v{n}", "type": "vlan", "vlan_id": 7, "vlan_link": f"c{n}"} for n in range(count)
    ]
    networks = [
        static(f"v{n}", f"10.{n >> 8}.{n & 255}.1", gateway="10.0.0.1") for n in range(count)
    ]
    return document(*cards, *vlans, networks=networks, services=_servers(count))


def _servers(count: int) -> list[dict[str, str]]:
    return [{"type": "dns", "address": f"10.1.{n >> 8}.{n & 255}"} for n in range(count)]


def _routes(count: int) -> str:
    routes = [default(f"10.2.{n >> 8}.{n & 255}") for n in range(count)]
    addresses = [static(address=f"10.3.{n >> 8}.{n & 255}") for n in range(1, count)]
    return document(card(), networks=[static(routes=routes), *addresses], services=_servers(count))


def _chain(count: int) -> str:
    vlans = [
        {"id": f"v{n}", "type": "vlan", "vlan_id": 1, "vlan_link": f"v{n + 1}"}
        for n in range(count)
    ]
    return document(*vlans, card(f"v{count}"))


def _ports(count: int) -> str:
    bonds = [
        {"id": f"bond {n}", "type": "bond", "bond_mode": "802.3ad", "bond_links": ["a"] * count}
        for n in range(2)
    ]
    return document(*bonds, card(), networks=[{"link": f"x{n}", "type": "y"} for n in range(count)])


def _servers_for_others(count: int) -> str:
    """Networks that name servers of the other IP version: all links get these."""
    cards = [
        card(f"c{n}", ethernet_mac_address=f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}")
        for n in range(count)
    ]
    servers = [f"fd00::{n}" for n in range(1, 20)]
    networks = [
        {"link": f"c{n}", "type": ("ipv4_dhcp", "ipv6_slaac")[n % 2], "dns_nameservers": servers}
        for n in range(count)
    ]
    return document(*cards, networks=networks)


@pytest.mark.parametrize("make", [_cards, _routes, _chain, _ports, _servers_for_others])
def test_work_grows_linearly(make: Callable[[int], str]) -> None:
    small, large = (_calls(make(count)) for count in (100, 400))
    assert large < 6 * small


def _calls(text: str) -> int:
    """The number of function calls that a document takes."""
    calls = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        generate(text)
    except DocumentInvalid:
        pass
    finally:
        sys.setprofile(None)
    return calls

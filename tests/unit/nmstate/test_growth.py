"""The cost of a conversion, in function calls, grows linearly with the size of the document.

A document may have 1 MiB. If the cost grew with the square of its size, other conversions would
wait for minutes.
"""

from __future__ import annotations

import ipaddress
import sys
import time
from collections.abc import Callable
from types import FrameType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mic.common import addresses, tree
from mic.common.problems import DocumentInvalid
from mic.ignition import Agent, Host, config
from mic.nmstate import keyfiles

AGENT = Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",))
ETH0 = "- {name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}\n"
DUMMY = "- {{name: e{n}, type: dummy, ipv4: {{enabled: true, dhcp: true}}}}\n"
ROUTE = "  - {{destination: 10.{a}.{b}.0/24, next-hop-interface: {via}}}\n"
RULE = "  - {{ip-from: 10.{a}.{b}.0/24, route-table: 77}}\n"


def _items(template: str, count: int, via: str = "eth0") -> str:
    return "".join(
        template.format(n=n, a=n >> 8, b=n & 255, via=via.format(n=n)) for n in range(count)
    )


DOCUMENTS: dict[str, Callable[[int], str]] = {
    "routes": lambda n: f"interfaces:\n{ETH0}routes:\n  config:\n{_items(ROUTE, n)}",
    "routes over as many interfaces": lambda n: (
        f"interfaces:\n{_items(DUMMY, n)}routes:\n  config:\n{_items(ROUTE, n, 'e{n}')}"
    ),
    "rules that no route serves": lambda n: (
        f"interfaces:\n{ETH0}routes:\n  config:\n{_items(ROUTE, n)}"
        f"route-rules:\n  config:\n{_items(RULE, n)}"
    ),
    "rules that no interface serves": lambda n: (
        f"interfaces:\n{_items(DUMMY, n)}route-rules:\n  config:\n{_items(RULE, n)}"
    ),
    "interfaces": lambda n: "interfaces:\n" + _items("- name: e{n}\n", n),
    "vlans": lambda n: (
        f"interfaces:\n{ETH0}"
        + _items("- {{name: v{n}, type: vlan, vlan: {{base-iface: eth0, id: {b}}}}}\n", n)
    ),
    "ports of a bond": lambda n: (
        "interfaces:\n- name: b0\n  type: bond\n  link-aggregation:\n    mode: balance-rr\n"
        "    port:\n" + _items("    - p{n}\n", n)
    ),
    "ports of a bridge that name it": lambda n: (
        "interfaces:\n- name: br0\n  type: linux-bridge\n  bridge:\n    port:\n"
        + _items("    - name: e{n}\n", n)
        + _items("- {{name: e{n}, type: ethernet, controller: br0}}\n", n)
    ),
    "ports of a bridge, to be ignored": lambda n: (
        "interfaces:\n- name: br0\n  type: linux-bridge\n  bridge:\n    port:\n"
        + _items("    - name: e{n}\n", n)
        + _items("- {{name: e{n}, type: ethernet, state: ignore}}\n", n)
    ),
    "ports of an OVS bridge": lambda n: (
        "interfaces:\n- name: br0\n  type: ovs-bridge\n  bridge:\n    port:\n"
        + _items("    - name: p{n}\n", n)
    ),
    "addresses": lambda n: (
        "interfaces:\n- name: eth0\n  type: ethernet\n  ipv4:\n    enabled: true\n    address:\n"
        + _items("    - {{ip: 10.{a}.{b}.1, prefix-length: 24}}\n", n)
    ),
    "copies of a MAC address": lambda n: (
        "interfaces:\n- {name: eth0, type: ethernet, mac-address: 02:00:00:00:00:01}\n"
        + _items("- {{name: b{n}, type: linux-bridge, copy-mac-from: eth0}}\n", n)
    ),
    "one anchor, many aliases": lambda n: (
        "interfaces:\n- &a {name: e0, type: dummy}\n" + "- *a\n" * n
    ),
    "unknown members": lambda n: "interfaces:\n" + _items("- {{name: e{n}, x: 1}}\n", n),
}


def _calls(document: str) -> int:
    """Return the number of calls of Python and C functions for a document."""
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        config(AGENT, Host(name="w", keyfiles=keyfiles(document), network_data=True))
    except DocumentInvalid:
        pass
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_cost_grows_linearly(kind: str) -> None:
    make = DOCUMENTS[kind]
    small, large = (_calls(make(count)) for count in (100, 400))
    assert large < 4.5 * small


@pytest.mark.parametrize("text", ["9" * 30_000 + "x", "." + "9" * 30_000 + "x", "0" * 30_000 + "x"])
def test_long_words_that_begin_like_numbers_take_no_time(text: str) -> None:
    began = time.process_time()
    assert tree.resolved_scalar(tree.Plain(text)) == text
    assert time.process_time() - began < 0.5


def test_refuses_a_small_document_with_huge_keyfiles() -> None:
    document = DOCUMENTS["ports of a bond"](30_000)
    assert len(document) < 400_000
    with pytest.raises(DocumentInvalid, match="its keyfiles have more than 4194304 characters"):
        keyfiles(document)
    assert len(keyfiles(DOCUMENTS["ports of a bond"](20_000))) == 20_001


@given(
    st.one_of(
        st.ip_addresses(v=4).map(str),
        st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,4}){2,4}", fullmatch=True),
        st.text("0123456789.٣+-_ \n%/", max_size=16),
    )
)
@example("1.2.3.04")
@example("1.2.3.4\n")
@example("1.2.3.256")
def test_parses_ipv4_addresses_like_the_standard_library(text: str) -> None:
    try:
        expected = ipaddress.IPv4Address(text)
    except ipaddress.AddressValueError:
        assert addresses.parsed(text) is None
    else:
        found = addresses.parsed(text)
        assert found == addresses.Address(4, int(expected))
        assert str(found) == str(expected)

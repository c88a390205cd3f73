"""Documents as text: YAML as the reference reads it, and limits."""

from __future__ import annotations

import time

import pytest
from nmstate_support import interface, made, refusal, sections

from mic.nmstate import NMStateInvalid, keyfiles
from mic.nmstate.tree import MAX_BYTES, MAX_DEPTH, MAX_NODES


@pytest.mark.parametrize("word", ["true", "True", "yes", "'on'", "Y", "1", "'1'", "!!bool true"])
def test_spellings_of_true(word: str) -> None:
    assert sections(interface(f"lldp: {{enabled: {word}}}"))["connection"]["lldp"] == "1"


@pytest.mark.parametrize("word", ["false", "FALSE", "no", "'off'", "n", "0", "'0'"])
def test_spellings_of_false(word: str) -> None:
    assert sections(interface(f"lldp: {{enabled: {word}}}"))["connection"]["lldp"] == "0"


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ("1400", "1400"),
        ("'1400'", "1400"),
        ("0x578", "1400"),
        ("0o2570", "1400"),
        ("'0x578'", "1400"),
    ],
)
def test_spellings_of_numbers(number: str, value: str) -> None:
    assert sections(interface(f"mtu: {number}"))["ethernet"]["mtu"] == value


@pytest.mark.parametrize("number", ["1_400", "1400.0", "1e3", "-1", "true", "'x'", "[1]", "~x"])
def test_what_is_no_number(number: str) -> None:
    assert refusal(interface(f"mtu: {number}")).startswith("interfaces[0].mtu: found ")


@pytest.mark.parametrize("name", ["1", "1.5", "true", "null", "[a]", "{a: b}", "0x10"])
def test_names_are_strings(name: str) -> None:
    assert "interfaces[0].name" in refusal(f"interfaces: [{{name: {name}}}]")


@pytest.mark.parametrize("name", ["'1'", "yes", "0123", "10:20", "2024-01-01", "!!str 5"])
def test_these_are_strings(name: str) -> None:
    assert len(made(f"interfaces: [{{name: {name}}}]")) == 1


def test_outside_of_interfaces_scalars_are_strings_where_strings_are_due() -> None:
    document = interface("ipv4: {enabled: true, dhcp: true}", name="'5'")
    document += "routes: {config: [{destination: 10.0.0.0/8, next-hop-interface: 5}]}\n"
    assert "route0=10.0.0.0/8,,0\n" in made(document)["5"]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("routes: {config: [], config: []}", "routes.config: given twice"),
        ("interfaces: []\ninterfaces: []", "interfaces: given twice"),
        ("a: 1\n---\nb: 2", "more than one YAML document"),
        ("interfaces: [", "line 2 column 1"),
        ("- a", "document: found a list, expected a mapping"),
        ("hello", "document: found a string, expected a mapping"),
        ("? [a]\n: b", "a key that is not a string"),
        ("interfaces: [*a]", "an alias of nothing"),
        ("interfaces: &a [*a]", "an alias of nothing"),
        ("interfaces: !ethernet []", "a tag that has no use"),
        ("interfaces: !!python/name:os.system []", "a tag that has no use"),
        ("interfaces: !!seq x", "a tag that has no use"),
        ("interfaces: {}", "found a mapping, expected a list"),
        ("interfaces: [5]", "interfaces[0]: found an integer, expected a mapping"),
        ("interfaces: [{type: dummy}]", "'name' is missing"),
        ("interfaces: [{name: a, state: on}]", "expected one of up, down, absent"),
        ("interface: []", "unknown member 'interface', expected: description"),
        ("\0", "a character that YAML does not allow"),
        ("interfaces: [{name: a, mtu: 18446744073709551616}]", "more than 64 bits"),
    ],
)
def test_what_is_refused(document: str, told: str) -> None:
    assert told in refusal(document)


def test_unknown_members_are_told_with_those_of_the_type() -> None:
    told = refusal(interface("vlan: {}", kind="bond"))
    assert "unknown member 'vlan'" in told
    assert told.endswith("dispatch, link-aggregation")


def test_all_problems_are_told_with_their_places() -> None:
    with pytest.raises(NMStateInvalid) as refused:
        keyfiles("interfaces: [{name: a, mtu: x}, {name: b, foo: 1}, {type: dummy}]\nroutes: 5")
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "interfaces[0].mtu",
        "interfaces[1].foo",
        "interfaces[2]",
        "routes",
    ]


def test_aliases_are_followed_and_merge_keys_are_not() -> None:
    document = """\
interfaces:
- {name: a, type: dummy, ipv4: &ip {enabled: true, dhcp: true}}
- {name: b, type: dummy, ipv4: *ip}
"""
    assert "method=auto" in made(document)["b"]
    assert "'<<'" in refusal(document.replace("ipv4: *ip", "<<: *ip"))


def test_bytes_need_to_be_utf8() -> None:
    assert "not UTF-8" in refusal(b"interfaces: [\xff]")
    assert len(keyfiles("interfaces: [{name: d\u00e9}]".encode())) == 1


def test_no_break_spaces_are_spaces() -> None:
    assert list(made("interfaces:\n-\u00a0name: a\n")) == ["a"]


def _bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (" " * (MAX_BYTES + 1), "longer than"),
        ("[" * (MAX_DEPTH + 2), "nested deeper than"),
        ("a: " * 3 + "- " * 100_000, ""),
        ("[" + "a," * (MAX_NODES + 1) + "]", "more than"),
        (_bomb(10, 10), "more than"),
        (_bomb(MAX_DEPTH * 4, 1), "nested deeper than"),
        ("a: " + "x" * 70_000, "a value of more than"),
        ("%TAG !a! x\n" * 50_000 + "--- {}", "directives"),
        (interface(f"mtu: {'9' * 60_000}"), "expected an integer"),
        (interface(f"mtu: 1{'_1' * 30_000}"), "expected an integer"),
        (interface(f"mtu: 0x{'f' * 60_000}"), "expected an integer"),
    ],
)
def test_limits_are_cheap(document: str, told: str) -> None:
    start = time.process_time()
    assert told in refusal(document)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    "document",
    [
        "interfaces: [" + ",".join(f"{{name: e{n}}}" for n in range(5000)) + "]",
        interface(
            f"bridge: {{port: [{','.join(f'{{name: e{n}}}' for n in range(3000))}]}}",
            kind="linux-bridge",
        ),
        interface(
            f"bridge: {{port: [{','.join(f'{{name: e{n}}}' for n in range(3000))}]}}",
            kind="ovs-bridge",
        ),
    ],
    ids=["interfaces", "bridge", "ovs"],
)
def test_large_documents_take_time_in_proportion(document: str) -> None:
    start = time.process_time()
    keyfiles(document)
    assert time.process_time() - start < 20

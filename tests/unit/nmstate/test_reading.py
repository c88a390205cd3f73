"""The text of documents: YAML as the reference reads it, and limits."""

from __future__ import annotations

import time

import pytest
from nmstate_support import interface, made, refusal, sections

from mic.common.problems import DocumentInvalid
from mic.common.tree import MAX_BYTES, MAX_DEPTH, MAX_NODES
from mic.nmstate import keyfiles


@pytest.mark.parametrize("word", ["true", "True", "yes", "'on'", "Y", "1", "'1'", "!!bool true"])
def test_accepts_spellings_of_true(word: str) -> None:
    assert sections(interface(f"lldp: {{enabled: {word}}}"))["connection"]["lldp"] == "1"


@pytest.mark.parametrize("word", ["false", "FALSE", "no", "'off'", "n", "0", "'0'"])
def test_accepts_spellings_of_false(word: str) -> None:
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
def test_accepts_spellings_of_numbers(number: str, value: str) -> None:
    assert sections(interface(f"mtu: {number}"))["ethernet"]["mtu"] == value


@pytest.mark.parametrize("number", ["1_400", "1400.0", "1e3", "-1", "true", "'x'", "[1]", "~x"])
def test_rejects_malformed_numbers(number: str) -> None:
    assert refusal(interface(f"mtu: {number}")).startswith("interfaces[0].mtu: found ")


@pytest.mark.parametrize("name", ["1", "1.5", "true", "null", "[a]", "{a: b}", "0x10"])
def test_rejects_names_that_are_not_strings(name: str) -> None:
    assert "interfaces[0].name" in refusal(f"interfaces: [{{name: {name}}}]")


@pytest.mark.parametrize("name", ["'1'", "yes", "0123", "10:20", "2024-01-01", "!!str 5"])
def test_accepts_names_that_are_strings(name: str) -> None:
    assert len(made(f"interfaces: [{{name: {name}}}]")) == 1


def test_accepts_any_scalar_as_a_string_outside_of_interfaces() -> None:
    document = interface("ipv4: {enabled: true, dhcp: true}", name="'5'")
    document += "routes: {config: [{destination: 10.0.0.0/8, next-hop-interface: 5}]}\n"
    assert "route0=10.0.0.0/8,,0\n" in made(document)["5"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("routes: {config: [], config: []}", "routes.config: given twice"),
        ("interfaces: []\ninterfaces: []", "interfaces: given twice"),
        ("a: 1\n---\nb: 2", "more than one YAML document"),
        ("interfaces: [", "line 2 column 1"),
        ("- a", "document: found a list, expected a mapping"),
        ("hello", "document: found a string, expected a mapping"),
        ("? [a]\n: b", "a key that is not a string"),
        ("interfaces: [*a]", "unknown alias"),
        ("interfaces: &a [*a]", "unknown alias"),
        ("interfaces: !ethernet []", "unsupported tag"),
        ("interfaces: !!python/name:os.system []", "unsupported tag"),
        ("interfaces: !!seq x", "expected a list"),
        ("null", "document: found null, expected a mapping"),
        ("~", "document: found null, expected a mapping"),
        ('""', "document: found a string, expected a mapping"),
        ("interfaces: {}", "found a mapping, expected a list"),
        ("interfaces: [5]", "interfaces[0]: found an integer, expected a mapping"),
        ("interfaces: [{type: dummy}]", "'name' is missing"),
        ("interfaces: [{name: a, state: on}]", "expected one of up, down, absent"),
        (
            "interface: []",
            "unknown member 'interface', did you mean interfaces? expected: interfaces,",
        ),
        ("\0", "a character that YAML does not allow"),
        ("interfaces: [{name: a, mtu: 18446744073709551616}]", "more than 64 bits"),
    ],
)
def test_rejects_invalid_members(document: str, message: str) -> None:
    assert message in refusal(document)


def test_lists_the_members_of_the_type_for_an_unknown_member() -> None:
    message = refusal(interface("vlan: {}", kind="bond"))
    assert "unknown member 'vlan'" in message
    assert message.endswith("dispatch, link-aggregation")


def test_reports_all_problems_with_their_places() -> None:
    with pytest.raises(DocumentInvalid) as refused:
        keyfiles("interfaces: [{name: a, mtu: x}, {name: b, foo: 1}, {type: dummy}]\nroutes: 5")
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "interfaces[0].mtu",
        "interfaces[1].foo",
        "interfaces[2]",
        "routes",
    ]


def test_expands_aliases_but_not_merge_keys() -> None:
    document = """\
interfaces:
- {name: a, type: dummy, ipv4: &ip {enabled: true, dhcp: true}}
- {name: b, type: dummy, ipv4: *ip}
"""
    assert "method=auto" in made(document)["b"]
    assert "'<<'" in refusal(document.replace("ipv4: *ip", "<<: *ip"))


def test_rejects_bytes_that_are_not_utf8() -> None:
    assert "not UTF-8" in refusal(b"interfaces: [\xff]")
    assert len(keyfiles("interfaces: [{name: d\u00e9}]".encode())) == 1


def test_reads_no_break_spaces_as_spaces() -> None:
    assert list(made("interfaces:\n-\u00a0name: a\n")) == ["a"]


def _bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * width)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("document", "message"),
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
def test_rejects_documents_beyond_limits_quickly(document: str, message: str) -> None:
    start = time.process_time()
    assert message in refusal(document)
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
def test_converts_large_documents_in_linear_time(document: str) -> None:
    start = time.process_time()
    keyfiles(document)
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "text",
    [
        "{type: ipsec, libreswan: {right: 192.0.2.1, psk:hunter2}}",
        "{type: ipsec, libreswan: {right: 192.0.2.1, psk=hunter2}}",
        "{type: ipsec, libreswan: {right: 192.0.2.1, 'psk: hunter2': 1, 'psk: hunter2': 2}}",
        "{type: ethernet, private-key-password:hunter2}",
    ],
)
def test_never_shows_a_secret_in_a_key(text: str) -> None:
    """Without a space after the colon, ``psk:hunter2`` is the name of a member."""
    with pytest.raises(DocumentInvalid) as caught:
        keyfiles(f"interfaces: [{{name: eth0, {text[1:]}]")
    assert "unknown member" in str(caught.value)
    assert "hunter2" not in str(caught.value)

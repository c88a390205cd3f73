"""Mistakes that many make in a document, and the sentence that helps.

What is refused does not depend on these texts: the corpora hold that.
"""

from __future__ import annotations

import base64
import re

import pytest

from mic.common.problems import DocumentInvalid, excerpt_of
from mic.hosts.convert import built_in
from mic.nmstate import generate

INTERFACES = "interfaces:\n- name: eth0\n  type: ethernet\n  state: up\n"
INDENTED = INTERFACES.replace("\n", "\n  ")


def problems(document: str) -> tuple[str, ...]:
    with pytest.raises(DocumentInvalid) as caught:
        generate(document.encode())
    return caught.value.problems


def only(document: str) -> str:
    (problem,) = problems(document)
    return problem


WRAPPERS = {
    "policy": (
        "apiVersion: nmstate.io/v1\nkind: NodeNetworkConfigurationPolicy\nmetadata: {name: a}\n"
        f"spec:\n  desiredState:\n    {INTERFACES}".replace("\n-", "\n    -").replace(
            "\n  ty", "\n      ty"
        ),
        "a NodeNetworkConfigurationPolicy: only what is under spec.desiredState belongs here",
    ),
    "nmstateconfig": (
        "apiVersion: agent-install.openshift.io/v1beta1\nkind: NMStateConfig\nspec: {}\n",
        "only what is under spec.config belongs here",
    ),
    "secret": (
        "apiVersion: v1\nkind: Secret\nstringData: {nmstate: 'interfaces: []'}\n",
        "only the text under stringData.nmstate belongs here",
    ),
    "object": ("apiVersion: v1\nkind: Pod\n", "it is a Kubernetes object"),
    "networkConfig": (f"networkConfig:\n  {INDENTED}", "only what is under networkConfig: belongs"),
    "nmstate": (f"nmstate:\n  {INDENTED}", "only what is under nmstate: belongs here"),
    "desiredState": (f"desiredState:\n  {INDENTED}", "only what is under desiredState: belongs"),
    "spec": (
        "spec: {desiredState: {interfaces: []}}",
        "only what is under spec.desiredState belongs here",
    ),
    "agent-config": (
        "rendezvousIP: 192.0.2.1\nhosts:\n- hostname: a\n  networkConfig: {interfaces: []}\n",
        "only what is under networkConfig of one host belongs here",
    ),
    "netplan": (
        "network:\n  version: 2\n  ethernets: {eth0: {dhcp4: true}}\n",
        "it is a netplan or cloud-init network config: write NMState",
    ),
    "cloud-init 2": ("version: 2\nethernets: {eth0: {dhcp4: true}}\n", "cloud-init network config"),
    "cloud-init 1": (
        "network:\n  version: 1\n  config: [{type: physical, name: eth0}]\n",
        "it is a network config of cloud-init, version 1",
    ),
    "user data": (
        "#cloud-config\nusers: [core]\nwrite_files: []\n",
        "it is user data of cloud-init",
    ),
    "openstack": (
        "links: []\nnetworks: []\nservices: []\ninterfaces: []\n",
        "it has members of OpenStack network data next to those of NMState",
    ),
    "a Secret's text": (
        "nmstate: |\n  interfaces: []\n",
        "only the text under nmstate: belongs here",
    ),
    "network data": ("networkData: '{}'\n", "only what is under networkData: belongs here"),
    "an object without a kind": ("apiVersion: v1\n", "it is a Kubernetes object"),
    "netplan without content": ("network: {version: 2}\n", "it is a netplan or cloud-init"),
    "a stanza of cloud-init 1": (
        "version: 1\nconfig: []\n",
        "it is a network config of cloud-init, version 1",
    ),
    "base64": (base64.b64encode(INTERFACES.encode()).decode(), "it is base64: write the decoded"),
    "base64 twice": (
        base64.b64encode(base64.encodebytes(INTERFACES.encode())).decode(),
        "it is base64 twice: write the decoded",
    ),
    "list": ("- name: eth0\n  type: ethernet\n", "it is a list of interfaces: put it under"),
    "keyfile": ("# mine\n[connection]\nid=eth0\n", "it is a keyfile of NetworkManager"),
    "ifcfg, which YAML can be": ("DEVICE=eth0\nBOOTPROTO=none\n", "it is an ifcfg file"),
    "ifcfg": ('DEVICE=eth0\nBOOTPROTO="none"\n: [\n', "it is an ifcfg file"),
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_wrong_wrapper_gets_one_sentence(kind: str) -> None:
    document, sentence = WRAPPERS[kind]
    # As hosts have it: what looks for other languages before must not say less.
    with pytest.raises(DocumentInvalid) as caught:
        built_in(document.encode())
    (problem,) = caught.value.problems
    assert problem.startswith("document: ")
    assert sentence in problem
    assert "expected:" not in problem
    # It quotes nothing of the document: those may read it who may not read the document.
    assert caught.value.without_content == caught.value.problems


@pytest.mark.parametrize(
    "document", ["", "interfaces: []", "description: a text\nhostname: {config: a}\n"]
)
def test_what_is_accepted_stays_accepted(document: str) -> None:
    generate(document.encode())


INTERFACE = "interfaces:\n- name: eth0\n  type: ethernet\n  "
ROUTE = "routes:\n  config:\n  - destination: 0.0.0.0/0\n    next-hop-interface: eth0\n    "


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (f"{INTERFACE}routes: {{}}", "'routes': belongs at the top level"),
        (f"{INTERFACE}dns-resolver: {{}}", "'dns-resolver': belongs at the top level"),
        (f"{INTERFACE}dns: [192.0.2.1]", "name servers belong at the top level"),
        (f"{INTERFACE}gateway: 192.0.2.1", "a gateway is a route under routes.config"),
        (f"{INTERFACE}ipv4: {{gateway: 192.0.2.1}}", "a gateway is a route under routes.config"),
        (
            f"{INTERFACE}ipv4: {{address: [{{ip: 192.0.2.2, prefix-length: 24, gateway: a}}]}}",
            "a gateway is a route under routes.config",
        ),
        (f"{INTERFACE}enabled: true", "interfaces[0].enabled: unknown member 'enabled': belongs"),
        (f"{INTERFACE}dhcp: true", "belongs under ipv4 or ipv6"),
        (f"{INTERFACE}ipv4: {{addresses: []}}", "is called address"),
        (
            f"{INTERFACE}ipv4: {{address: [{{ip: 192.0.2.2, prefix: 24}}]}}",
            "is called prefix-length",
        ),
        (f"{INTERFACE}ipv4: {{address: [192.0.2.2/24]}}", "write ip: 192.0.2.1 and prefix-length"),
        (f"{INTERFACE}ipv4: 192.0.2.2/24", "write enabled: true, and address as a list"),
        (f"{INTERFACE}ipv4: {{forwarding: true}}", "of a newer NMState than 2.2.38"),
        (f"{INTERFACE}ipv6: {{forwarding: true}}", "of a newer NMState than 2.2.38"),
        (f"{ROUTE}state: ignore", "ignore is of a newer NMState than 2.2.38"),
        (f"{ROUTE}via: 192.0.2.1", "is called next-hop-address"),
        ("routes: [{destination: 0.0.0.0/0}]", "put the list under config"),
        ("dns-resolver: {server: [192.0.2.1]}", "belongs under dns-resolver.config"),
        ("dns-resolver: [192.0.2.1]", "put the list under config.server"),
        ("name: eth0\ntype: ethernet", "'name': belongs to an interface in the list interfaces"),
        ("interface: []", "'interface', did you mean interfaces? expected: interfaces, desc"),
        (f"{INTERFACE}mtuu: 1500", "did you mean mtu? expected: mtu, name"),
        (f"{INTERFACE}ipv4: {{dhpc: true}}", "did you mean dhcp?"),
        (f"{INTERFACE}mac_address: a", "did you mean mac-address?"),
        (f"{INTERFACE}link-aggregation: {{}}", "belongs to an interface of type bond"),
        (f"{INTERFACE}bridge: {{}}", "an interface of type linux-bridge or ovs-bridge"),
        (f"{INTERFACE}entirely-different: 1", "'entirely-different', expected: name, profile-name"),
    ],
)
def test_says_where_a_member_belongs(document: str, sentence: str) -> None:
    found = problems(document)
    assert any(sentence in each for each in found), found


@pytest.mark.parametrize(
    ("document", "words", "line", "excerpt"),
    [
        ("interfaces:\n\t- name: eth0\n", "found a tab: YAML indents with spaces", 2, ""),
        ("interfaces:\n- name: eth0\n\ttype: ethernet\n", "found a tab", 3, "type: ethernet\n^"),
        (
            "interfaces:\n- name: eth0\n   type: ethernet\n",
            "wrong indentation?",
            3,
            "type: ethernet\n    ^",
        ),
        (
            "interfaces:\n- name: eth0\n  type: ethernet\n mtu: 1500\n",
            "wrong indentation?",
            4,
            "mtu: 1500\n^",
        ),
        (
            "interfaces:\n- name: 'eth0\n",
            "a quote is not closed (it began in line 2): - name: 'eth0",
            3,
            "- name: 'eth0\n        ^",
        ),
        (
            "interfaces: [{name: eth0}\n",
            "is missing (it began in line 1): interfaces: [{name: eth0}",
            2,
            "interfaces: [{name: eth0}\n            ^",
        ),
        (
            "interfaces:\n- name: @eth0\n",
            "begins with @ needs quotes",
            2,
            "- name: @eth0\n        ^",
        ),
    ],
)
def test_a_yaml_error_shows_its_line(document: str, words: str, line: int, excerpt: str) -> None:
    problem = only(document)
    assert re.match(rf"document: line {line} column \d+: ", problem), problem
    assert words in problem
    assert excerpt in excerpt_of(problem)


@pytest.mark.parametrize(
    "line",
    [
        "hunter2: x: y",
        "password: hunter2: x",
        "name: a, psk: hunter2: x",
        "hunter2",
        "802.1x: hunter2: y",
        'password: "hunter2',  # not closed: the line where it began
    ],
)
def test_a_yaml_error_shows_no_line_that_may_hold_a_secret(line: str) -> None:
    with pytest.raises(DocumentInvalid) as caught:
        generate(f"interfaces:\n- name: eth0\n   {line}\n    b: c: d\n".encode())
    assert "hunter2" not in str(caught.value)
    assert all("hunter2" not in excerpt_of(problem) for problem in caught.value.problems)


def test_readers_who_must_not_see_the_document_see_no_line() -> None:
    with pytest.raises(DocumentInvalid) as caught:
        generate(b"interfaces:\n- name: eth0\n   type: odd\n")
    assert "odd" in str(caught.value)
    assert "odd" not in "".join(caught.value.without_content)


def test_many_unknown_members_are_counted_once() -> None:
    members = "".join(f"  x{number}: 1\n" for number in range(1000))
    found = problems(f"{INTERFACE.rstrip()}\n{members}")
    assert len(found) == 51
    assert found[-1] == "and 950 more problems"

"""libnm reads what is generated without a word."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path

import pytest
from e2e.libnm import complaints
from nmstate_documents import DOCUMENTS

from mic.common.keyfile import Keyfile
from mic.nmstate import generate, keyfiles

# What libnm 1.42 says to keyfiles that the reference writes just so; docs/design/nmstate.md has
# reasons.
KNOWN = {
    "sriov:": "a virtual function's name is resolved only where its parent is",
    r"\[bond-port\] prio is no key": "since NetworkManager 1.44",
    "type '(ipvlan|hsr)' is not valid": "since NetworkManager 1.52 and 1.46",
    "(ovs-interface|macsec|vlan): setting required": "the document lacks the section",
    "bridge.group-(address|forward-mask): ": "reserved values that the document asks for",
    "ipv4.addresses: this property cannot be empty": "routes without an address",
    "VF with index": "virtual functions without their number",
    "longer than 15|longlongname": "no name that Linux could have",
    "'lacp_rate' option is only valid": "options of another mode",
    "ipv6.dns: this property is not allowed": "name servers without addresses",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_keyfiles_of_our_own_documents(name: str) -> None:
    made = keyfiles(DOCUMENTS[name])
    told = {keyfile.name: told for keyfile, told in zip(made, complaints(made), strict=True)}
    assert {name: each for name, each in told.items() if each} == {}


def test_the_reader_is_strict() -> None:
    content = keyfiles(DOCUMENTS["dhcp"])[0].content
    wrong = (
        content.replace("method=auto", "method=magic"),
        content.replace("[ipv4]\n", "[ipv4]\nmetod=auto\n"),
        content.replace("type=802-3-ethernet", "type=wires"),
        content.replace("[ipv4]\n", "[ipv4]\naddress0=nonsense\n"),
        content.replace("[ipv6]\n", "[ipv5]\n\n[ipv6]\n"),
    )
    for told in complaints([Keyfile(name="x", content=text) for text in wrong]):
        assert told


def test_keyfiles_of_the_corpus(shared: Path) -> None:
    path = shared / "nmstate-corpus/accepted.jsonl"
    if not path.is_file():
        pytest.skip("the corpus is not available")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    made = [
        (record["name"], keyfile) for record in records for keyfile in keyfiles(record["nmstate"])
    ]
    told = complaints([keyfile for _, keyfile in made])
    known = re.compile("|".join(KNOWN))
    unknown = {
        f"{name}: {keyfile.name}: {complaint}"
        for (name, keyfile), each in zip(made, told, strict=True)
        for complaint in each
        if not known.search(complaint)
    }
    assert unknown == set()


# What an older libnm does not know yet is no fault of a document. Nor is the form in which the
# reference writes every group address, also that of kubernetes-nmstate's own example, nor the
# section of the loopback interface, which NetworkManager adds.
_NEWER = re.compile(
    r"\[bond-port\] prio is no key|type '(ipvlan|hsr)' is not valid|bridge.group-address: |"
    "loopback: setting required"
)
_CORPUS = Path(__file__).parents[1] / "unit/nmstate/corpus/accepted.jsonl.xz"


def test_mic_warns_of_every_document_whose_keyfiles_libnm_refuses() -> None:
    lines = lzma.decompress(_CORPUS.read_bytes()).decode().splitlines()
    records = [json.loads(line) for line in lines]
    made = [(record["name"], generate(record["nmstate"])) for record in records]
    every = [(name, each, keyfile) for name, each in made for keyfile in each.keyfiles]
    silent = {
        f"{name}: {keyfile.name}: {complaint}"
        for (name, given, keyfile), found in zip(
            every, complaints([keyfile for _, _, keyfile in every]), strict=True
        )
        for complaint in found
        if not given.warnings and not _NEWER.search(complaint)
    }
    assert silent == set()

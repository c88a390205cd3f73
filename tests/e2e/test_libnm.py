"""libnm reads what is generated without a word."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from e2e import parts
from nmstate_documents import DOCUMENTS

from mic.nmstate import Keyfile, keyfiles

READER = Path(__file__).with_name("libnm_reader.py")

# What libnm 1.42 says to keyfiles that the reference writes just so: docs/nmstate.md has reasons.
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


def _complaints(keyfiles: Sequence[Keyfile]) -> list[list[str]]:
    python = parts.file("/usr/bin/python3", "python3")
    bindings = [python, "-c", "import gi; gi.require_version('NM', '1.0')"]
    if subprocess.run(bindings, capture_output=True, timeout=60, check=False).returncode != 0:
        pytest.skip("no bindings of libnm: install Debian's gir1.2-nm-1.0 and python3-gi")
    done = subprocess.run(
        [python, READER],
        input=json.dumps([keyfile.content for keyfile in keyfiles]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_keyfiles_of_our_own_documents(name: str) -> None:
    made = keyfiles(DOCUMENTS[name])
    told = {keyfile.name: told for keyfile, told in zip(made, _complaints(made), strict=True)}
    assert {name: complaints for name, complaints in told.items() if complaints} == {}


def test_the_reader_is_strict() -> None:
    content = keyfiles(DOCUMENTS["dhcp"])[0].content
    wrong = (
        content.replace("method=auto", "method=magic"),
        content.replace("[ipv4]\n", "[ipv4]\nmetod=auto\n"),
        content.replace("type=802-3-ethernet", "type=wires"),
        content.replace("[ipv4]\n", "[ipv4]\naddress0=nonsense\n"),
        content.replace("[ipv6]\n", "[ipv5]\n\n[ipv6]\n"),
    )
    for told in _complaints([Keyfile(name="x", content=text) for text in wrong]):
        assert told


def test_keyfiles_of_the_corpus(shared: Path) -> None:
    path = shared / "nmstate-corpus/accepted.jsonl"
    if not path.is_file():
        pytest.skip("the corpus is not here")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    made = [
        (record["name"], keyfile) for record in records for keyfile in keyfiles(record["nmstate"])
    ]
    told = _complaints([keyfile for _, keyfile in made])
    known = re.compile("|".join(KNOWN))
    unknown = {
        f"{name}: {keyfile.name}: {complaint}"
        for (name, keyfile), complaints in zip(made, told, strict=True)
        for complaint in complaints
        if not known.search(complaint)
    }
    assert unknown == set()

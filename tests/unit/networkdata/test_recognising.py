"""OpenStack network data is recognised by its members."""

from __future__ import annotations

import json

import pytest

from mic.common import tree
from mic.common.problems import DocumentInvalid
from mic.networkdata import as_json, is_network_data


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("links: []\n", True),
        ("networks: []\nservices: []\n", True),
        ('{"links": [], "networks": [], "services": [], "more": 1}', True),
        ("links: []\ninterfaces: []\n", False),
        ("networks: []\ndns-resolver: {}\n", False),
        ("interfaces: []\n", False),
        ("version: 2\nethernets: {}\n", False),
        ("- links\n", False),
        ("links\n", False),
        ("", False),
        ("# nothing\n", False),
    ],
)
def test_is_told_by_its_members(document: str, expected: bool) -> None:
    assert is_network_data(tree.read(document)) is expected


def test_json_is_given_as_it_is() -> None:
    document = b'{ "links":[],\n\t"networks" : [ ] }  \n'
    assert as_json(document) == document


def test_json_is_given_without_a_byte_order_mark() -> None:
    document = b'{"links": []}'
    assert as_json(b"\xef\xbb\xbf" + document) == document, "readers of JSON refuse it"


def test_yaml_is_given_as_json() -> None:
    document = (
        b"links:\n- {id: eth0, mtu: 1500, ethernet_mac_address: 52:54:00:00:00:01}\nservices:\n"
    )
    assert json.loads(as_json(document) or b"") == {
        "links": [{"id": "eth0", "mtu": 1500, "ethernet_mac_address": "52:54:00:00:00:01"}],
        "services": None,
    }


@pytest.mark.parametrize("document", [b"interfaces: []\n", b"", b"a", b"[]"])
def test_nothing_else_has_json(document: bytes) -> None:
    assert as_json(document) is None


def test_malformed_text_is_refused() -> None:
    with pytest.raises(DocumentInvalid):
        as_json(b"{")

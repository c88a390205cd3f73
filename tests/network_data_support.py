"""Build OpenStack network data, and read the keyfiles that become of it."""

from __future__ import annotations

import configparser
import json
from typing import Any

import pytest

from mic.common.problems import DocumentInvalid
from mic.networkdata import generate

Json = dict[str, Any]
Sections = dict[str, dict[str, str]]


def card(ident: str = "a", number: int = 1, **more: Any) -> Json:
    """A network card with a MAC address that ends with ``number``."""
    found = {"id": ident, "type": "phy", "ethernet_mac_address": f"52:54:00:00:00:{number:02x}"}
    return found | more


def static(link: str = "a", address: str = "192.0.2.10", **more: Any) -> Json:
    """A network with an address: IPv4 in a /24, IPv6 in a /64."""
    kind, mask = ("ipv6", "ffff:ffff:ffff:ffff::") if ":" in address else ("ipv4", "255.255.255.0")
    found = {"id": f"{link} {address}", "link": link, "type": kind, "netmask": mask}
    return found | {"ip_address": address} | more


def default(gateway: str, **more: Any) -> Json:
    """A default route."""
    zero = "::" if ":" in gateway else "0.0.0.0"
    return {"network": zero, "netmask": zero, "gateway": gateway} | more


def document(*links: Json, networks: Any = (), services: Any = (), **more: Any) -> str:
    """A document as JSON."""
    content = {"links": list(links), "networks": list(networks), "services": list(services)}
    return json.dumps(content | more)


def profiles(text: str) -> dict[str, Sections]:
    """The settings of each profile by the name of its file."""
    found: dict[str, Sections] = {}
    for keyfile in generate(text).keyfiles:
        parser = configparser.RawConfigParser(delimiters=("=",), strict=True)
        parser.read_string(keyfile.content)
        found[keyfile.name.removesuffix(".nmconnection")] = {
            name: dict(parser.items(name)) for name in parser.sections()
        }
    return found


def warnings(text: str) -> list[str]:
    """The warnings about a document."""
    return [str(each) for each in generate(text).warnings]


def refusal(text: str) -> tuple[str, ...]:
    """The problems because of which a document is refused."""
    with pytest.raises(DocumentInvalid) as caught:
        generate(text)
    return caught.value.problems

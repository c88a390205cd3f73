"""NetworkManager brings up what documents say."""

from __future__ import annotations

from pathlib import Path

import nmstate_documents
from e2e import nm

from mic.nmstate import keyfiles


def test_static_addresses_routes_rules_and_name_servers(tmp_path: Path) -> None:
    found = nm.activate(keyfiles(nmstate_documents.STATIC), tmp_path, ["eth0"])
    log = found.sections["log"]
    assert found.active >= {"eth0"}, log
    assert found.addresses("eth0") == {"192.0.2.10/24", "2001:db8:1::10/64"}, log
    routes = {
        (route["dst"], route.get("gateway"), route.get("table"), route.get("metric"))
        for route in found.json("routes4") + found.json("routes6")
        if route.get("gateway")
    }
    assert ("default", "192.0.2.1", None, 120) in routes
    assert ("198.51.100.0/24", "192.0.2.2", "200", None) in routes
    assert ("default", "2001:db8:1::1", None, 1024) in routes
    rules = {
        (rule["priority"], rule.get("src"), rule.get("dst"), rule["table"])
        for rule in found.json("rules4") + found.json("rules6")
    }
    assert (1000, "192.0.2.0", None, "200") in rules
    assert (1001, "all", "2001:db8:9::", "main") in rules
    assert [line for line in found.sections["resolver"].splitlines() if line[:1] != "#"] == [
        "search example.net example.org",
        "nameserver 2001:db8:1::53",
        "nameserver 192.0.2.53",
        "options rotate",
    ]


def test_dhcp(tmp_path: Path) -> None:
    found = nm.activate(keyfiles(nmstate_documents.DHCP), tmp_path, ["eth0"], "dhcp")
    log = found.sections["log"]
    assert found.active >= {"eth0"}, log
    assert found.addresses("eth0") == {"192.0.2.100/24"}, log
    assert any(
        (route["dst"], route.get("gateway")) == ("default", "192.0.2.1")
        for route in found.json("routes4")
    )
    assert "nameserver 192.0.2.53" in found.sections["resolver"].splitlines()

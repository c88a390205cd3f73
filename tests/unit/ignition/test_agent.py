"""URLs of Ironic and the inspector, and the VLAN rule, as the agent gets them."""

from __future__ import annotations

import pytest

from mic.ignition import Agent, VlanInterfaces


def agent(**fields: object) -> Agent:
    return Agent(image="quay.io/ipa", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://ironic", "http://ironic:6385"),
        ("https://ironic", "https://ironic:6385"),
        ("http://ironic:80", "http://ironic:80"),
        ("http://ironic:", "http://ironic:6385"),
        ("http://ironic/", "http://ironic:6385/"),
        ("http://ironic/prefix", "http://ironic:6385/prefix"),
        ("http://192.0.2.1", "http://192.0.2.1:6385"),
        ("http://[2001:db8::1]", "http://[2001:db8::1]:6385"),
        ("http://[2001:db8::1]:", "http://[2001:db8::1]:6385"),
        ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x"),
        ("http://[fe80::1%25eth0]", "http://[fe80::1%25eth0]:6385"),
        ("http://user:p%40ss@ironic", "http://user:p%40ss@ironic:6385"),
        ("http://user:80@ironic", "http://user:80@ironic:6385"),
        ("http://user:pass@[::1]", "http://user:pass@[::1]:6385"),
    ],
)
def test_adds_a_missing_port(url: str, expected: str) -> None:
    assert agent(ironic_urls=(url,)).api_url == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://i", "http://i:5050/v1/continue"),
        ("http://i/", "http://i:5050/v1/continue"),
        ("http://i:80", "http://i:80/v1/continue"),
        ("http://i/v1/continue", "http://i:5050/v1/continue"),
        ("http://i/v1/continue/", "http://i:5050/v1/continue"),
        ("https://i:1/p/v1/continue", "https://i:1/p/v1/continue"),
        ("https://i:1/p/", "https://i:1/p/v1/continue"),
        ("http://i/v1", "http://i:5050/v1/v1/continue"),
        ("http://[2001:db8::1]", "http://[2001:db8::1]:5050/v1/continue"),
        ("http://[2001:db8::1]:5050/v1/continue", "http://[2001:db8::1]:5050/v1/continue"),
    ],
)
def test_adds_the_inspectors_port_and_path(url: str, expected: str) -> None:
    assert agent(inspector_urls=(url,)).inspection_callback_url == expected


def test_joins_urls() -> None:
    urls = ("http://192.0.2.1", "http://[2001:db8::1]:80")
    both = agent(ironic_urls=urls, inspector_urls=urls)
    assert both.api_url == "http://192.0.2.1:6385,http://[2001:db8::1]:80"
    assert both.inspection_callback_url == (
        "http://192.0.2.1:5050/v1/continue,http://[2001:db8::1]:80/v1/continue"
    )
    assert agent().inspection_callback_url == agent().api_url == ""


@pytest.mark.parametrize(
    ("setting", "with_data", "without"),
    [
        (VlanInterfaces.ALWAYS, "all", "all"),
        (VlanInterfaces.NEVER, "", ""),
        (VlanInterfaces.AUTOMATIC, "", "all"),
    ],
)
def test_the_vlan_rule(setting: VlanInterfaces, with_data: str, without: str) -> None:
    value = agent(vlan_interfaces=setting)
    assert value.enable_vlan_interfaces(network_data=True) == with_data
    assert value.enable_vlan_interfaces(network_data=False) == without

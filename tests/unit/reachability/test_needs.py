"""Which endpoints a host needs: ports, proxies, registries and their mirrors."""

from __future__ import annotations

from typing import Any

import pytest

from mic.common.endpoint import bypasses_proxy, endpoint
from mic.ignition import Agent
from mic.reachability import needs
from mic.reachability.registry import sources

IMAGE = "registry.example.com:5000/metal3/ipa:latest"


def found(**settings: Any) -> dict[str, list[str]]:
    rootfs = settings.pop("rootfs_url", "")
    agent = Agent(**{"image": IMAGE, **settings})
    return {
        need.setting: list(map(str, need.endpoints)) for need in needs(agent, rootfs_url=rootfs)
    }


def test_default_ports() -> None:
    assert found(
        ironic_urls=("http://192.0.2.1", "https://[fd00::1]:443/v1"),
        inspector_urls=("http://INSPECTOR.example.com./x",),
        rootfs_url="https://images.example.com/rootfs.img",
    ) == {
        "IRONIC_BASE_URL": ["192.0.2.1:6385", "[fd00::1]:443"],
        "IRONIC_INSPECTOR_BASE_URL": ["inspector.example.com:5050"],
        "IRONIC_AGENT_IMAGE": ["registry.example.com:5000"],
        "IRONIC_ROOTFS_URL": ["images.example.com:443"],
    }


def test_needs_show_no_credentials() -> None:
    shown = found(
        ironic_urls=("http://user:hunter2@192.0.2.1",), https_proxy="http://user:hunter2@192.0.2.9"
    )
    assert "hunter2" not in str(shown)
    assert shown["HTTPS_PROXY"] == ["192.0.2.9:80"]


def test_registry_is_reached_by_its_proxy() -> None:
    assert found(https_proxy="http://[fd00::9]:3128") == {"HTTPS_PROXY": ["[fd00::9]:3128"]}
    assert found(https_proxy="192.0.2.9:3128") == {"HTTPS_PROXY": ["192.0.2.9:3128"]}
    assert found(https_proxy="http://[fd00::9]:3128", no_proxy=".example.com") == {
        "IRONIC_AGENT_IMAGE": ["registry.example.com:5000"]
    }
    assert found(http_proxy="http://[fd00::9]:3128") == {
        "IRONIC_AGENT_IMAGE": ["registry.example.com:5000"]
    }


def test_a_proxy_is_one_need() -> None:
    assert found(
        ironic_urls=("https://ironic.example.com",),
        inspector_urls=("https://ironic.example.com",),
        https_proxy="http://[fd00::9]:3128",
    ) == {"HTTPS_PROXY": ["[fd00::9]:3128"]}


def test_either_way_will_do() -> None:
    agent = {"http_proxy": "http://[fd00::9]:3128", "no_proxy": "192.0.2.0/24"}
    urls = ("http://192.0.2.1", "http://198.51.100.1")
    assert found(ironic_urls=urls, **agent)["IRONIC_BASE_URL"] == [
        "192.0.2.1:6385",
        "[fd00::9]:3128",
    ]


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("http://192.0.2.1", "192.0.2.1"),
        ("http://192.0.2.1", "10.0.0.0/8, 192.0.2.0/24"),
        ("http://192.0.2.1:6385", "192.0.2.1:6385"),
        ("http://[fd00::1]", "fd00::1"),
        ("http://[fd00::1]", "[fd00::1]"),
        ("http://[fd00::1]", "fd00::/8"),
        ("http://[fd00::1]:6385", "[fd00::1]:6385"),
        ("http://ironic.example.com", "example.com"),
        ("http://ironic.example.com", ".example.com"),
        ("http://ironic.example.com", "*.example.com"),
        ("http://IRONIC.example.com", "Ironic.Example.COM"),
        ("http://example.com", "example.com"),
        ("http://anything", "*"),
        ("http://localhost", ""),
        ("http://127.0.0.2", ""),
        ("http://[::1]", ""),
    ],
)
def test_no_proxy(url: str, no_proxy: str) -> None:
    target = endpoint(url)
    assert target is not None
    assert bypasses_proxy(target, no_proxy)


@pytest.mark.parametrize(
    ("url", "no_proxy"),
    [
        ("http://192.0.2.1", ""),
        ("http://192.0.2.1", ","),
        ("http://192.0.2.1", "192.0.2.10"),
        ("http://192.0.2.1:6385", "192.0.2.1:80"),
        ("http://192.0.2.1", "198.51.100.0/24"),
        ("http://192.0.2.1", "192.0.2.0/33"),
        ("http://[fd00::1]", "192.0.2.0/24"),
        ("http://ironic.example.com", "ironic"),
        ("http://ironic.example.com", "myironic.example.com"),
        ("http://example.com", ".example.com"),
        ("http://notexample.com", "example.com"),
    ],
)
def test_proxy_is_used(url: str, no_proxy: str) -> None:
    target = endpoint(url)
    assert target is not None
    assert not bypasses_proxy(target, no_proxy)


MIRROR = b"""
[[registry]]
prefix = "registry.example.com:5000/metal3"
location = "registry.example.com:5000/metal3"
[[registry.mirror]]
location = "[fd00::5]:5000/mirror"
[[registry]]
prefix = "registry.example.com:5000"
blocked = true
"""


@pytest.mark.parametrize(
    ("image", "conf", "expected"),
    [
        ("quay.io/metal3-io/ironic-python-agent", b"", ["quay.io:443"]),
        ("docker://quay.io/a/b@sha256:00", b"", ["quay.io:443"]),
        ("docker.io/library/a", b"", ["registry-1.docker.io:443"]),
        ("localhost/a", b"", ["localhost:443"]),
        ("[fd00::5]:5000/a", b"", ["[fd00::5]:5000"]),
        ("ironic-python-agent", b"", []),  # a short name: podman asks registries.conf
        ("metal3-io/ironic-python-agent", b"", []),
        (IMAGE, b"", ["registry.example.com:5000"]),
        (IMAGE, b'unqualified-search-registries = ["a"]', ["registry.example.com:5000"]),
        (IMAGE, MIRROR, ["[fd00::5]:5000", "registry.example.com:5000"]),
        ("registry.example.com:5000/other/a", MIRROR, []),  # blocked
        ("registry.example.com:5000/metal3x/a", MIRROR, []),
        (
            "a.example.com/b",
            b'[[registry]]\nprefix = "*.example.com"\n[[registry.mirror]]\nlocation = "m.test"',
            ["m.test:443", "a.example.com:443"],
        ),
        (
            IMAGE,
            b'[[registry]]\nlocation = "registry.example.com:5000"',
            ["registry.example.com:5000"],
        ),
        (IMAGE, b"not TOML", []),
        (IMAGE, b"\xff", []),
        (IMAGE, b'registry = ["a"]', []),
        (IMAGE, b'[[registry]]\nlocation = "registry.example.com:5000"\nmirror = 1', []),
        (
            IMAGE,
            b'[[registry]]\nlocation = "registry.example.com:5000"\n[[registry.mirror]]\nx = 1',
            [],
        ),
    ],
)
def test_sources(image: str, conf: bytes, expected: list[str]) -> None:
    assert list(map(str, sources(image, conf))) == expected

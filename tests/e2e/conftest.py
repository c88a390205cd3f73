"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from e2e import cache
from kubeserver import KubeServer

_LONGEST = (
    "test_controller_endurance",
    "test_soak",
    "test_container",
    "test_systemd",
    "test_systemd_controller",
    "test_bad_days",
    "test_stock_ramdisk",
    "test_upstream_metal3",
    "test_boot",
    "test_bring_up",
    "test_monitoring",
)
"""Modules that take a minute or more, some of them with one or two tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules, so that no worker has one alone at the end."""
    rank = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty directory that everyone may enter, for trees of files that Ignition writes."""
    with cache.scratch() as path:
        yield path


@pytest.fixture
def leader_rights(kube: KubeServer) -> Iterator[None]:
    """What the overlay high-availability grants beside the rest, as long as the test runs."""
    rendered = yaml.safe_load_all(kube.rendered("high-availability"))
    more = yaml.safe_dump_all(d for d in rendered if d and d["kind"] in ("Role", "RoleBinding"))
    kube.kubectl("apply", "-f", "-", stdin=more)
    yield
    kube.kubectl("delete", "-f", "-", stdin=more)

"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from e2e import cache
from kubeserver import KubeServer


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

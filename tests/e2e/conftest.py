"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e import cache


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty directory that everyone may enter, for trees of files that Ignition writes."""
    with cache.scratch() as path:
        yield path

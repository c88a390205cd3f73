"""The smallest settings that can be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import live_iso, put


@pytest.fixture(scope="module")
def iso(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("iso") / "ipa.iso", live_iso())


@pytest.fixture
def environment(iso: Path) -> dict[str, str]:
    """The smallest usable environment."""
    return {"DEPLOY_ISO": str(iso), "IRONIC_AGENT_IMAGE": "quay.io/ipa"}


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, str]:
    return {"nmstate-dir": str(tmp_path)}

"""Where the pull secret is taken from: the variable, the unit's credential, the mounted file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mic import config, demo
from mic.config import Mode

VARIABLE = b'{"auths": {"variable": {}}}'
CREDENTIAL = b'{"auths": {"credential": {}}}'
MOUNT = b'{"auths": {"mount": {}}}'


@pytest.mark.parametrize(
    ("places", "taken"),
    [
        ({"variable", "credential", "mount"}, VARIABLE),
        ({"credential", "mount"}, CREDENTIAL),
        ({"mount"}, MOUNT),
        (set(), b""),
    ],
    ids=["all", "credential and mount", "mount", "none"],
)
def test_the_first_place_that_has_it_counts(
    places: set[str], taken: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.write_samples(str(tmp_path))
    monkeypatch.setattr(config, "PULL_SECRET_FILE", str(tmp_path / "mount"))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    if "credential" in places:
        (credentials / "pull-secret").write_bytes(CREDENTIAL)
    if "mount" in places:
        (tmp_path / "mount").write_bytes(MOUNT)
    environment = {
        "DEPLOY_ISO": str(tmp_path / "coreos.iso"),
        "IRONIC_AGENT_IMAGE": "agent",
        "IRONIC_AGENT_PULL_SECRET": VARIABLE.decode() if "variable" in places else "",
        "CREDENTIALS_DIRECTORY": str(credentials),
    }
    settings = config.load(Mode.STATIC, environment, {"nmstate-dir": str(tmp_path / "hosts")})
    assert config.read_agent(settings.agent).pull_secret == taken

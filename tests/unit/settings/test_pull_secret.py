"""Sources of the pull secret: the variable, the unit's credential, the mounted file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mic.cli import demo
from mic.settings import read
from mic.settings.load import load
from mic.settings.model import Mode

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
def test_reads_the_pull_secret_from_the_first_place_that_has_it(
    places: set[str], taken: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.write_samples(str(tmp_path))
    monkeypatch.setattr(read, "PULL_SECRET_FILE", str(tmp_path / "mount"))
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
    settings = load(Mode.STATIC, environment, {"nmstate-dir": str(tmp_path / "hosts")})
    assert read.read_agent(settings.agent).pull_secret == taken

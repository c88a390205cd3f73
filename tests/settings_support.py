"""Helpers of the tests of settings."""

from __future__ import annotations

import json

import pytest

from mic.common.errors import ConfigError
from mic.ignition import Agent
from mic.settings.load import load
from mic.settings.model import Mode

SECRET = json.dumps(
    {"auths": {"quay.io": {"auth": "aHVudGVyMjpodW50ZXIy"}}, "x": "y" * 100}
).encode()
PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def problems_of(environment: dict[str, str], flags: dict[str, str]) -> list[str]:
    """Return the problems of a configuration, which must have some."""
    with pytest.raises(ConfigError) as caught:
        load(Mode.STATIC, environment, flags)
    return caught.value.problems


def agent_of(environment: dict[str, str], flags: dict[str, str], **more: str) -> Agent:
    """Return the agent's settings made from some variables."""
    return load(Mode.STATIC, {**environment, **more}, flags).agent.agent
